/** Reading loose values that came from a peer. */
import { EncodeError } from "./errors.ts";
import { formatIso } from "./iso-time.ts";
import { PyDateTime, PyFloat } from "./values.ts";

/** A plain object: not an array, a `Date`, bytes, or any other value with a class. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The text, or `fallback` for any other value. */
export function textOr<T>(value: unknown, fallback: T): string | T {
  return typeof value === "string" ? value : fallback;
}

/** The finite number in any of its forms, else `fallback`. */
export function numberOr<T>(value: unknown, fallback: T): number | T {
  const number = typeof value === "bigint" ? Number(value) : value instanceof PyFloat ? value.value : value;
  return typeof number === "number" && Number.isFinite(number) ? number : fallback;
}

/** Text as it is and a datetime as ISO 8601, else `fallback`; so too for a datetime that Python could not hold. */
export function timeTextOr<T>(value: unknown, fallback: T): string | T {
  if (!(value instanceof Date)) return textOr(value, fallback);
  try {
    return value instanceof PyDateTime ? value.iso : formatIso(value.getTime());
  } catch (error) {
    if (error instanceof EncodeError) return fallback;
    throw error;
  }
}

/** A short name for what a value is, for messages: `null`, `array`, `object`, `string`, … */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value;
}
