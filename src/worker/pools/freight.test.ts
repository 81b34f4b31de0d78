import { describe, expect, test } from "vitest";
import { encodeJson } from "../../../protocol/json.ts";
import { PyDateTime, PyFloat } from "../../../protocol/values.ts";
import { RemoteTaskError, SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded } from "../../tasks/errors.ts";
import { toRemoteException, tracebackText } from "../../tasks/python-errors.ts";
import { Ignore, Reject, Replace, Retry } from "../../tasks/signals.ts";
import { TaskCancelled } from "../effect-errors.ts";
import { packEnding, packError, packReason, unpackEnding, unpackError, unpackReason } from "./freight.ts";

/** As it goes through a structured clone. */
const through = <T>(value: T): T => structuredClone(value);
const travelled = (event: Parameters<typeof packEnding>[0], value: unknown) =>
  unpackEnding(through(packEnding(event, value, undefined)), "id");

class PaymentFailed extends Error {
  static python = "shop.errors.PaymentFailed";
  static pythonArgs = (error: PaymentFailed) => [error.message, error.code];
  readonly code = 42;
}

describe("a value that a body returned", () => {
  test.each([1, 0.5, "é", null, [1, [2]], { a: { b: 1n << 70n } }, new PyFloat(1), new PyDateTime(5), true])(
    "is stored from afar as from here: %o",
    (value) => expect(encodeJson(travelled("returned", value))).toBe(encodeJson(value)),
  );

  test("nothing is None", () => expect(travelled("returned", undefined)).toBeNull());

  test("without a form on the wire it fails where it would be stored, in the same words", () => {
    const record = (value: unknown) => () => encodeJson({ result: value });
    const far = travelled("returned", () => 1);
    expect(record(() => 1)).toThrow("a function has no form in JSON (at value.result)");
    expect(record(far)).toThrow("a function has no form in JSON (at value.result)");
  });
});

describe("an error", () => {
  test.each([
    new TypeError("no"),
    new PaymentFailed("no money"),
    new RangeError("far", { cause: new Error("inner") }),
    new SoftTimeLimitExceeded(3),
    "text",
    { status: 4 },
  ])("stands for the same exception and has the same stack: %o", (error) => {
    const far = unpackError(through(packError(error)), "id");
    expect(encodeJson(toRemoteException(far))).toBe(encodeJson(toRemoteException(error)));
    expect(tracebackText(far)).toBe(tracebackText(error));
    expect(String(far)).toBe(String(error));
    expect(far).toBeInstanceOf(RemoteTaskError);
  });

  test("with arguments that have no form shows them as texts", () => {
    class Odd extends Error {
      static pythonArgs = () => [Symbol("x"), () => 1];
      static python = "odd.Odd";
    }
    expect(toRemoteException(unpackError(through(packError(new Odd("?"))), "id"))).toMatchObject({
      type: "Odd",
      args: ["Symbol(x)", "() => 1"],
    });
  });

  test("of megabytes travels bounded, and says so", () => {
    const packed = packError(new TypeError("x".repeat(5_000_000)));
    expect(packed.text).toMatch(/characters more\)$/);
    expect(JSON.stringify(packed).length).toBeLessThan(1_300_000);
  });

  test("that the task names in throws is known as expected", () => {
    expect(packError(new PaymentFailed("x"), [PaymentFailed]).expected).toBe(true);
    expect(packError(new TypeError("x"), [PaymentFailed]).expected).toBe(false);
  });
});

describe("a signal", () => {
  test("Retry keeps its reason, its time and what it changes", () => {
    const eta = new Date("2030-01-02T03:04:05.678Z");
    const retry = new Retry(
      new TypeError("why"),
      { eta },
      {
        args: [new PyFloat(2)],
        kwargs: { k: 1 },
        options: { queue: "other", priority: 3 },
      },
    );
    const far = travelled("retryAsked", retry);
    if (!(far instanceof Retry)) return expect.unreachable();
    expect(far.when).toEqual({ eta: expect.any(Date) });
    expect(Number("eta" in far.when && far.when.eta)).toBe(eta.getTime());
    expect(encodeJson(far.overrides)).toBe(encodeJson(retry.overrides));
    expect(toRemoteException(far.exc)).toMatchObject({ type: "TypeError", args: ["why"] });
    expect(travelled("retryAsked", new Retry(null, { countdown: 1.5 }))).toMatchObject({
      when: { countdown: 1.5 },
      exc: null,
    });
  });

  test("Reject, Ignore and Replace are themselves", () => {
    expect(travelled("rejected", new Reject("bad", { requeue: true }))).toMatchObject({ reason: "bad", requeue: true });
    expect(travelled("ignored", new Ignore("later"))).toBeInstanceOf(Ignore);
    const signature = { task: "t", args: [1], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    expect(travelled("replaced", new Replace(signature))).toMatchObject({ signature });
  });

  test("reasons of an abort arrive as their classes", () => {
    for (const reason of [
      new SoftTimeLimitExceeded(2),
      new TimeLimitExceeded(3),
      new TaskRevokedError("id", "terminated"),
      new TaskCancelled("over"),
    ]) {
      const far = unpackReason(through(packReason(reason)));
      expect(far.constructor).toBe(reason.constructor);
      expect(far.message).toBe(reason.message);
    }
  });
});
