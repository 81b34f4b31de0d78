/**
 * A stored exception as the error that `get()` throws: one of Lovage's own for what Celery itself raises, a class of the
 * user's for the Python class it declares, else `RemoteTaskError`. Nothing is looked up by name but what was registered.
 * wire: celery-wire 8.2; celery/backends/base.py `exception_to_python`.
 */
import type { RemoteException } from "../../protocol/celery/exceptions.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { REVOKED } from "../../protocol/celery/states.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { isRecord } from "../../protocol/records.ts";
import { mismatch } from "../settings/kinds.ts";
import {
  ChordError,
  MaxRetriesExceededError,
  NotRegistered,
  RemoteTaskError,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  WorkerLostError,
} from "../tasks/errors.ts";

/**
 * An error class that stands for a Python class: `static python = "myproj.errors.PaymentFailed"`, or `{ module, type }`.
 * It is made by `static fromPython(exception)` when there is one, else by its constructor with the exception's arguments.
 */
export type MappedErrorClass = (new (
  ...args: never[]
) => Error) & {
  readonly python: string | { readonly module: string; readonly type: string };
};

export type MakeError = (exception: RemoteException, remote: RemoteTaskError) => Error | null;
type Make = MakeError;

const textOf = (exception: RemoteException) => exception.args.map(String).join(", ");

const CELERY_OWN: ReadonlyMap<string, Make> = new Map<string, Make>([
  ["celery.exceptions.NotRegistered", (e, cause) => new NotRegistered(textOf(e), { cause })],
  ["celery.exceptions.TaskRevokedError", (e, cause) => new TaskRevokedError(cause.taskId, textOf(e), { cause })],
  ["celery.exceptions.MaxRetriesExceededError", (e, cause) => new MaxRetriesExceededError(textOf(e), { cause })],
  ["celery.exceptions.ChordError", (e, cause) => new ChordError(textOf(e), { cause })],
  ["billiard.exceptions.WorkerLostError", (e, cause) => new WorkerLostError(textOf(e), { cause })],
  ["billiard.exceptions.TimeLimitExceeded", timeLimit],
  ["billiard.exceptions.SoftTimeLimitExceeded", (_e, cause) => new SoftTimeLimitExceeded(null, { cause })],
]);

/** One that does not say its seconds stays a `RemoteTaskError`. */
function timeLimit({ args }: RemoteException, cause: RemoteTaskError): Error | null {
  const seconds = Number(args[0]);
  return args.length > 0 && Number.isFinite(seconds) ? new TimeLimitExceeded(seconds, { cause }) : null;
}

/** The classes that stand for Python classes. */
export class ErrorRegistry {
  readonly #classes = new Map<string, Make>();

  /** Throws `ImproperlyConfigured` for a class without `static python`, and for a second one of the same name. */
  constructor(classes: Iterable<MappedErrorClass> = []) {
    for (const type of classes) {
      const name = pythonName(type);
      if (this.#classes.has(name)) throw new ImproperlyConfigured(`two error classes stand for Python's ${name}`);
      this.#classes.set(name, (exception) => instantiate(type, exception));
    }
  }

  /** The error of a record in FAILURE, REVOKED or RETRY. What is not a `RemoteTaskError` has one as its `cause`, with the traceback. */
  errorOf(taskId: string, meta: ResultMeta): Error {
    const exception = meta.exception ?? unnamed(meta);
    const remote = new RemoteTaskError(taskId, exception, meta.traceback);
    if (meta.status === REVOKED) {
      return new TaskRevokedError(taskId, textOf(exception) || "revoked", { cause: remote });
    }
    return this.errorFor(exception, remote, CELERY_OWN);
  }

  /** The error for one exception: of a registered class, of `own` by `module.Type`, else `remote` itself. */
  errorFor(exception: RemoteException, remote: RemoteTaskError, own: ReadonlyMap<string, MakeError>): Error {
    const key = `${exception.module ?? "builtins"}.${exception.type}`;
    const made = (this.#classes.get(key) ?? own.get(key))?.(exception, remote) ?? remote;
    if (made !== remote && made.cause === undefined) {
      Object.defineProperty(made, "cause", { value: remote, configurable: true, writable: true });
    }
    return made;
  }
}

/** A peer stored a failure without an exception. */
function unnamed(meta: ResultMeta): RemoteException {
  return { type: "Exception", module: "builtins", args: meta.result === null ? [] : [meta.result] };
}

function pythonName(type: MappedErrorClass): string {
  if (typeof type !== "function") throw mismatch("an entry of errors", "an error class", type);
  const declared: unknown = type.python;
  if (typeof declared === "string" && declared !== "")
    return declared.includes(".") ? declared : `builtins.${declared}`;
  if (isRecord(declared) && typeof declared.module === "string" && typeof declared.type === "string") {
    return `${declared.module}.${declared.type}`;
  }
  throw new ImproperlyConfigured(
    `error class ${type.name} needs static python = "module.Type" to stand for a Python exception`,
  );
}

/** Null when the class does not take these arguments: the remote error is thrown itself then. */
function instantiate(type: MappedErrorClass, exception: RemoteException): Error | null {
  const fromPython: unknown = Reflect.get(type, "fromPython");
  try {
    const made: unknown =
      typeof fromPython === "function"
        ? Reflect.apply(fromPython, type, [exception])
        : Reflect.construct(type, [...exception.args]);
    return made instanceof Error ? made : null;
  } catch {
    return null;
  }
}
