/**
 * Errors across the border: a JavaScript error as the exception that Python sees, and the stack as its traceback.
 * A class says which Python class it stands for with `static python = "module.Type"` (and `static pythonArgs`, a function
 * from the error to the constructor arguments, when those are not just the message).
 */
import type { RemoteException } from "../../protocol/celery/exceptions.ts";
import { isRecord } from "../../protocol/records.ts";
import { cutText } from "../runtime/cut-text.ts";
import { RemoteTaskError } from "./errors.ts";
import { Reject, Retry } from "./signals.ts";

/** JavaScript's own error classes and the builtins they are closest to. */
const BUILTINS: Record<string, string> = {
  Error: "Exception",
  TypeError: "TypeError",
  RangeError: "ValueError",
  SyntaxError: "ValueError",
  URIError: "ValueError",
  ReferenceError: "NameError",
  EvalError: "RuntimeError",
  AggregateError: "RuntimeError",
};

/**
 * What a handler threw, or an error in its place when it cannot even be looked at: a revoked proxy, an object without a text, a
 * `message` that throws.
 */
export function readableThrown(thrown: unknown): unknown {
  try {
    void (thrown instanceof Error);
    String(thrown);
    return thrown;
  } catch (cause) {
    return unreadable(cause);
  }
}

function unreadable(cause: unknown): Error {
  return new Error(`what was thrown cannot be read: ${safeText(cause)}`);
}

function safeText(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "reading it throws";
  }
}

/** Characters of one argument of an error, such as its message, where it is stored; Celery has no limit. */
export const LONGEST_ARGUMENT = 1_048_576;

/** The error as data for the wire: `exc_type`, `exc_module`, `exc_message`. Never throws, whatever was thrown. */
export function toRemoteException(error: unknown): RemoteException {
  try {
    const exception = remoteException(error);
    if (!exception.args.some(isTooLong)) return exception;
    return { ...exception, args: exception.args.map((arg) => (isTooLong(arg) ? cutText(arg, LONGEST_ARGUMENT) : arg)) };
  } catch (cause) {
    return { type: "Exception", module: "builtins", args: [unreadable(cause).message] };
  }
}

function isTooLong(arg: unknown): arg is string {
  return typeof arg === "string" && arg.length > LONGEST_ARGUMENT;
}

function remoteException(error: unknown): RemoteException {
  if (error instanceof RemoteTaskError) return { type: error.type, module: error.module, args: error.args };
  if (error instanceof Reject)
    return { type: "Reject", module: "celery.exceptions", args: [error.reason, error.requeue] };
  if (error instanceof Retry) return { type: "Retry", module: "celery.exceptions", args: [error.message, null, null] };
  if (!(error instanceof Error)) return { type: "Exception", module: "builtins", args: [error] };
  const declared = pythonClass(error);
  if (declared !== null) return { ...declared, args: declaredArgs(error) };
  const name = typeof error.name === "string" && error.name !== "" ? error.name : "Error";
  const builtin = Object.hasOwn(BUILTINS, name) ? BUILTINS[name] : undefined;
  if (builtin !== undefined) return { type: builtin, module: "builtins", args: [error.message] };
  // Not a class Python could import: it makes one of this name (celery/utils/serialization.py create_exception_cls).
  return { type: name, module: "lovage", args: [error.message] };
}

function pythonClass(error: Error): { type: string; module: string } | null {
  const owner: unknown = error.constructor;
  if (typeof owner !== "function") return null;
  const declared: unknown = Reflect.get(owner, "python");
  if (isRecord(declared) && typeof declared.module === "string" && typeof declared.type === "string") {
    return { type: declared.type, module: declared.module };
  }
  if (typeof declared !== "string") return null;
  const dot = declared.lastIndexOf(".");
  return dot < 0
    ? { type: declared, module: "builtins" }
    : { type: declared.slice(dot + 1), module: declared.slice(0, dot) };
}

function declaredArgs(error: Error): readonly unknown[] {
  const make: unknown = Reflect.get(error.constructor, "pythonArgs");
  if (typeof make === "function") {
    const args: unknown = make(error);
    if (Array.isArray(args)) return args;
  }
  return [error.message];
}

/** The stack, causes included, in place of Python's traceback. Never throws. @default at most 64 KiB of text */
export function tracebackText(error: unknown, limit = 65_536): string {
  try {
    return stackText(error, limit);
  } catch (cause) {
    return unreadable(cause).message;
  }
}

function stackText(error: unknown, limit: number): string {
  if (error instanceof RemoteTaskError && error.traceback !== null) return cutText(error.traceback, limit);
  const parts: string[] = [];
  let current = error;
  for (let depth = 0; depth < 10 && current instanceof Error; depth++) {
    parts.push(cutText(current.stack ?? `${current.name}: ${current.message}`, limit));
    current = current.cause;
  }
  const text = parts.length === 0 ? String(error) : parts.join("\n\nCaused by: ");
  return cutText(text, limit);
}
