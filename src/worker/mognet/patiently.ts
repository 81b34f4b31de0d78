/** Asking a result store that is away, for as long as the request is ours. */
import { BackendError } from "../../result-backends/errors.ts";
import { backoffMs, pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import type { Run } from "./run.ts";

/** Nobody waits for the rest. */
export const ABANDONED = Symbol("abandoned");

/** A store that is away for longer than it waits itself is asked again. Throws `ABANDONED` when the run is over or the worker closes. */
export async function patiently<T>(run: Run, log: Log, closing: AbortSignal, act: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof BackendError) || !error.retryable) throw error;
      if (run.state === "settled" || run.delivery.lost || closing.aborted) throw ABANDONED;
      log.warn({ id: run.id, err: error }, "the result store does not answer; trying again");
      await pause(backoffMs(attempt), closing, true);
    }
  }
}
