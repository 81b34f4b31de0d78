/** What the Redis client promises about commands: none waits unseen, none vanishes, none is sent twice. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../testing/find-program.ts";
import { freePort, loopback } from "../testing/ports.ts";
import { startRedis } from "../testing/redis-server.ts";
import { tcpProxy } from "../testing/tcp-proxy.ts";
import {
  type ConnectRedisOptions,
  connectionError,
  connectRedis,
  loadRedis,
  parseRedisUrl,
  type Redis,
  RedisConnectionError,
  whenReady,
} from "./redis-connection.ts";

const hasServer = findProgram("redis-server") !== undefined;
if (!hasServer && process.env.CI === "true") throw new TypeError("redis-server is not installed");

describe("errors", () => {
  test("never carry the arguments of a command", () => {
    const reply = Object.assign(new Error("WRONGPASS invalid username-password pair"), {
      name: "ReplyError",
      command: { name: "auth", args: ["hunter2"] },
    });
    const error = connectionError(reply, { name: "redis://h:1/0" });
    expect(error.refused).toBe(true);
    expect(error.cause).toBeUndefined();
    expect(`${error.message}${JSON.stringify(error)}`).not.toContain("hunter2");
  });

  test.each([
    ["NOAUTH Authentication required.", true],
    ["ERR DB index is out of range", true],
    ["connect ECONNREFUSED 127.0.0.1:1", false],
    ["LOADING Redis is loading the dataset in memory", false],
  ])("%s: refused is %s", (message, refused) => {
    expect(connectionError(new Error(message)).refused).toBe(refused);
  });
});

describe.skipIf(!hasServer)("with a server", () => {
  beforeAll(loadRedis);
  const cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function setUp(options: Partial<ConnectRedisOptions> = {}) {
    const server = await startRedis();
    cleanUps.push(() => server[Symbol.asyncDispose]());
    const proxy = await tcpProxy({ target: server.url });
    cleanUps.push(() => proxy[Symbol.asyncDispose]());
    const seen: string[] = [];
    const client = connectRedis(parseRedisUrl(proxy.url), {
      purpose: "test",
      onConnected: () => void seen.push("up"),
      onLost: () => void seen.push("lost"),
      ...options,
    });
    cleanUps.push(() => client.disconnect());
    await whenReady(client);
    return { server, proxy, client, seen };
  }

  async function again(client: Redis): Promise<void> {
    if (client.status === "ready") await new Promise((resolve) => client.once("close", resolve));
    await whenReady(client, AbortSignal.timeout(20_000));
  }

  test("a command whose answer was lost is rejected, and not sent again", async () => {
    const { proxy, client, seen } = await setUp();
    await client.set("n", 0);
    const blocked = client.blpop("empty", 0).catch((error: unknown) => error);
    const counted = client.incr("n").catch(() => undefined);
    proxy.cut();
    expect(await blocked).toBeInstanceOf(Error);
    await counted;
    await again(client);
    expect(Number(await client.get("n"))).toBeLessThanOrEqual(1);
    expect(seen).toEqual(["up", "lost", "up"]);
  });

  test("a command without a connection is rejected at once", async () => {
    const { proxy, client } = await setUp();
    proxy.refuse();
    proxy.cut();
    await new Promise((resolve) => client.once("close", resolve));
    await expect(client.get("x")).rejects.toThrow();
    proxy.resume();
    await again(client);
    expect(await client.get("x")).toBeNull();
  });

  test("silence is noticed, also by a client that asks nothing", async () => {
    const { proxy, client, seen } = await setUp({ answerTimeoutMs: 2_000, pingIntervalMs: 200 });
    proxy.stall();
    await new Promise((resolve) => client.once("close", resolve));
    proxy.resume();
    await whenReady(client, AbortSignal.timeout(20_000));
    expect(seen).toEqual(["up", "lost", "up"]);
  });

  test("a subscription's connection is pinged too", async () => {
    const { server, proxy, client } = await setUp({ answerTimeoutMs: 2_000, pingIntervalMs: 200 });
    await client.psubscribe("x*");
    const witness = connectRedis(parseRedisUrl(server.url), { purpose: "witness" });
    cleanUps.push(() => witness.disconnect());
    await whenReady(witness);
    await expect
      .poll(async () => String(await witness.client("LIST")), { timeout: 20_000 })
      .toMatch(/psub=1 .*cmd=ping/);
    expect(client.status).toBe("ready");
    proxy.stall();
    await new Promise((resolve) => client.once("close", resolve));
  });

  test("waiting for a connection ends with its signal or with the client", async () => {
    const retries: RedisConnectionError[] = [];
    const client = connectRedis(parseRedisUrl(`redis://:hunter2@${loopback}:${await freePort()}`), {
      purpose: "test",
      onRetry: (error) => void retries.push(error),
    });
    const giveUp = new AbortController();
    const waiting = whenReady(client, giveUp.signal).catch((error: unknown) => error);
    const first = await Promise.race([waiting, new Promise((resolve) => client.once("reconnecting", resolve))]);
    expect(first).not.toBeInstanceOf(RedisConnectionError);
    giveUp.abort();
    expect(await waiting).toBeInstanceOf(RedisConnectionError);
    expect(retries[0]).toMatchObject({ refused: false, code: "REDIS_LOST" });
    expect(retries.map(String).join()).not.toContain("hunter2");
    client.disconnect();
  });
});
