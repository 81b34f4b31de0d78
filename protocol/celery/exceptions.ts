/**
 * Exceptions of either language as data: never instantiated by name. wire: celery-wire 8.2; celery/backends/base.py
 * `prepare_exception`, `exception_to_python`.
 */
import { EncodeError } from "../errors.ts";
import { encodeJson } from "../json.ts";
import { isRecord, textOr } from "../records.ts";
import { pyRepr } from "../saferepr.ts";

/** A Python exception, or one of ours as Python would see it: plain data, never an instance made by name. */
export interface RemoteException {
  /** Qualified name, such as `ValueError` or `Outer.Inner`. */
  type: string;
  /** Python module, such as `builtins`; null when the peer named none. */
  module: string | null;
  /** Constructor arguments. */
  args: readonly unknown[];
  /** Python's `str()` of it, where that is stored too. @default what the arguments say */
  message?: string;
}

/** The object that stands in a result document. */
export interface WireException {
  exc_type: string;
  exc_message: readonly unknown[];
  exc_module: string | null;
}

/** An argument that has no form on the wire becomes its repr, as in Celery (`ensure_serializable`). */
export function encodeException(exception: RemoteException, canEncode = hasJsonForm): WireException {
  return {
    exc_type: exception.type,
    exc_message: exception.args.map((arg) => (canEncode(arg) ? arg : pyRepr(arg))),
    exc_module: exception.module,
  };
}

/** Whether Kombu's JSON can carry the value. */
export function hasJsonForm(value: unknown): boolean {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  try {
    encodeJson(value);
    return true;
  } catch (error) {
    if (error instanceof EncodeError) return false;
    throw error;
  }
}

/**
 * What a result document says about an exception; null when it says none. Reads every shape that was ever written: arguments
 * as an array or as one bare value, no module (Celery 3), and a bare text, which other clients store.
 */
export function decodeException(value: unknown): RemoteException | null {
  if (isEmpty(value)) return null;
  if (!isRecord(value) || typeof value.exc_type !== "string" || value.exc_type === "") {
    return { type: "Exception", module: "builtins", args: [value] };
  }
  const message = value.exc_message;
  return {
    type: value.exc_type,
    module: textOr(value.exc_module, null),
    args: message === undefined ? [] : Array.isArray(message) ? message : [message],
  };
}

/** Python's falsy values, which `exception_to_python` reads as no exception. */
function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === "" || value === false || value === 0) return true;
  return Array.isArray(value) ? value.length === 0 : isRecord(value) && Object.keys(value).length === 0;
}
