/** What monitors are told of errors. */
import { expect, test } from "vitest";
import { toRemoteException, tracebackText } from "../tasks/python-errors.ts";
import { Reject } from "../tasks/signals.ts";
import { exceptionText } from "./task-events.ts";

test("an error is shown as Python's repr of it", () => {
  expect(exceptionText(new RangeError("boom"))).toBe("ValueError('boom')");
  // wire: celery/exceptions.py `Reject.__repr__`.
  expect(exceptionText(new Reject("not mine"))).toBe("reject requeue=False: not mine");
  expect(exceptionText(new Reject(null, { requeue: true }))).toBe("reject requeue=True: None");
  expect(exceptionText(new Reject(["a", 1]))).toBe("reject requeue=False: ['a', 1]");
});

test("an error of megabytes is bounded in events and results, and says so", () => {
  const error = new RangeError("x".repeat(5_000_000));
  expect(exceptionText(error)).toMatch(/^ValueError\('x{65000,66000}… \(\d+ characters more\)$/);
  const { type, args } = toRemoteException(error);
  expect([type, String(args[0]).length]).toEqual(["ValueError", 1_048_576 + "… (3951424 characters more)".length]);
  expect(tracebackText(error)).toMatch(/^RangeError: x{65000,66000}… \(\d+ characters more\)$/);
});
