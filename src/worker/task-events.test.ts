/** What monitors are told of errors. */
import { expect, test } from "vitest";
import { Reject } from "../tasks/signals.ts";
import { exceptionText } from "./task-events.ts";

test("an error is shown as Python's repr of it", () => {
  expect(exceptionText(new RangeError("boom"))).toBe("ValueError('boom')");
  // wire: celery/exceptions.py `Reject.__repr__`.
  expect(exceptionText(new Reject("not mine"))).toBe("reject requeue=False: not mine");
  expect(exceptionText(new Reject(null, { requeue: true }))).toBe("reject requeue=True: None");
  expect(exceptionText(new Reject(["a", 1]))).toBe("reject requeue=False: ['a', 1]");
});
