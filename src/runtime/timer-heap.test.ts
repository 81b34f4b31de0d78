import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TimerHeap } from "./timer-heap.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("calls each entry once, in the order of its time", () => {
  const heap = new TimerHeap();
  const called: number[] = [];
  const start = Date.now();
  for (const delay of [500, 100, 300, 100, 200]) heap.at(start + delay, () => called.push(delay));
  vi.advanceTimersByTime(250);
  expect(called).toEqual([100, 100, 200]);
  vi.advanceTimersByTime(1000);
  expect(called).toEqual([100, 100, 200, 300, 500]);
  expect(heap.size).toBe(0);
});

test("holds 100,000 entries with one timer", () => {
  const heap = new TimerHeap();
  const start = Date.now();
  let called = 0;
  for (let index = 0; index < 100_000; index++) heap.at(start + 1000 + ((index * 7919) % 100_000), () => called++);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(200_000);
  expect(called).toBe(100_000);
});

test("100,000 entries cost less than a kilobyte each", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const used = () => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const heap = new TimerHeap();
  const before = used();
  const start = Date.now();
  let called = 0;
  for (let index = 0; index < 100_000; index++) heap.at(start + 1000 + index, () => called++);
  expect((used() - before) / heap.size).toBeLessThan(1024);
  heap.close();
});

test("a cancelled entry never fires and its room is reclaimed", () => {
  const heap = new TimerHeap();
  let called = 0;
  const entries = Array.from({ length: 5000 }, () => heap.at(Date.now() + 100, () => called++));
  for (const entry of entries.slice(1)) heap.cancel(entry);
  heap.cancel(entries[1]!);
  expect(heap.size).toBe(1);
  vi.advanceTimersByTime(100);
  expect(called).toBe(1);
  expect(heap.size).toBe(0);
});

test("reaches farther than one timer can", () => {
  const heap = new TimerHeap();
  let called = false;
  heap.at(Date.now() + 2 ** 31 + 5000, () => {
    called = true;
  });
  vi.advanceTimersByTime(2 ** 31);
  expect(called).toBe(false);
  vi.advanceTimersByTime(6000);
  expect(called).toBe(true);
});

test("an entry added while firing is served too", () => {
  const heap = new TimerHeap();
  const called: string[] = [];
  heap.at(Date.now() + 10, () => {
    called.push("first");
    heap.at(Date.now(), () => called.push("second"));
  });
  vi.advanceTimersByTime(20);
  expect(called).toEqual(["first", "second"]);
});

test("nothing fires after close, and no timer is left", () => {
  const heap = new TimerHeap();
  heap.at(Date.now() + 10, () => expect.unreachable());
  heap.close();
  expect(vi.getTimerCount()).toBe(0);
});
