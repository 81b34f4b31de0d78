/** Delays between attempts: doubling, capped, with full jitter, so that a fleet does not knock on a broker in step. */
import { AbortGroups } from "./abort-groups.ts";

export interface BackoffOptions {
  /** First delay in milliseconds. @default 100 */
  initialMs?: number;
  /** Longest delay in milliseconds. @default 10_000 */
  maxMs?: number;
  random?: () => number;
}

/** Milliseconds to wait before attempt `attempt` (0 is the first retry): between half of and the whole capped delay. */
export function backoffMs(attempt: number, options: BackoffOptions = {}): number {
  const { initialMs = 100, maxMs = 10_000, random = Math.random } = options;
  const whole = Math.min(maxMs, initialMs * 2 ** Math.min(attempt, 30));
  return Math.round(whole / 2 + (random() * whole) / 2);
}

const underSignals = new AbortGroups();

/** Resolves after `ms`, or at once when `signal` aborts; never rejects. `unref` lets the process end meanwhile. */
export function pause(ms: number, signal?: AbortSignal, unref = false): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const member = { onAbort: done };
    const timer = setTimeout(done, ms);
    if (unref) timer.unref();
    if (signal !== undefined) underSignals.join(signal, member);

    function done(): void {
      clearTimeout(timer);
      if (signal !== undefined) underSignals.leave(signal, member);
      resolve();
    }
  });
}
