import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { compress, decompress } from "../runtime/compression.ts";
import { connectRedis, loadRedis, parseRedisUrl, type Redis, whenReady } from "../runtime/redis-connection.ts";
import { startRedis } from "../testing/redis-server.ts";
import { BackendGetMetaError, BackendStoreError } from "./errors.ts";
import { RedisScript } from "./redis/script.ts";
import { createRedisBackend, type RedisBackend, type RedisBackendOptions } from "./redis.ts";
import { type ContractRecord, contractCodec, testResultBackend, until } from "./result-backend.contract.ts";

const url = process.env.LOVAGE_TEST_REDIS_URL;
if (url === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_REDIS_URL is needed here");

/** Stands between us and Redis, and can be away. */
class Proxy {
  readonly #sockets = new Set<Socket>();
  readonly #to: URL;
  #server: Server | null = null;
  /** Milliseconds before anything passes. */
  slowness = 0;
  port = 0;

  constructor(to: string) {
    this.#to = new URL(to);
  }

  get url(): string {
    const there = new URL(this.#to);
    there.port = String(this.port);
    there.hostname = "127.0.0.1";
    return String(there);
  }

  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = dial(Number(this.#to.port || 6379), this.#to.hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        setTimeout(() => from.pipe(to), this.slowness);
      }
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address === "object" && address !== null) this.port = address.port;
  }

  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

describe.skipIf(url === undefined)("redis", () => {
  const redisUrl = url ?? "";
  let admin: Redis;
  beforeAll(async () => {
    await loadRedis();
    admin = connectRedis(parseRedisUrl(redisUrl), { purpose: "test" });
    await whenReady(admin);
  });
  afterAll(() => admin.disconnect());

  const backends: RedisBackend<ContractRecord>[] = [];
  function open(prefix: string, options: Partial<RedisBackendOptions<ContractRecord>> = {}) {
    const backend = createRedisBackend({ codec: contractCodec(prefix), urls: redisUrl, ...options });
    backends.push(backend);
    return backend;
  }
  afterAll(async () => {
    for (const backend of backends) await backend.close();
  });

  testResultBackend({
    name: "redis",
    can: { everyUpdate: true },
    async make() {
      const prefix = `${randomUUID()}:`;
      const proxy = new Proxy(redisUrl);
      await proxy.open();
      const ours = open(prefix, { urls: proxy.url, graceMs: 100 });
      return {
        ours,
        theirs: open(prefix, { urls: proxy.url, graceMs: 100 }),
        leftovers: () => ours.waiting + ours.subscribed,
        goAway: () => proxy.shut(),
        comeBack: () => proxy.open(),
        dispose: () => proxy.shut(),
      };
    },
  });

  const newPrefix = () => `${randomUUID()}:`;

  test("the message is the value, byte for byte, and the value expires", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    const key = `${prefix}celery-task-meta-t`;
    const listener = connectRedis(parseRedisUrl(redisUrl), { purpose: "test-listener" });
    await whenReady(listener);
    const message = new Promise<Buffer>((resolve) => listener.on("messageBuffer", (_, body: Buffer) => resolve(body)));
    await listener.subscribe(key);
    await backend.store("t", { status: "STARTED", value: "größe" });
    const value = await admin.getBuffer(key);
    expect((await message).equals(value ?? Buffer.alloc(0))).toBe(true);
    expect(await admin.ttl(key)).toBeGreaterThan(3590);
    listener.disconnect();
    const eternal = open(prefix, { codec: contractCodec(prefix, null) });
    await eternal.store("e", { status: "SUCCESS" });
    expect(await admin.ttl(`${prefix}celery-task-meta-e`)).toBe(-1);
  });

  test("nothing is announced for a store that a final record kept out", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    await backend.store("t", { status: "SUCCESS" });
    const listener = connectRedis(parseRedisUrl(redisUrl), { purpose: "test-listener" });
    await whenReady(listener);
    const heard: string[] = [];
    listener.on("message", (channel: string) => heard.push(channel));
    await listener.subscribe(`${prefix}celery-task-meta-t`, `${prefix}celery-task-meta-u`);
    await Promise.all([backend.store("t", { status: "FAILURE" }), backend.store("u", { status: "FAILURE" })]);
    await until(() => heard.length > 0);
    expect(heard).toEqual([`${prefix}celery-task-meta-u`]);
    listener.disconnect();
  });

  test("a thousand stores of one turn are a handful of commands", async () => {
    // A server counts the commands of all its clients.
    await using server = await startRedis();
    const counting = connectRedis(parseRedisUrl(server.url), { purpose: "test" });
    await whenReady(counting);
    const backend = open(newPrefix(), { urls: server.url });
    await backend.store("first", { status: "STARTED" });
    const before = await commandCalls(counting, "evalsha");
    await Promise.all(Array.from({ length: 1000 }, (_, i) => backend.store(`t${i}`, { status: "SUCCESS", value: i })));
    expect((await commandCalls(counting, "evalsha")) - before).toBeLessThan(20);
    await backend.close();
    counting.disconnect();
  });

  test("a script that Redis has forgotten is loaded again", async () => {
    const backend = open(newPrefix());
    await backend.store("a", { status: "STARTED" });
    await admin.script("FLUSH");
    await backend.store("a", { status: "SUCCESS", value: 2 });
    expect((await backend.get("a"))?.value).toBe(2);
    expect(await backend.evaluate(new RedisScript("return {KEYS[1], ARGV[1]}"), ["k"], ["v"])).toEqual(["k", "v"]);
  });

  test("a compressed SUCCESS is judged by decoding it, and stays", async () => {
    const prefix = newPrefix();
    const compression = {
      compress: (bytes: Uint8Array) => compress("gzip", bytes),
      decompress: (mime: string, bytes: Uint8Array) => decompress(mime, bytes),
    };
    const writer = open(prefix, { compression });
    const reader = open(prefix, { compression: { decompress: compression.decompress } });
    const waiting = reader.watch("t", {});
    await writer.store("t", { status: "STARTED", value: "y".repeat(500) });
    await writer.store("t", { status: "SUCCESS", value: "x".repeat(500) });
    expect((await waiting).value).toBe("x".repeat(500));
    expect((await admin.getBuffer(`${prefix}celery-task-meta-t`))?.subarray(0, 19).toString()).toBe(
      "\0celery-compressed\0",
    );
    const blind = open(prefix);
    await expect(blind.store("t", { status: "FAILURE" })).rejects.toThrow(/no way to decompress/);
    await expect(blind.watch("t", {})).rejects.toThrow(/no way to decompress/);
    expect(blind.pending).toBe(0);
    await reader.store("t", { status: "FAILURE" });
    await reader.store("open", { status: "FAILURE" });
    await writer.store("open", { status: "RETRY" });
    await reader.store("open", { status: "SUCCESS" });
    expect((await reader.get("t"))?.status).toBe("SUCCESS");
    expect((await reader.get("open"))?.status).toBe("SUCCESS");
  });

  test("a SUCCESS in another JSON spelling is final too, and bytes nobody can read are not", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    await admin.set(`${prefix}celery-task-meta-a`, '{"status":"SUCCESS","value":1}');
    await admin.set(`${prefix}celery-task-meta-b`, Buffer.from([0x80, 4, 0x95]));
    await Promise.all([backend.store("a", { status: "FAILURE" }), backend.store("b", { status: "FAILURE" })]);
    expect(await backend.get("a")).toEqual({ status: "SUCCESS", value: 1 });
    expect((await backend.get("b"))?.status).toBe("FAILURE");
  });

  test("a key that is no string refuses its record and no other", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    await admin.lpush(`${prefix}celery-task-meta-list`, "x");
    const [list, other] = await Promise.allSettled([
      backend.store("list", { status: "SUCCESS" }),
      backend.store("other", { status: "SUCCESS" }),
    ]);
    expect(list.status === "rejected" && list.reason).toBeInstanceOf(BackendStoreError);
    expect(list.status === "rejected" && list.reason).toMatchObject({ taskId: "list", retryable: false });
    expect(other.status).toBe("fulfilled");
    expect(backend.pending).toBe(0);
    expect(backend.pendingBytes).toBe(0);
  });

  test("a key that holds no string is no PENDING result: reads and waits fail with the task's id", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    await admin.lpush(`${prefix}celery-task-meta-list`, "x");
    const reads = await Promise.allSettled([backend.get("list"), backend.get("none"), backend.watch("list", {})]);
    for (const read of [reads[0], reads[2]]) {
      expect(read?.status === "rejected" && read.reason).toBeInstanceOf(BackendGetMetaError);
      expect(read?.status === "rejected" && read.reason).toMatchObject({ taskId: "list", retryable: false });
      expect(String(read?.status === "rejected" && read.reason)).toMatch(/task list \(key ".*meta-list"\): WRONGTYPE/);
    }
    expect(reads[1]).toEqual({ status: "fulfilled", value: null });
    await backend.store("none", { status: "SUCCESS", value: 1 });
    expect((await backend.get("none"))?.value).toBe(1);
  });

  test("bytes that are no record name the task and the key", async () => {
    const prefix = newPrefix();
    const backend = open(prefix);
    await admin.set(`${prefix}celery-task-meta-odd`, "{");
    const named = /the result of task odd \(key ".*celery-task-meta-odd"\) cannot be read/;
    await expect(backend.get("odd")).rejects.toThrow(named);
    await expect(backend.watch("odd", {})).rejects.toThrow(named);
  });

  test("wrong credentials fail what waits instead of leaving it for ever", async () => {
    const wrong = new URL(redisUrl);
    wrong.username = "nobody";
    wrong.password = "secret-word";
    const backend = open(newPrefix(), { urls: String(wrong), graceMs: 5_000 });
    const outcomes = await Promise.allSettled([
      backend.watch("a", {}),
      backend.get("a"),
      backend.store("a", { status: "SUCCESS" }),
    ]);
    const reasons = outcomes.map((o) => (o.status === "rejected" ? o.reason : null));
    expect(reasons[0]).toBeInstanceOf(BackendGetMetaError);
    expect(reasons[1]).toBeInstanceOf(BackendGetMetaError);
    expect(reasons[2]).toBeInstanceOf(BackendStoreError);
    expect(reasons.map((r) => r.retryable)).toEqual([false, false, false]);
    expect(reasons.map(String).join()).not.toContain("secret-word");
    await backend.close();
  });

  test("a first read waits for a connection that is slow to come, and not long for one that cannot", async () => {
    const proxy = new Proxy(redisUrl);
    proxy.slowness = 500;
    await proxy.open();
    const options = { urls: proxy.url, graceMs: 100 };
    expect(await open(newPrefix(), options).get("nothing")).toBeNull();
    await proxy.shut();
    await expect(open(newPrefix(), options).get("nothing")).rejects.toMatchObject({ retryable: true });
  });

  test("a wait outlives a quiet listener connection that is pinged", async () => {
    const backend = open(newPrefix());
    const waiting = backend.watch("t", {});
    await until(() => backend.subscribed === 1);
    await until(async () => /^.* p?sub=[1-9].* cmd=ping.*$/m.test(String(await admin.client("LIST"))), 60_000);
    await backend.store("t", { status: "SUCCESS", value: 1 });
    expect((await waiting).value).toBe(1);
  }, 90_000);
});

const python = process.env.LOVAGE_TEST_PYTHON;
if (python === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_PYTHON is needed here");

const program = `
import sys
from celery import Celery
url, prefix, compression, act, count = *sys.argv[1:5], int(sys.argv[5])
app = Celery("t", broker="memory://", backend=url)
app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
app.conf.result_compression = compression or None
if act == "store":
    for i in range(count):
        app.backend.store_result(f"t{i}", None, "STARTED")
        app.backend.store_result(f"t{i}", i, "SUCCESS")
elif act == "read":
    results = [app.AsyncResult(f"t{i}") for i in range(count)]
    for result in results:
        app.backend.result_consumer.consume_from(result.id)
    print("ready", flush=True)
    print([result.get(timeout=20) for result in results])
elif act == "overwrite":
    for i in range(count):
        app.backend.store_result(f"t{i}", ValueError("late"), "FAILURE")
`;

describe.skipIf(url === undefined || python === undefined)("redis beside Celery", () => {
  const meta = (taskId: string, status: string, result: unknown): ResultMeta => ({
    status,
    result,
    exception: null,
    traceback: null,
    children: [],
    dateDone: null,
    taskId,
  });
  const compression = {
    compress: (bytes: Uint8Array) => compress("gzip", bytes),
    decompress: (mime: string, bytes: Uint8Array) => decompress(mime, bytes),
  };

  function celery(prefix: string, compressed: boolean, act: string, count: number) {
    const args = [url ?? "", prefix, compressed ? "gzip" : "", act, String(count)];
    const child = spawn(python ?? "", ["-c", program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    const output = new Promise<string>((resolve, reject) => {
      child.once("close", (code) => {
        if (code === 0) resolve(out.replace("ready\n", ""));
        else reject(new TypeError(`Python ended with ${code}: ${err}`));
      });
    });
    return { output, isReady: () => out.includes("ready") };
  }

  test.each([false, true])(
    "each waits for what the other stores, and keeps its SUCCESS (compressed: %s)",
    async (compressed) => {
      const open = (prefix: string) =>
        createRedisBackend<ResultMeta>({
          codec: celeryRecordCodec({ globalKeyprefix: prefix }),
          urls: url ?? "",
          compression: compressed ? compression : { decompress: compression.decompress },
        });
      const [a, b] = [`a${randomUUID()}`, `b${randomUUID()}`];

      const waiting = open(a);
      const seen: string[] = [];
      const waits = Array.from({ length: 500 }, (_, i) =>
        waiting.watch(`t${i}`, { onUpdate: (update) => seen.push(update.status) }),
      );
      await celery(a, compressed, "store", 500).output;
      expect((await Promise.all(waits)).map((record) => record.result)).toEqual(waits.map((_, i) => i));
      expect(new Set(seen)).toEqual(new Set(["STARTED"]));
      expect(seen).toHaveLength(500);
      await waiting.store("t7", meta("t7", "FAILURE", null));
      expect((await waiting.get("t7"))?.status).toBe("SUCCESS");
      await waiting.close();

      const storing = open(b);
      const reading = celery(b, compressed, "read", 200);
      await until(reading.isReady, 20_000);
      await Promise.all(Array.from({ length: 200 }, (_, i) => storing.store(`t${i}`, meta(`t${i}`, "STARTED", null))));
      await Promise.all(Array.from({ length: 200 }, (_, i) => storing.store(`t${i}`, meta(`t${i}`, "SUCCESS", i))));
      expect(JSON.parse(await reading.output)).toEqual(Array.from({ length: 200 }, (_, i) => i));
      await celery(b, compressed, "overwrite", 3).output;
      expect((await storing.get("t1"))?.result).toBe(1);
      await storing.close();
    },
  );
});

async function commandCalls(client: Redis, name: string): Promise<number> {
  const stats = await client.info("commandstats");
  return Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}
