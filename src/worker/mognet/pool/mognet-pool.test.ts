/** The pool alone, with children that a test plays: who gets a child, how many there are, and how a body ends whose run is over. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../../runtime/log.ts";
import { TimerHeap } from "../../../runtime/timer-heap.ts";
import { Revoked } from "../../../tasks/mognet-errors.ts";
import type { Child, ChildEvents } from "../../pools/child.ts";
import type { ChildInit, ToChild } from "../../pools/messages.ts";
import type { Run } from "../run.ts";
import { type BodyEnd, MognetPool } from "./mognet-pool.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => vi.useRealTimers());

class FakeChild implements Child {
  readonly pid = 1000;
  readonly got: ToChild[] = [];
  readonly killed: string[] = [];
  readonly events: ChildEvents;
  constructor(events: ChildEvents) {
    this.events = events;
  }
  post(message: ToChild): void {
    this.got.push(message);
    if (message.type === "init") this.events.message({ type: "ready", tasks: ["t"] });
  }
  kill(signal: NodeJS.Signals): void {
    this.killed.push(signal);
  }
  unref(): void {}
  get types(): string[] {
    return this.got.map(({ type }) => type);
  }
  ends(value: string): void {
    const posted = this.got.filter((message) => message.type === "request").at(-1);
    const job = posted?.type === "request" ? posted.job : 0;
    this.events.message({ type: "ended", job, kib: 0, last: false, mognet: { how: "returned", value } });
  }
}

async function open(size: number, most: number) {
  const children: FakeChild[] = [];
  const pool = new MognetPool({
    name: "processes",
    size,
    most,
    spawner: async () => (events) => {
      const child = new FakeChild(events);
      // A real one speaks later than this.
      children.push(child);
      return Object.assign(child, { post: later(child) });
    },
    init: { module: "./app.js" } as Partial<ChildInit> as ChildInit,
    taskNames: () => ["t"],
    maxTasks: null,
    maxKib: null,
    aliveTimeoutMs: 5_000,
    timers: new TimerHeap(),
    log: silentLog,
  });
  await pool.start({ onSlotFree: () => undefined });
  await settled();
  return { pool, children };
}

function later(child: FakeChild): (message: ToChild) => void {
  return (message) => {
    if (message.type === "init") void Promise.resolve().then(() => FakeChild.prototype.post.call(child, message));
    else child.got.push(message);
  };
}

const settled = async () => {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
};

function runOf(id: string): Run {
  const delivery = { message: { body: new Uint8Array(), headers: null }, info: {} };
  const run: unknown = { id, delivery, record: null, onAbort: null };
  return run as Run;
}

function ending(told: unknown[]): BodyEnd {
  return {
    returned: ({ rawValue }) => told.push(rawValue),
    threw: (error) => told.push(error.name),
    paused: () => told.push("paused"),
    invalid: () => told.push("invalid"),
    lost: (error) => told.push(error.name),
  };
}

test("a body gets a child, and its end is told once", async () => {
  const { pool, children } = await open(1, 10);
  const told: unknown[] = [];
  const run = runOf("a");
  expect(pool.hasRoom()).toBe(true);
  pool.take(run);
  expect(pool.hasRoom()).toBe(false);
  pool.run(run, ending(told));
  children[0]!.ends('{"value_type":"builtins:int","raw_value":5}');
  children[0]!.ends('{"value_type":"builtins:int","raw_value":6}');
  expect([told, pool.hasRoom()]).toEqual([[5], true]);
});

test("a run that does not begin after all gives its child back, one that has begun does not", async () => {
  const { pool } = await open(1, 10);
  const run = runOf("a");
  pool.take(run);
  pool.giveBack(run);
  expect(pool.hasRoom()).toBe(true);
  pool.take(run);
  pool.run(run, ending([]));
  pool.giveBack(run);
  expect(pool.hasRoom()).toBe(false);
});

test("bodies that wait have others started for them, at most so many, which go when they are not needed for a while", async () => {
  const { pool, children } = await open(1, 3);
  const runs = ["a", "b", "c"].map(runOf);
  for (const run of runs) {
    pool.take(run);
    pool.run(run, ending([]));
    pool.waits(run);
    await settled();
  }
  expect(children).toHaveLength(3);
  expect(pool.hasRoom()).toBe(false);
  for (const [at, run] of runs.entries()) {
    pool.resumes(run);
    children[at]!.ends('{"value_type":"builtins:int","raw_value":1}');
  }
  expect(pool.hasRoom()).toBe(true);
  vi.advanceTimersByTime(31_000);
  expect(children.filter(({ types }) => types.includes("leave"))).toHaveLength(2);
});

test("a body whose run is over is asked to end, and killed when it does not", async () => {
  const { pool, children } = await open(1, 10);
  const told: unknown[] = [];
  const run = runOf("a");
  pool.take(run);
  pool.run(run, ending(told));
  run.onAbort?.(new Revoked("a"));
  expect(children[0]!.got.at(-1)).toMatchObject({ type: "abort", reason: { kind: "mognetRevoked", id: "a" } });
  expect(children[0]!.killed).toEqual([]);
  await settled();
  expect([children.length, pool.hasRoom()]).toEqual([2, true]);
  vi.advanceTimersByTime(5_100);
  expect(children[0]!.killed).toEqual(["SIGKILL"]);
  children[0]!.events.exit("signal 9 (SIGKILL)");
  expect(told).toEqual([]);
});

test("a body whose child has died is lost, and the child replaced", async () => {
  const { pool, children } = await open(1, 10);
  const told: unknown[] = [];
  const run = runOf("a");
  pool.take(run);
  pool.run(run, ending(told));
  children[0]!.events.exit("exitcode 3");
  await settled();
  expect([told, pool.hasRoom(), children.length]).toEqual([["WorkerLostError"], true, 2]);
});
