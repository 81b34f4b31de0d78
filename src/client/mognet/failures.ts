/**
 * Stored errors as the errors that `get()` throws: Mognet's own by their names, a class of the user's for the Python class that it
 * declares, else `RemoteTaskError`. Of the pickle that Python stores beside them the arguments are read, as data: nothing is executed,
 * while whoever can write to Redis can run code in every Python reader. wire: protocol mognet 3.4; mognet/model/result.py `get`.
 */
import type { RemoteException } from "../../../protocol/celery/exceptions.ts";
import { isNotReadyValue, mognetExceptionArgs, readMognetException } from "../../../protocol/mognet/exception.ts";
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import { RemoteTaskError } from "../../tasks/errors.ts";
import {
  CouldNotSubmit,
  InvalidTaskArguments,
  ResultFailed,
  Revoked,
  TooManyRetries,
  UnknownTask,
} from "../../tasks/mognet-errors.ts";
import { rememberStoredError, storedErrorOf } from "../../tasks/mognet-stored-error.ts";
import type { ErrorRegistry, MakeError } from "../remote-errors.ts";
import { invalidArgumentsIn } from "./invalid-arguments.ts";

const textOf = ({ message = "" }: RemoteException) => message;

const OWN: ReadonlyMap<string, MakeError> = new Map<string, MakeError>([
  [
    InvalidTaskArguments.python,
    (e, cause) => new InvalidTaskArguments(textOf(e), invalidArgumentsIn(textOf(e)), { cause }),
  ],
  [UnknownTask.python, (e, cause) => new UnknownTask(textOf(e), { cause })],
  [TooManyRetries.python, (e, cause) => new TooManyRetries(textOf(e), { cause })],
  [CouldNotSubmit.python, (e, cause) => new CouldNotSubmit(cause.taskId, textOf(e), { cause })],
]);

/** The error that a value stores, as an error; null when it stores none. */
export function errorIn(id: string, value: MognetValue, errors: ErrorRegistry): Error | null {
  const stored = readMognetException(value);
  if (stored === null) return null;
  const colon = stored.name.indexOf(":");
  const exception: RemoteException = {
    module: colon < 0 ? null : stored.name.slice(0, colon),
    type: stored.name.slice(colon + 1),
    args: mognetExceptionArgs(stored) ?? (stored.message === "" ? [] : [stored.message]),
    message: stored.message,
  };
  const remote = new RemoteTaskError(id, exception, stored.traceback === "" ? null : stored.traceback);
  const error = errors.errorFor(exception, remote, OWN);
  rememberStoredError(error, stored);
  return error;
}

/** Why a task failed. A value that is gone is no reason to hide that it did. */
export function failureOf({ id, state }: MognetResult, value: MognetValue | null, errors: ErrorRegistry): Error {
  const stored = value === null || isNotReadyValue(value) ? null : errorIn(id, value, errors);
  if (state === "REVOKED")
    return stored === null ? new Revoked(id) : new Revoked(id, reasonOf(stored), { cause: stored });
  if (stored !== null) return stored;
  return new ResultFailed(id, state, value === null ? {} : { cause: value.rawValue });
}

/** wire: 3.4: a deadline leaves `TimeoutError`, a dead ancestor `Exception` with its id. */
function reasonOf(error: Error): string {
  if (!(error instanceof RemoteTaskError)) return error.message;
  if (error.type === "TimeoutError") return "expired";
  return storedErrorOf(error)?.message || "revoked";
}
