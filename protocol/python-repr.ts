/**
 * Python's plain `repr()` of values that can travel, for exception texts such as `ValueError('boom', 42)`. Never throws.
 * Source: CPython 3.11 `unicode_repr`, `bytes_repr`, `BaseException_repr` and the reprs of datetime, decimal and uuid.
 */
import type { PythonClock } from "./python-isoformat.ts";
import { floatRepr, numberRepr } from "./python-numbers.ts";
import { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid } from "./values.ts";

/** `repr(value)`: arrays are lists, plain objects and maps dicts; what Python has no word for is named in angle brackets. */
export function pyRepr(value: unknown): string {
  try {
    return repr(value, []);
  } catch {
    return unrepresentable(value); // A getter threw, or the value is nested beyond the stack.
  }
}

/** `repr()` of a tuple: `(1,)`, `(1, 2)`. */
export function reprTuple(items: readonly unknown[]): string {
  return items.length === 1 ? `(${pyRepr(items[0])},)` : `(${items.map(pyRepr).join(", ")})`;
}

/** `repr()` of an exception: its type's name without the module, and its arguments. */
export function reprException(type: string, args: readonly unknown[]): string {
  return args.length === 1 ? `${type}(${pyRepr(args[0])})` : `${type}${reprTuple(args)}`;
}

/** `repr()` of what is neither number, text, bytes nor container. May throw where the value's own code does. */
export function reprOther(value: unknown): string {
  if (typeof value === "function") return `<function ${value.name === "" ? "anonymous" : value.name}>`;
  if (typeof value !== "object" || value === null) return value == null ? "None" : `<${String(value)}>`;
  return reprKnown(value) ?? `<${className(value)} object>`;
}

/** `repr()` of the objects that Python has a type for; null for others. */
export function reprKnown(value: object): string | null {
  if (value instanceof Date) return reprDateTime(value);
  if (value instanceof PyDate) return `datetime.date(${value.year}, ${value.month}, ${value.day})`;
  if (value instanceof PyTime) {
    return `datetime.time(${clockArguments(value.fields)}${zoneArgument(value.fields.offsetMicros)})`;
  }
  if (value instanceof PyDecimal) return `Decimal('${value.text}')`;
  if (value instanceof PyUuid) return `UUID('${value.toString()}')`;
  if (value instanceof Error) return reprException(value.name, [value.message]);
  return null;
}

/** Stands for a value whose own code threw while it was read. */
export function unrepresentable(value: unknown): string {
  return `<Unrepresentable ${Array.isArray(value) ? "list" : typeof value}>`;
}

/** Python's quoting: double quotes only when the text holds single but no double ones. */
export function reprString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(ESCAPED_IN_STRING, (character) =>
    character === "'" || character === '"' ? (character === quote ? `\\${character}` : character) : escape(character),
  );
  return quote + escaped + quote;
}

/** `b'...'` with `\xNN` for what is not printable ASCII. */
export function reprBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const character = String.fromCharCode(byte);
    text += byte > 126 ? `\\x${byte.toString(16)}` : byte < 32 || byte === 92 ? escape(character) : character;
  }
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return `b${quote}${quote === "'" ? text.replaceAll("'", "\\'") : text}${quote}`;
}

// Everything that `str.isprintable` refuses, and what needs a backslash anyway. Zs but the space is not printable.
const ESCAPED_IN_STRING = /['"\\]|(?! )[\p{C}\p{Z}]/gu;

const SHORT_ESCAPES = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function escape(character: string): string {
  const short = SHORT_ESCAPES.get(character);
  if (short !== undefined) return short;
  const code = character.codePointAt(0)!;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

function repr(value: unknown, ancestors: readonly object[]): string {
  switch (typeof value) {
    case "string":
      return reprString(value);
    case "number":
      return numberRepr(value);
    case "boolean":
      return value ? "True" : "False";
    case "bigint":
      return value.toString();
    case "object":
      break;
    default:
      return reprOther(value);
  }
  if (value instanceof PyFloat) return floatRepr(value.value);
  if (value instanceof Uint8Array) return reprBytes(value);
  if (value === null || !isContainer(value)) return reprOther(value);
  const seen = ancestors.includes(value);
  const inside = [...ancestors, value];
  if (Array.isArray(value)) return seen ? "[...]" : `[${value.map((item) => repr(item, inside)).join(", ")}]`;
  if (value instanceof Set) {
    if (value.size === 0) return "set()";
    return seen ? "{...}" : `{${Array.from(value, (item) => repr(item, inside)).join(", ")}}`;
  }
  if (seen) return "{...}";
  return `{${Array.from(dictEntries(value), ([key, item]) => `${repr(key, inside)}: ${repr(item, inside)}`).join(", ")}}`;
}

/** Arrays, sets, maps and plain objects: what Python would receive as list, set or dict. */
export function isContainer(value: object): boolean {
  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The members that travel: undefined ones do not. */
export function* dictEntries(value: object): Iterable<[unknown, unknown]> {
  const entries: Iterable<[unknown, unknown]> = value instanceof Map ? value : Object.entries(value);
  for (const entry of entries) if (entry[1] !== undefined) yield entry;
}

function className(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  const constructor: unknown =
    typeof prototype === "object" && prototype !== null && "constructor" in prototype ? prototype.constructor : null;
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "object";
}

function reprDateTime(date: Date): string {
  const time = date instanceof PyDateTime ? date : new PyDateTime(date.getTime());
  if (Number.isNaN(time.getTime())) return "<Invalid Date>";
  const fields = time.fields;
  const day = `${fields.year}, ${fields.month}, ${fields.day}`;
  return `datetime.datetime(${day}, ${clockArguments(fields)}${zoneArgument(fields.offsetMicros)})`;
}

function clockArguments({ hour, minute, second, microsecond }: PythonClock): string {
  if (microsecond !== 0) return `${hour}, ${minute}, ${second}, ${microsecond}`;
  return second !== 0 ? `${hour}, ${minute}, ${second}` : `${hour}, ${minute}`;
}

const DAY_MICROS = 86_400e6;

function zoneArgument(offsetMicros: number | null): string {
  if (offsetMicros === null) return "";
  if (offsetMicros === 0) return ", tzinfo=datetime.timezone.utc";
  const days = Math.floor(offsetMicros / DAY_MICROS);
  const rest = offsetMicros - days * DAY_MICROS;
  const parts: string[] = [];
  if (days !== 0) parts.push(`days=${days}`);
  if (Math.floor(rest / 1e6) !== 0) parts.push(`seconds=${Math.floor(rest / 1e6)}`);
  if (rest % 1e6 !== 0) parts.push(`microseconds=${rest % 1e6}`);
  return `, tzinfo=datetime.timezone(datetime.timedelta(${parts.join(", ")}))`;
}
