import { describe, expect, test } from "vitest";
import { PyDateTime } from "../values.ts";
import { mognetDeadlineAfter, mognetDeadlineAt } from "./deadline.ts";
import { newMognetRequest } from "./request.ts";
import {
  type DeliveryFacts,
  judgeDelivery,
  type MognetEffect,
  type MognetRequestEvent,
  type MognetRequestState,
  mognetStep,
} from "./request-machine.ts";
import {
  finishedResult,
  newMognetResult,
  resumedResult,
  startedResult,
  suspendedResult,
  unexpectedRetries,
} from "./result.ts";

const ID = "0383a177-fb86-4d2a-97af-e2a2be96af13";
const PARENT = "1383a177-fb86-4d2a-97af-e2a2be96af13";
const ROOT = "2383a177-fb86-4d2a-97af-e2a2be96af13";
const NOW_MS = Date.parse("2026-11-21T09:00:00Z");

function facts(parts: Partial<DeliveryFacts> = {}): DeliveryFacts {
  return {
    request: newMognetRequest({ id: ID, name: "shop.pay" }),
    result: newMognetResult({ id: ID }),
    ancestors: [],
    maxRetries: 3,
    maxRecursion: 64,
    isKnownTask: true,
    nowMs: NOW_MS,
    ...parts,
  };
}

describe("before a run", () => {
  test("a pending, running or suspended result is run", () => {
    for (const state of ["PENDING", "RUNNING", "SUSPENDED"] as const) {
      expect(judgeDelivery(facts({ result: newMognetResult({ id: ID, state }) }))).toEqual({ kind: "run" });
    }
  });

  test("without a result nothing is known of it, and what is done is done", () => {
    expect(judgeDelivery(facts({ result: null }))).toEqual({ kind: "noResult" });
    for (const state of ["SUCCESS", "FAILURE", "REVOKED", "INVALID"] as const) {
      expect(judgeDelivery(facts({ result: newMognetResult({ id: ID, state }) }))).toEqual({ kind: "alreadyDone" });
    }
  });

  test("starts without a stop count: three retries are run, the fourth is refused", () => {
    const result = newMognetResult({ id: ID, state: "RUNNING", numberOfStarts: 4, numberOfStops: 1 });
    expect(unexpectedRetries(result)).toBe(3);
    expect(judgeDelivery(facts({ result })).kind).toBe("run");
    expect(judgeDelivery(facts({ result: { ...result, numberOfStarts: 5 } }))).toMatchObject({
      kind: "refused",
      state: "FAILURE",
      error: { name: "mognet.exceptions.too_many_retries:TooManyRetries" },
    });
  });

  test("a stack of the limit is run, a longer one is not", () => {
    const stack = (length: number) => ({
      request: newMognetRequest({ id: ID, name: "t", stack: Array<string>(length).fill(PARENT) }),
      ancestors: Array.from({ length }, () => newMognetResult({ id: PARENT })),
    });
    expect(judgeDelivery(facts(stack(64))).kind).toBe("run");
    expect(judgeDelivery(facts(stack(65)))).toMatchObject({
      state: "FAILURE",
      error: { name: "builtins:RecursionError" },
    });
  });

  test("the nearest ancestor that is gone or revoked decides; failed ones do not", () => {
    const request = newMognetRequest({ id: ID, name: "t", stack: [ROOT, PARENT] });
    const failed = newMognetResult({ id: PARENT, state: "FAILURE" });
    const revoked = newMognetResult({ id: ROOT, state: "REVOKED" });
    expect(judgeDelivery(facts({ request, ancestors: [newMognetResult({ id: ROOT }), failed] })).kind).toBe("run");
    expect(judgeDelivery(facts({ request, ancestors: [revoked, failed] }))).toMatchObject({
      state: "REVOKED",
      error: { message: `Parent request id=${ROOT} was revoked` },
    });
    expect(judgeDelivery(facts({ request, ancestors: [revoked, null] }))).toMatchObject({
      state: "REVOKED",
      error: { message: `Parent request id=${PARENT} does not exist` },
    });
  });

  test("an instant in the past is too late, a duration never is, and a naive instant is the worker's to read", () => {
    const due = (deadline: DeliveryFacts["request"]["deadline"]) => ({
      request: newMognetRequest({ id: ID, name: "t", deadline }),
    });
    expect(judgeDelivery(facts(due(mognetDeadlineAfter(0.001)))).kind).toBe("run");
    expect(judgeDelivery(facts(due(mognetDeadlineAt(new Date(NOW_MS))))).kind).toBe("run");
    expect(judgeDelivery(facts(due(mognetDeadlineAt(new Date(NOW_MS - 1)))))).toMatchObject({
      state: "REVOKED",
      error: { name: "builtins:TimeoutError", message: "" },
    });
    const naive = mognetDeadlineAt(PyDateTime.fromIso("2026-11-21T09:30:00"));
    expect(judgeDelivery(facts(due(naive))).kind).toBe("run");
    expect(judgeDelivery(facts({ ...due(naive), deadlineMs: () => NOW_MS - 3_600_000 })).kind).toBe("refused");
  });

  test("an unknown task is INVALID, and only after all else", () => {
    expect(judgeDelivery(facts({ isKnownTask: false }))).toMatchObject({
      state: "INVALID",
      error: { name: "mognet.tasks.task_registry:UnknownTask" },
    });
    expect(judgeDelivery(facts({ isKnownTask: false, result: null })).kind).toBe("noResult");
  });
});

function effects(state: MognetRequestState, ...events: MognetRequestEvent[]): readonly MognetEffect[] {
  let done: MognetEffect[] = [];
  let at = state;
  for (const event of events) {
    const step = mognetStep(at, event);
    at = step.state;
    done = [...done, ...step.effects];
  }
  return done;
}

describe("what a request is owed", () => {
  const states: MognetRequestState[] = ["received", "running", "waiting", "settled"];
  const events: MognetRequestEvent[] = [
    "malformed",
    "noResult",
    "alreadyDone",
    "refused",
    "started",
    "ended",
    "paused",
    "waits",
    "resumes",
    "revoked",
    "handedBack",
    "lost",
    "failed",
  ];
  const paths = states.flatMap((state) =>
    events.flatMap((event) => {
      try {
        return [{ state, event, step: mognetStep(state, event) }];
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        return [];
      }
    }),
  );

  test("a run is stored before its hooks, and acked last", () => {
    expect(effects("received", "started", "ended")).toEqual([
      "store-running",
      "call-starting",
      "store-outcome",
      "clear-state",
      "call-completed",
      "ack",
    ]);
  });

  test("a lost connection ends no run, and what has not begun comes again", () => {
    for (const state of ["running", "waiting"] as const)
      expect(mognetStep(state, "lost")).toEqual({ state, effects: [] });
    expect(mognetStep("received", "lost")).toEqual({ state: "settled", effects: [] });
  });

  test("whatever ends a request settles its message once: acked or given back, never both; a lost one is settled already", () => {
    for (const { event, step } of paths) {
      const settles = step.effects.filter((effect) => effect === "ack" || effect === "requeue").length;
      expect(settles).toBe(step.state === "settled" && event !== "lost" ? 1 : 0);
      expect(step.effects.at(-1) === "ack" || step.effects.at(-1) === "requeue").toBe(settles === 1);
    }
  });

  test("whoever waits for its children has a place more, and gives it back however it ends", () => {
    for (const { state, event, step } of paths) {
      const raised = Number(step.effects.includes("raise-prefetch")) - Number(step.effects.includes("lower-prefetch"));
      expect([state, event, raised]).toEqual([
        state,
        event,
        Number(step.state === "waiting") - Number(state === "waiting"),
      ]);
    }
  });

  test("a paused request keeps its state and comes back; it is never acked", () => {
    expect(effects("running", "paused")).toEqual(["store-suspended", "requeue"]);
    expect(effects("running", "waits", "resumes", "paused")).toEqual([
      "store-suspended",
      "raise-prefetch",
      "store-resumed",
      "lower-prefetch",
      "store-suspended",
      "requeue",
    ]);
  });

  test("of what was revoked nothing but that is stored, and its state is forgotten", () => {
    for (const state of ["received", "running", "waiting"] as const) {
      const due = effects(state, "revoked");
      expect(due).toContain("clear-state");
      expect(due.filter((effect) => effect.startsWith("store-"))).toEqual(["store-revoked"]);
    }
  });

  test("steps are shared and cannot be changed", () => {
    expect(mognetStep("running", "ended")).toBe(mognetStep("running", "ended"));
    expect(Object.isFrozen(mognetStep("running", "ended").effects)).toBe(true);
  });

  test("a settled request is told nothing more", () => {
    for (const event of events) expect(() => mognetStep("settled", event)).toThrow(TypeError);
  });
});

describe("counters", () => {
  test("are Mognet's: starts and resumes, suspends and ends", () => {
    const now = "2026-11-21T09:00:00Z";
    const running = startedResult(newMognetResult({ id: ID }), "node-1", now);
    expect(running).toMatchObject({ state: "RUNNING", numberOfStarts: 1, started: now, nodeId: "node-1" });
    const suspended = suspendedResult(running);
    expect(suspended).toMatchObject({ state: "SUSPENDED", numberOfStops: 1, finished: null });
    const resumed = resumedResult(suspended);
    expect(resumed).toMatchObject({ state: "RUNNING", numberOfStarts: 2, started: now, nodeId: "node-1" });
    expect(resumedResult(suspended, "node-2").nodeId).toBe("node-2");
    expect(finishedResult(resumed, "SUCCESS", now)).toMatchObject({ numberOfStops: 2, finished: now });
  });
});
