/**
 * Mognet's errors by its own names. Those of a task that ended badly are `TaskError`s, those of the store `BackendError`s, so that
 * code which serves both protocols catches one family. wire: mognet/exceptions/*.py.
 */
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";
import { BackendError } from "../result-backends/errors.ts";
import { TaskError, TaskRevokedError } from "./errors.ts";

/** The request did not get to the broker; `cause` says why. Its result, if it was written, says FAILURE. */
export class CouldNotSubmit extends LovageError {
  static readonly python = "mognet.exceptions.base_exceptions.CouldNotSubmit";
  readonly requestId: string;
  constructor(requestId: string, message: string, options?: LovageErrorOptions) {
    super("COULD_NOT_SUBMIT", message, options);
    this.requestId = requestId;
  }
}

/** The value was asked for before the task had ended. */
export class ResultNotReady extends BackendError {
  static readonly python = "mognet.exceptions.result_exceptions.ResultNotReady";
  readonly requestId: string;
  constructor(requestId: string, state: string, options?: LovageErrorOptions) {
    super("RESULT_NOT_READY", `the result of ${requestId} is not there yet: its state is ${state}`, {
      retryable: true,
      ...options,
    });
    this.requestId = requestId;
  }
}

/** The result is there and its value is gone: expired, evicted or deleted. */
export class ResultValueLost extends BackendError {
  static readonly python = "mognet.exceptions.result_exceptions.ResultValueLost";
  readonly requestId: string;
  constructor(requestId: string, options?: LovageErrorOptions) {
    super("RESULT_VALUE_LOST", `the value of result ${requestId} is lost`, options);
    this.requestId = requestId;
  }
}

/** The task failed and nothing says how. */
export class ResultFailed extends TaskError {
  static readonly python = "mognet.exceptions.result_exceptions.ResultFailed";
  readonly requestId: string;
  readonly state: string;
  constructor(requestId: string, state: string, options?: LovageErrorOptions) {
    super("RESULT_FAILED", `${requestId} failed with state ${state}`, options);
    this.requestId = requestId;
    this.state = state;
  }
}

/** The task was revoked: by a call, by its deadline, or because the task that started it was. `reason` says which where it is known. */
export class Revoked extends TaskRevokedError {
  static override readonly python = "mognet.exceptions.result_exceptions.Revoked";
  readonly requestId: string;
  constructor(requestId: string, reason = "revoked", options?: LovageErrorOptions) {
    super(requestId, reason, options);
    this.requestId = requestId;
  }
}

/** One complaint about an argument. `loc` counts positional arguments from 1 (0 is the context) and names keywords. */
export interface InvalidErrorInfo {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly type: string;
}

/** The arguments do not fit the task; its result is INVALID. */
export class InvalidTaskArguments extends TaskError {
  static readonly python = "mognet.exceptions.task_exceptions.InvalidTaskArguments";
  readonly errors: readonly InvalidErrorInfo[];
  constructor(message: string, errors: readonly InvalidErrorInfo[] = [], options?: LovageErrorOptions) {
    super("INVALID_TASK_ARGUMENTS", message, options);
    this.errors = errors;
  }
}

/** No task of that name on the worker that took the request; its result is INVALID. */
export class UnknownTask extends TaskError {
  static readonly python = "mognet.tasks.task_registry.UnknownTask";
  constructor(message: string, options?: LovageErrorOptions) {
    super("UNKNOWN_TASK", message, options);
  }
}

/** The task crashed its worker, or lost it, more often than `max_retries` allows. */
export class TooManyRetries extends TaskError {
  static readonly python = "mognet.exceptions.too_many_retries.TooManyRetries";
  constructor(message: string, options?: LovageErrorOptions) {
    super("TOO_MANY_RETRIES", message, options);
  }
}
