import { expect, test } from "vitest";
import { parseRate } from "./rate.ts";

test.each([
  ["10/m", 10 / 60],
  ["0.5/s", 0.5],
  ["2/h", 2 / 3600],
  ["5", 5],
  [5, 5],
  [0.25, 0.25],
  [" 3 /s", 3],
  ["1e2/m", 100 / 60],
  ["", 0],
  [null, 0],
  [0, 0],
  ["0/s", 0],
  ["-4/s", 0],
  [Number.POSITIVE_INFINITY, 0],
])("%j is %d starts a second", (rate, perSecond) => {
  expect(parseRate(rate)).toBeCloseTo(perSecond, 12);
});

test("an unknown unit and a number that is none are told apart, as Python's errors do", () => {
  expect(parseRate("3/x")).toEqual({ kind: "unit", text: "x" });
  expect(parseRate("many/m")).toEqual({ kind: "number", text: "many" });
});
