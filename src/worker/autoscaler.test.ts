import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../runtime/log.ts";
import { steadyTimers, TimerHeap } from "../runtime/timer-heap.ts";
import { Autoscaler } from "./autoscaler.ts";
import { AsyncPool } from "./pools/async-pool.ts";
import { PoolError } from "./pools/errors.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function open(range = { max: 5, min: 1 }, timers = new TimerHeap()) {
  const pool = new AsyncPool(range.min, true);
  const stage = { pool, timers, wanted: 0, max: range.max, scaler: null as Autoscaler | null };
  const scaler = new Autoscaler({
    pool,
    range,
    timers,
    wanted: () => stage.wanted,
    onMax: (max) => {
      stage.max = max;
    },
    log: silentLog,
  });
  return {
    ...stage,
    scaler,
    want: (count: number) => {
      stage.wanted = count;
      scaler.onTask();
    },
    rest: (count: number) => {
      stage.wanted = count;
    },
    maxOf: () => stage.max,
  };
}

test("grows at once to what is reserved, up to the maximum", () => {
  const { pool, want } = open();
  want(3);
  expect(pool.size).toBe(3);
  want(50);
  expect(pool.size).toBe(5);
});

test("shrinks to what is needed after thirty quiet seconds, never below the minimum", () => {
  const { pool, want, rest } = open();
  want(5);
  rest(2);
  vi.advanceTimersByTime(29_000);
  expect(pool.size).toBe(5);
  vi.advanceTimersByTime(31_000);
  expect(pool.size).toBe(2);
  rest(0);
  vi.advanceTimersByTime(60_000);
  expect(pool.size).toBe(1);
});

test("does not shrink while tasks keep coming", () => {
  const { pool, want } = open();
  want(5);
  for (let second = 0; second < 90; second++) {
    vi.advanceTimersByTime(1_000);
    want(1);
  }
  expect(pool.size).toBe(5);
});

test("shrinks when it has been quiet for thirty seconds, though the clock was set and a task came just after the last look", () => {
  const { pool, want, rest } = open(undefined, steadyTimers());
  vi.advanceTimersByTime(30_001);
  want(5);
  rest(1);
  vi.setSystemTime(Date.now() - 3_600_000);
  vi.advanceTimersByTime(29_998);
  expect(pool.size).toBe(5);
  vi.advanceTimersByTime(30_000);
  expect(pool.size).toBe(1);
});

test("from nothing, when the minimum is 0", () => {
  const { pool, want, rest } = open({ max: 2, min: 0 });
  expect(pool.size).toBe(0);
  want(1);
  expect(pool.size).toBe(1);
  rest(0);
  vi.advanceTimersByTime(60_000);
  expect(pool.size).toBe(0);
});

test("takes other bounds, which act at once, and refuses what cannot be", () => {
  const { pool, scaler, want, maxOf } = open();
  want(5);
  expect(scaler.update(3, null)).toEqual({ max: 3, min: 1 });
  expect([pool.size, maxOf()]).toEqual([3, 3]);
  expect(scaler.update(8, 6)).toEqual({ max: 8, min: 6 });
  expect(pool.size).toBe(6);
  expect(scaler.stats()).toEqual({ max: 8, min: 6, current: 6, qty: 5 });
  for (const [max, min] of [
    [0, 0],
    [2, 3],
    [5, -1],
  ] as const)
    expect(() => scaler.update(max, min)).toThrow(PoolError);
  expect(scaler.stats()).toMatchObject({ max: 8, min: 6 });
});

test("a maximum beyond what the pool may have is refused", () => {
  const { scaler, pool } = open();
  expect(() => scaler.update(pool.most + 1, 0)).toThrow(`max is from 1 to ${pool.most}`);
  expect(scaler.stats().max).toBe(5);
});
