import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TimerHeap } from "../../runtime/timer-heap.ts";
import type { Request } from "../request.ts";
import { RateLimits } from "./rate-limits.ts";
import { TokenBucket } from "./token-bucket.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] }));
afterEach(() => vi.useRealTimers());

test("a bucket holds one token, full at first; time when it is full counts for nothing", () => {
  let ms = 0;
  const bucket = new TokenBucket(2, () => ms);
  expect([bucket.take(), bucket.take(), bucket.waitMs()]).toEqual([true, false, 500]);
  ms = 400;
  expect(bucket.take()).toBe(false);
  ms = 500;
  expect(bucket.take()).toBe(true);
  ms = 60_000;
  expect([bucket.take(), bucket.take()]).toEqual([true, false]);
});

let made = 0;
/** As much of a request as the limits look at. */
function request(task: string): Request {
  const id = `r${++made}`;
  return { id, message: { task, id } } as Partial<Request> as Request;
}

function open() {
  const timers = new TimerHeap();
  const started: string[] = [];
  const limits = new RateLimits(timers, (one) => started.push(one.id));
  return { limits, started, timers };
}

test("requests of a limited task start one by one in their order; others are not touched", () => {
  const { limits, started } = open();
  limits.set("slow", 4);
  const [a, b, c] = [request("slow"), request("slow"), request("slow")];
  expect([a, b, c].map((one) => limits.take(one))).toEqual([true, true, true]);
  expect(limits.take(request("other"))).toBe(false);
  expect(started).toEqual([a.id]);
  expect([...limits.waiting]).toEqual([b, c]);
  vi.advanceTimersByTime(249);
  expect(started).toEqual([a.id]);
  vi.advanceTimersByTime(2);
  expect(started).toEqual([a.id, b.id]);
  vi.advanceTimersByTime(252);
  expect(started).toEqual([a.id, b.id, c.id]);
  expect(limits.waiting.size).toBe(0);
});

test("what waits goes on under a new limit, and at once under none", () => {
  const { limits, started } = open();
  limits.set("slow", 1 / 3600);
  for (let index = 0; index < 4; index++) limits.take(request("slow"));
  expect(started).toHaveLength(1);
  limits.set("slow", 10);
  expect(started).toHaveLength(2);
  vi.advanceTimersByTime(101);
  expect(started).toHaveLength(3);
  limits.set("slow", 0);
  expect(started).toHaveLength(4);
  expect(limits.take(request("slow"))).toBe(false);
});

test("a request that was taken away meanwhile costs no token", () => {
  const { limits, started } = open();
  limits.set("slow", 1);
  const [a, b, c] = [request("slow"), request("slow"), request("slow")];
  for (const one of [a, b, c]) limits.take(one);
  limits.waiting.delete(b);
  vi.advanceTimersByTime(1001);
  expect(started).toEqual([a.id, c.id]);
});

test("given up, nothing starts any more", () => {
  const { limits, started } = open();
  limits.set("slow", 10);
  for (let index = 0; index < 3; index++) limits.take(request("slow"));
  expect(limits.drain()).toHaveLength(2);
  vi.advanceTimersByTime(10_000);
  expect(started).toHaveLength(1);
});

test("10,000 that wait need one timer", () => {
  const { limits } = open();
  limits.set("slow", 1);
  for (let index = 0; index < 10_000; index++) limits.take(request("slow"));
  expect(vi.getTimerCount()).toBe(1);
  expect(limits.waiting.size).toBe(9_999);
});
