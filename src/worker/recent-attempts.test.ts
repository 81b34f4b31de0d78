import { expect, test } from "vitest";
import { RecentAttempts } from "./recent-attempts.ts";

test("knows an attempt of before the loss, once", () => {
  const recent = new RecentAttempts(10);
  recent.add("a:0", 0);
  expect(recent.takeOlder("a:0", 0)).toBe(false);
  expect(recent.takeOlder("a:0", 1)).toBe(true);
  expect(recent.takeOlder("a:0", 1)).toBe(false);
});

test("remembers the latest attempts and stays bounded", () => {
  const recent = new RecentAttempts(100);
  for (let index = 0; index < 10_000; index++) recent.add(`${index}:0`, 0);
  expect(recent.size).toBeLessThanOrEqual(200);
  for (let index = 9_901; index < 10_000; index++) expect(recent.takeOlder(`${index}:0`, 1)).toBe(true);
});
