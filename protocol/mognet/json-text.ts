/**
 * Mognet's two ways of writing JSON: pydantic's `model_dump_json` for messages and values, and `json.dumps` for the fields of
 * Redis hashes. Both write values that JSON lacks as pydantic does.
 */
import { hasLoneSurrogate, utf8DecodeOrNull } from "../bytes.ts";
import { EncodeError } from "../errors.ts";
import { DEFAULT_JSON_DEPTH } from "../json.ts";
import { asciiText, type JsonStyle, jsonText, KOMBU_JSON } from "../json-text.ts";
import { PyDate, PyDecimal, PyTime, PyUuid, type Tagged } from "../values.ts";
import { pydanticTime } from "./times.ts";

function untagged(encoded: unknown): Tagged {
  return { name: null, encoded };
}

/** wire: pydantic-core serializers `infer.rs`. */
function pydanticForm(value: object): Tagged | null {
  if (value instanceof Date) return untagged(pydanticTime(value));
  if (value instanceof PyUuid || value instanceof PyDecimal || value instanceof PyDate) return untagged(String(value));
  if (value instanceof PyTime) return untagged(value.iso.replace(/\+00:00$/, "Z"));
  if (value instanceof Uint8Array) {
    const text = utf8DecodeOrNull(value);
    if (text === null) throw new EncodeError("bytes that are not UTF-8 text");
    return untagged(text);
  }
  return null;
}

function utf8Text(text: string): string {
  if (hasLoneSurrogate(text)) throw new EncodeError("a text with a lone surrogate");
  return JSON.stringify(text);
}

/** wire: pydantic-core 2.14: `1e+16`, `0.00001`, `1e-7`. */
function pydanticFloat(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-5 || size >= 1e16)) return value.toExponential();
  if (Number.isInteger(value)) return Object.is(value, -0) ? "-0.0" : `${value}.0`;
  return `${value}`;
}

const PYDANTIC_JSON: JsonStyle = {
  comma: ",",
  colon: ":",
  text: utf8Text,
  number: (value) => (Number.isSafeInteger(value) ? `${value}` : pydanticFloat(value)),
  float: pydanticFloat,
  form: pydanticForm,
};

const DUMPS_JSON: JsonStyle = { ...KOMBU_JSON, form: pydanticForm };

/** As pydantic writes a message or a value: compact, UTF-8; NaN and infinities are null. Throws `EncodeError`. */
export function encodeCompactJson(value: unknown): string {
  return jsonText(value, DEFAULT_JSON_DEPTH, PYDANTIC_JSON);
}

/** As `json.dumps` writes a field: ASCII, spaces behind comma and colon. Throws `EncodeError`. */
export function encodeAsciiJson(value: unknown): string {
  return typeof value === "string" ? asciiText(value) : jsonText(value, DEFAULT_JSON_DEPTH, DUMPS_JSON);
}
