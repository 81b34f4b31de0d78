/** The pool alone, with children that a test plays: who gets a job, who is replaced, and what is told of it. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../runtime/log.ts";
import { TimerHeap } from "../../runtime/timer-heap.ts";
import { SoftTimeLimitExceeded, WorkerLostError } from "../../tasks/errors.ts";
import type { Request } from "../request.ts";
import type { RunningContext } from "../running-context.ts";
import { type CallHost, Calls } from "./calls.ts";
import type { Child, ChildEvents } from "./child.ts";
import { ChildPool, type ChildPoolOptions } from "./child-pool.ts";
import { PoolError } from "./errors.ts";
import { packError } from "./freight.ts";
import type { ChildInit, FromChild, ToChild } from "./messages.ts";
import type { BodyEnd } from "./pool.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] }));
afterEach(() => vi.useRealTimers());

class FakeChild implements Child {
  readonly pid: number;
  readonly got: ToChild[] = [];
  readonly killed: string[] = [];
  readonly #events: ChildEvents;

  constructor(pid: number, events: ChildEvents) {
    this.pid = pid;
    this.#events = events;
  }

  post(message: ToChild): void {
    this.got.push(message);
  }
  kill(signal: NodeJS.Signals): void {
    this.killed.push(signal);
  }
  unref(): void {}

  say(message: FromChild): void {
    this.#events.message(message);
  }
  ready(): void {
    this.say({ type: "ready", tasks: ["t"] });
  }
  dies(how = "signal 9 (SIGKILL)"): void {
    this.#events.exit(how);
  }
  get types(): string[] {
    return this.got.map((message) => message.type);
  }
  /** Ends the job that it has. */
  returns(json = "1", kib = 0): void {
    const job = this.got.filter((message) => message.type === "job").at(-1);
    if (job?.type === "job")
      this.say({ type: "ended", job: job.job, event: "returned", json, children: null, kib, last: false });
  }
}

/** No call gets as far as this. */
const noCalls: unknown = {};
const init = { module: "./tasks.js", keepFloats: false } as Partial<ChildInit> as ChildInit;

function open(more: Partial<ChildPoolOptions> = {}) {
  const children: FakeChild[] = [];
  const ended: [Request, BodyEnd, unknown][] = [];
  const pool = new ChildPool({
    name: "processes",
    size: 2,
    spawner: async () => (events) => {
      const child = new FakeChild(1000 + children.length, events);
      children.push(child);
      return child;
    },
    init,
    taskNames: () => ["t"],
    maxTasks: null,
    maxKib: null,
    aliveTimeoutMs: 5_000,
    validate: true,
    timers: new TimerHeap(),
    calls: new Calls(noCalls as CallHost),
    log: silentLog,
    ...more,
  });
  const started = pool.start({ ended: (...end) => ended.push(end), room: () => undefined });
  return { pool, children, ended, started };
}

async function opened(more: Partial<ChildPoolOptions> = {}) {
  const stage = open(more);
  await vi.waitFor(() => expect(stage.children).toHaveLength(Math.min(more.size ?? 2, more.loading ?? 9)));
  for (const child of [...stage.children]) child.ready();
  await stage.started;
  return stage;
}

const context = {} as Partial<RunningContext> as RunningContext;
let made = 0;

function request(): Request {
  const id = `r${++made}`;
  const message = { id, task: "t", ignoreResult: null };
  const delivery = { message: { body: new Uint8Array([1]), headers: {}, properties: {} }, info: {} };
  const plan = { local: false, ignoreResult: false };
  const parts: unknown = { id, message, delivery, plan, timeLimit: null, softTimeLimit: null, context: null };
  return parts as Request;
}

function begin(pool: ChildPool): Request {
  const one = request();
  pool.accept(one);
  pool.run(one, context);
  return one;
}

test("a child that cannot load the tasks fails the start, and says why", async () => {
  const { children, started } = open({ size: 1 });
  const failed = expect(started).rejects.toThrow(PoolError);
  await vi.waitFor(() => expect(children).toHaveLength(1));
  children[0]!.say({ type: "unfit", error: packError(new SyntaxError("unexpected token")) });
  await failed;
  await expect(started).rejects.toThrow(/unexpected token/);
});

test("a module without the worker's tasks fails the start", async () => {
  const { children, started } = open({ size: 1, taskNames: () => ["t", "shop.pay"] });
  const failed = expect(started).rejects.toThrow(/\.\/tasks\.js does not have the tasks shop\.pay/);
  await vi.waitFor(() => expect(children).toHaveLength(1));
  children[0]!.ready();
  await failed;
});

test("one job for one child at a time", async () => {
  const { pool, children, ended } = await opened();
  const [a, b] = [begin(pool), begin(pool)];
  expect(pool.hasRoom()).toBe(false);
  children[0]!.returns("41");
  expect(pool.hasRoom()).toBe(true);
  expect(ended).toEqual([[a, "returned", 41]]);
  children[1]!.returns('"b"');
  expect(ended[1]).toEqual([b, "returned", "b"]);
});

test("a child that dies loses its body, and only that one, and is replaced at once", async () => {
  const { pool, children, ended } = await opened();
  const [a, b] = [begin(pool), begin(pool)];
  children[0]!.dies("signal 11 (SIGSEGV)");
  const [end] = ended;
  expect(end?.slice(0, 2)).toEqual([a, "workerLost"]);
  expect(end?.[2]).toBeInstanceOf(WorkerLostError);
  expect(String(end?.[2])).toMatch(/Worker exited prematurely: signal 11 \(SIGSEGV\) Job: \d+\./);
  expect(children).toHaveLength(3);
  children[1]!.returns();
  expect(ended[1]?.[0]).toBe(b);
});

test("a killed body is not heard of again; what does not go by a signal is killed for good", async () => {
  const { pool, children, ended } = await opened();
  const one = begin(pool);
  pool.kill(one, new Error("revoked"), "SIGTERM");
  const [first] = children;
  expect([first!.types.at(-1), first!.killed]).toEqual(["abort", ["SIGTERM"]]);
  expect(children).toHaveLength(3);
  first!.returns();
  vi.advanceTimersByTime(150);
  expect(first!.killed).toEqual(["SIGTERM", "SIGKILL"]);
  first!.dies();
  expect(ended).toEqual([]);
  expect(children).toHaveLength(3);
});

test("an abort reaches the child that has the body", async () => {
  const { pool, children } = await opened();
  const one = begin(pool);
  pool.abort(one, new SoftTimeLimitExceeded(3));
  expect(children[0]!.got.at(-1)).toMatchObject({ type: "abort", reason: { kind: "softTimeLimit", seconds: 3 } });
});

test("a child is sent away after its share of tasks, or when it is too large", async () => {
  const { pool, children } = await opened({ size: 1, maxTasks: 2, maxKib: 500 });
  begin(pool);
  children[0]!.returns("1", 400);
  begin(pool);
  children[0]!.returns("1", 400);
  expect(children[0]!.types.at(-1)).toBe("leave");
  children[1]!.ready();
  begin(pool);
  children[1]!.returns("1", 501);
  expect(children[1]!.types.at(-1)).toBe("leave");
  expect(children).toHaveLength(3);
});

test("a child that does not come up in time is killed, and the next one comes later each time", async () => {
  const { children, started } = open({ size: 1 });
  const failed = expect(started).rejects.toThrow(PoolError);
  await vi.waitFor(() => expect(children).toHaveLength(1));
  vi.advanceTimersByTime(5_001);
  expect(children[0]!.killed).toEqual(["SIGKILL"]);
  children[0]!.dies();
  await failed;
  expect(children).toHaveLength(1);
  vi.advanceTimersByTime(101);
  expect(children).toHaveLength(2);
  children[1]!.dies("exitcode 1");
  vi.advanceTimersByTime(99);
  expect(children).toHaveLength(2);
  vi.advanceTimersByTime(102);
  expect(children).toHaveLength(3);
});

test("shrinking takes idle children first and lets busy ones end", async () => {
  const { pool, children, ended } = await opened({ size: 3 });
  begin(pool);
  pool.resize(1);
  expect(children.map((child) => child.types.includes("leave"))).toEqual([false, true, true]);
  pool.resize(0);
  children[0]!.returns();
  expect(ended).toHaveLength(1);
  expect(children[0]!.types.at(-1)).toBe("leave");
  expect(pool.stats()).toMatchObject({ "max-concurrency": 0, processes: [] });
});

const left = (children: readonly FakeChild[]) => children.map((child) => child.types.includes("leave"));

test("growing makes children; a restart replaces each when its successor has loaded, the busy ones when they have ended", async () => {
  const { pool, children } = await opened({ size: 1 });
  pool.resize(2);
  children[1]!.ready();
  begin(pool);
  pool.restart();
  expect(left(children)).toEqual([false, false, false, false]);
  children[2]!.ready();
  expect(left(children)).toEqual([false, true, false, false]);
  children[3]!.ready();
  expect(pool.hasRoom()).toBe(true);
  children[0]!.returns();
  expect(left(children)).toEqual([true, true, false, false]);
  expect(children).toHaveLength(4);
});

test("a pool that is restarted again and again keeps as many children that can run as it had", async () => {
  const { pool, children, ended } = await opened({ size: 2, loading: 2 });
  for (let round = 1; round <= 20; round++) {
    begin(pool);
    pool.restart();
    expect(children.filter(({ types }) => !types.includes("leave")).length).toBeLessThanOrEqual(4);
    children.at(-1)!.ready();
    for (const child of children) if (child.types.at(-1) === "job") child.returns();
    expect(ended).toHaveLength(round);
    expect(pool.hasRoom()).toBe(true);
  }
});

test("after a restart the children that have loaded anew are taken first", async () => {
  const { pool, children } = await opened({ size: 2, loading: 1 });
  children[1]!.ready();
  pool.restart();
  children[2]!.ready();
  begin(pool);
  expect(children[2]!.types.at(-1)).toBe("job");
});

test("a child's successor loads while its last task runs, and gets nothing until that has ended", async () => {
  const { pool, children } = await opened({ size: 1, maxTasks: 1 });
  begin(pool);
  expect(children).toHaveLength(2);
  children[1]!.ready();
  expect(pool.hasRoom()).toBe(false);
  children[0]!.returns();
  expect(left(children)).toEqual([true, false]);
  expect(pool.hasRoom()).toBe(true);
});

test("of a large pool a few children load at a time, and a few are started in one turn of the event loop", async () => {
  const { pool, children, started } = open({ size: 1_000, loading: 6 });
  await vi.waitFor(() => expect(children).toHaveLength(6));
  expect(pool.size).toBe(1_000);
  children[0]!.ready();
  await started;
  expect(children).toHaveLength(7);
  pool.resize(3);
  expect(left(children)).toEqual([false, true, true, true, true, false, false]);
  for (const child of children.slice(1)) child.dies("exitcode 0");
  await new Promise((resolve) => setImmediate(resolve));
  expect(children.length).toBeLessThan(14);
  pool.close();
  const before = children.length;
  await new Promise((resolve) => setImmediate(resolve));
  expect(children).toHaveLength(before);
});

test("closing sends the idle away, kills the busy and resolves when all are gone", async () => {
  const { pool, children } = await opened();
  begin(pool);
  let closed = false;
  const closing = pool.close().then(() => {
    closed = true;
  });
  expect(children[0]!.killed).toEqual(["SIGKILL"]);
  expect(children[1]!.types.at(-1)).toBe("leave");
  children[0]!.dies();
  await Promise.resolve();
  expect(closed).toBe(false);
  children[1]!.dies("exitcode 0");
  await closing;
  expect(children).toHaveLength(2);
});

test("messages of a job that is over are not answered and end nothing", async () => {
  const { pool, children, ended } = await opened({ size: 1 });
  begin(pool);
  const [child] = children;
  child!.returns();
  child!.say({ type: "ended", job: 99, event: "returned", json: "1", children: null, kib: 0, last: false });
  child!.say({ type: "call", job: 1, call: 5, method: "sendTask", json: "{}" });
  expect(ended).toHaveLength(1);
  expect(child!.types).not.toContain("answer");
});

test("a call that cannot be read, and an end that cannot, are errors of that task alone", async () => {
  const { pool, children, ended } = await opened({ size: 1 });
  const one = begin(pool);
  const job = (children[0]!.got.at(-1) as { job: number }).job;
  children[0]!.say({ type: "call", job, call: 1, method: "sendTask", json: "[1]" });
  await vi.waitFor(() => expect(children[0]!.got.at(-1)).toMatchObject({ type: "answer", answer: { ok: false } }));
  children[0]!.returns("{broken");
  expect(ended[0]?.slice(0, 2)).toEqual([one, "threw"]);
  expect(pool.hasRoom()).toBe(true);
});
