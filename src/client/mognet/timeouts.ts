/** One timer for all timeouts of an app's waits; it goes with its last deadline, so that an idle app keeps no process alive. */
import { type Abortable, AbortGroups } from "../../runtime/abort-groups.ts";
import { Canceller } from "../../runtime/cancellation.ts";
import { PassingTimers } from "../../runtime/passing-timers.ts";

export interface Limits {
  /** Milliseconds. */
  timeout?: number;
  signal?: AbortSignal;
}

export class Timeouts {
  readonly #aborts = new AbortGroups();
  readonly #timers = new PassingTimers();

  /** Runs `act` with what ends it: the caller's signal, or the timeout with the error that `late` makes. */
  async run<T>(
    { timeout, signal }: Limits,
    late: (timeoutMs: number) => Error,
    act: (stop: Canceller | undefined) => Promise<T>,
  ): Promise<T> {
    if (signal?.aborted) throw signal.reason;
    if (timeout === undefined && signal === undefined) return act(undefined);
    const stop = new Canceller();
    const endTimer = timeout === undefined ? null : this.#timers.after(timeout, () => stop.abort(late(timeout)));
    const member: Abortable = stop;
    if (signal !== undefined) this.#aborts.join(signal, member);
    try {
      return await act(stop);
    } finally {
      endTimer?.();
      if (signal !== undefined) this.#aborts.leave(signal, member);
    }
  }

  close(): void {
    this.#timers.close();
  }
}
