import { expect, test } from "vitest";
import { CommandError } from "./errors.ts";
import { matches } from "./matcher.ts";

test("a glob is the whole name, an expression begins at its start", () => {
  expect(matches("celery@host", "celery@*", "glob")).toBe(true);
  expect(matches("celery@host", "celery", "glob")).toBe(false);
  expect(matches("celery@host", "celery", "pcre")).toBe(true);
  expect(matches("celery@host", "host", "pcre")).toBe(false);
  expect(matches("celery@host", "(?P<name>\\w+)@(?P=name)", "pcre")).toBe(false);
  expect(matches("host@host", "(?P<name>\\w+)@(?P=name)\\Z", "pcre")).toBe(true);
});

test("an expression that cannot be read, and a matcher that does not exist, are refused", () => {
  expect(() => matches("celery@host", "(", "pcre")).toThrow('the pattern "(" cannot be read');
  expect(() => matches("celery@host", "*", "soundex")).toThrow("No matcher installed for soundex");
  expect(() => matches("celery@host", "a".repeat(1_001), "glob")).toThrow(CommandError);
});

test("an expression that would take years is given up, and not tried again", () => {
  const name = `celery${"y".repeat(60)}@host`;
  const pattern = "(\\w+)+\\d$";
  expect(() => matches(name, pattern, "pcre")).toThrow("takes longer than");
  const began = performance.now();
  for (let index = 0; index < 1_000; index++) expect(() => matches(name, pattern, "pcre")).toThrow("takes longer than");
  // A thousand further trials would have taken the better part of a minute.
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(matches(name, "celery", "pcre")).toBe(true);
});

test("a glob of many stars does not take long either", () => {
  expect(matches("a".repeat(255), `${"*a".repeat(200)}*b`, "glob")).toBe(false);
});
