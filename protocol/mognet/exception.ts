/** Errors as Mognet stores them, as data. wire: Mognet 2.0.0 model/result.py `_ExceptionInfo`. */
import { base64Decode, base64Encode } from "../bytes.ts";
import { DecodeError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import { describePickle, PickledObject } from "./pickle-reader.ts";
import { type PickleItem, writePickle } from "./pickle-writer.ts";
import type { MognetValue } from "./value.ts";

/** An error as stored. Nothing in it is ever executed. */
export interface MognetException {
  /** `module:Class`. */
  name: string;
  message: string;
  traceback: string;
  /** Base64 of a Python pickle, or null. */
  rawData: string | null;
  /** `application/python-pickle`, or null. */
  rawDataEncoding: string | null;
}

/** Name of the type that a stored error has. */
export const MOGNET_EXCEPTION_TYPE = "mognet.model.result:_ExceptionInfo";
/** Name of the error that stands where no value is yet. */
export const MOGNET_NOT_READY = "mognet.exceptions.result_exceptions:ResultNotReady";

/** The value that stores an error. */
export function mognetExceptionValue(error: MognetException): MognetValue {
  return {
    valueType: MOGNET_EXCEPTION_TYPE,
    rawValue: {
      name: error.name,
      message: error.message,
      traceback: error.traceback,
      raw_data: error.rawData,
      raw_data_encoding: error.rawDataEncoding,
    },
  };
}

/** The error that a value stores; null: it stores none. Throws `DecodeError` where Python refuses. */
export function readMognetException(value: MognetValue): MognetException | null {
  const { valueType, rawValue } = value;
  if (valueType !== MOGNET_EXCEPTION_TYPE || rawValue === null) return null;
  if (!isRecord(rawValue)) throw new DecodeError(`an error that is ${kindOf(rawValue)}`);
  const { name, message, traceback, raw_data: rawData = null, raw_data_encoding: encoding = null } = rawValue;
  if (typeof name !== "string" || typeof message !== "string" || typeof traceback !== "string") {
    throw new DecodeError("an error without name, message or traceback");
  }
  if ((rawData !== null && typeof rawData !== "string") || (encoding !== null && typeof encoding !== "string")) {
    throw new DecodeError("an error whose raw_data is no text");
  }
  return { name, message, traceback, rawData, rawDataEncoding: encoding };
}

/** Does the value stand for none, as revokes and `get_or_create` leave it? */
export function isNotReadyValue(value: MognetValue): boolean {
  return (
    isRecord(value.rawValue) && value.valueType === MOGNET_EXCEPTION_TYPE && value.rawValue.name === MOGNET_NOT_READY
  );
}

// -------------------------------------------------------------------------------------------------------------- our own

/** An error as Python would have raised it. */
export interface PythonError {
  /** `module:Class`. One that Python and Mognet have is raised as such by Python readers, any other as a plain `Exception`. */
  name: string;
  /** Python's `str()` of it. */
  message: string;
  /** Arguments of its constructor. @default the message, if there is one */
  args?: readonly PickleItem[];
  /** @default one line, as for an error that was never raised */
  traceback?: string;
  /** The pickle of an error that Python stored before, as it was: null for none. @default one of `name` and `args`, if known */
  rawData?: string | null;
}

/** The stored form of an error of ours. */
export function encodeMognetError(error: PythonError): MognetException {
  const name = wellFormed(error.name);
  const message = wellFormed(error.message);
  const traceback = wellFormed(error.traceback ?? onlyLine(error));
  const args = error.args ?? (message === "" ? [] : [message]);
  const made = isKnownException(name) ? () => base64Encode(writePickle({ call: name, args })) : () => null;
  const rawData = error.rawData === undefined ? made() : error.rawData;
  return { name, message, traceback, rawData, rawDataEncoding: rawData === null ? null : "application/python-pickle" };
}

/** Half a surrogate pair has no UTF-8; an error must not be lost for the sake of one. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** wire: `traceback.format_exception` of an exception without a traceback. */
function onlyLine({ name, message }: PythonError): string {
  const qualified = name.replace(/^builtins:/, "").replace(":", ".");
  return message === "" ? `${qualified}\n` : `${qualified}: ${message}\n`;
}

/**
 * The arguments of a stored exception, read from its pickle without running it; null where they cannot be told: no pickle, one of
 * another class (Python stores a plain `Exception` of what it cannot pickle), and arguments that are more than data.
 */
export function mognetExceptionArgs(error: MognetException): readonly unknown[] | null {
  if (error.rawData === null || error.rawDataEncoding !== "application/python-pickle") return null;
  let bytes: Uint8Array;
  try {
    bytes = base64Decode(error.rawData);
  } catch (failure) {
    if (failure instanceof DecodeError) return null;
    throw failure;
  }
  const described = describePickle(bytes)?.value;
  if (!(described instanceof PickledObject) || described.args === null) return null;
  if (described.className !== error.name && described.className !== "builtins:Exception") return null;
  const args = plainCopy(described.args, { left: MOST_PARTS }, 0);
  return Array.isArray(args) ? args : null;
}

/** Of all arguments together: a pickle may name one list many times, and itself in it. */
const MOST_PARTS = 10_000;
const DEEPEST = 100;

/** Undefined: there is more to it than data. */
function plainCopy(value: unknown, budget: { left: number }, depth: number): unknown {
  if (budget.left-- <= 0 || depth > DEEPEST) return undefined;
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    for (const each of value) {
      const item = plainCopy(each, budget, depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }
  if (value instanceof Map) {
    const members: Record<string, unknown> = Object.create(null);
    for (const [key, each] of value) {
      const member = typeof key === "string" ? plainCopy(each, budget, depth + 1) : undefined;
      if (member === undefined) return undefined;
      members[key] = member;
    }
    return members;
  }
  return typeof value === "object" && value !== null ? undefined : value;
}

/** Classes that any Python 3 makes of any arguments. Those that end a process are not among them. */
const BUILTINS =
  "ArithmeticError AssertionError AttributeError BlockingIOError BrokenPipeError BufferError ChildProcessError " +
  "ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError EOFError Exception FileExistsError " +
  "FileNotFoundError FloatingPointError ImportError IndexError InterruptedError IsADirectoryError KeyError LookupError " +
  "MemoryError ModuleNotFoundError NameError NotADirectoryError NotImplementedError OSError OverflowError PermissionError " +
  "ProcessLookupError RecursionError ReferenceError RuntimeError SystemError TimeoutError TypeError UnboundLocalError " +
  "UnicodeError ValueError ZeroDivisionError";

const KNOWN: ReadonlySet<string> = new Set([
  ...BUILTINS.split(" ").map((name) => `builtins:${name}`),
  "mognet.exceptions.task_exceptions:InvalidTaskArguments",
  "mognet.exceptions.task_exceptions:Pause",
  "mognet.exceptions.too_many_retries:TooManyRetries",
  "mognet.exceptions.result_exceptions:ResultNotReady",
  "mognet.exceptions.base_exceptions:MognetError",
  "mognet.exceptions.base_exceptions:CouldNotSubmit",
  "mognet.tasks.task_registry:UnknownTask",
]);

function isKnownException(name: string): boolean {
  return KNOWN.has(name);
}
