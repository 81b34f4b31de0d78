import { beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { createMemoryBackend } from "../result-backends/memory.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { newId } from "../runtime/ids.ts";
import {
  NotRegistered,
  RemoteTaskError,
  TaskRevokedError,
  TaskValidationError,
  TimeLimitExceeded,
  TimeoutError,
} from "../tasks/errors.ts";
import { AsyncResult, resultFromTuple } from "./async-result.ts";
import { GroupResult } from "./group-result.ts";
import { ErrorRegistry } from "./remote-errors.ts";
import { resultGraph } from "./result-tree.ts";
import { Results } from "./results.ts";

class PaymentFailed extends Error {
  static readonly python = "shop.errors.PaymentFailed";
  readonly amount: number;
  constructor(message: string, amount: number) {
    super(message);
    this.amount = amount;
  }
}

class Picky extends Error {
  static readonly python = { module: "shop.errors", type: "Picky" };
  static fromPython({ args }: { args: readonly unknown[] }): Picky {
    if (args.length === 0) throw new TypeError("no arguments");
    return new Picky(`picked ${String(args[0])}`);
  }
}

let backend: ResultBackend<ResultMeta>;
let results: Results;

beforeEach(() => {
  backend = createMemoryBackend({ codec: celeryRecordCodec() });
  results = new Results({
    backend,
    errors: new ErrorRegistry([PaymentFailed, Picky]),
    validate: true,
    lostAfterMs: null,
    ids: newId,
  });
});

function meta(id: string, status: string, more: Partial<ResultMeta> = {}): ResultMeta {
  return { status, result: null, exception: null, traceback: null, children: [], dateDone: null, taskId: id, ...more };
}

async function succeed(id: string, result: unknown, more: Partial<ResultMeta> = {}) {
  await backend.store(id, meta(id, "SUCCESS", { result, ...more }));
}

async function fail(id: string, type: string, module: string | null, args: unknown[], status = "FAILURE") {
  const exception = { type, module, args };
  await backend.store(id, meta(id, status, { result: exception, exception, traceback: "Traceback: here" }));
}

describe("get", () => {
  test("gives the value of a task that ends later, and of one that has ended", async () => {
    const waiting = new AsyncResult("a", results).get();
    await succeed("a", { n: 1 });
    expect(await waiting).toEqual({ n: 1 });
    expect(await new AsyncResult("a", results).get()).toEqual({ n: 1 });
  });

  test("reads the store once for a task that has ended", async () => {
    await succeed("a", 1);
    const result = new AsyncResult("a", results);
    await result.get();
    const read = vi.spyOn(backend, "get");
    const watched = vi.spyOn(backend, "watch");
    expect([await result.get(), await result.state(), await result.ready()]).toEqual([1, "SUCCESS", true]);
    expect(read).not.toHaveBeenCalled();
    expect(watched).not.toHaveBeenCalled();
  });

  test("throws the remote exception with its type, module, arguments and traceback", async () => {
    await fail("a", "ValueError", "builtins", ["boom", 42]);
    const error = await new AsyncResult("a", results).get().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RemoteTaskError);
    expect(error).toMatchObject({
      taskId: "a",
      type: "ValueError",
      module: "builtins",
      args: ["boom", 42],
      traceback: "Traceback: here",
    });
  });

  test("gives the error as the value with propagate false", async () => {
    await fail("a", "ValueError", "builtins", ["boom"]);
    expect(await new AsyncResult("a", results).get({ propagate: false })).toBeInstanceOf(RemoteTaskError);
  });

  test("throws what Celery itself stores as errors of their own, with the remote one as cause", async () => {
    await fail("a", "TaskRevokedError", "celery.exceptions", ["terminated"], "REVOKED");
    await fail("b", "NotRegistered", "celery.exceptions", ["no.such"]);
    await fail("c", "TimeLimitExceeded", "billiard.exceptions", [5]);
    const errors = await Promise.all(
      ["a", "b", "c"].map((id) => new AsyncResult(id, results).get({ propagate: false })),
    );
    expect(errors[0]).toBeInstanceOf(TaskRevokedError);
    expect(errors[0]).toMatchObject({ reason: "terminated", taskId: "a" });
    expect(errors[1]).toBeInstanceOf(NotRegistered);
    expect(errors[1]).toMatchObject({ taskName: "no.such" });
    expect(errors[2]).toBeInstanceOf(TimeLimitExceeded);
    expect(errors[2]).toMatchObject({ seconds: 5, cause: { traceback: "Traceback: here" } });
  });

  test("throws the user's class for the Python class it stands for", async () => {
    await fail("a", "PaymentFailed", "shop.errors", ["no money", 12]);
    await fail("b", "Picky", "shop.errors", ["x"]);
    const [paid, picky] = await Promise.all(
      ["a", "b"].map((id) => new AsyncResult(id, results).get({ propagate: false })),
    );
    expect(paid).toBeInstanceOf(PaymentFailed);
    expect(paid).toMatchObject({
      message: "no money",
      amount: 12,
      cause: { taskId: "a", traceback: "Traceback: here" },
    });
    expect(picky).toBeInstanceOf(Picky);
    expect(picky).toMatchObject({ message: "picked x" });
  });

  test("falls back on the remote error when the user's class refuses, or the module is another", async () => {
    await fail("a", "Picky", "shop.errors", []);
    await fail("b", "PaymentFailed", "elsewhere", ["x"]);
    for (const id of ["a", "b"])
      expect(await new AsyncResult(id, results).get({ propagate: false })).toBeInstanceOf(RemoteTaskError);
  });

  test("ends with TimeoutError, which says that the task may run on", async () => {
    const error = await new AsyncResult("a", results).get({ timeout: 5 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(String(error)).toContain("may still run");
    await succeed("a", 1);
    expect(await new AsyncResult("a", results).get({ timeout: 1000 })).toBe(1);
  });

  test("ends with the reason of the caller's signal", async () => {
    const stop = new AbortController();
    const waiting = [
      new AsyncResult("a", results).get({ signal: stop.signal, timeout: 10_000 }),
      new AsyncResult("b", results).get({ signal: stop.signal }),
    ];
    stop.abort(new TypeError("enough"));
    for (const wait of waiting) await expect(wait).rejects.toThrow("enough");
  });

  test("shows the records on the way", async () => {
    const seen: unknown[] = [];
    const waiting = new AsyncResult("a", results).get({ onUpdate: (update) => seen.push(update.status) });
    await backend.store("a", meta("a", "STARTED"));
    await backend.store("a", meta("a", "PROGRESS", { result: { done: 5 } }));
    await succeed("a", 1);
    await waiting;
    expect(seen).toEqual(["STARTED", "PROGRESS"]);
  });

  test("gives null at once for an ignored result, as Celery does", async () => {
    expect(await new AsyncResult("a", results, { ignored: true }).get()).toBeNull();
  });

  test("without a backend is an error at once", async () => {
    const none = new Results({
      backend: null,
      errors: new ErrorRegistry(),
      validate: true,
      lostAfterMs: null,
      ids: newId,
    });
    await expect(new AsyncResult("a", none).get()).rejects.toThrow(ImproperlyConfigured);
    await expect(new AsyncResult("a", none).get({ timeout: 5 })).rejects.toThrow(/no result backend/);
    await expect(new AsyncResult("a", none).state()).rejects.toThrow(/no result backend/);
  });

  test("checks the value against the task's schema, unless switched off", async () => {
    await succeed("a", "12");
    const returns = z.number();
    await expect(new AsyncResult("a", results, { returns }).get()).rejects.toThrow(TaskValidationError);
    expect(await new AsyncResult("a", results, { returns: z.coerce.number() }).get()).toBe(12);
    const unchecked = new Results({
      backend,
      errors: new ErrorRegistry(),
      validate: false,
      lostAfterMs: null,
      ids: newId,
    });
    expect(await new AsyncResult("a", unchecked, { returns }).get()).toBe("12");
  });

  test("throws the error of an earlier step of the chain without waiting for the last", async () => {
    const first = new AsyncResult("1", results);
    const last = new AsyncResult("3", results, { parent: new AsyncResult("2", results, { parent: first }) });
    const waiting = last.get();
    await succeed("2", 1);
    await fail("1", "KeyError", "builtins", ["k"]);
    await expect(waiting).rejects.toMatchObject({ type: "KeyError", taskId: "1" });
    await expect(last.get({ propagate: false, timeout: 5 })).rejects.toThrow(TimeoutError);
  });

  test("throws the error of a member of a group before it, also when its own is there as well", async () => {
    const members = [new AsyncResult("m1", results), new AsyncResult("m2", results)];
    const group = new GroupResult("g", members, { parent: new AsyncResult("0", results), results });
    const body = new AsyncResult("body", results, { parent: group });
    const waiting = body.get();
    await fail("m2", "KeyError", "builtins", ["k"]);
    await expect(waiting).rejects.toMatchObject({ type: "KeyError", taskId: "m2" });
    await fail("body", "ChordError", "celery.exceptions", ["Dependency m2 raised"]);
    await fail("m1", "ValueError", "builtins", ["first"]);
    const again = new AsyncResult("body", results, { parent: group });
    await expect(again.get()).rejects.toMatchObject({ type: "ValueError", taskId: "m1" });
    await expect(new AsyncResult("body", results).get()).rejects.toMatchObject({ name: "ChordError" });
  });

  test("serves thousands of waits at once", async () => {
    const ids = Array.from({ length: 3000 }, (_, i) => `many-${i}`);
    const waits = ids.map((id) => new AsyncResult<number>(id, results).get({ timeout: 60_000 }));
    await Promise.all(ids.map((id, i) => succeed(id, i)));
    expect(await Promise.all(waits)).toEqual(ids.map((_, i) => i));
  });

  test("leaves no timer behind", async () => {
    const before = timers();
    const waiting = new AsyncResult("a", results).get({ timeout: 60_000 });
    expect(timers()).toBe(before + 1);
    await succeed("a", 1);
    await waiting;
    expect(timers()).toBe(before);
  });
});

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
}

describe("what is known of a task", () => {
  test("nothing stored is PENDING", async () => {
    const result = new AsyncResult("a", results);
    expect(await result.state()).toBe("PENDING");
    expect(await result.info()).toBeNull();
    expect([await result.ready(), await result.successful(), await result.failed(), await result.exists()]).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  test("a retrying task shows its error, a custom state what it carries", async () => {
    await fail("a", "IOError", "builtins", ["again"], "RETRY");
    await backend.store("b", meta("b", "PROGRESS", { result: { done: 1 } }));
    const a = new AsyncResult("a", results);
    expect(await a.info()).toBeInstanceOf(RemoteTaskError);
    expect([await a.status(), await a.traceback(), await a.ready()]).toEqual(["RETRY", "Traceback: here", false]);
    expect(await new AsyncResult("b", results).result()).toEqual({ done: 1 });
  });

  test("its children are results, groups among them", async () => {
    await succeed("a", 1, {
      children: [
        [["b", null], null],
        [
          ["g", [["p", null], null]],
          [
            [["c", null], null],
            [["d", null], null],
          ],
        ],
      ],
    });
    const [child, group] = await new AsyncResult("a", results).children();
    expect(child).toMatchObject({ id: "b" });
    expect(group).toBeInstanceOf(GroupResult);
    expect(group?.toTuple()).toEqual([
      ["g", [["p", null], null]],
      [
        [["c", null], null],
        [["d", null], null],
      ],
    ]);
  });

  test("the graph of a task that retries, which names itself as its child, is that task alone", async () => {
    await backend.store("a", meta("a", "RETRY", { children: [[["a", null], null]] }));
    const read = backend.get.bind(backend);
    const reads = vi.spyOn(backend, "get").mockImplementation((id) => {
      if (reads.mock.calls.length > 10) throw new RangeError("reads without end");
      return read(id);
    });
    expect((await resultGraph(new AsyncResult("a", results))).toText()).toBe("a");
  });

  test("forgetting deletes the record and those of the steps before", async () => {
    await succeed("a", 1);
    await succeed("b", 2);
    const result = new AsyncResult("b", results, { parent: new AsyncResult("a", results) });
    await result.get();
    await result.forget();
    expect([await result.state(), await result.parent?.ready()]).toEqual(["PENDING", false]);
  });
});

describe("a group", () => {
  test("gives the values in order, or throws the first error", async () => {
    const group = resultFromTuple(
      [
        ["g", null],
        [
          [["a", null], null],
          [["b", null], null],
        ],
      ],
      results,
    );
    const waiting = group.get();
    await succeed("b", 2);
    await succeed("a", 1);
    expect(await waiting).toEqual([1, 2]);
    expect([await group.ready(), await group.successful(), await group.failed()]).toEqual([true, true, false]);
    await fail("c", "ValueError", "builtins", ["x"]);
    const failing = new GroupResult("h", [new AsyncResult("never", results), new AsyncResult("c", results)]);
    await expect(failing.get()).rejects.toThrow(RemoteTaskError);
    expect([await failing.ready(), await failing.failed(), await failing.completedCount()]).toEqual([false, true, 0]);
  });
});

describe("the registry of errors", () => {
  test("refuses a class without a Python name and two for one", () => {
    class Nameless extends Error {
      static readonly python = "";
    }
    expect(() => new ErrorRegistry([Nameless])).toThrow(ImproperlyConfigured);
    expect(() => new ErrorRegistry([PaymentFailed, PaymentFailed])).toThrow(/two error classes/);
  });
});
