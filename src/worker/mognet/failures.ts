/** What a handler has thrown, as Mognet stores it. wire: mognet 3.4. */
import { EncodeError } from "../../../protocol/errors.ts";
import type { PythonError } from "../../../protocol/mognet/exception.ts";
import { reprTuple } from "../../../protocol/python-repr.ts";
import { cutText } from "../../runtime/cut-text.ts";
import { RemoteTaskError, wrappedText } from "../../tasks/errors.ts";
import { storedErrorOf } from "../../tasks/mognet-stored-error.ts";
import { LONGEST_ARGUMENT, readableThrown, toRemoteException, tracebackText } from "../../tasks/python-errors.ts";

/** wire: what pydantic raises for a value that JSON cannot hold. */
const UNENCODABLE = "pydantic_core._pydantic_core:PydanticSerializationError";

const PICKLE = "application/python-pickle";

/** Never throws, whatever was thrown. */
export function pythonErrorOf(thrown: unknown): PythonError {
  const error = readableThrown(thrown);
  try {
    return readPythonError(error);
  } catch (cause) {
    const words = `what was thrown cannot be read: ${String(readableThrown(cause))}`;
    return { name: "builtins:Exception", message: words, traceback: tracebackText(error) };
  }
}

function readPythonError(error: unknown): PythonError {
  const stored = storedErrorOf(error);
  if (stored !== null) {
    const { name, message, traceback, rawData, rawDataEncoding } = stored;
    return { name, message, traceback, rawData: rawDataEncoding === PICKLE ? rawData : null };
  }
  const { module, type, args } = toRemoteException(error);
  const name = error instanceof EncodeError ? UNENCODABLE : `${module ?? "builtins"}:${type}`;
  const message = cutText(messageOf(error), LONGEST_ARGUMENT);
  const plain = args.every(isPlain) ? { args } : {};
  return { name, message, traceback: tracebackText(error), ...(message === "" ? {} : plain) };
}

type Plain = null | boolean | number | bigint | string;

/** What a pickle of ours may hold of an error's arguments. */
function isPlain(value: unknown): value is Plain {
  return value === null || ["boolean", "number", "bigint", "string"].includes(typeof value);
}

function messageOf(error: unknown): string {
  if (error instanceof RemoteTaskError) {
    const { args } = error;
    const wrapped = wrappedText(error);
    if (wrapped !== null) return wrapped;
    return args.length === 1 ? String(args[0]) : args.length === 0 ? "" : reprTuple(args);
  }
  return String(error instanceof Error ? error.message : error);
}
