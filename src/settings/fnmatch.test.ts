import { expect, test } from "vitest";
import { fnmatch } from "./fnmatch.ts";

test.each([
  ["a.*", "a.b.c", true],
  ["a.*", "ab.c", false],
  ["a?c", "a\nc", true],
  ["*", "", true],
  ["", "", true],
  ["", "a", false],
  ["*a*b*", "xxaxxbxx", true],
  ["*a*b*", "xxbxxaxx", false],
  ["a?", "a😀", true],
  ["[!a]x", "bx", true],
  ["[!a]x", "ax", false],
  ["[]]", "]", true],
  ["[", "[", true],
  ["[z-a]", "m", false],
  ["A*", "abc", false],
])("%j against %j is %s", (pattern, name, matches) => {
  expect(fnmatch(pattern)(name)).toBe(matches);
});

test("many stars cost no exponential time", () => {
  const started = performance.now();
  expect(fnmatch(`${"a*".repeat(60)}b`)("a".repeat(5000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(1000);
});
