/** What is stored for groups and for parts of chords, read. wire: celery-wire 8.4; celery/backends/redis.py `_unpack_chord_result`. */
import { type ResultTuple, readResultTuple } from "../../protocol/celery/result-tuple.ts";
import { DecodeError } from "../../protocol/errors.ts";
import { isRecord } from "../../protocol/records.ts";
import type { CollectedPart } from "./chord-counter.ts";

/** `[1, id, state, result]`. */
export function readPart(value: unknown): CollectedPart {
  if (!Array.isArray(value) || typeof value[1] !== "string" || typeof value[2] !== "string") {
    throw new DecodeError("a part of a chord must be [1, id, state, result]");
  }
  return { taskId: value[1], state: value[2], result: value[3] ?? null };
}

/** `{"result": tuple}`, or the bare tuple. */
export function readGroup(value: unknown): ResultTuple {
  return readResultTuple(isRecord(value) ? value.result : value);
}
