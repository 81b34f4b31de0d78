/** What a handler may throw to steer its own task instead of failing it. wire: celery/exceptions.py `TaskPredicate`. */
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { pyRepr } from "../../protocol/saferepr.ts";

/** The root of the four; none of them is an error of the task. A handler that catches errors throws it on. */
export class TaskSignal extends Error {
  constructor(message?: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** Ends the task without storing a result; the state stays what the task itself stored, if anything. */
export class Ignore extends TaskSignal {
  static readonly python = "celery.exceptions.Ignore";
  static readonly pythonArgs = (error: Ignore): unknown[] => (error.message === "" ? [] : [error.message]);
}

/** What `ctx.replace()` throws: another signature will be sent in this task's place, under its id. */
export class Replace extends Ignore {
  readonly signature: WireSignature;
  constructor(signature: WireSignature) {
    super("Replaced by new task");
    this.signature = signature;
  }
}

/**
 * Rejects the message. With `requeue` it goes back to its queue at once and nothing is stored; without, it is dead-lettered
 * and, as Celery 5.7 does, a FAILURE is stored. Only a task with `acksLate` can still reject its message.
 */
export class Reject extends TaskSignal {
  static readonly python = "celery.exceptions.Reject";
  readonly reason: unknown;
  readonly requeue: boolean;
  constructor(reason: unknown = null, options: { requeue?: boolean } = {}) {
    // Python's `repr` of it, which monitors show.
    const why = typeof reason === "string" ? reason : pyRepr(reason);
    super(`reject requeue=${options.requeue === true ? "True" : "False"}: ${why}`);
    this.reason = reason;
    this.requeue = options.requeue ?? false;
  }
}

/** What `ctx.retry()` throws: the task will be sent again. Thrown by hand it does the same with the given options. */
export class Retry extends TaskSignal {
  static readonly python = "celery.exceptions.Retry";
  /** The error that made the task retry; stored as the result of the RETRY state. */
  readonly exc: unknown;
  readonly when: RetryTime;
  readonly overrides: RetryOverrides;
  constructor(exc: unknown, when: RetryTime, overrides: RetryOverrides = {}) {
    super(retryText(exc, when));
    this.exc = exc;
    this.when = when;
    this.overrides = overrides;
  }
}

/** Seconds from now, or an instant. */
export type RetryTime = { countdown: number } | { eta: Date | string };

/** What the next attempt changes of the message. */
export interface RetryOverrides {
  args?: readonly unknown[];
  kwargs?: Record<string, unknown>;
  /** Further `applyAsync` options: queue, priority, expires, headers, time limits, … */
  options?: Record<string, unknown>;
}

function retryText(exc: unknown, when: RetryTime): string {
  const time = "countdown" in when ? `in ${when.countdown}s` : `at ${String(when.eta)}`;
  return exc === undefined || exc === null ? `Retry ${time}` : `Retry ${time}: ${String(exc)}`;
}
