import { expect, test } from "vitest";
import { invalidArgumentsIn } from "./invalid-arguments.ts";

test("complaints are read back from Python's repr of them", () => {
  // Captured from Mognet 2.0.0 under pydantic 2.14.
  const message =
    "[InvalidErrorInfo(loc=(1,), msg='Input should be a valid number, unable to parse string as a number', type='float_parsing'), " +
    `InvalidErrorInfo(loc=('it\\'s "x"', 0, "a)b"), msg="don't \\\\ caf\\xe9\\n", type='missing_argument')]`;
  expect(invalidArgumentsIn(message)).toEqual([
    { loc: [1], msg: "Input should be a valid number, unable to parse string as a number", type: "float_parsing" },
    { loc: [`it's "x"`, 0, "a)b"], msg: "don't \\ café\n", type: "missing_argument" },
  ]);
});

test("what is no such text has none, however long", () => {
  expect(invalidArgumentsIn("")).toEqual([]);
  expect(invalidArgumentsIn(`InvalidErrorInfo(loc=(${"'".repeat(100_000)}`)).toEqual([]);
  expect(invalidArgumentsIn("InvalidErrorInfo(loc=(1, 2".repeat(10_000))).toEqual([]);
});
