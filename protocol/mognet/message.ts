/** The envelope around every Mognet message. wire: Mognet 2.0.0 broker/base_broker.py `MessagePayload`, broker/amqp_broker.py. */
import { utf8Decode, utf8Encode } from "../bytes.ts";
import { DecodeError, ProtocolError } from "../errors.ts";
import { isRecord, kindOf } from "../records.ts";
import { decodePlainJson } from "./json.ts";
import { encodeCompactJson } from "./json-text.ts";
import { encodeMognetRequestPayload, type MognetRequest, pydanticInt } from "./request.ts";

/** A message of Mognet's: what kind of payload, and the payload. */
export interface MognetEnvelope {
  id: string;
  /** `Request`, `Revoke`, `Query` or `StatusResponse`; others are told to no one. */
  kind: string;
  payload: Record<string, unknown>;
  /** Default 5. */
  priority: number;
}

/** A message ready to be published: always `mandatory`, with an empty header table. */
export interface MognetPublication {
  readonly body: Uint8Array;
  readonly contentType: "application/json";
  readonly contentEncoding: "utf-8";
  /** 1: transient, as all of Mognet's; 2: it outlives a restart of the broker. */
  readonly deliveryMode: 1 | 2;
  readonly priority: number;
  readonly messageId: string;
  /** Milliseconds as text; control messages only. */
  readonly expiration?: string;
  /** Queries only. */
  readonly replyTo?: string;
}

/** The id of the request that a message, which need not be readable otherwise, says it is about; null: it does not say. */
export function mognetRequestIdIn(body: Uint8Array, options: { maxDepth?: number } = {}): string | null {
  try {
    const document = decodePlainJson(utf8Decode(body), options);
    const payload = isRecord(document) ? document.payload : null;
    return isRecord(payload) && typeof payload.id === "string" ? payload.id : null;
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}

/** `payload` is JSON text. */
export function encodeMognetEnvelope(id: string, kind: string, payload: string, priority: number): Uint8Array {
  return utf8Encode(
    `{"id":${encodeCompactJson(id)},"kind":${encodeCompactJson(kind)},"payload":${payload},"priority":${priority}}`,
  );
}

/** Throws `EncodeError` for arguments that have no form. */
export function encodeMognetRequest(
  request: MognetRequest,
  { persistent = false }: { persistent?: boolean } = {},
): MognetPublication {
  return {
    body: encodeMognetEnvelope(request.id, "Request", encodeMognetRequestPayload(request), request.priority),
    contentType: "application/json",
    contentEncoding: "utf-8",
    deliveryMode: persistent ? 2 : 1,
    priority: request.priority,
    messageId: request.id,
  };
}

/**
 * Reads a body of any kind of message. Throws `DecodeError` where Python does; such a message is acked there and lost.
 * `floats: "keep"`: `1.0` stays apart from `1`, as a `PyFloat`.
 */
export function decodeMognetEnvelope(
  body: Uint8Array,
  options: { floats?: "number" | "keep"; maxDepth?: number } = {},
): MognetEnvelope {
  const document = decodePlainJson(utf8Decode(body), options);
  if (!isRecord(document)) throw new DecodeError(`a Mognet message is an object, not ${kindOf(document)}`);
  const { id, kind, payload, priority = 5 } = document;
  if (typeof id !== "string") throw new DecodeError(`a Mognet message whose id is of kind ${kindOf(id)}`);
  if (typeof kind !== "string") throw new DecodeError(`a Mognet message whose kind is of kind ${kindOf(kind)}`);
  if (!isRecord(payload)) throw new DecodeError(`a Mognet message whose payload is of kind ${kindOf(payload)}`);
  // wire: amqp_broker.py `_AmqpIncomingMessagePayload(reply_to=…, **contents)` raises TypeError on a second one.
  if (Object.hasOwn(document, "reply_to")) throw new DecodeError("a Mognet message with reply_to in its envelope");
  // Nobody looks at it, and Python has no largest int.
  const whole = typeof priority === "bigint" ? Number(priority) : pydanticInt(priority);
  if (whole === null) throw new DecodeError("a Mognet message whose priority is no whole number");
  return { id, kind, payload, priority: whole };
}
