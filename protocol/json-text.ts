/**
 * JSON text byte-equal to what Python's `json.dumps` makes of the same value: ASCII only, `", "` and `": "`, bare NaN and
 * Infinity. wire: celery-wire 3.1; CPython Lib/json/encoder.py. Written out by hand because it is faster here than
 * `JSON.stringify` plus the repairs its output would need (a task body: 0.6 µs against 1.9).
 */
import { EncodeError } from "./errors.ts";
import { floatJson, numberJson } from "./python-numbers.ts";
import { PyFloat, type Tagged, toTagged } from "./values.ts";

/** A value whose text is there already: written as it is. */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** In what one writer of JSON differs from another. */
export interface JsonStyle {
  readonly comma: string;
  readonly colon: string;
  text(text: string): string;
  /** Of a number that is no 32-bit integer. */
  number(value: number): string;
  /** Of a `PyFloat`. */
  float(value: number): string;
  /** The form of an object that JSON lacks; null: it has none of its own. */
  form(value: object): Tagged | null;
}

const PLAIN_TEXT = /^[ !#-[\]-~]*$/;
const NOT_ASCII = /[\x7f-\uffff]/g;

/** `json.dumps`. */
export function asciiText(text: string): string {
  if (PLAIN_TEXT.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(NOT_ASCII, escapeUnit);
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Kombu's. */
export const KOMBU_JSON: JsonStyle = {
  comma: ", ",
  colon: ": ",
  text: asciiText,
  number: numberJson,
  float: floatJson,
  form: toTagged,
};

/** Throws `EncodeError` naming the place of what has no form, or of a cycle. */
export function jsonText(value: unknown, maxDepth: number, style: JsonStyle = KOMBU_JSON): string {
  try {
    return valueText(value, maxDepth, style);
  } catch (error) {
    throw toEncodeError(error);
  }
}

function valueText(value: unknown, depth: number, style: JsonStyle): string {
  switch (typeof value) {
    case "string":
      return style.text(value);
    case "number":
      return (value | 0) === value ? `${value}` : style.number(value);
    case "boolean":
      return value ? "true" : "false";
    case "undefined":
      return "null";
    case "bigint":
      return value.toString();
    case "object":
      return value === null ? "null" : objectText(value, depth, style);
    default:
      throw new Unencodable(`a ${typeof value}`);
  }
}

function objectText(value: object, depth: number, style: JsonStyle): string {
  if (Array.isArray(value)) return arrayText(value, depth, style);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return membersText(value as Members, depth, style);
  return exoticText(value, depth, style);
}

type Members = Record<string, unknown>;

/** More of the shortest items would make a text of 100 MB. A sparse array may be far longer than what it holds. */
const MOST_ITEMS = 2 ** 25;

/**
 * A frozen chord in a chord's body repeats what it holds, as on Celery's wire, so a small signature may stand for gigabytes. 128 MiB
 * were RabbitMQ's limit before 4.0, and by default our consumers read less.
 */
const MOST_TEXT = 2 ** 27;

function checkLength(text: string): void {
  if (text.length > MOST_TEXT) throw new Unencodable(`a text of more than ${MOST_TEXT} characters`);
}

function arrayText(items: readonly unknown[], depth: number, style: JsonStyle): string {
  const { length } = items;
  if (length === 0) return "[]";
  if (depth <= 0) throw new Unencodable(TOO_DEEP);
  if (length > MOST_ITEMS) throw new Unencodable(`an array of ${length} items`);
  let text = "[";
  let at = 0;
  try {
    for (at = 0; at < length; at++) {
      const item = items[at];
      if (at > 0) text += style.comma;
      // Numbers, of which there are most in long arrays, need no call.
      text += typeof item === "number" && (item | 0) === item ? item : valueText(item, depth - 1, style);
      checkLength(text);
    }
  } catch (error) {
    throw located(error, items, at);
  }
  return `${text}]`;
}

function membersText(members: Members, depth: number, style: JsonStyle): string {
  if (depth <= 0) throw new Unencodable(TOO_DEEP);
  let text = "";
  let name = "";
  try {
    for (name of Object.keys(members)) {
      const value = members[name];
      if (value === undefined) continue;
      if (typeof value === "function" && name === "toJSON") return valueText(value.call(members, ""), depth - 1, style);
      text += (text === "" ? "{" : style.comma) + style.text(name) + style.colon + valueText(value, depth - 1, style);
      checkLength(text);
    }
  } catch (error) {
    throw located(error, members, name);
  }
  return text === "" ? "{}" : `${text}}`;
}

/** Everything that is neither an array nor a plain object. */
function exoticText(value: object, depth: number, style: JsonStyle): string {
  if (depth <= 0) throw new Unencodable(TOO_DEEP);
  if (value instanceof JsonText) return value.text;
  if (value instanceof PyFloat) return style.float(value.value);
  const tagged = style.form(value);
  if (tagged !== null) {
    const encoded = valueText(tagged.encoded, depth - 1, style);
    return tagged.name === null ? encoded : `{"__type__": ${style.text(tagged.name)}, "__value__": ${encoded}}`;
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return valueText(value.toJSON(""), depth - 1, style);
  if (value instanceof Map) return mapText(value, depth, style);
  if (value instanceof Set) return arrayText([...value], depth, style);
  if (value instanceof ArrayBuffer) return exoticText(new Uint8Array(value), depth, style);
  if (isNumbers(value)) return arrayText(Array.from(value), depth, style);
  if (isBoxed(value)) return valueText(value.valueOf(), depth - 1, style);
  // Error, Promise, RegExp, WeakMap ...: as members they would turn into `{}` without a word.
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind !== "Object") throw new Unencodable(`an object of type ${kind}`);
  if ("then" in value && typeof value.then === "function") throw new Unencodable("a promise");
  return membersText(value as Members, depth, style);
}

function isNumbers(value: object): value is ArrayBufferView & Iterable<number | bigint> {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function isBoxed(value: object): boolean {
  return value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof BigInt;
}

/** Keys become text as in Python: 1 is "1", true "true", null "null". */
function mapText(map: ReadonlyMap<unknown, unknown>, depth: number, style: JsonStyle): string {
  let text = "";
  for (const [key, value] of map) {
    try {
      text +=
        (text === "" ? "{" : style.comma) +
        style.text(keyText(key, style)) +
        style.colon +
        valueText(value, depth - 1, style);
      checkLength(text);
    } catch (error) {
      throw located(error, map, String(key));
    }
  }
  return text === "" ? "{}" : `${text}}`;
}

function keyText(key: unknown, style: JsonStyle): string {
  if (typeof key === "string") return key;
  if (key === null || typeof key === "number" || typeof key === "boolean" || typeof key === "bigint") {
    return valueText(key, 1, style);
  }
  if (key instanceof PyFloat) return style.float(key.value);
  throw new Unencodable("a key that is not text, number, boolean or null");
}

const TOO_DEEP = "nested too deeply";

/** Travels up from the value that has no form and gathers where it is. */
class Unencodable {
  readonly reason: string;
  readonly cause: unknown;
  /** From the innermost container out. */
  readonly places: { container: object; key: string | number }[] = [];

  constructor(reason: string, cause?: unknown) {
    this.reason = reason;
    this.cause = cause;
  }
}

function located(error: unknown, container: object, key: string | number): Unencodable {
  const found = error instanceof Unencodable ? error : foreign(error);
  found.places.push({ container, key });
  return found;
}

/** A getter, a `toJSON` or a registered encoder threw. */
function foreign(error: unknown): Unencodable {
  return new Unencodable(error instanceof Error ? error.message : String(error), error);
}

function toEncodeError(error: unknown): EncodeError {
  const { reason, cause, places } = error instanceof Unencodable ? error : foreign(error);
  const path = places.reverse();
  const options = cause === undefined ? {} : { cause };
  if (reason !== TOO_DEEP) {
    const what = cause === undefined ? `${reason} has no form in JSON` : `cannot encode: ${reason}`;
    return new EncodeError(`${what} (at ${pathText(path)})`, options);
  }
  const seen = new Set<object>();
  for (const [at, { container }] of path.entries()) {
    if (seen.has(container)) return new EncodeError(`a cycle has no form in JSON (at ${pathText(path.slice(0, at))})`);
    seen.add(container);
  }
  return new EncodeError(`nested deeper than ${path.length} levels (at ${pathText(path.slice(0, 5))}...)`);
}

function pathText(path: readonly { key: string | number }[]): string {
  let text = "value";
  for (const { key } of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  }
  return text;
}
