import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { compress, decompress } from "../runtime/compression.ts";
import { silentLog } from "../runtime/log.ts";
import { connectRedis, loadRedis, parseRedisUrl, type Redis, whenReady } from "../runtime/redis-connection.ts";
import { testService } from "../testing/services.ts";
import { TcpProxy } from "../testing/tcp-proxy.ts";
import { countingCodec, testChordCounter } from "./chord-counter.contract.ts";
import type { ChordPart } from "./chord-counter.ts";
import { ChordKeys } from "./redis/chord-claim.ts";
import type { RedisChordOptions } from "./redis/chords.ts";
import { PartQueue } from "./redis/part-queue.ts";
import { createRedisBackend, type RedisBackend } from "./redis.ts";
import type { ContractRecord } from "./result-backend.contract.ts";

const url = testService("LOVAGE_TEST_REDIS_URL");

describe.skipIf(url === undefined)("chords on Redis", () => {
  const redisUrl = url ?? "";
  let admin: Redis;
  beforeAll(async () => {
    await loadRedis();
    admin = connectRedis(parseRedisUrl(redisUrl), { purpose: "test" });
    await whenReady(admin);
  });
  afterAll(() => admin.disconnect());

  const open: RedisBackend<ContractRecord>[] = [];
  afterEach(async () => {
    for (const backend of open.splice(0)) await backend.close();
  });
  function counter(prefix: string, chords: RedisChordOptions = {}, urls = redisUrl) {
    const backend = createRedisBackend({ codec: countingCodec(prefix), urls, chords });
    open.push(backend);
    return backend.chords ?? expect.fail("it does not count");
  }
  const fresh = () => ({ prefix: `${randomUUID()}_`, group: "g" });
  const part = (index: number | null, result: unknown = index, taskId = `task-${index}`): ChordPart => ({
    taskId,
    groupIndex: index,
    state: "SUCCESS",
    result,
  });
  const key = (prefix: string, suffix: string) => `${prefix}celery-taskset-meta-g${suffix}`;

  /** Unix milliseconds by the server's clock. */
  async function serverTime(): Promise<number> {
    const [seconds, micros] = await admin.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }
  /** Does it, and checks that the key goes so many seconds after that. */
  async function givesLifetime<T>(name: string, seconds: number, act: () => Promise<T> | undefined) {
    const before = await serverTime();
    const given = await act();
    const begun = Number(await admin.call("PEXPIRETIME", name)) - seconds * 1000;
    expect(begun).toBeGreaterThanOrEqual(before);
    expect(begun).toBeLessThanOrEqual(await serverTime());
    return given;
  }

  testChordCounter("redis", async () => {
    const { prefix } = fresh();
    const codec = countingCodec(prefix);
    return {
      ours: createRedisBackend({ codec, urls: redisUrl }),
      theirs: createRedisBackend({ codec, urls: redisUrl }),
    };
  });

  test("parts that are returned together are counted by few scripts, each part for itself", async () => {
    const { prefix } = fresh();
    const queue = new PartQueue({ ordered: true, expires: 1000, groupExpires: 0, claimSeconds: 6 });
    const keys = new ChordKeys(`${prefix}g`);
    const partOf = (index: number) => ({
      taskId: `task-${index}`,
      value: Buffer.from(`part ${index}`),
      score: index,
      token: `token-${index}`,
    });
    const evalsha = vi.spyOn(admin, "evalsha");
    const others = new ChordKeys(`${prefix}other`);
    await admin.set(keys.size, 250);
    const answers = await Promise.all([
      ...Array.from({ length: 250 }, (_, index) => queue.count(admin, keys, partOf(index))),
      queue.count(admin, others, partOf(0)),
      queue.count(admin, keys, partOf(7)),
    ]);
    expect(evalsha).toHaveBeenCalledTimes(3 + 1);
    evalsha.mockRestore();
    const rights = answers.map(({ right }) => right);
    // The last one completes the chord; the one that came twice has the claim.
    expect(rights.slice(0, 250)).toEqual(Array.from({ length: 250 }, (_, index) => (index === 249 ? 2 : 0)));
    expect(answers[250]).toEqual({ right: 0, isWithoutSize: true });
    expect(answers[251]).toEqual({ right: 1, isWithoutSize: false });
    expect(await admin.get(keys.claim)).toBe("token-7");
    expect(await admin.zcard(keys.parts)).toBe(250);
  });

  test("the keys, members, scores and lifetimes are Celery's", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix, { expires: 1000, groupExpires: 2000 });
    await chords.start(group, { size: 2, header: null });
    await chords.returned(group, part(1));
    expect(await admin.get(key(prefix, ".s"))).toBe("2");
    expect(await admin.zrange(key(prefix, ".j"), "0", "-1", "WITHSCORES")).toEqual(['[1,"task-1","SUCCESS",1]', "1"]);
    expect(await admin.smembers(key(prefix, ".d"))).toEqual(["task-1:1"]);
    for (const suffix of [".s", ".j", ".d"]) expect(await admin.ttl(key(prefix, suffix))).toBeGreaterThan(990);
    expect(await chords.returned(group, part(null))).not.toBeNull();
    expect(await admin.smembers(key(prefix, ".d"))).toContain("task-null:+inf");
    // Who completes a chord leaves no claim; one who brings a part again takes Celery's.
    expect(await admin.exists(key(prefix, ".c"))).toBe(0);
    const claimed = key(prefix, ".c");
    const claim = await givesLifetime(claimed, 6, () => chords.returned(group, part(null)));
    expect(await admin.get(claimed)).toMatch(/^[0-9a-f]{32}$/);
    await givesLifetime(claimed, 21, () => claim?.extend(21));
    await givesLifetime(claimed, 300, () => claim?.done());
    expect(await admin.keys(`${prefix}*`)).toEqual([claimed]);
    expect(await admin.get(claimed)).toBe("done");
  });

  test("a member that is in the header twice counts twice beside the one that a Python worker has returned", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 2, header: null });
    await chords.returned(group, part(0, "same", "twin"));
    await chords.returned(group, part(0, "same", "twin"));
    const claim = await chords.returned(group, part(1, "same", "twin"));
    expect(await claim?.collect()).toMatchObject({ parts: [{ result: "same" }, { result: "same" }] });
    expect(await admin.zrange(key(prefix, ".j"), "0", "-1", "WITHSCORES")).toEqual([
      '[1,"twin","SUCCESS","same"]',
      "0",
      '[3,"twin","SUCCESS","same"]',
      "1",
    ]);
  });

  test("a part that a worker of 5.6 has returned already is no twin of itself", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 2, header: null });
    await admin.zadd(key(prefix, ".j"), 1, '[1,"task-1","SUCCESS",1]');
    expect(await chords.returned(group, part(1))).toBeNull();
    expect(await chords.returned(group, part(0))).not.toBeNull();
  });

  test.each([true, false])("parts that the store has lost fail the chord at once (ordered: %s)", async (ordered) => {
    const { prefix, group } = fresh();
    const chords = counter(prefix, { ordered });
    await chords.start(group, { size: 3, header: null });
    await chords.returned(group, part(0));
    await admin.del(key(prefix, ".j"));
    const claim = await chords.returned(group, part(1));
    await expect(claim?.collect()).rejects.toMatchObject({ code: "CHORD_PARTS_LOST" });
    await claim?.failed();
    expect(await chords.returned(group, part(2))).toBeNull();
  });

  test("a size that does not come is warned of once; one that comes is not", async () => {
    const { prefix, group } = fresh();
    const warned: unknown[] = [];
    const log = { ...silentLog, warn: (fields: object) => void warned.push(fields) };
    const backend = createRedisBackend({
      codec: countingCodec(prefix),
      urls: redisUrl,
      log,
      chords: { sizeSeconds: 1.5 },
    });
    open.push(backend);
    await backend.chords?.returned("late", part(0));
    await backend.chords?.start("late", { size: 2, header: null });
    await backend.chords?.returned(group, part(0));
    await backend.chords?.returned(group, part(1));
    await expect.poll(() => warned).toEqual([{ chord: group, seconds: 1.5 }]);
  });

  test("in list mode the parts are in the order of their return", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix, { ordered: false });
    await chords.start(group, { size: 2, header: null });
    await chords.returned(group, part(1));
    const claim = await chords.returned(group, part(0));
    expect(await admin.type(key(prefix, ".j"))).toBe("list");
    expect(await claim?.collect()).toMatchObject({ parts: [{ result: 1 }, { result: 0 }] });
  });

  test("compressed parts and headers are read by whoever can decompress", async () => {
    const { prefix, group } = fresh();
    const compression = {
      compress: (bytes: Uint8Array) => compress("gzip", bytes),
      decompress: (mime: string, bytes: Uint8Array) => decompress(mime, bytes, { maxBytes: 1e6 }),
    };
    const packing = createRedisBackend({ codec: countingCodec(prefix), urls: redisUrl, compression });
    const reading = createRedisBackend({
      codec: countingCodec(prefix),
      urls: redisUrl,
      compression: { decompress: compression.decompress },
    });
    open.push(packing, reading);
    await packing.chords?.start(group, { size: 2, header: null });
    await packing.chords?.returned(group, part(0, "x".repeat(1000)));
    const [stored] = await admin.zrangeBuffer(key(prefix, ".j"), "0", "-1");
    expect(stored?.subarray(0, 19).toString()).toBe("\0celery-compressed\0");
    const claim = await reading.chords?.returned(group, part(1));
    expect(await claim?.collect()).toMatchObject({ parts: [{ result: "x".repeat(1000) }, { result: 1 }] });
  });

  test("who completed a chord stops when a part that came again has claimed it, and stops the other when it was first", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 1, header: null });
    const first = await chords.returned(group, part(0));
    const second = await chords.returned(group, part(0));
    expect(await first?.extend(30)).toBe(false);
    expect(await second?.extend(30)).toBe(true);
    expect(await first?.done()).toBe(true);
    expect(await second?.extend(30)).toBe(false);
    expect(await second?.done()).toBe(false);
  });

  test("a part that comes again waits while another has the claim, and has it when that lapses", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 1, header: null });
    await chords.returned(group, part(0));
    const killed = await chords.returned(group, part(0));
    const waiting = chords.returned(group, part(0));
    await admin.pexpire(key(prefix, ".c"), 50);
    const heir = await waiting;
    expect(heir).not.toBeNull();
    expect(await killed?.extend(30)).toBe(false);
    expect(await heir?.extend(30)).toBe(true);
  });

  test("a part that comes again waits while another has the claim, and is told nothing when that is done", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 1, header: null });
    await chords.returned(group, part(0));
    const claim = await chords.returned(group, part(0));
    const waiting = chords.returned(group, part(0));
    await claim?.done();
    expect(await waiting).toBeNull();
  });

  test("a lapsed claim that nobody took is taken back for publishing", async () => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 1, header: null });
    await chords.returned(group, part(0));
    const claim = await chords.returned(group, part(0));
    await admin.del(key(prefix, ".c"));
    expect(await claim?.extend(30)).toBe(true);
    expect(await admin.get(key(prefix, ".c"))).toMatch(/^[0-9a-f]{32}$/);
  });

  /** What a worker of 5.2 to 5.6 does with a part: no `.d`, no `.c`. Says whether it would send the body. */
  async function returnedBy56(prefix: string, index: number): Promise<boolean> {
    const names = [key(prefix, ".j"), key(prefix, ".t"), key(prefix, ".s")] as const;
    const replies = await admin
      .multi()
      .zadd(names[0], index, `[1, "task-${index}", "SUCCESS", ${index}]`)
      .zcount(names[0], "-inf", "+inf")
      .get(names[1])
      .get(names[2])
      .expire(names[0], 86400)
      .expire(names[1], 86400)
      .expire(names[2], 86400)
      .exec();
    const [, ready, more, size] = (replies ?? []).map(([, reply]) => reply);
    const sends = size !== null && Number(ready) === Number(size) + Number(more ?? 0);
    if (sends) await admin.del(...names);
    return sends;
  }

  test.each([0, 1, 2])("together with workers of 5.6 one body is sent, whoever is last (%i)", async (last) => {
    const { prefix, group } = fresh();
    const chords = counter(prefix);
    await chords.start(group, { size: 3, header: null });
    let bodies = 0;
    const order = [0, 1, 2].filter((index) => index !== last).concat(last);
    for (const index of order) {
      if (index === 1) {
        if (await returnedBy56(prefix, index)) bodies++;
        continue;
      }
      const claim = await chords.returned(group, part(index));
      if (claim === null) continue;
      bodies++;
      expect(await claim.collect()).toMatchObject({ parts: [{ result: 0 }, { result: 1 }, { result: 2 }] });
      await claim.done();
    }
    expect(bodies).toBe(1);
    // Copies that come once more start nothing, whoever sent the body.
    for (const index of [0, 2]) expect(await chords.returned(group, part(index))).toBeNull();
    expect(await returnedBy56(prefix, 1)).toBe(false);
  });

  test("while the store is away a part waits, and is counted when it is back", async () => {
    const { prefix, group } = fresh();
    await using proxy = await TcpProxy.start({ target: redisUrl });
    const chords = counter(prefix, {}, proxy.url);
    await chords.start(group, { size: 1, header: null });
    proxy.refuse();
    proxy.cut();
    const returned = chords.returned(group, part(0));
    proxy.resume();
    const claim = await returned;
    expect(claim).not.toBeNull();
    expect(await claim?.done()).toBe(true);
  });

  test("a chord that is given up while the store is away is not begun when it is back", async () => {
    const { prefix, group } = fresh();
    await using proxy = await TcpProxy.start({ target: redisUrl });
    const chords = counter(prefix, {}, proxy.url);
    await chords.start("before", { size: 1, header: null });
    proxy.refuse();
    proxy.cut();
    const stop = new AbortController();
    const given = chords.start(group, { size: 1, header: null }, stop.signal);
    stop.abort(new Error("enough"));
    proxy.resume();
    await expect(given).rejects.toThrow("enough");
    await chords.start("after", { size: 1, header: null });
    expect(await admin.keys(key(prefix, "*"))).toEqual([]);
  });

  test("a part that waits for its store ends when the backend is closed", async () => {
    const { prefix, group } = fresh();
    const backend = createRedisBackend({ codec: countingCodec(prefix), urls: "redis://127.0.0.1:1/0", graceMs: 10 });
    const returned = backend.chords?.returned(group, part(0));
    const ended = expect(returned).rejects.toMatchObject({ name: "ResultLost" });
    await backend.close();
    await ended;
  });
});
