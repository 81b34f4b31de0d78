/** The queue of writes, without a Redis: what leaves together, in which order, and what becomes of what failed. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { connectRedis, loadRedis, parseRedisUrl, type Redis } from "../../runtime/redis-connection.ts";
import { isPassing, type QueuedWrite, WriteQueue } from "./write-queue.ts";

interface Write extends QueuedWrite {
  readonly name: string;
}

interface Batch {
  readonly names: string[];
  readonly writes: Write[];
  /** The answer is here; `settle` says what is done with it. */
  answer(settle?: () => void): void;
}

await loadRedis();
/** Only handed through; it connects to nobody. */
const redis: Redis = connectRedis(parseRedisUrl("redis://127.0.0.1:1/0"), { purpose: "none", lazy: true });

/** Until all that is due now has been done. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("writes on their way to Redis", () => {
  afterEach(() => vi.useRealTimers());

  function rig({ fewer = false, up = true } = {}) {
    const batches: Batch[] = [];
    const told: number[] = [];
    const link = { up };
    const queue = new WriteQueue<Write>({
      client: () => (link.up ? redis : null),
      fewer,
      onRetry: (_error, writes) => told.push(writes),
      send: (_client, writes) =>
        new Promise((resolve) => {
          const answer = (settle = () => {}) => resolve(settle);
          batches.push({ names: writes.map(({ name }) => name), writes, answer });
        }),
    });
    const push = (name: string, bytes = 1) => queue.push({ name, bytes, sequence: 0, tries: 0 });
    const pushMany = (count: number, bytes = 1) => {
      for (let at = 0; at < count; at++) push(String(at), bytes);
    };
    return { queue, batches, told, link, push, pushMany };
  }

  test("leave together when they are asked for together, at the end of the code that runs", async () => {
    const { queue, batches, push } = rig();
    push("a");
    push("b");
    expect(batches).toEqual([]);
    await turns();
    expect(batches.map(({ names }) => names)).toEqual([["a", "b"]]);
    expect(queue.pending).toBe(2);
    batches[0]?.answer();
    await queue.drained();
    expect(queue.pending).toBe(0);
  });

  test("go in batches of 200 or half a megabyte, at most four of which are on their way", async () => {
    const many = rig();
    many.pushMany(1_500);
    await turns();
    expect(many.batches.map(({ names }) => names.length)).toEqual([200, 200, 200, 200]);
    many.batches[0]?.answer();
    await turns();
    expect(many.batches.length).toBe(5);
    const large = rig();
    large.pushMany(8, 200 * 1024);
    large.push("alone", 600 * 1024);
    await turns();
    expect(large.batches.map(({ names }) => names.length)).toEqual([2, 2, 2, 2]);
    large.batches[0]?.answer();
    await turns();
    expect(large.batches.at(-1)?.names).toEqual(["alone"]);
  });

  test("of those who are told of a batch leave in the same turn", async () => {
    const { batches, push } = rig();
    push("a");
    await turns();
    const turn = new Promise<void>((resolve) => {
      batches[0]?.answer(() => {
        push("b");
        process.nextTick(() => process.nextTick(resolve));
      });
    });
    await turn;
    expect(batches.map(({ names }) => names)).toEqual([["a"], ["b"]]);
  });

  test("wait for the answer before where fewer batches are better, unless there is a full one", async () => {
    const { batches, push, pushMany } = rig({ fewer: true });
    push("a");
    await turns();
    push("b");
    await turns();
    expect(batches.map(({ names }) => names)).toEqual([["a"]]);
    pushMany(199);
    await turns();
    expect(batches.map(({ names }) => names.length)).toEqual([1, 200]);
    push("large", 600 * 1024);
    await turns();
    expect(batches.at(-1)?.names).toEqual(["large"]);
  });

  test("wait while Redis is away, and go when it is back", async () => {
    const { queue, batches, link, push } = rig({ up: false });
    push("a");
    await turns();
    expect(batches).toEqual([]);
    link.up = true;
    queue.wake();
    await turns();
    expect(batches.map(({ names }) => names)).toEqual([["a"]]);
  });

  test("that failed go again in their places, after one pause, of which one word is said", async () => {
    vi.useFakeTimers();
    const { queue, batches, told, pushMany, push } = rig();
    pushMany(401);
    await vi.advanceTimersByTimeAsync(0);
    const [first, second, third] = batches;
    second?.answer(() => queue.later(second.writes, "LOADING"));
    first?.answer(() => queue.later(first.writes, "LOADING"));
    third?.answer();
    push("new");
    await vi.advanceTimersByTimeAsync(0);
    expect(batches.length).toBe(3);
    expect(told).toEqual([402]);
    await vi.advanceTimersByTimeAsync(60_000);
    const order = batches.slice(3).flatMap(({ names }) => names);
    expect(order).toEqual([...Array.from({ length: 400 }, (_, at) => String(at)), "new"]);
  });

  test("do not wait for the pause when the connection comes back", async () => {
    vi.useFakeTimers();
    const { queue, batches, push } = rig();
    push("a");
    await vi.advanceTimersByTimeAsync(0);
    const [batch] = batches;
    batch?.answer(() => queue.later(batch.writes, "closed"));
    await vi.advanceTimersByTimeAsync(0);
    expect(batches.length).toBe(1);
    queue.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect(batches.map(({ names }) => names)).toEqual([["a"], ["a"]]);
  });

  test("count as pending while their owner looks at something", async () => {
    const { queue, batches, push } = rig();
    push("a");
    await turns();
    let looked: () => void = () => undefined;
    let looking: Promise<void> | undefined;
    const look = () =>
      new Promise<void>((resolve) => {
        looked = resolve;
      });
    batches[0]?.answer(() => {
      looking = queue.hold(look);
    });
    await turns();
    expect(queue.pending).toBe(1);
    const drained = queue.drained();
    looked();
    await looking;
    await drained;
    expect(queue.pending).toBe(0);
  });

  test("are handed out when they are given up, and none leaves a closed queue", async () => {
    const { queue, batches, push } = rig();
    push("a");
    queue.close();
    expect(queue.takeAll().map(({ name }) => name)).toEqual(["a"]);
    await queue.drained();
    await turns();
    expect(batches).toEqual([]);
  });

  test("are tried again for ever in a passing state, and for a while when memory is out", () => {
    const write: Write = { name: "a", bytes: 1, sequence: 0, tries: 0 };
    expect(isPassing(write, "LOADING Redis is loading the dataset in memory")).toBe(true);
    expect(isPassing(write, "-READONLY You can't write against a read only replica.")).toBe(true);
    const inScript =
      "ERR Error running script (call to f_0a1b): @user_script:1: @user_script: 1: -READONLY You can't write";
    expect(isPassing(write, inScript)).toBe(true);
    expect(isPassing(write, "WRONGTYPE Operation against a key")).toBe(false);
    const tries = Array.from({ length: 10 }, () => isPassing(write, "OOM command not allowed"));
    expect(tries).toEqual([...Array.from({ length: 9 }, () => true), false]);
  });
});
