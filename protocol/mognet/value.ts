/**
 * The value of a result: a JSON document that names its Python type. What Python wrote is read by that name where it is a
 * type that we know, and given as plain JSON where it is not (models, enums); what we write bears names that every Python can
 * import. wire: Mognet 2.0.0 model/result.py `ResultValueHolder`, `_serialize_name`, `_get_attr`.
 */
import { utf8Encode } from "../bytes.ts";
import { DecodeError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import { PyDate, type PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid } from "../values.ts";
import { decodePlainJson } from "./json.ts";
import { encodeCompactJson } from "./json-text.ts";
import { PyTimeDelta } from "./timedelta.ts";
import { readPydanticTime } from "./times.ts";

/** A value as stored. */
export interface MognetValue {
  /** `module:Class`, such as `builtins:str`. */
  valueType: string;
  /** JSON when it was read; when it is to be written, whatever has a form in JSON. */
  rawValue: unknown;
}

/** The JSON text of the document, byte-equal to Python's. Throws `EncodeError` for what has no form. */
export function encodeMognetValue(value: MognetValue): string {
  return encodeCompactJson({ value_type: value.valueType, raw_value: value.rawValue });
}

/** Throws `DecodeError` where Python refuses. */
export function decodeMognetValue(
  text: string,
  options: { floats?: "number" | "keep"; maxDepth?: number } = {},
): MognetValue {
  const document = decodePlainJson(text, options);
  if (!isRecord(document)) throw new DecodeError(`a Mognet value is an object, not ${kindOf(document)}`);
  const { value_type: valueType, raw_value: rawValue } = document;
  if (typeof valueType !== "string") throw new DecodeError(`a value_type of kind ${kindOf(valueType)}`);
  if (rawValue === undefined) throw new DecodeError("a Mognet value without raw_value");
  return { valueType, rawValue };
}

/**
 * What a task returned, ready to be stored: whole numbers are ints, other numbers floats, `Date` a datetime, a `Set` a set (of
 * objects: a list), bytes that are UTF-8 text are bytes, anything else with members a dict.
 */
export function mognetValueOf(value: unknown): MognetValue {
  return { valueType: typeName(value), rawValue: value ?? null };
}

function typeName(value: unknown): string {
  switch (typeof value) {
    case "string":
      return "builtins:str";
    case "boolean":
      return "builtins:bool";
    case "bigint":
      return "builtins:int";
    case "number":
      return Number.isSafeInteger(value) ? "builtins:int" : "builtins:float";
    case "object":
      return value === null ? "builtins:NoneType" : objectTypeName(value);
    default:
      return value === undefined ? "builtins:NoneType" : "builtins:str";
  }
}

function objectTypeName(value: object): string {
  if (Array.isArray(value)) return "builtins:list";
  if (value instanceof PyFloat) return "builtins:float";
  if (value instanceof Date) return "datetime:datetime";
  if (value instanceof PyDate) return "datetime:date";
  if (value instanceof PyTime) return "datetime:time";
  if (value instanceof PyTimeDelta) return "datetime:timedelta";
  if (value instanceof PyDecimal) return "decimal:Decimal";
  if (value instanceof PyUuid) return "uuid:UUID";
  if (value instanceof Uint8Array) return "builtins:bytes";
  if (value instanceof ArrayBuffer) return "builtins:bytes";
  // Python has no sets of what can change: readers would refuse it.
  if (value instanceof Set) return [...value].some(isUnhashable) ? "builtins:list" : "builtins:set";
  if (value instanceof Number || value instanceof String || value instanceof Boolean) return typeName(value.valueOf());
  if (ArrayBuffer.isView(value)) return "builtins:list";
  if ("toJSON" in value && typeof value.toJSON === "function") return typeName(value.toJSON(""));
  return "builtins:dict";
}

const UNHASHABLE: ReadonlySet<string> = new Set(["builtins:list", "builtins:dict", "builtins:set"]);

function isUnhashable(member: unknown): boolean {
  return typeof member === "object" && member !== null && UNHASHABLE.has(objectTypeName(member));
}

/**
 * The value in JavaScript. Known types become what `lovage/protocol` has for them (`PyDateTime`, `PyDecimal`, `PyUuid`, `Set`,
 * bytes, …); a document whose content does not fit its type is a `DecodeError`, as in Python. Exceptions: `readMognetException`.
 */
export function mognetValueToJs(value: MognetValue): unknown {
  const { valueType, rawValue } = value;
  // wire: `deserialize` looks at nothing else then.
  if (rawValue === null) return null;
  const read = Object.hasOwn(READERS, valueType) ? READERS[valueType] : undefined;
  return read === undefined ? rawValue : read(rawValue);
}

type Read = (raw: unknown) => unknown;

/** A type whose JSON form is a text. */
function textType(type: string, read: (text: string) => unknown): Read {
  return (raw) => {
    const value = typeof raw === "string" ? read(raw) : null;
    if (value === null) throw new DecodeError(`a value of type ${type} that is ${kindOf(raw)}`);
    return value;
  };
}

function toSet(raw: unknown): unknown {
  if (!Array.isArray(raw)) throw new DecodeError(`a set that is ${kindOf(raw)}`);
  return new Set(raw);
}

function dateOf(text: string): PyDate | null {
  const time = readPydanticTime(text);
  return time === null ? null : PyDate.fromDate(time);
}

const READERS: Readonly<Record<string, Read>> = {
  "builtins:bytes": textType("bytes", (text) => new Uint8Array(utf8Encode(text))),
  "builtins:set": toSet,
  "builtins:frozenset": toSet,
  "uuid:UUID": textType("UUID", (text) => new PyUuid(text)),
  "datetime:datetime": (raw) => {
    const time: PyDateTime | null = readPydanticTime(raw);
    if (time === null) throw new DecodeError(`a datetime that is ${kindOf(raw)}`);
    return time;
  },
  "datetime:date": textType("date", dateOf),
  "datetime:time": textType("time", (text) => new PyTime(text)),
  "datetime:timedelta": (raw) => {
    if (typeof raw !== "string" && typeof raw !== "number") throw new DecodeError(`a timedelta that is ${kindOf(raw)}`);
    return new PyTimeDelta(raw);
  },
  "decimal:Decimal": (raw) => {
    if (typeof raw === "string" || typeof raw === "number" || typeof raw === "bigint") return new PyDecimal(raw);
    throw new DecodeError(`a Decimal that is ${kindOf(raw)}`);
  },
};
