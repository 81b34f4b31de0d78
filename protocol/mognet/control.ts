/** Control messages and replies. wire: Mognet 2.0.0 primitives/revoke.py, primitives/queries.py, broker/amqp_broker.py. */
import { DecodeError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import { encodeCompactJson } from "./json-text.ts";
import { encodeMognetEnvelope, type MognetEnvelope, type MognetPublication } from "./message.ts";
import { mognetIdOrNull } from "./names.ts";

/** What all nodes of an app are told. */
export type MognetControl =
  /** Cancel that run if it is here; the store says REVOKED already. */
  | { readonly kind: "Revoke"; readonly id: string }
  /** Reply to the message's `reply_to`. */
  | { readonly kind: "Query"; readonly id: string; readonly name: string };

/** The answer of a node to a status query. wire: Mognet 2.0.0 primitives/queries.py. */
export interface MognetNodeStatus {
  /** Of the reply. */
  id: string;
  nodeId: string;
  /** Every request that the node holds un-acked, suspended ones too. */
  runningRequestIds: readonly string[];
}

/** wire: amqp_broker.py `send_control_message`. */
export const MOGNET_CONTROL_EXPIRATION = "300000";

/** `messageId` is fresh, and not the task's. */
export function encodeMognetRevoke(taskId: string, messageId: string): MognetPublication {
  const payload = encodeCompactJson({ id: taskId });
  return { ...control("Revoke", messageId, payload), expiration: MOGNET_CONTROL_EXPIRATION };
}

/** `replyTo` is the callback queue of the asking node; Mognet gives query and message one id. */
export function encodeMognetStatusQuery(messageId: string, replyTo: string, queryId = messageId): MognetPublication {
  const payload = encodeCompactJson({ id: queryId, name: "Status" });
  return { ...control("Query", messageId, payload), expiration: MOGNET_CONTROL_EXPIRATION, replyTo };
}

/** Goes over the direct exchange, with the query's `reply_to` as the routing key. */
export function encodeMognetStatusResponse(status: MognetNodeStatus): MognetPublication {
  const payload = encodeCompactJson({
    id: status.id,
    kind: "StatusResponse",
    node_id: status.nodeId,
    payload: { running_request_ids: status.runningRequestIds },
  });
  return control("StatusResponse", status.id, payload);
}

function control(kind: string, messageId: string, payload: string): MognetPublication {
  return {
    body: encodeMognetEnvelope(messageId, kind, payload, 5),
    contentType: "application/json",
    contentEncoding: "utf-8",
    deliveryMode: 1,
    priority: 0,
    messageId,
  };
}

/** Throws `DecodeError` for an unknown kind and for a payload that Python would refuse. */
export function decodeMognetControl(envelope: MognetEnvelope): MognetControl {
  const { kind, payload } = envelope;
  if (kind === "Revoke") return { kind, id: idOf(kind, payload.id) };
  if (kind !== "Query") throw new DecodeError(`a control message of unknown kind ${JSON.stringify(kind.slice(0, 60))}`);
  if (typeof payload.name !== "string") throw new DecodeError(`a Query whose name is of kind ${kindOf(payload.name)}`);
  // wire: an absent id is a fresh one; nobody looks at it.
  return { kind, id: payload.id === undefined ? envelope.id : idOf(kind, payload.id), name: payload.name };
}

/** Throws `DecodeError` for what is no status. */
export function decodeMognetStatusResponse(envelope: MognetEnvelope): MognetNodeStatus {
  const { kind, payload } = envelope;
  if (kind !== "StatusResponse" || payload.kind !== "StatusResponse") {
    throw new DecodeError(`a reply of unknown kind ${JSON.stringify(kind.slice(0, 60))}`);
  }
  const { node_id: nodeId, payload: status } = payload;
  if (typeof nodeId !== "string") throw new DecodeError(`a status whose node_id is of kind ${kindOf(nodeId)}`);
  const ids = isRecord(status) ? status.running_request_ids : undefined;
  if (!Array.isArray(ids)) throw new DecodeError("a status without running_request_ids");
  return {
    id: payload.id === undefined ? envelope.id : idOf(kind, payload.id),
    nodeId,
    runningRequestIds: ids.map((id: unknown) => idOf(kind, id)),
  };
}

function idOf(kind: string, value: unknown): string {
  const id = typeof value === "string" ? mognetIdOrNull(value) : null;
  if (id === null) throw new DecodeError(`a ${kind} with an id that is no UUID`);
  return id;
}
