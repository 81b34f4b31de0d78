/**
 * How tasks end other than well, as errors: what `result.get()` throws, what a handler may throw to steer its own fate,
 * and how an error class of ours names the Python class it stands for. wire: celery-wire 8.2; celery/exceptions.py.
 */
import type { RemoteException } from "../../protocol/celery/exceptions.ts";
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";
import { pyRepr } from "../../protocol/saferepr.ts";

/** Bytes of an argument that a message shows. */
const SHOWN_BYTES = 200;

/** A task did not succeed. */
export class TaskError extends LovageError {}

/** A task failed, wherever it ran: the remote exception as data, never instantiated by name. */
export class RemoteTaskError extends TaskError {
  readonly taskId: string;
  /** Class name, such as `ValueError`. */
  readonly type: string;
  /** Python module, such as `builtins`; null when the peer named none. */
  readonly module: string | null;
  /** Constructor arguments. */
  readonly args: readonly unknown[];
  /** The remote traceback or stack as text. */
  readonly traceback: string | null;

  constructor(taskId: string, exception: RemoteException, traceback: string | null, options?: LovageErrorOptions) {
    const text = exception.message ?? wrappedText(exception) ?? argumentsText(exception.args);
    super("TASK_FAILED", `${exception.type}${text === "" ? "" : `: ${text}`}`, options);
    this.taskId = taskId;
    this.type = exception.type;
    this.module = exception.module;
    this.args = exception.args;
    this.traceback = traceback;
  }
}

/** Celery's stand-in for an exception that Python cannot make again says the repr of that one. wire: celery/utils/serialization.py */
export function wrappedText({ type, args }: Pick<RemoteException, "type" | "args">): string | null {
  const text = type === "UnpickleableExceptionWrapper" && args.length === 4 ? args[3] : null;
  return typeof text === "string" ? text : null;
}

function argumentsText(args: readonly unknown[]): string {
  const first = args.length === 1 ? args[0] : undefined;
  return typeof first === "string" ? first : args.map((arg) => printable(arg)).join(", ");
}

function printable(value: unknown): string {
  if (typeof value === "string" || typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array || (typeof value === "number" && !Number.isFinite(value))) return inPython(value);
  try {
    return JSON.stringify(value, showing) ?? "";
  } catch {
    return String(value);
  }
}

/** What JSON has no form for. Seen before `toJSON`, which makes an object of each byte of a Buffer. */
function showing(this: Readonly<Record<string, unknown>>, key: string, given: unknown): unknown {
  const value = this[key];
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array || (typeof value === "number" && !Number.isFinite(value))) return inPython(value);
  return given;
}

/** Bytes are cut: those that a decoder refused may be a whole file, and they are in `args`. */
function inPython(value: Uint8Array | number): string {
  if (typeof value === "number") return pyRepr(value);
  const spare = value.length - SHOWN_BYTES;
  return spare > 0 ? `${pyRepr(value.subarray(0, SHOWN_BYTES))}… ${spare} bytes more` : pyRepr(value);
}

/** The task was revoked, or found past its `expires`, before or while it ran. `reason` is `revoked`, `expired` or `terminated`. */
export class TaskRevokedError extends TaskError {
  static readonly python: string = "celery.exceptions.TaskRevokedError";
  static readonly pythonArgs = (error: TaskRevokedError): unknown[] => [error.reason];
  readonly taskId: string;
  readonly reason: string;
  constructor(taskId: string, reason: string, options?: LovageErrorOptions) {
    super("TASK_REVOKED", `task ${taskId} ${reason}`, options);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** No worker on the queue knows the task's name. */
export class NotRegistered extends TaskError {
  static readonly python = "celery.exceptions.NotRegistered";
  readonly taskName: string;
  constructor(taskName: string, options?: LovageErrorOptions) {
    super("NOT_REGISTERED", taskName, options);
    this.taskName = taskName;
  }
}

/** The task's soft time limit passed; also the reason with which `ctx.signal` aborts then. */
export class SoftTimeLimitExceeded extends TaskError {
  static readonly python = "billiard.exceptions.SoftTimeLimitExceeded";
  static readonly pythonArgs = (): unknown[] => [];
  /** Null when a Python worker reports it: billiard's exception does not say. */
  readonly seconds: number | null;
  constructor(seconds: number | null = null, options?: LovageErrorOptions) {
    super("SOFT_TIME_LIMIT_EXCEEDED", `soft time limit${seconds === null ? "" : ` of ${seconds} s`} exceeded`, options);
    this.seconds = seconds;
  }
}

/** The task's hard time limit passed. */
export class TimeLimitExceeded extends TaskError {
  static readonly python = "billiard.exceptions.TimeLimitExceeded";
  static readonly pythonArgs = (error: TimeLimitExceeded): unknown[] => [error.seconds];
  readonly seconds: number;
  constructor(seconds: number, options?: LovageErrorOptions) {
    super("TIME_LIMIT_EXCEEDED", `time limit of ${seconds} s exceeded`, options);
    this.seconds = seconds;
  }
}

/** `retry()` was asked for more often than `maxRetries` allows and no other error was given. */
export class MaxRetriesExceededError extends TaskError {
  static readonly python = "celery.exceptions.MaxRetriesExceededError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("MAX_RETRIES_EXCEEDED", message, options);
  }
}

/** A member of a chord failed. */
export class ChordError extends TaskError {
  static readonly python = "celery.exceptions.ChordError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("CHORD", message, options);
  }
}

/** The process or thread that ran the task has died. */
export class WorkerLostError extends TaskError {
  static readonly python = "billiard.exceptions.WorkerLostError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("WORKER_LOST", message, options);
  }
}

/** Our wait ended; the task may run on. */
export class TimeoutError extends LovageError {
  readonly taskId: string;
  /** `outage`: why the result store could not be heard in the end, which is also the `cause`. */
  constructor(taskId: string, timeoutMs: number, outage: Error | null = null) {
    const why = outage === null ? "" : `, for the result store is away: ${outage.message}`;
    super("TIMEOUT", `no result of task ${taskId} within ${timeoutMs} ms${why}; the task may still run`, {
      retryable: true,
      cause: outage ?? undefined,
    });
    this.taskId = taskId;
  }
}

/** The arguments cannot be bound to the task's parameters, in the words a Python caller knows. */
export class TaskArgumentError extends TaskError {
  static readonly python = "builtins.TypeError";
  constructor(message: string, options?: LovageErrorOptions) {
    super("TASK_ARGUMENTS", message, options);
  }
}

/** A parameter or a return value does not satisfy its schema. `issues` are the schema library's own. */
export class TaskValidationError extends TaskError {
  static readonly python = "builtins.ValueError";
  readonly issues: readonly unknown[];
  constructor(message: string, issues: readonly unknown[], options?: LovageErrorOptions) {
    super("TASK_VALIDATION", message, options);
    this.issues = issues;
  }
}
