/**
 * Chunks: one `celery.starmap` for each part of the items.
 * wire: celery-wire 2.2; celery/canvas.py `chunks.group`.
 */
import { isRecord } from "../../records.ts";
import { encodeSignature, readSignature, type WireSignature } from "../signature.ts";
import { Draft, type Kwargs, newGroup } from "./draft.ts";
import { toWire } from "./wire.ts";

/** Null when the kwargs are not those of chunks. */
export function chunkGroup(kwargs: Kwargs): Draft | null {
  const { task, it, n } = kwargs;
  if (!isRecord(task) || !Array.isArray(it) || typeof n !== "number" || !Number.isInteger(n) || n < 1) return null;
  const parts: Draft[] = [];
  for (let from = 0; from < it.length; from += n) {
    const part = it.slice(from, from + n);
    parts.push(new Draft("task", "celery.starmap", { kwargs: { task, it: part } }, true));
  }
  return newGroup(parts);
}

/** The group that `celery.chunks` stands for: what its task starts with `apply_async()`. Null when these are not its kwargs. */
export function expandChunks(kwargs: Readonly<Record<string, unknown>>): WireSignature | null {
  const group = chunkGroup(kwargs);
  return group === null ? null : toWire(group);
}

/** `celery.map`, `celery.starmap`: the inner signature with the items, as their tasks take them. */
export function mapSignature(
  name: "celery.map" | "celery.starmap",
  task: unknown,
  it: readonly unknown[],
): WireSignature {
  return encodeSignature({ task: name, kwargs: { task: readSignature(task), it }, immutable: true });
}
