import { expect, test } from "vitest";
import { consoleLog } from "./console-log.ts";
import { formatLogLine, logFormatProblem } from "./log-format.ts";

const line = {
  timeMs: new Date(2026, 10, 21, 9, 5, 7, 42).getTime(),
  level: "INFO",
  levelNumber: 20,
  message: "ready",
};

test.each([
  ["%(asctime)s:%(name)s:%(levelname)s:%(message)s", "2026-11-21 09:05:07,042:lovage:INFO:ready"],
  ["[%(levelname)-8s|%(levelname)8s|%(levelname).3s]", "[INFO    |    INFO|INF]"],
  ["%(levelno)d %(levelno)04d %(levelno)s %(msecs)03d 100%%", "20 0020 20 042 100%"],
])("the format %s is Python's", (format, expected) => {
  expect(logFormatProblem(format)).toBeNull();
  expect(formatLogLine(format, line)).toBe(expected);
});

test.each([
  ["plain", "names no field"],
  ["%(mesage)s", "no such field: mesage"],
  ["%(message)s %q", "not understood: %q"],
])("what is wrong with the format %s is said", (format, words) => {
  expect(logFormatProblem(format)).toContain(words);
});

test("a log with a format has what its fields say in the message, and an error below it", () => {
  const lines: string[] = [];
  const log = consoleLog({ format: "%(levelname)s:%(message)s", write: (text) => void lines.push(text) });
  log.warn({ queue: "tasks", err: new Error("gone") }, "away");
  log.error({ err: Object.assign(new Error("broken"), { stack: "Error: broken\n    at x" }) }, "failed");
  expect(lines).toEqual(["WARNING:away: gone queue=tasks\n", "ERROR:failed\nError: broken\n    at x\n"]);
});
