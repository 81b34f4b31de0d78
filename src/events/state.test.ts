/** What a monitor knows: the rules of celery/events/state.py, with Python's own captured events. */
import { describe, expect, test } from "vitest";
import type { ReceivedEvent } from "./receiver.ts";
import { State } from "./state.ts";

let clock = 0;
function event(type: string, fields: Record<string, unknown> = {}, more: Partial<ReceivedEvent> = {}): ReceivedEvent {
  clock++;
  const base = { hostname: "w@h", pid: 1, clock, timestamp: 1000 + clock, utcoffset: 0, localReceived: 1000 + clock };
  return { type, fields, ...base, ...more };
}

describe("tasks", () => {
  test("go through their states, and keep what task-received told", () => {
    const state = new State();
    state.event(event("task-sent", { uuid: "a", name: "add", queue: "q" }, { hostname: "gen1@h" }));
    expect(state.tasks.get("a")).toMatchObject({ state: "PENDING", client: "gen1@h", worker: null, queue: "q" });
    state.event(event("task-received", { uuid: "a", name: "add", args: "(1,)", kwargs: "{}", retries: 0 }));
    state.event(event("task-started", { uuid: "a" }));
    state.event(event("task-succeeded", { uuid: "a", result: "2", runtime: 0.5 }));
    expect(state.tasks.get("a")).toMatchObject({
      state: "SUCCESS",
      args: "(1,)",
      result: "2",
      runtime: 0.5,
      worker: "w@h",
    });
    expect(Object.keys(state.tasks.get("a")?.times ?? {})).toEqual(["sent", "received", "started", "succeeded"]);
    expect(state.taskCount).toBe(1);
    expect(state.eventCount).toBe(4);
  });

  test("that ended stay ended when an older event comes late, which only describes them", () => {
    const state = new State();
    state.event(event("task-succeeded", { uuid: "a", result: "2" }));
    state.event(event("task-received", { uuid: "a", name: "add", args: "(1,)", result: "lie" }));
    expect(state.tasks.get("a")).toMatchObject({ state: "SUCCESS", name: "add", args: "(1,)", result: "2" });
    state.event(event("task-started", { uuid: "a" }));
    expect(state.tasks.get("a")?.state).toBe("SUCCESS");
  });

  test("begin anew with a retry, and show custom events in capitals", () => {
    const state = new State();
    state.event(event("task-started", { uuid: "a" }));
    state.event(event("task-retried", { uuid: "a", exception: "ValueError('x')" }));
    expect(state.tasks.get("a")?.state).toBe("RETRY");
    state.event(event("task-received", { uuid: "a", retries: 1 }));
    expect(state.tasks.get("a")).toMatchObject({ state: "RECEIVED", retries: 1 });
    state.event(event("task-progress", { uuid: "a", done: 5 }));
    expect(state.tasks.get("a")).toMatchObject({ state: "PROGRESS", extra: { done: 5 } });
  });

  test("have no ETA and no parent any more when a later event says that there is none", () => {
    const state = new State();
    const first = {
      eta: "2030-01-01T00:00:00+00:00",
      expires: "2030-01-02T00:00:00+00:00",
      parent_id: "p",
      root_id: "r",
    };
    state.event(event("task-received", { uuid: "a", name: "add", ...first }));
    state.event(event("task-retried", { uuid: "a", exception: "E()" }));
    expect(state.tasks.get("a")).toMatchObject({ eta: first.eta, parentId: "p" });
    state.event(event("task-received", { uuid: "a", eta: null, expires: null, parent_id: null, root_id: null }));
    const none = { eta: null, expires: null, parentId: null, rootId: null };
    expect(state.tasks.get("a")).toMatchObject({ name: "add", ...none });
  });

  test("and workers are bounded in number; the least recently changed go first", () => {
    const state = new State({ maxTasks: 2, maxWorkers: 2 });
    for (const uuid of ["a", "b", "a", "c"]) state.event(event("task-started", { uuid }));
    expect([...state.tasks.keys()]).toEqual(["a", "c"]);
    for (const hostname of ["1@h", "2@h", "3@h"]) state.event(event("worker-online", {}, { hostname }));
    expect([...state.workers.keys()]).toEqual(["2@h", "3@h"]);
  });
});

describe("workers", () => {
  test("are alive for twice their interval, and gone when they say good-bye", () => {
    let now = 1_000_000;
    const state = new State({ now: () => now * 1000 });
    const { joined } = state.event(
      event("worker-online", { freq: 2, active: 1, sw_ident: "py-celery" }, { localReceived: now }),
    );
    expect(joined).toMatchObject({ hostname: "w@h", active: 1, swIdent: "py-celery" });
    expect(state.aliveWorkers()).toHaveLength(1);
    now += 5;
    expect(state.aliveWorkers()).toHaveLength(0);
    expect(state.forgetSilent()).toHaveLength(1);
    state.event(event("worker-heartbeat", { freq: 2 }, { localReceived: now }));
    const { left } = state.event(event("worker-offline", {}));
    expect(left?.hostname).toBe("w@h");
    expect(state.workers.size).toBe(0);
  });

  test("an event without what it needs changes nothing", () => {
    const state = new State();
    expect(state.event(event("task-started", {}))).toMatchObject({ task: null, worker: null });
    expect(state.event(event("custom-thing", { a: 1 }))).toMatchObject({ task: null, worker: null });
    expect(state.event(event("nodash"))).toMatchObject({ task: null });
    expect(state.tasks.size).toBe(0);
  });
});

describe("what strangers say is bounded", () => {
  test("of a flood of names those workers stay that are heard of", () => {
    const state = new State({ maxWorkers: 100, now: () => 1_000_000 });
    const heard = (hostname: string) =>
      state.event(event("worker-heartbeat", { freq: 2 }, { hostname, localReceived: 1_000 }));
    heard("real@h");
    for (let index = 0; index < 5_000; index++) {
      heard(`fake-${index}@h`);
      if (index % 50 === 0) heard("real@h");
    }
    expect(state.workers.size).toBe(100);
    expect(state.workers.has("real@h")).toBe(true);
    expect(state.countAlive()).toBe(100);
    expect(state.countAlive(7)).toBe(7);
  });

  test("a worker's frequency is believed when it is one, and its texts are kept short", () => {
    const state = new State();
    for (const freq of [1e308, -1, 0, "x", 86_401]) state.event(event("worker-heartbeat", { freq }));
    expect(state.workers.get("w@h")?.freq).toBe(60);
    const long = "x".repeat(100_000);
    state.event(event("worker-heartbeat", { freq: 2, sw_ident: long, loadavg: new Array(10_000).fill(1) }));
    expect(state.workers.get("w@h")).toMatchObject({ freq: 2, loadavg: [1, 1, 1] });
    expect(state.workers.get("w@h")?.swIdent).toHaveLength(255);
  });

  test("tasks that tell much make room for each other", () => {
    const state = new State({ maxTaskCharacters: 105_000 });
    const long = "x".repeat(20_000);
    for (let index = 0; index < 50; index++) {
      state.event(event("task-succeeded", { uuid: `a-${index}`, result: long }));
      state.event(event("task-progress", { uuid: `b-${index}`, detail: { [long]: [[long]] } }));
    }
    expect([...state.tasks.keys()]).toEqual(["b-48", "a-49", "b-49"]);
    for (let index = 0; index < 500; index++) state.event(event("task-received", { uuid: `c-${index}` }));
    expect(state.tasks.size).toBe(503);
    state.clearTasks({ readyOnly: false });
    state.event(event("task-succeeded", { uuid: "d", result: "x".repeat(200_000) }));
    expect(state.tasks.size).toBe(1);
    state.event(event("task-succeeded", { uuid: "x".repeat(1_001) }));
    expect(state.tasks.size).toBe(1);
  });
});
