import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { readMognetException } from "../../../protocol/mognet/exception.ts";
import { mognetNames } from "../../../protocol/mognet/names.ts";
import { mognetErrorValue } from "../../../protocol/mognet/refusals.ts";
import { finishedResult, newMognetResult, startedResult } from "../../../protocol/mognet/result.ts";
import { mognetValueOf } from "../../../protocol/mognet/value.ts";
import {
  connectRedis,
  endRedis,
  loadRedis,
  parseRedisUrl,
  type Redis,
  whenReady,
} from "../../runtime/redis-connection.ts";
import { ResultLost } from "../errors.ts";
import { testMognetStore } from "./mognet-store.contract.ts";
import { createRedisMognetStore, type RedisMognetStore, type RedisMognetStoreOptions } from "./redis-store.ts";

const url = process.env.LOVAGE_TEST_REDIS_URL;
const python = process.env.LOVAGE_TEST_PYTHON_MOGNET;
if (process.env.CI === "true" && (url === undefined || python === undefined)) {
  throw new TypeError("LOVAGE_TEST_REDIS_URL and LOVAGE_TEST_PYTHON_MOGNET are needed here");
}

const NOW = "2026-11-21T09:07:38.679014Z";

/** Stands between us and Redis, and can be away. */
class Proxy {
  readonly #sockets = new Set<Socket>();
  readonly #to: URL;
  #server: Server | null = null;
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
        from.pipe(to);
      }
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address === "object" && address !== null) this.port = address.port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async shut(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    this.cut();
    await closed;
  }
}

/** Mognet's own backends in a Python process. */
class PythonBackends {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(app: string, redisUrl: string) {
    const script = fileURLToPath(new URL("../../../python-fixtures/mognet_store.py", import.meta.url));
    this.#child = spawn(python ?? "", [script, app, redisUrl], { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new TypeError("no output");
    this.#reader = createInterface(this.#child.stdout);
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    await this.#answer();
  }

  act(op: string, id: string, more: Record<string, unknown> = {}): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify({ op, id, ...more })}\n`);
    return this.#answer();
  }

  async #answer(): Promise<unknown> {
    const { value } = await this.#lines.next();
    const answer: unknown = JSON.parse(String(value ?? '{"error": "Python has gone"}'));
    if (typeof answer === "object" && answer !== null && "ok" in answer) return answer.ok;
    throw new TypeError(JSON.stringify(answer));
  }

  end(): void {
    this.#reader.close();
    this.#child.kill();
  }
}

describe.skipIf(url === undefined)("Mognet's results in Redis", () => {
  const urls = url ?? "";
  const app = `t-${randomUUID()}`;
  const names = mognetNames(app);
  const open: RedisMognetStore[] = [];
  let redis: Redis;

  beforeAll(async () => {
    await loadRedis();
    redis = connectRedis(parseRedisUrl(urls), { purpose: "test" });
    await whenReady(redis);
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((store) => store.close()));
  });
  afterAll(() => endRedis(redis));

  function storeOf(options: Partial<RedisMognetStoreOptions> = {}): RedisMognetStore {
    const store = createRedisMognetStore({ app, urls, ...options });
    open.push(store);
    return store;
  }

  const pending = () => newMognetResult({ id: randomUUID(), name: "shop.pay", created: NOW });

  testMognetStore("Redis", {
    async open() {
      const own = `t-${randomUUID()}`;
      return { store: createRedisMognetStore({ app: own, urls }), other: createRedisMognetStore({ app: own, urls }) };
    },
  });

  testMognetStore("Redis with the state elsewhere, plain values and no tracking", {
    async open() {
      const own = `t-${randomUUID()}`;
      const elsewhere = new URL(urls);
      elsewhere.pathname = "/9";
      const options = { app: own, stateUrls: String(elsewhere), resultValueEncoding: null, pollMs: 20 };
      const restricted = await withoutRights("-client|tracking");
      return {
        store: createRedisMognetStore({ ...options, urls: restricted }),
        other: createRedisMognetStore({ ...options, urls: restricted }),
      };
    },
  });

  /** The URL of a user who may do all but this. */
  async function withoutRights(...rules: string[]): Promise<string> {
    const name = `limited-${rules.join("").replace(/\W/g, "")}`;
    await redis.call("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", ...rules);
    const limited = new URL(urls);
    limited.username = name;
    limited.password = "secret";
    return String(limited);
  }

  test("a wait reads a result once per change and not at all while nothing changes", async () => {
    const store = storeOf({ pollMs: 1, lookMs: 600_000 });
    const writer = storeOf();
    const results = Array.from({ length: 50 }, pending);
    await Promise.all(results.map((result) => writer.create({ result })));
    const waits = results.map(({ id }) => store.waitFor(id, { value: true }));
    await expect.poll(() => store.waiting.mode).toBe("tracking");
    const atRest = await rested(store);
    // What is asked of the server while it rests is asked for those results alone that change.
    expect((await rested(store)) - atRest).toBeLessThanOrEqual(8);
    const before = store.waiting.reads;
    for (const result of results) {
      await writer.put({ result: finishedResult(result, "SUCCESS", NOW), value: mognetValueOf(1) });
    }
    await Promise.all(waits);
    expect(store.waiting.reads - before).toBeLessThanOrEqual(2 * results.length);
    expect(store.waiting.ids).toBe(0);
  });

  test("all that is awaited is looked at now and then untold, a part at a time: a result that expires may be told of much later", async () => {
    const store = storeOf({ lookMs: 20 });
    const results = Array.from({ length: 1_100 }, pending);
    await Promise.all(results.map((result) => store.create({ result })));
    const last = results.at(-1)!;
    const over = new AbortController();
    const waits = results.slice(0, -1).map(({ id }) => store.waitFor(id, { signal: over.signal }).catch(String));
    const wait = store.waitFor(last.id);
    await expect.poll(() => store.waiting.mode).toBe("tracking");
    // Nothing changes, and all are read again: the server knows what it should tell of, and need not tell.
    const before = store.waiting.reads;
    await expect.poll(() => store.waiting.reads - before, { timeout: 10_000 }).toBeGreaterThan(2 * results.length);
    await redis.pexpire(names.resultKey(last.id), 1);
    await expect(wait).rejects.toBeInstanceOf(ResultLost);
    over.abort("seen");
    expect(new Set(await Promise.all(waits))).toEqual(new Set(["seen"]));
  });

  /** Resolves when whatever the store had to read until now has been read, and time for many polls has passed. */
  async function rested(store: RedisMognetStore): Promise<number> {
    for (let round = 0; round < 2; round++) {
      const last = pending();
      await store.create({ result: last });
      let seen = "";
      const over = new AbortController();
      const wait = store.waitFor(last.id, { signal: over.signal, onUpdate: ({ state }) => (seen = state) });
      await store.put({ result: startedResult(last, "n", NOW) });
      await expect.poll(() => seen).toBe("RUNNING");
      over.abort("seen");
      await expect(wait).rejects.toBe("seen");
      for (let turn = 0; turn < 200; turn++) await redis.ping();
    }
    return store.waiting.reads;
  }

  test("a wait that was over before it began is not read for", async () => {
    const store = storeOf();
    const over = AbortSignal.abort("over");
    await expect(store.waitFor(randomUUID(), { signal: over })).rejects.toBe("over");
    expect(store.waiting.ids).toBe(0);
  });

  test.each(["-client|tracking", "-client|caching", "-exists"])(
    "where the server refuses to track (%s), all waits are read together and end all the same",
    async (rule) => {
      const store = storeOf({ urls: await withoutRights(rule), pollMs: 20 });
      const writer = storeOf();
      const results = Array.from({ length: 20 }, pending);
      await Promise.all(results.map((result) => writer.create({ result })));
      const waits = results.map(({ id }) => store.waitFor(id));
      await expect.poll(() => store.waiting.mode).toBe("polling");
      for (const result of results) void writer.put({ result: finishedResult(result, "SUCCESS", NOW) });
      expect((await Promise.all(waits)).every(({ result }) => result.state === "SUCCESS")).toBe(true);
    },
  );

  test("where the server refuses scripts, conditions are looked at before the write", async () => {
    const store = storeOf({ urls: await withoutRights("-eval", "-evalsha") });
    const result = pending();
    await store.create({ result });
    const running = startedResult(result, "n", NOW);
    expect(await store.put({ result: running, condition: { states: ["PENDING"] } })).toEqual({ written: true });
    expect(await store.put({ result: running, condition: { states: ["PENDING"] } })).toEqual({
      written: false,
      current: running,
    });
    const { result: revoked } = await store.revoke(result.id, { finished: NOW });
    expect(revoked).toEqual(finishedResult(running, "REVOKED", NOW));
    expect(await store.getOrCreate(result.id)).toEqual(revoked);
  });

  test("no key is without a lifetime, and lifetimes are Mognet's", async () => {
    const store = storeOf();
    const [parent, child] = [pending(), pending()];
    await store.create({ result: parent, metadata: { a: 1 } });
    await store.create({ result: { ...child, parentId: parent.id } });
    await store.put({ result: finishedResult(parent, "SUCCESS", NOW), value: mognetValueOf("x") });
    await store.state.set(parent.id, "k", 1);
    const unknown = randomUUID();
    await store.revoke(unknown, { finished: NOW });
    const ttl = (key: string) => redis.ttl(key);
    expect(await ttl(names.resultKey(parent.id))).toBeGreaterThan(1_814_390);
    expect(await ttl(names.childrenKey(parent.id))).toBeGreaterThan(1_814_390);
    expect(await ttl(names.metadataKey(parent.id))).toBeGreaterThan(1_814_390);
    expect(await ttl(names.valueKey(parent.id))).toBeGreaterThan(604_790);
    expect(await ttl(names.stateKey(parent.id))).toBeGreaterThan(7_190);
    expect(await ttl(names.valueKey(unknown))).toBeGreaterThan(604_790);
    expect(await ttl(names.resultKey(unknown))).toBeGreaterThan(1_814_390);
    await store.setTtl(parent.id, 77);
    expect(await ttl(names.resultKey(child.id))).toBeLessThanOrEqual(77);
    await storeOf({ resultTtl: null }).create({ result: { ...parent, id: unknown } });
    expect(await ttl(names.resultKey(unknown))).toBeGreaterThan(0);
  });

  test("writes and waits outlive lost connections; nothing is written twice or lost", async () => {
    const proxy = new Proxy(urls);
    await proxy.open();
    const store = storeOf({ urls: proxy.url });
    const direct = storeOf();
    const results = Array.from({ length: 40 }, pending);
    await Promise.all(results.map((result) => store.create({ result })));
    const waits = results.map(({ id }) => store.waitFor(id, { value: true }));
    await expect.poll(() => store.waiting.mode).toBe("tracking");
    await proxy.shut();
    const claims = results.map((result) =>
      store.put({ result: startedResult(result, "n", NOW), condition: { states: ["PENDING"] } }),
    );
    for (const [at, result] of results.entries()) {
      if (at % 2 === 0) continue;
      const running = startedResult(result, "n", NOW);
      await direct.put({ result: finishedResult(running, "SUCCESS", NOW), value: mognetValueOf(at) });
    }
    await proxy.open();
    expect((await Promise.all(claims)).map(({ written }) => written)).toEqual(results.map((_, at) => at % 2 === 0));
    for (const [at, result] of results.entries()) {
      if (at % 2 === 1) continue;
      if (at === 20) proxy.cut();
      const running = startedResult(result, "n", NOW);
      await store.put({ result: finishedResult(running, "SUCCESS", NOW), value: mognetValueOf(at) });
    }
    const outcomes = await Promise.all(waits);
    expect(outcomes.map(({ value }) => value?.rawValue)).toEqual(results.map((_, at) => at));
    expect(outcomes.every(({ result }) => result.numberOfStarts === 1 && result.numberOfStops === 1)).toBe(true);
    await store.close();
    await proxy.shut();
  }, 60_000);

  test("reads fail with a retryable error while Redis is away, and writes that are too many are refused", async () => {
    const proxy = new Proxy(urls);
    await proxy.open();
    const store = storeOf({ urls: proxy.url, graceMs: 50, drainMs: 10, maxPendingBytes: 2000 });
    const connected = () =>
      store.connect().then(
        () => true,
        () => false,
      );
    await expect.poll(connected, { timeout: 10_000 }).toBe(true);
    await proxy.shut();
    await expect(store.get(randomUUID())).rejects.toMatchObject({ code: "BACKEND_GET_META", retryable: true });
    const writes = Array.from({ length: 50 }, () => store.create({ result: pending() }));
    const outcomes = Promise.allSettled(writes);
    await expect(writes[49]).rejects.toMatchObject({ code: "BACKEND_STORE", retryable: true });
    expect(store.pending).toBeLessThan(20);
    await store.close();
    expect((await outcomes).every(({ status }) => status === "rejected")).toBe(true);
  });

  test("wrong credentials fail whoever asks, with words that hold none", async () => {
    const wrong = new URL(urls);
    wrong.username = "nobody";
    wrong.password = "hunter2";
    const store = storeOf({ urls: String(wrong) });
    const failure = await store.connect().catch((error: unknown) => String(error));
    expect(failure).toMatch(/WRONGPASS/);
    expect(failure).not.toMatch(/hunter2/);
    await expect(store.create({ result: pending() })).rejects.toMatchObject({ code: "BACKEND_STORE" });
    await expect(store.waitFor(randomUUID())).rejects.toMatchObject({ code: "BACKEND_GET_META" });
  });

  test("what is under the key of a result and is none is an error for whoever reads or waits, and harms no one else", async () => {
    const store = storeOf();
    const [id, broken] = [randomUUID(), randomUUID()];
    await redis.set(names.resultKey(id), "text");
    await redis.hset(names.resultKey(broken), "id", `"${broken}"`, "state", '"LOST"');
    await expect(store.get(id)).rejects.toMatchObject({ code: "BACKEND_GET_META", retryable: false });
    await expect(store.waitFor(id)).rejects.toMatchObject({ code: "BACKEND_GET_META" });
    await expect(store.waitFor(broken)).rejects.toMatchObject({ code: "DECODE" });
    const good = pending();
    const put = store.put({ result: newMognetResult({ id }), condition: { states: ["PENDING"] } });
    await Promise.all([store.create({ result: good }), expect(put).rejects.toMatchObject({ code: "BACKEND_STORE" })]);
    expect(await store.get(good.id)).toEqual(good);
  });

  test("a value that cannot be read fails whoever wants it, and not who waits for the end alone", async () => {
    const store = storeOf();
    const result = finishedResult(pending(), "SUCCESS", NOW);
    await store.create({ result });
    await redis.hset(
      names.valueKey(result.id),
      "contents",
      "{}",
      "encoding",
      '"gzip"',
      "content_type",
      '"application/json"',
    );
    const [plain, whole] = await Promise.allSettled([
      store.waitFor(result.id),
      store.waitFor(result.id, { value: true }),
    ]);
    expect(plain).toMatchObject({ status: "fulfilled", value: { result } });
    expect(whole).toMatchObject({ status: "rejected", reason: { code: "DECODE" } });
    await expect(store.getValue(result.id)).rejects.toMatchObject({ code: "DECODE" });
  });

  describe.skipIf(python === undefined)("beside Mognet's own backends", () => {
    let theirs: PythonBackends;
    beforeAll(async () => {
      theirs = new PythonBackends(app, urls);
      await theirs.ready();
    });
    afterAll(() => theirs.end());

    test("waits see at once what Python writes, without polling", async () => {
      const store = storeOf({ pollMs: 1 });
      const id = randomUUID();
      await theirs.act("create", id);
      const states: string[] = [];
      const wait = store.waitFor(id, { value: true, onUpdate: ({ state }) => states.push(state) });
      await expect.poll(() => store.waiting.mode).toBe("tracking");
      await theirs.act("start", id);
      await expect.poll(() => states.at(-1)).toBe("RUNNING");
      const atRest = await rested(store);
      await theirs.act("finish", id, { value: { é: [1, 2.5, null] } });
      const { result, value } = await wait;
      expect(result).toMatchObject({ state: "SUCCESS", numberOfStarts: 1, numberOfStops: 1, nodeId: "py-1" });
      expect(value).toEqual({ valueType: "builtins:dict", rawValue: { é: [1, 2.5, null] } });
      expect(store.waiting.reads - atRest).toBeLessThanOrEqual(2);
    });

    test("errors that Python stored are read as data", async () => {
      const store = storeOf();
      const id = randomUUID();
      await theirs.act("create", id);
      const wait = store.waitFor(id, { value: true });
      await theirs.act("fail", id, { value: "boom é" });
      const { result, value } = await wait;
      expect(result.state).toBe("FAILURE");
      expect(value === null ? null : readMognetException(value)).toMatchObject({
        name: "builtins:ValueError",
        message: "boom é",
      });
    });

    test("Python waits for our results, and gets values, errors, children and metadata", async () => {
      const store = storeOf();
      const result = pending();
      await store.create({ result, metadata: { é: [1, { a: null }] } });
      const children = [randomUUID(), randomUUID()].sort();
      await store.addChildren(result.id, children);
      const waiting = theirs.act("wait", result.id);
      const done = finishedResult(startedResult(result, "ts-1", NOW), "SUCCESS", NOW);
      await store.put({ result: done, value: mognetValueOf({ a: [1, "é", 2n ** 70n] }) });
      expect(await waiting).toEqual(["ResultState.SUCCESS", 1, 1, "ts-1", "2026-11-21 09:07:38.679014+00:00"]);
      expect(await theirs.act("get", result.id)).toBe("{'a': [1, 'é', 1180591620717411303424]}");
      expect(await theirs.act("children", result.id)).toEqual([2, children]);
      expect(await theirs.act("metadata", result.id)).toEqual({ é: [1, { a: null }] });
      for (const text of ["short", "long ".repeat(500)]) {
        await store.setValue(result.id, mognetValueOf(text));
        expect(await theirs.act("get", result.id)).toBe(`'${text}'`);
      }
      const failed = finishedResult(done, "FAILURE", NOW);
      await store.put({
        result: failed,
        value: mognetErrorValue({ name: "builtins:KeyError", message: "'k'", args: ["k"] }),
      });
      expect(await theirs.act("get", result.id)).toBe("builtins:KeyError: 'k'");
    });

    test("a revoke of ours raises Revoked in Python, and the value key that Python's revoke left gets a lifetime", async () => {
      const store = storeOf();
      const [ours, others] = [randomUUID(), randomUUID()];
      await store.revoke(ours, { finished: NOW });
      expect(await theirs.act("get", ours)).toMatch(/^mognet.exceptions.result_exceptions:Revoked/);
      await theirs.act("revoke", others);
      expect(await redis.ttl(names.valueKey(others))).toBe(-1);
      expect(await store.revoke(others, { finished: NOW })).toMatchObject({ revoked: false, created: false });
      expect(await redis.ttl(names.valueKey(others))).toBeGreaterThan(0);
    });

    test("a finish of ours does not overwrite what Python revoked meanwhile", async () => {
      const store = storeOf();
      const result = pending();
      await store.create({ result });
      const running = startedResult(result, "ts-1", NOW);
      await store.put({ result: running });
      await theirs.act("revoke", result.id);
      const late = await store.put({
        result: finishedResult(running, "SUCCESS", NOW),
        value: mognetValueOf(1),
        condition: { states: ["RUNNING", "SUSPENDED"] },
      });
      expect(late).toMatchObject({ written: false, current: { state: "REVOKED", numberOfStops: 1 } });
      expect(String(await theirs.act("describe", result.id))).toMatch(/^ResultState.REVOKED,1,1,/);
    });

    test("state goes both ways", async () => {
      const store = storeOf();
      const id = randomUUID();
      await store.state.set(id, "step", { é: [1, 2.5, null] });
      expect(await theirs.act("state", id, { key: "step" })).toEqual({ é: [1, 2.5, null] });
      await theirs.act("state", id, { key: "other", value: [true, "x"] });
      expect(await store.state.pop(id, "other")).toEqual([true, "x"]);
      expect(await theirs.act("state", id, { key: "other" })).toBe("absent");
    });
  });
});
