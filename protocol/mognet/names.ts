/** How Mognet names its queues, exchanges and keys, and how they are declared. wire: Mognet 2.0.0 broker/amqp_broker.py, backend/redis_result_backend.py. */
import { DecodeError } from "../errors.ts";

/** The queue of tasks that no route names. */
export const MOGNET_DEFAULT_QUEUE = "tasks";

/** Arguments of every task queue; another value is refused by the broker (406). */
export const MOGNET_TASK_QUEUE_ARGUMENTS: Readonly<Record<string, number>> = { "x-max-priority": 10 };

/** Arguments of the transient, auto-deleted queues of one node, in milliseconds. */
export const MOGNET_NODE_QUEUE_ARGUMENTS: Readonly<Record<string, number>> = {
  "x-expires": 30_000,
  "x-message-ttl": 30_000,
};

/** Everything that is named after one application. */
export interface MognetNames {
  readonly app: string;
  /** Direct and durable: requests, and replies to queries. */
  readonly directExchange: string;
  /** Fanout and not durable: revokes and queries to every worker. */
  readonly controlExchange: string;
  /** Queue and routing key of a queue that routes call `queue`. */
  taskQueue(queue: string): string;
  controlQueue(nodeId: string): string;
  callbackQueue(nodeId: string): string;
  /** Redis hash of 11 fields. */
  resultKey(id: string): string;
  valueKey(id: string): string;
  childrenKey(id: string): string;
  metadataKey(id: string): string;
  stateKey(id: string): string;
}

/** The names of an app's exchanges, queues and keys. */
export function mognetNames(app: string): MognetNames {
  const result = `${app}.mognet.result.`;
  const state = `${app}.mognet.state.`;
  return {
    app,
    directExchange: `${app}.mognet.direct`,
    controlExchange: `${app}.mognet.control`,
    taskQueue: (queue) => `${app}.${queue}`,
    controlQueue: (nodeId) => `${app}.mognet.control.${nodeId}`,
    callbackQueue: (nodeId) => `${app}.mognet.callback.${nodeId}`,
    resultKey: (id) => result + id,
    valueKey: (id) => `${result}${id}/value`,
    childrenKey: (id) => `${result}${id}/children`,
    metadataKey: (id) => `${result}${id}/metadata`,
    stateKey: (id) => state + id,
  };
}

const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HEX = /^[0-9a-fA-F]{32}$/;
const DASHED = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

/** An id as Mognet's keys hold it, or null for what pydantic refuses: `urn:uuid:`, braces, any case, dashed or bare are read. */
export function mognetIdOrNull(text: string): string | null {
  if (CANONICAL.test(text)) return text;
  let inner = text;
  if (inner.startsWith("urn:uuid:")) inner = inner.slice(9);
  else if (inner.startsWith("{") && inner.endsWith("}")) inner = inner.slice(1, -1);
  else if (HEX.test(inner)) return dashed(inner.toLowerCase());
  return DASHED.test(inner) ? inner.toLowerCase() : null;
}

/** As `mognetIdOrNull`, with a `DecodeError` in the place of null. */
export function mognetId(text: string): string {
  const id = mognetIdOrNull(text);
  if (id === null) throw new DecodeError(`not a UUID: ${JSON.stringify(text.slice(0, 60))}`);
  return id;
}

/** A member of a children set: the 16 bytes of the id. */
export function mognetIdBytes(id: string): Uint8Array {
  const hex = mognetId(id).replaceAll("-", "");
  const bytes = new Uint8Array(16);
  for (let at = 0; at < 16; at++) bytes[at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** Null for what is not 16 bytes long. */
export function mognetIdFromBytes(bytes: Uint8Array): string | null {
  if (bytes.length !== 16) return null;
  let hex = "";
  for (const byte of bytes) hex += byte.toString(16).padStart(2, "0");
  return dashed(hex);
}

function dashed(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
