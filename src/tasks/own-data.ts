/**
 * Data of the caller's as data of our own: what happens to their arrays and objects later changes nothing here. Dates, bytes and
 * whatever else has a class are values, and are shared.
 */
import { EncodeError } from "../../protocol/errors.ts";
import { isRecord } from "../../protocol/records.ts";

/** As deep as JSON is written. */
const deepest = 1_000;

/** `replace` may give another value for one that is found; what it gives is not looked into. Throws `EncodeError` for a cycle. */
export function ownData(value: unknown, replace: (value: object) => unknown = asIs, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > deepest)
    throw new EncodeError(`data of a signature contains itself, or is nested deeper than ${deepest} levels`);
  if (Array.isArray(value)) {
    const copy: unknown[] = new Array(value.length);
    for (let index = 0; index < value.length; index++) copy[index] = ownData(value[index], replace, depth + 1);
    return copy;
  }
  return isRecord(value) ? ownRecord(value, replace, depth) : replace(value);
}

export function ownRecord(
  record: Readonly<Record<string, unknown>>,
  replace: (value: object) => unknown = asIs,
  depth = 0,
): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(record)) {
    const own = ownData(value, replace, depth + 1);
    if (key !== "__proto__") copy[key] = own;
    else Object.defineProperty(copy, key, { value: own, writable: true, enumerable: true, configurable: true });
  }
  return copy;
}

function asIs(value: object): unknown {
  return value;
}
