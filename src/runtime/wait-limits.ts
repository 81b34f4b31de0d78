/** Timeouts and signals of waits: one timer for all, which goes with its last deadline, so that an idle client keeps no process alive. */
import { AbortGroups } from "./abort-groups.ts";
import type { Canceller } from "./cancellation.ts";
import { steadyTimers, type TimerHeap } from "./timer-heap.ts";

export interface WaitLimits {
  /** Milliseconds. */
  timeout?: number | undefined;
  signal?: AbortSignal | undefined;
}

export class LimitedWaits {
  readonly #aborts = new AbortGroups();
  #timers: TimerHeap | null = null;

  /** The promise, whose work `stop` ends: at the signal with its reason, or after the timeout with the error that `late` makes. */
  async limit<T>(
    waiting: Promise<T>,
    stop: Canceller,
    { timeout, signal }: WaitLimits,
    late: (timeoutMs: number) => Error,
  ): Promise<T> {
    if (timeout === undefined && signal === undefined) return waiting;
    const endTimer = timeout === undefined ? null : this.#after(timeout, () => stop.abort(late(timeout)));
    if (signal !== undefined) this.#aborts.join(signal, stop);
    try {
      return await waiting;
    } finally {
      endTimer?.();
      if (signal !== undefined) this.#aborts.leave(signal, stop);
    }
  }

  close(): void {
    this.#timers?.close();
    this.#timers = null;
  }

  /** Returns what cancels it. */
  #after(ms: number, run: () => void): () => void {
    this.#timers ??= steadyTimers();
    const timers = this.#timers;
    const entry = timers.after(ms, run);
    return () => {
      timers.cancel(entry);
      if (timers.size > 0) return;
      timers.close();
      if (this.#timers === timers) this.#timers = null;
    };
  }
}
