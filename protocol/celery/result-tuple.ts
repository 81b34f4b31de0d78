/**
 * Results named inside other results: children, saved groups, the `result` argument of `celery.chord_unlock`.
 * wire: celery-wire 8.3; celery/result.py `as_tuple`, `result_from_tuple`.
 */
import { DecodeError } from "../errors.ts";
import { kindOf } from "../records.ts";

/** `[[id, parent | null], null]` for a task, `[[id, parent | null], [child, …]]` for a group. */
export type ResultTuple = readonly [readonly [string, ResultTuple | null], readonly ResultTuple[] | null];

/** Parents and children inside one another. A chain of n tasks nests n parents. */
const MAX_TUPLE_DEPTH = 1000;

/**
 * Reads a result tuple; `[id, children]` and a bare id count too. Anything else, and nesting past the limit (so that a value
 * that contains itself ends as well), is a `DecodeError`.
 */
export function readResultTuple(value: unknown, maxDepth: number = MAX_TUPLE_DEPTH): ResultTuple {
  if (typeof value === "string" && value !== "") return [[value, null], null];
  if (!Array.isArray(value) || value.length === 0 || value.length > 2) {
    throw new DecodeError(`a result must be [[id, parent], children], not ${kindOf(value)}`);
  }
  if (maxDepth <= 0) throw new DecodeError("results are nested too deeply");
  const head: unknown = value[0];
  const [id, parent]: unknown[] = Array.isArray(head) ? head : [head, null];
  if (typeof id !== "string" || id === "") throw new DecodeError("a result must have an id");
  return [
    [id, isNothing(parent) ? null : readResultTuple(parent, maxDepth - 1)],
    isNothing(value[1]) ? null : readResultTuples(value[1], maxDepth - 1),
  ];
}

/** Reads an array of result tuples. */
export function readResultTuples(value: unknown, maxDepth: number = MAX_TUPLE_DEPTH): ResultTuple[] {
  if (!Array.isArray(value)) throw new DecodeError(`children must be an array, not ${kindOf(value)}`);
  return value.map((child: unknown) => readResultTuple(child, maxDepth));
}

function isNothing(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
