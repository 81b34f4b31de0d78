import { expect, test } from "vitest";
import { CommandError } from "./errors.ts";
import { checkPattern, matches } from "./matcher.ts";

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

test("a pattern is looked at before it is sent: what no worker could read is named, what only Python reads is let through", () => {
  expect(checkPattern("w_(", "pcre")).toMatch(/Unterminated group/);
  expect(checkPattern("[a", "pcre")).toMatch(/Unterminated character class/);
  expect(checkPattern("a".repeat(1_001), "glob")).toMatch(/longer than/);
  for (const good of [
    "celery@(?P<n>\\d+)\\Z",
    "(?i)CEL",
    "(?i:cel)x",
    "a++b",
    "(?#why)x",
    "(a)?(?(1)b|c)",
    "w_(ts|py)",
  ])
    expect(checkPattern(good, "pcre"), good).toBeNull();
  expect(checkPattern("w_(", "glob")).toBeNull();
});
