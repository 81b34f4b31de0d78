import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Waits } from "./waits.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const DAY_MS = 86_400_000;

test("a store that is away is waited for longer than a timer of Node lasts, by few timers", async () => {
  const waits = new Waits<string>({ isReady: () => true });
  let ended: unknown = null;
  waits.add("id", { lostAfter: 60 * DAY_MS }).catch((error: unknown) => {
    ended = error;
  });
  waits.storeIsAway(new TypeError("gone"));
  let fired = 0;
  while (vi.getTimerCount() > 0 && fired < 10) {
    await vi.advanceTimersToNextTimerAsync();
    fired++;
  }
  expect(fired).toBe(3);
  expect(ended).toMatchObject({ message: expect.stringContaining(`away for ${60 * DAY_MS} ms`) });
  expect(performance.now()).toBeGreaterThanOrEqual(60 * DAY_MS);
  waits.close();
});
