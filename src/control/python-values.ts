/** What arguments of commands are to Python: whether they count as true, and what errors call their types. */
import { isRecord } from "../../protocol/records.ts";
import { PyFloat } from "../../protocol/values.ts";
import { CommandError } from "./errors.ts";

/** Python's `bool(value)`: what is empty is false. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof PyFloat) return value.value !== 0;
  return isRecord(value) ? Object.keys(value).length > 0 : Boolean(value);
}

/** `type(value).__name__`. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "str";
  if (typeof value === "bigint" || Number.isInteger(value)) return "int";
  if (typeof value === "number" || value instanceof PyFloat) return "float";
  return Array.isArray(value) ? "list" : isRecord(value) ? "dict" : "object";
}

export function notIterable(value: unknown): CommandError {
  return new CommandError("TypeError", [`'${typeName(value)}' object is not iterable`]);
}

export function noAttribute(value: unknown, name: string): CommandError {
  return new CommandError("AttributeError", [`'${typeName(value)}' object has no attribute '${name}'`]);
}

/** Keys of a set or map, one or many: Celery's `maybe_list`. Throws what Python does for what can be no key. */
export function keysOf(value: unknown): readonly unknown[] {
  const keys: readonly unknown[] = Array.isArray(value) ? value : [value];
  for (const key of keys) {
    if (Array.isArray(key) || isRecord(key))
      throw new CommandError("TypeError", [`unhashable type: '${typeName(key)}'`]);
  }
  return keys;
}
