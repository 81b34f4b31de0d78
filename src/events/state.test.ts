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
