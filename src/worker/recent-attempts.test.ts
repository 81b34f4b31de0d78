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

test("what was acked long before the loss reached the broker: a message like it is another one", () => {
  let nowMs = 0;
  const recent = new RecentAttempts(10, () => nowMs);
  recent.add("long ago", 0);
  nowMs = 170_000;
  recent.add("lately", 0);
  nowMs = 190_000;
  recent.connectionLost();
  expect(recent.takeOlder("long ago", 1)).toBe(false);
  expect(recent.takeOlder("lately", 1)).toBe(true);
});
