/** What can go wrong between us and a result store. */
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";

/** The root of what result stores throw. */
export class BackendError extends LovageError {}

/** The store refused a record (too large, read-only, out of memory), not: the store is away. */
export class BackendStoreError extends BackendError {
  readonly taskId: string;
  constructor(taskId: string, message: string, options?: LovageErrorOptions) {
    super("BACKEND_STORE", message, options);
    this.taskId = taskId;
  }
}

/** The store has been away for too long. */
export class BackendUnavailable extends BackendError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("BACKEND_UNAVAILABLE", message, { retryable: true, ...options });
  }
}

/** A record could not be read. */
export class BackendGetMetaError extends BackendError {
  readonly taskId: string;
  constructor(taskId: string, message: string, options?: LovageErrorOptions) {
    super("BACKEND_GET_META", message, { retryable: true, ...options });
    this.taskId = taskId;
  }
}

/** A result was waited for that can no longer arrive. */
export class ResultLost extends BackendError {
  readonly taskId: string;
  constructor(taskId: string, message: string, options?: LovageErrorOptions) {
    super("RESULT_LOST", message, options);
    this.taskId = taskId;
  }
}
