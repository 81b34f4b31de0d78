/**
 * A result as it lies in Redis: a hash of 11 fields, each a JSON text in the style of `json.dumps`.
 * wire: Mognet 2.0.0 model/result.py, backend/redis_result_backend.py `_encode_result`, `_decode_result`.
 */
import { DecodeError } from "../errors.ts";
import { decodePlainJson } from "./json.ts";
import { encodeAsciiJson } from "./json-text.ts";
import { mognetIdOrNull } from "./names.ts";
import { isMognetDone, isMognetState, type MognetState } from "./states.ts";
import { mognetTimeText } from "./times.ts";

/** Times are texts as Mognet writes them, `2026-11-21T09:07:38.679014Z`: microseconds survive. See `mognetTime`. */
export interface MognetResult {
  id: string;
  /** Name of the task. */
  name: string | null;
  state: MognetState;
  numberOfStarts: number;
  numberOfStops: number;
  parentId: string | null;
  /** When it was submitted. */
  created: string | null;
  /** When the latest run began; a resume does not count. */
  started: string | null;
  finished: string | null;
  /** The node of the latest run. */
  nodeId: string | null;
  requestKwargsRepr: string | null;
}

export const MOGNET_RESULT_FIELDS = [
  "id",
  "name",
  "state",
  "number_of_starts",
  "number_of_stops",
  "parent_id",
  "created",
  "started",
  "finished",
  "node_id",
  "request_kwargs_repr",
] as const;

export type MognetResultField = (typeof MOGNET_RESULT_FIELDS)[number];

/** A result that nothing is known of but what is given. */
export function newMognetResult(parts: Pick<MognetResult, "id"> & Partial<MognetResult>): MognetResult {
  return {
    name: null,
    state: "PENDING",
    numberOfStarts: 0,
    numberOfStops: 0,
    parentId: null,
    created: null,
    started: null,
    finished: null,
    nodeId: null,
    requestKwargsRepr: null,
    ...parts,
  };
}

/** Names and JSON texts in turn, in Mognet's order: the arguments of `HSET`. */
export function encodeMognetResult(result: MognetResult): string[] {
  return [
    "id",
    `"${result.id}"`,
    "name",
    textJson(result.name),
    "state",
    `"${result.state}"`,
    "number_of_starts",
    `${result.numberOfStarts}`,
    "number_of_stops",
    `${result.numberOfStops}`,
    "parent_id",
    textJson(result.parentId),
    "created",
    textJson(result.created),
    "started",
    textJson(result.started),
    "finished",
    textJson(result.finished),
    "node_id",
    textJson(result.nodeId),
    "request_kwargs_repr",
    textJson(result.requestKwargsRepr),
  ];
}

function textJson(text: string | null): string {
  return text === null ? "null" : encodeAsciiJson(text);
}

/**
 * Reads a hash as Python does: absent fields have their defaults, unknown ones are ignored, only `id` is required. Anything
 * that Python would refuse is a `DecodeError` that names the field.
 */
export function decodeMognetResult(fields: ReadonlyMap<string, string>): MognetResult {
  const id = field(fields, "id");
  if (typeof id !== "string") throw refused("id", id);
  const known = mognetIdOrNull(id);
  if (known === null) throw refused("id", id);
  const state = field(fields, "state") ?? "PENDING";
  if (!isMognetState(state)) throw refused("state", state);
  return {
    id: known,
    name: textField(fields, "name"),
    state,
    numberOfStarts: countField(fields, "number_of_starts"),
    numberOfStops: countField(fields, "number_of_stops"),
    parentId: idField(fields, "parent_id"),
    created: timeField(fields, "created"),
    started: timeField(fields, "started"),
    finished: timeField(fields, "finished"),
    nodeId: textField(fields, "node_id"),
    requestKwargsRepr: textField(fields, "request_kwargs_repr"),
  };
}

function field(fields: ReadonlyMap<string, string>, name: MognetResultField): unknown {
  const text = fields.get(name);
  if (text === undefined || text === "null") return undefined;
  // The usual text needs no parser: most fields are plain strings.
  if (PLAIN.test(text)) return text.slice(1, -1);
  return decodePlainJson(text) ?? undefined;
}

const PLAIN = /^"[ !#-[\]-~]*"$/;

function textField(fields: ReadonlyMap<string, string>, name: MognetResultField): string | null {
  const value = field(fields, name);
  if (value === undefined) return null;
  if (typeof value !== "string") throw refused(name, value);
  return value;
}

function idField(fields: ReadonlyMap<string, string>, name: MognetResultField): string | null {
  const value = textField(fields, name);
  if (value === null) return null;
  const id = mognetIdOrNull(value);
  if (id === null) throw refused(name, value);
  return id;
}

function countField(fields: ReadonlyMap<string, string>, name: MognetResultField): number {
  const value = field(fields, name);
  if (value === undefined) return 0;
  const count = typeof value === "string" && /^[+-]?\d+$/.test(value) ? Number(value) : value;
  if (typeof count !== "number" || !Number.isSafeInteger(count)) throw refused(name, value);
  return count;
}

function timeField(fields: ReadonlyMap<string, string>, name: MognetResultField): string | null {
  const value = field(fields, name);
  if (value === undefined) return null;
  const text = mognetTimeText(value);
  if (text === null) throw refused(name, value);
  return text;
}

function refused(name: string, value: unknown): DecodeError {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : typeof value;
  return new DecodeError(`a result whose ${name} is ${value === undefined ? "missing" : shown}`);
}

// ------------------------------------------------------------------------------------------------------------- changes

/** A run begins. wire: model/result.py `start`. */
export function startedResult(result: MognetResult, nodeId: string, now: string): MognetResult {
  return { ...result, state: "RUNNING", started: now, nodeId, numberOfStarts: result.numberOfStarts + 1 };
}

/** A run goes on after its children: `started` stays. wire: `resume`. */
export function resumedResult(result: MognetResult, nodeId?: string): MognetResult {
  return {
    ...result,
    state: "RUNNING",
    numberOfStarts: result.numberOfStarts + 1,
    ...(nodeId === undefined ? {} : { nodeId }),
  };
}

/** It waits for its children, was paused or handed back. wire: `suspend`. */
export function suspendedResult(result: MognetResult): MognetResult {
  return { ...result, state: "SUSPENDED", numberOfStops: result.numberOfStops + 1 };
}

/** It has ended. wire: `set_result`, `set_error`, `revoke`. */
export function finishedResult(result: MognetResult, state: MognetState, now: string): MognetResult {
  return { ...result, state, finished: now, numberOfStops: result.numberOfStops + 1 };
}

/** Starts that no stop followed: crashes. wire: `unexpected_retry_count`. */
export function unexpectedRetries(result: Pick<MognetResult, "numberOfStarts" | "numberOfStops">): number {
  return Math.max(0, result.numberOfStarts - result.numberOfStops);
}

export function isDoneResult(result: Pick<MognetResult, "state">): boolean {
  return isMognetDone(result.state);
}
