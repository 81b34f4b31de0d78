import { createHook } from "node:async_hooks";
import { createServer, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Celery } from "../app.ts";
import type { Log } from "../runtime/log.ts";
import { silentLog } from "../runtime/log.ts";
import * as redisConnection from "../runtime/redis-connection.ts";
import type { SettingsInput } from "../settings/settings.ts";

vi.mock(import("../runtime/redis-connection.ts"), async (original) => {
  const real = await original();
  return { ...real, connectRedis: vi.fn(real.connectRedis) };
});

/** Takes every connection and says nothing. */
let silent: Server;
let url: string;
beforeEach(async () => {
  silent = createServer({ allowHalfOpen: true }, (socket) => socket.unref().on("error", () => socket.destroy()));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  url = typeof address === "object" ? `redis://:secret@127.0.0.1:${address?.port}/0` : "";
  vi.mocked(redisConnection.connectRedis).mockClear();
});
afterEach(() => void silent.close());

const appOf = (settings: SettingsInput, log: Log = silentLog) => new Celery("silent", { settings, log, env: {} });

/** Time limits of the connections made so far, by purpose. */
function limits() {
  return vi
    .mocked(redisConnection.connectRedis)
    .mock.calls.map(([, { purpose, connectTimeoutMs, answerTimeoutMs }]) => ({
      purpose,
      connectTimeoutMs,
      answerTimeoutMs,
    }));
}

describe("a silent Redis", () => {
  test("is noticed after socket_timeout as broker", async () => {
    const reasons: string[] = [];
    const transport = appOf({ broker_url: url, broker_transport_options: { socket_timeout: 0.2 } }).consumerTransport({
      onRetry: (error) => reasons.push(error.message),
    });
    const connecting = transport.connect();
    connecting.catch(() => undefined);
    await vi.waitUntil(() => reasons.length > 0, { timeout: 3_000 });
    expect(reasons[0]).toMatch(/200ms/);
    await transport.close();
    await expect(connecting).rejects.toMatchObject({ code: "TRANSPORT_CLOSED" });
  });

  test("is noticed after redis_socket_timeout as result store", async () => {
    const lines: string[] = [];
    const warn = (fields: object) => void lines.push("err" in fields ? String(fields.err) : "");
    const app = appOf(
      { broker_url: "memory://", result_backend: url, redis_socket_timeout: 0.2 },
      { ...silentLog, warn },
    );
    await expect(app.result("a").state()).rejects.toMatchObject({ code: "BACKEND_GET_META" });
    expect(lines.join()).toMatch(/200ms/);
    await app.close();
  });
});

describe("limits of connecting to Redis", () => {
  test("are broker_connection_timeout, and redis_socket_connect_timeout for results", async () => {
    const app = appOf({
      broker_url: url,
      broker_connection_timeout: 0.3,
      task_publish_retry: false,
      result_backend: url,
      redis_socket_connect_timeout: 7,
      redis_socket_timeout: 6,
    });
    await expect(app.sendTask("x")).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await expect(app.result("a").get({ timeout: 1 })).rejects.toMatchObject({ name: "TimeoutError" });
    expect(limits()).toContainEqual({ purpose: "broker", connectTimeoutMs: 300, answerTimeoutMs: undefined });
    expect(limits()).toContainEqual({ purpose: "results", connectTimeoutMs: 7_000, answerTimeoutMs: 6_000 });
    await app.close();
  });

  test("socket_connect_timeout wins over broker_connection_timeout", async () => {
    const transport = appOf({
      broker_url: url,
      broker_connection_timeout: 9,
      broker_transport_options: { socket_connect_timeout: 2 },
    }).consumerTransport();
    const connecting = transport.connect();
    connecting.catch(() => undefined);
    await vi.waitUntil(() => limits().length > 0);
    expect(limits()).toMatchObject([{ connectTimeoutMs: 2_000 }]);
    await transport.close();
  });

  test("a limit of 0 is refused by its name", () => {
    const app = appOf({ broker_url: url, broker_transport_options: { socket_timeout: 0 } });
    expect(() => app.transport).toThrow(/socket_timeout must be more than 0/);
    expect(() => appOf({ redis_socket_timeout: 0 })).toThrow(/redis_socket_timeout .*must be a number of seconds/);
  });
});

describe("close() of an app whose Redis cannot be reached", () => {
  test.each(["silent", "refused"])("leaves no timer that keeps the process alive (%s)", async (how) => {
    if (how === "refused") await new Promise<void>((resolve) => void silent.close(() => resolve()));
    const timers = new Map<number, NodeJS.Timeout>();
    const hook = createHook({
      init: (id, type, _trigger, resource) => {
        if (type === "Timeout") timers.set(id, resource as NodeJS.Timeout);
      },
      destroy: (id) => void timers.delete(id),
    }).enable();
    const holding = () => [...timers.values()].filter((timer) => timer.hasRef()).length;
    const app = appOf({
      broker_url: url,
      result_backend: url,
      broker_connection_timeout: 0.2,
      task_publish_retry: false,
    });
    await expect(app.sendTask("x")).rejects.toMatchObject({ code: "CONNECTION_LOST" });
    await expect(app.result("a").get({ timeout: 1 })).rejects.toMatchObject({ name: "TimeoutError" });
    await app.close();
    for (let turn = 0; turn < 50 && holding() > 0; turn++) await new Promise((resolve) => setImmediate(resolve));
    hook.disable();
    expect(holding()).toBe(0);
  });
});

test.each([
  ["amqp", "amqp://user:secret@127.0.0.1:1//"],
  ["redis", "redis://:secret@127.0.0.1:1/0"],
])("a publish that no broker took names the broker, the time and the last reason (%s)", async (scheme, broker_url) => {
  const app = appOf({ broker_url, broker_connection_timeout: 0.3, task_publish_retry: false });
  const error: unknown = await app.sendTask("x").catch((thrown: unknown) => thrown);
  await app.close();
  expect(String(error)).toMatch(
    new RegExp(`^ConnectionLost: no connection to ${scheme}://.*@?127.0.0.1:1/.* within 0\\.\\d+ s: `),
  );
  expect(String(error)).toContain("ECONNREFUSED");
  expect(String(error)).not.toContain("secret");
  expect(error).toMatchObject({ cause: expect.any(Error) });
});

test("a wait and a read that end while the result store is away name the store and the last reason", async () => {
  let refused: () => void = () => undefined;
  const warned = new Promise<void>((resolve) => {
    refused = resolve;
  });
  const app = appOf(
    { broker_url: "memory://", result_backend: "redis://:secret@127.0.0.1:1/0" },
    { ...silentLog, warn: () => refused() },
  );
  const reading = app.result("a").state();
  const read = expect(reading).rejects.toThrow(/^the result store is away: .*ECONNREFUSED.*redis:\/\/127\.0\.0\.1:1/);
  await warned;
  const error: unknown = await app
    .result("a")
    .get({ timeout: 1 })
    .catch((thrown: unknown) => thrown);
  expect(String(error)).toMatch(
    /^TimeoutError: no result of task a within 1 ms, for the result store is away: .*ECONNREFUSED/,
  );
  expect(String(error)).not.toContain("secret");
  expect(error).toMatchObject({ cause: expect.any(Error) });
  await read;
  await app.close();
});

describe("a broker or store that cannot be reached", () => {
  test.each<[string, SettingsInput]>([
    ["AMQP", { broker_url: "amqp://user:secret@127.0.0.1:1//" }],
    ["Redis", { broker_url: "redis://:secret@127.0.0.1:1/0" }],
    ["Redis results", { broker_url: "memory://", result_backend: "redis://:secret@127.0.0.1:1/0" }],
  ])("is logged with the error itself under err, and its delay (%s)", async (_what, settings) => {
    const lines: object[] = [];
    const warn = (fields: object) => void lines.push(fields);
    const app = appOf(
      { ...settings, broker_connection_timeout: 0.2, task_publish_retry: false },
      { ...silentLog, warn },
    );
    await (settings.result_backend ? app.result("a").state() : app.sendTask("x")).catch(() => undefined);
    await app.close();
    expect(lines[0]).toMatchObject({ err: expect.any(Error), delayMs: expect.any(Number) });
    expect(lines[0]).not.toHaveProperty("reason");
    expect(lines[0]).not.toHaveProperty("error");
    expect(String(Reflect.get(lines[0] ?? {}, "err"))).toMatch(/ECONNREFUSED/);
    expect(JSON.stringify(lines)).not.toContain("secret");
  });
});

test("a TLS option of Redis that does not exist is refused at the first use of the app, without a connection", async () => {
  const app = appOf({ broker_url: "rediss://h?ssl_nonsense=1", result_backend: "rediss://h?ssl_ca_path=x" });
  const wrong = (option: string) => ({ code: "IMPROPERLY_CONFIGURED", message: expect.stringContaining(option) });
  await expect(async () => app.result("a").get({ timeout: 5_000 })).rejects.toMatchObject(wrong("ssl_ca_certs"));
  await expect(async () => app.sendTask("x")).rejects.toMatchObject(wrong("ssl_nonsense"));
  await app.close();
});
