/**
 * Chunks: one `celery.starmap` for each part of the items.
 * wire: celery-wire 2.2; celery/canvas.py `chunks.group`.
 */
import { isRecord } from "../../records.ts";
import type { WireSignature } from "../signature.ts";
import { Draft, type Kwargs, newGroup } from "./draft.ts";
import { toWire } from "./wire.ts";

/** The group that stands for `celery.chunks` with these kwargs; null when they are not of that form. */
export function chunkGroup({ task, it, n }: Kwargs): Draft | null {
  const items = iterated(it);
  if (!isRecord(task) || items === null || typeof n !== "number" || !Number.isInteger(n) || n < 1) return null;
  const parts: Draft[] = [];
  for (let from = 0; from < items.length; from += n) {
    parts.push(new Draft("task", "celery.starmap", { kwargs: { task, it: items.slice(from, from + n) } }, true));
  }
  return newGroup(parts);
}

/** What Python goes through in a `for`: items of an array, characters of a text, names of an object; null: it cannot. */
export function iterated(value: unknown): readonly unknown[] | null {
  if (Array.isArray(value)) return value;
  if (typeof value === "string") return [...value];
  return isRecord(value) ? Object.keys(value) : null;
}

/** Chunks of the caller's own as the group that they are when they are sent; anything else as it is. */
export function withoutChunks(signature: WireSignature): WireSignature {
  const group = signature.task === "celery.chunks" ? chunkGroup(signature.kwargs) : null;
  return group === null ? signature : toWire(group);
}
