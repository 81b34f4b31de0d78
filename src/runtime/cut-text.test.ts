import { expect, test } from "vitest";
import { cutText, errorForLog } from "./cut-text.ts";

test("a text that is cut says by how much, and is not cut within a character", () => {
  expect(cutText("abc", 3)).toBe("abc");
  expect(cutText("abcdef", 3)).toBe("abc… (3 characters more)");
  expect(cutText("ab😀cd", 3)).toBe("ab… (4 characters more)");
});

test("an error of megabytes stands short in the log, its name, its causes and where it was thrown included", () => {
  const cause = new RangeError("x".repeat(5_000_000));
  const error = new TypeError("y".repeat(5_000_000), { cause });
  const shown = errorForLog(error) as Error;
  expect(shown.name).toBe("TypeError");
  expect(shown.message).toMatch(/^y{8192}… \(\d+ characters more\)$/);
  expect(shown.stack).toMatch(/^TypeError: y{8192}… .*\n +at .*cut-text\.test/);
  expect((shown.cause as Error).message.length).toBeLessThan(9_000);
  expect((shown.cause as Error).stack?.length).toBeLessThan(80_000);
});

test("an error of usual size is itself", () => {
  const error = new Error("no", { cause: new Error("why") });
  expect(errorForLog(error)).toBe(error);
  expect(errorForLog(undefined)).toBeUndefined();
});
