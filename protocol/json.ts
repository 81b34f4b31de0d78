/**
 * Kombu's JSON: what Python's `json` reads and writes, with type tags. wire: celery-wire 3.1 and 3.2.
 *
 * Decoding is `JSON.parse` unless the text holds what that would lose: integers beyond 2**53, tags, NaN and Infinity. Then
 * the exact reader (`json-reader.ts`) does it. The questions that decide are asked of the text and cost a few percent.
 *
 * A known limit of plain objects: members with integer-like names come first, whatever their order was in Python.
 */
import { DecodeError } from "./errors.ts";
import { readJson } from "./json-reader.ts";
import { jsonText } from "./json-text.ts";

/** How JSON is read. */
export interface JsonDecodeOptions {
  /** Levels of arrays and objects; more is a `DecodeError`. Python's own limit is about as much. @default 1000 */
  maxDepth?: number;
  /** `"keep"`: whole-numbered floats such as `1.0` become `PyFloat`, so that they leave as floats. @default "number" */
  floats?: "number" | "keep";
  /** False: objects that look like Kombu's type tags stay objects. @default true */
  tags?: boolean;
}

/** How JSON is written. */
export interface JsonEncodeOptions {
  /** Levels of arrays and objects; more is an `EncodeError`. @default 1000 */
  maxDepth?: number;
}

/** Levels of arrays and objects, when nobody says how many. */
export const DEFAULT_JSON_DEPTH = 1000;

/**
 * Reads what Kombu's `loads` reads. Numbers become `number`, or `bigint` for integers beyond 2**53 - 1; tagged objects
 * become the values of `values.ts`; every member is an own property, `__proto__` too; of equal names the last wins.
 * Anything else is a `DecodeError` that names the position; no input can exhaust the stack.
 */
export function decodeJson(text: string, options?: JsonDecodeOptions): unknown {
  const maxDepth = options?.maxDepth ?? DEFAULT_JSON_DEPTH;
  const keepFloats = options?.floats === "keep";
  const tags = options?.tags ?? true;
  if ((tags && mayHoldTag(text)) || holdsLongInteger(text) || (keepFloats && FLOAT.test(text))) {
    return readJson(text, maxDepth, keepFloats, tags);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Either NaN or Infinity, which Python reads, or broken: the exact reader knows, and says where.
    return readJson(text, maxDepth, keepFloats, tags);
  }
  if (mayNestDeeper(text, maxDepth) && nestsDeeper(value, maxDepth)) {
    throw new DecodeError(`JSON nested deeper than ${maxDepth} levels`);
  }
  return value;
}

/**
 * Text as Python's `json.dumps` writes it: ASCII, `", "` and `": "`. Undefined members are dropped, undefined items become
 * null; a `Map` is an object, a `Set` an array (unless a type is registered for it), an object with `toJSON` what that
 * returns, a class instance its own members. Whole numbers below 2**53 are ints, larger ones floats: use `bigint`.
 * Functions, symbols, cycles, invalid dates, promises, errors and the like are an `EncodeError` that names the path.
 */
export function encodeJson(value: unknown, options?: JsonEncodeOptions): string {
  return jsonText(value, options?.maxDepth ?? DEFAULT_JSON_DEPTH);
}

const ESCAPED_TAG_LETTER = /\\u00(?:5[fF]|65|7[049])/;
/** Where a value may stand: inside an id, as in `"3e…"`, a digit follows a quote. */
const FLOAT = /(?:^|[[,:\s])-?\d+[.eE]/;

/** The name of a tag may hide behind escapes of its letters. */
function mayHoldTag(text: string): boolean {
  return text.includes("__type__") || (text.includes("\\u00") && ESCAPED_TAG_LETTER.test(text));
}

const LONG = 16; // The fewest digits that an integer beyond 2**53 has.

/** Any run of 16 digits covers a position that is a multiple of 16, so only those are looked at. Digits in strings count. */
function holdsLongInteger(text: string): boolean {
  for (let probe = LONG - 1; probe < text.length; probe += LONG) {
    if (!isDigit(text.charCodeAt(probe))) continue;
    let start = probe;
    while (isDigit(text.charCodeAt(start - 1))) start--;
    let end = probe + 1;
    while (isDigit(text.charCodeAt(end))) end++;
    // Behind a point they are a fraction: the usual float.
    if (end - start >= LONG && text.charCodeAt(start - 1) !== 46) return true;
    probe += Math.floor((end - probe) / LONG) * LONG;
  }
  return false;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Has the text enough brackets at all? Those in strings count. */
function mayNestDeeper(text: string, maxDepth: number): boolean {
  if (text.length < 2 * maxDepth) return false;
  let left = maxDepth;
  for (const bracket of "[{") {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      if (--left < 0) return true;
    }
  }
  return false;
}

/** Level by level, so that depth costs no stack. */
function nestsDeeper(value: unknown, maxDepth: number): boolean {
  let level: object[] = isContainer(value) ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= maxDepth) return true;
    const next: object[] = [];
    for (const container of level) {
      if (Array.isArray(container)) {
        for (const child of container) if (isContainer(child)) next.push(child);
      } else {
        const members = container as Record<string, unknown>;
        for (const name in members) {
          const child = members[name];
          if (isContainer(child)) next.push(child);
        }
      }
    }
    level = next;
  }
  return false;
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
