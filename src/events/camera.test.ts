import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../runtime/log.ts";
import { Camera } from "./camera.ts";
import { State } from "./state.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a camera whose times are longer than a timer of Node lasts takes one snapshot at its end, and no storm of them", async () => {
  let shots = 0;
  let cleanups = 0;
  const camera = new Camera({
    state: new State(),
    freq: 86_400 * 365,
    cleanupFreq: Number.POSITIVE_INFINITY,
    onShutter: () => shots++,
    onCleanup: () => cleanups++,
    log: silentLog,
  }).install();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([shots, cleanups]).toEqual([0, 0]);
  await camera.cancel();
  expect([shots, cleanups]).toEqual([1, 0]);
  expect(vi.getTimerCount()).toBe(0);
});
