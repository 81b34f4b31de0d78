/** Task states and their order. wire: celery/states.py; celery-wire 8.1. Any other text is a custom state. */

export const PENDING = "PENDING";
/** Only in events. */
export const RECEIVED = "RECEIVED";
/** It runs; only with `task_track_started`. */
export const STARTED = "STARTED";
/** It has returned. */
export const SUCCESS = "SUCCESS";
/** It has failed, and is not tried again. */
export const FAILURE = "FAILURE";
/** It was revoked, or has expired. */
export const REVOKED = "REVOKED";
/** Only in events. */
export const REJECTED = "REJECTED";
/** It has failed, and is tried again. */
export const RETRY = "RETRY";
/** It has no state (`Ignore`). */
export const IGNORED = "IGNORED";

/** The task has ended. */
export const READY_STATES: ReadonlySet<string> = new Set([SUCCESS, FAILURE, REVOKED]);
/** The task has not ended. */
export const UNREADY_STATES: ReadonlySet<string> = new Set([PENDING, RECEIVED, STARTED, REJECTED, RETRY]);
/** The result is an exception. */
export const EXCEPTION_STATES: ReadonlySet<string> = new Set([RETRY, FAILURE, REVOKED]);
/** `get()` throws. */
export const PROPAGATE_STATES: ReadonlySet<string> = new Set([FAILURE, REVOKED]);

const PRECEDENCE = new Map([
  [SUCCESS, 0],
  [FAILURE, 1],
  [REVOKED, 3],
  [STARTED, 4],
  [RECEIVED, 5],
  [REJECTED, 6],
  [RETRY, 7],
  [PENDING, 8],
]);
const CUSTOM_PRECEDENCE = 2;

/** Lower is stronger: SUCCESS is 0; a custom state stands after FAILURE and before REVOKED. */
export function precedence(state: string): number {
  return PRECEDENCE.get(state) ?? CUSTOM_PRECEDENCE;
}

/** Whether the task has ended; in a custom state it has not. */
export function isReady(state: string): boolean {
  return state === SUCCESS || state === FAILURE || state === REVOKED;
}
