/** What a task leaves behind. wire: celery-wire 8.1 to 8.3; celery/backends/base.py `_get_result_meta`. */
import { utf8Decode } from "../bytes.ts";
import { DecodeError } from "../errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import { isRecord, kindOf, numberOr, textOr, timeTextOr } from "../records.ts";
import { DEFAULT_LIMITS, type DecodeLimits } from "../serialization.ts";
import { decodeException, encodeException, type RemoteException } from "./exceptions.ts";
import { type ResultTuple, readResultTuple, readResultTuples } from "./result-tuple.ts";
import { EXCEPTION_STATES } from "./states.ts";

export { type ResultTuple, readResultTuple } from "./result-tuple.ts";

/** A result document in our words. `status` may be any custom state. */
export interface ResultMeta {
  status: string;
  /** The return value; for FAILURE, RETRY and REVOKED a `RemoteException` (or null); for others what the task said. */
  result: unknown;
  exception: RemoteException | null;
  traceback: string | null;
  /** `AsyncResult` and `GroupResult` tuples; `[]` when stored by a task, null outside one. */
  children: readonly ResultTuple[] | null;
  /** ISO 8601 text; set for SUCCESS, FAILURE and REVOKED. */
  dateDone: string | null;
  groupId?: string | null;
  parentId?: string | null;
  /** With `result_extended` only. */
  name?: string;
  args?: unknown;
  kwargs?: unknown;
  worker?: string;
  retries?: number;
  queue?: string;
  stampedHeaders?: readonly string[] | null;
  stamps?: Record<string, unknown>;
  taskId: string;
}

/**
 * The document as Celery's key-value backends and rpc write it: key order as `_get_result_meta`, `task_id` last. For FAILURE,
 * RETRY and REVOKED it holds `exception`, else `result`.
 */
export function resultDocument(meta: ResultMeta, canEncode?: (value: unknown) => boolean): Record<string, unknown> {
  const exception = EXCEPTION_STATES.has(meta.status) ? meta.exception : null;
  const document: Record<string, unknown> = {
    status: meta.status,
    result: exception === null ? meta.result : encodeException(exception, canEncode),
    traceback: meta.traceback,
    children: meta.children,
    date_done: meta.dateDone,
  };
  if (meta.groupId) document.group_id = meta.groupId;
  if (meta.parentId) document.parent_id = meta.parentId;
  if (meta.name !== undefined) addExtended(document, meta);
  document.task_id = meta.taskId;
  return document;
}

function addExtended(document: Record<string, unknown>, meta: ResultMeta): void {
  document.name = meta.name;
  document.args = meta.args ?? null;
  document.kwargs = meta.kwargs ?? null;
  document.worker = meta.worker ?? null;
  document.retries = meta.retries ?? null;
  document.queue = meta.queue ?? null;
  if (!meta.stamps || !meta.stampedHeaders) return;
  document.stamped_headers = meta.stampedHeaders;
  for (const name of meta.stampedHeaders) {
    if (name !== "__proto__" && Object.hasOwn(meta.stamps, name)) document[name] = meta.stamps[name];
  }
}

/** JSON text of a result. A value without a form is an `EncodeError`; inside an exception it becomes its repr. */
export function encodeResultMeta(meta: ResultMeta): string {
  return encodeJson(resultDocument(meta));
}

/** Reads the JSON of a result, of any state and any version of Celery. Throws `DecodeError`. */
export function decodeResultMeta(text: string | Uint8Array, limits: DecodeLimits = DEFAULT_LIMITS): ResultMeta {
  return readResultDocument(decodeJson(typeof text === "string" ? text : utf8Decode(text), limits));
}

/** Reads a decoded document; only `status` is required. Throws `DecodeError`. */
export function readResultDocument(document: unknown): ResultMeta {
  if (!isRecord(document)) throw new DecodeError(`a result must be an object, not ${kindOf(document)}`);
  const status = document.status;
  if (typeof status !== "string" || status === "") throw new DecodeError("a result must have a status");
  const exception = EXCEPTION_STATES.has(status) ? decodeException(document.result) : null;
  const children = document.children;
  const meta: ResultMeta = {
    status,
    result: EXCEPTION_STATES.has(status) ? exception : (document.result ?? null),
    exception,
    traceback: textOr(document.traceback, null),
    children: children === null || children === undefined ? null : readResultTuples(children),
    dateDone: timeTextOr(document.date_done, null),
    taskId: textOr(document.task_id, ""),
  };
  if (typeof document.group_id === "string") meta.groupId = document.group_id;
  if (typeof document.parent_id === "string") meta.parentId = document.parent_id;
  if (typeof document.name === "string") readExtended(document, document.name, meta);
  return meta;
}

function readExtended(document: Record<string, unknown>, name: string, meta: ResultMeta): void {
  meta.name = name;
  meta.args = document.args;
  meta.kwargs = document.kwargs;
  if (typeof document.worker === "string") meta.worker = document.worker;
  const retries = numberOr(document.retries, null);
  if (retries !== null) meta.retries = retries;
  if (typeof document.queue === "string") meta.queue = document.queue;
  const names = document.stamped_headers;
  if (!Array.isArray(names)) return;
  const stampedHeaders = names.filter((item): item is string => typeof item === "string");
  const stamps: Record<string, unknown> = {};
  for (const stamp of stampedHeaders) {
    if (stamp !== "__proto__" && Object.hasOwn(document, stamp)) stamps[stamp] = document[stamp];
  }
  meta.stampedHeaders = stampedHeaders;
  meta.stamps = stamps;
}

/** The record of a saved group in key-value backends: `{"result": tuple}`. */
export function encodeGroupMeta(group: ResultTuple): string {
  return encodeJson({ result: group });
}

/** Reads a saved group, with or (as SQL backends keep it) without its wrapper. Throws `DecodeError`. */
export function decodeGroupMeta(text: string | Uint8Array, limits: DecodeLimits = DEFAULT_LIMITS): ResultTuple {
  const document = decodeJson(typeof text === "string" ? text : utf8Decode(text), limits);
  return readResultTuple(isRecord(document) ? document.result : document);
}
