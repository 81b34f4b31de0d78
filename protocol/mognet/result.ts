/**
 * A result as it lies in Redis: a hash of 11 fields, each a JSON text in the style of `json.dumps`.
 * wire: Mognet 2.0.0 model/result.py, backend/redis_result_backend.py `_encode_result`, `_decode_result`.
 */
import { DecodeError } from "../errors.ts";
import { decodePlainJson } from "./json.ts";
import { encodeAsciiJson } from "./json-text.ts";
import { mognetIdOrNull } from "./names.ts";
import { pydanticInt } from "./request.ts";
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

/** The fields of a result's hash, in the order in which they are written. */
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

/** A field of a result's hash. */
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

/** The JSON texts of `MOGNET_RESULT_FIELDS`. */
export function mognetResultTexts(result: MognetResult): string[] {
  return [
    `"${result.id}"`,
    textJson(result.name),
    `"${result.state}"`,
    `${result.numberOfStarts}`,
    `${result.numberOfStops}`,
    textJson(result.parentId),
    textJson(result.created),
    textJson(result.started),
    textJson(result.finished),
    textJson(result.nodeId),
    textJson(result.requestKwargsRepr),
  ];
}

/** Names and JSON texts in turn, in Mognet's order: the arguments of `HSET`. */
export function encodeMognetResult(result: MognetResult): string[] {
  return mognetResultTexts(result).flatMap((text, at) => [MOGNET_RESULT_FIELDS[at]!, text]);
}

function textJson(text: string | null): string {
  return text === null ? "null" : encodeAsciiJson(text);
}

/** The values of the fields, as `HMGET` of `MOGNET_RESULT_FIELDS` gives them; null: not there. */
export type MognetResultTexts = readonly (string | null | undefined)[];

const FIELD = {
  id: 0,
  name: 1,
  state: 2,
  starts: 3,
  stops: 4,
  parent: 5,
  created: 6,
  started: 7,
  finished: 8,
  node: 9,
  kwargs: 10,
};

/**
 * Reads a hash, or its fields in their order, as Python does: absent fields have their defaults, unknown ones are ignored, only
 * `id` is required. Anything that Python would refuse is a `DecodeError` that names the field.
 */
export function decodeMognetResult(fields: ReadonlyMap<string, string> | MognetResultTexts): MognetResult {
  const texts = isTexts(fields) ? fields : MOGNET_RESULT_FIELDS.map((name) => fields.get(name));
  const id = idField(texts, FIELD.id);
  if (id === null) throw refused(FIELD.id, undefined);
  return {
    id,
    name: textField(texts, FIELD.name),
    state: mognetStateOf(texts),
    numberOfStarts: countField(texts, FIELD.starts),
    numberOfStops: countField(texts, FIELD.stops),
    parentId: idField(texts, FIELD.parent),
    created: timeField(texts, FIELD.created),
    started: timeField(texts, FIELD.started),
    finished: timeField(texts, FIELD.finished),
    nodeId: textField(texts, FIELD.node),
    requestKwargsRepr: textField(texts, FIELD.kwargs),
  };
}

/** Only the state, for whoever waits for the end. */
export function mognetStateOf(texts: MognetResultTexts): MognetState {
  const state = texts[FIELD.state] == null ? "PENDING" : field(texts, FIELD.state);
  if (!isMognetState(state)) throw refused(FIELD.state, state);
  return state;
}

function isTexts(fields: ReadonlyMap<string, string> | MognetResultTexts): fields is MognetResultTexts {
  return Array.isArray(fields);
}

function field(texts: MognetResultTexts, at: number): unknown {
  const text = texts[at];
  if (text === undefined || text === null || text === "null") return undefined;
  // The usual text needs no parser: most fields are plain strings.
  if (PLAIN.test(text)) return text.slice(1, -1);
  return decodePlainJson(text) ?? undefined;
}

const PLAIN = /^"[ !#-[\]-~]*"$/;

function textField(texts: MognetResultTexts, at: number): string | null {
  const value = field(texts, at);
  if (value === undefined) return null;
  if (typeof value !== "string") throw refused(at, value);
  return value;
}

function idField(texts: MognetResultTexts, at: number): string | null {
  const value = textField(texts, at);
  if (value === null) return null;
  const id = mognetIdOrNull(value);
  if (id === null) throw refused(at, value);
  return id;
}

function countField(texts: MognetResultTexts, at: number): number {
  if (texts[at] == null) return 0;
  const value = field(texts, at);
  const count = pydanticInt(value);
  if (count === null) throw refused(at, value);
  return count;
}

function timeField(texts: MognetResultTexts, at: number): string | null {
  const value = field(texts, at);
  if (value === undefined) return null;
  const text = mognetTimeText(value);
  if (text === null) throw refused(at, value);
  return text;
}

function refused(at: number, value: unknown): DecodeError {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : typeof value;
  return new DecodeError(`a result whose ${MOGNET_RESULT_FIELDS[at]} is ${value === undefined ? "missing" : shown}`);
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

/** Do they say the same in every field? */
export function isSameResult(a: MognetResult, b: MognetResult | null): boolean {
  return b !== null && (Object.keys(a) as (keyof MognetResult)[]).every((name) => a[name] === b[name]);
}

/** As it was created: nobody has begun it. */
export function isUntouched({ state, numberOfStarts, numberOfStops }: MognetResult): boolean {
  return state === "PENDING" && numberOfStarts === 0 && numberOfStops === 0;
}

/** Whether nothing follows after the result's state. */
export function isDoneResult(result: Pick<MognetResult, "state">): boolean {
  return isMognetDone(result.state);
}
