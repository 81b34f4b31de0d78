/**
 * The JSON object in which Kombu's virtual transports (Redis, filesystem, SQL, memory) carry a message.
 * wire: celery-wire 3.3; kombu/transport/virtual/base.py `prepare_message`, `_inplace_augment_message`, `Message`;
 * kombu/transport/redis.py `_do_restore_message`. Field order is Kombu's, so that ours and Python's texts are alike.
 */
import { base64Decode, base64Encode, utf8Encode } from "../bytes.ts";
import { DecodeError } from "../errors.ts";
import { decodeJson, encodeJson, type JsonDecodeOptions } from "../json.ts";
import type { Headers, Message, MessageProperties } from "../message.ts";
import { isRecord, numberOr, textOr } from "../records.ts";
import { endOfValue, memberValue, skipSpace, withMember } from "./json-span.ts";

/** Most urgent and least urgent on Redis are 0 and 9; the filesystem ignores it. */
const MAX_PRIORITY = 9;

/** What the envelope says of the message's way. */
export interface EnvelopeRoute {
  exchange: string;
  routingKey: string;
  /** Chosen by the publisher, unique for each copy: the key under which an unsettled message is kept. */
  deliveryTag: string;
  /** Marks the message in its headers and its delivery info, as Kombu's Redis transport does. @default false */
  redelivered?: boolean;
}

/** A message out of its envelope. */
export interface DecodedEnvelope {
  message: Message;
  /** Empty when the peer named none. */
  exchange: string;
  routingKey: string;
  /** Null when the peer gave none: Kombu cannot read such a message at all. */
  deliveryTag: string | null;
  redelivered: boolean;
  /** 0 to 9, as Kombu clamps it; 0 when absent or not a number. */
  priority: number;
}

/** The text that goes into a list or a file. Throws `EncodeError` for headers that have no JSON form. */
export function encodeEnvelope(message: Message, route: EnvelopeRoute): string {
  const properties = message.properties;
  let text = `{"body": "${base64Encode(message.body)}", "content-encoding": ${optionalText(message.contentEncoding)}`;
  text += `, "content-type": ${optionalText(message.contentType)}, "headers": `;
  const headers = message.headers === null ? "{}" : encodeJson(message.headers);
  text += route.redelivered === true ? withMember(headers, 0, "redelivered", "true") : headers;
  text += ', "properties": {';
  if (properties.correlationId !== undefined) text += `"correlation_id": ${encodeJson(properties.correlationId)}, `;
  if (properties.replyTo !== undefined) text += `"reply_to": ${encodeJson(properties.replyTo)}, `;
  text += rareProperties(properties);
  if (properties.deliveryMode !== undefined) text += `"delivery_mode": ${encodeJson(properties.deliveryMode)}, `;
  if (properties.expiration !== undefined) text += `"expiration": ${encodeJson(properties.expiration)}, `;
  text += `"delivery_info": {"exchange": ${encodeJson(route.exchange)}, "routing_key": ${encodeJson(route.routingKey)}`;
  if (route.redelivered === true) text += ', "redelivered": true';
  text += `}, "priority": ${encodeJson(properties.priority ?? 0)}, "body_encoding": "base64", "delivery_tag": `;
  return `${text}${encodeJson(route.deliveryTag)}}}`;
}

function optionalText(value: string | undefined): string {
  return value === undefined ? "null" : encodeJson(value);
}

/** Properties that Celery itself never sets; Kombu keeps the order of the call, we keep this one. */
function rareProperties(properties: MessageProperties): string {
  let text = "";
  if (properties.messageId !== undefined) text += `"message_id": ${encodeJson(properties.messageId)}, `;
  if (properties.type !== undefined) text += `"type": ${encodeJson(properties.type)}, `;
  if (properties.userId !== undefined) text += `"user_id": ${encodeJson(properties.userId)}, `;
  if (properties.appId !== undefined) text += `"app_id": ${encodeJson(properties.appId)}, `;
  if (properties.clusterId !== undefined) text += `"cluster_id": ${encodeJson(properties.clusterId)}, `;
  if (properties.timestamp !== undefined) text += `"timestamp": ${encodeJson(properties.timestamp)}, `;
  const extra = properties.extra;
  if (extra === undefined) return text;
  for (const name of Object.keys(extra)) {
    if (!OWN_PROPERTIES.has(name) && extra[name] !== undefined) {
      text += `${encodeJson(name)}: ${encodeJson(extra[name])}, `;
    }
  }
  return text;
}

/** Names that an `extra` property may not repeat. */
const OWN_PROPERTIES: ReadonlySet<string> = new Set([
  "correlation_id",
  "reply_to",
  "delivery_mode",
  "expiration",
  "delivery_info",
  "priority",
  "body_encoding",
  "delivery_tag",
]);

/**
 * Reads what a virtual transport carried. Tolerates what other clients leave out (celery-node: no priority; rusty-celery:
 * no delivery info; gocelery: no headers). Anything else that is not an envelope is a `DecodeError`.
 */
export function decodeEnvelope(text: string, options?: JsonDecodeOptions): DecodedEnvelope {
  const envelope = decodeJson(text, options);
  if (!isRecord(envelope)) throw new DecodeError("an envelope must be a JSON object");
  const wire = objectOr(envelope.properties, "properties");
  const info = objectOr(wire.delivery_info, "properties.delivery_info");
  const headers = objectOr(envelope.headers, "headers");
  const message: Message = {
    body: readBody(envelope.body, wire.body_encoding),
    headers,
    properties: readProperties(wire),
  };
  const contentType = envelope["content-type"];
  const contentEncoding = envelope["content-encoding"];
  if (typeof contentType === "string") message.contentType = contentType;
  if (typeof contentEncoding === "string") message.contentEncoding = contentEncoding;
  return {
    message,
    exchange: textOr(info.exchange, ""),
    routingKey: textOr(info.routing_key, ""),
    deliveryTag: typeof wire.delivery_tag === "string" ? wire.delivery_tag : null,
    redelivered: headers.redelivered === true || info.redelivered === true || envelope.redelivered === true,
    priority: clampPriority(wire.priority),
  };
}

function readBody(body: unknown, encoding: unknown): Uint8Array {
  if (body === undefined || body === null || body === "") return new Uint8Array(0);
  if (typeof body !== "string") throw new DecodeError("the body of an envelope must be text");
  if (encoding === "base64") return base64Decode(body);
  if (encoding === undefined || encoding === null || encoding === "") return utf8Encode(body);
  const name = typeof encoding === "string" ? encoding.toLowerCase() : "";
  if (name === "base64") return base64Decode(body);
  if (name === "utf-8") return utf8Encode(body);
  throw new DecodeError("the body_encoding of an envelope must be base64, utf-8 or null");
}

function readProperties(wire: Headers): MessageProperties {
  const properties: MessageProperties = {};
  for (const name of Object.keys(wire)) {
    const value = wire[name];
    switch (name) {
      case "body_encoding":
      case "delivery_info":
      case "delivery_tag":
        break;
      case "correlation_id":
        if (typeof value === "string") properties.correlationId = value;
        break;
      case "reply_to":
        if (typeof value === "string") properties.replyTo = value;
        break;
      case "delivery_mode":
        setNumber(properties, "deliveryMode", value);
        break;
      case "priority":
        setNumber(properties, "priority", value);
        break;
      case "expiration":
        if (typeof value === "string") properties.expiration = value;
        else if (typeof value === "number") properties.expiration = String(Math.trunc(value));
        break;
      default:
        readRareProperty(properties, name, value);
    }
  }
  return properties;
}

function setNumber(properties: MessageProperties, name: "deliveryMode" | "priority", value: unknown): void {
  const number = numberOr(value, null);
  if (number !== null) properties[name] = number;
}

function readRareProperty(properties: MessageProperties, name: string, value: unknown): void {
  if (typeof value === "string") {
    switch (name) {
      case "message_id":
        properties.messageId = value;
        return;
      case "type":
        properties.type = value;
        return;
      case "user_id":
        properties.userId = value;
        return;
      case "app_id":
        properties.appId = value;
        return;
      case "cluster_id":
        properties.clusterId = value;
        return;
    }
  }
  if (name === "timestamp" && typeof value === "number") {
    properties.timestamp = value;
  } else if (name !== "__proto__") {
    properties.extra ??= {};
    properties.extra[name] = value;
  }
}

/** Kombu's `_get_message_priority`. */
function clampPriority(value: unknown): number {
  const number = typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : numberOr(value, 0);
  return number >= 0 ? Math.min(Math.trunc(number), MAX_PRIORITY) : 0;
}

/** Missing, null and PHP's empty array count as an empty object. */
function objectOr(value: unknown, what: string): Record<string, unknown> {
  if (isRecord(value)) return value;
  if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) return {};
  throw new DecodeError(`${what} of an envelope must be an object`);
}

/**
 * The same envelope, marked as Kombu marks what it gives back to a queue: `headers.redelivered` and
 * `properties.delivery_info.redelivered` become true, each where its container exists. All else keeps its bytes.
 */
export function markRedelivered(envelopeText: string): string {
  let text = envelopeText;
  const root = skipSpace(text, 0);
  const headers = memberValue(text, root, "headers");
  if (headers !== null && text[headers.start] === "{") text = withMember(text, headers.start, "redelivered", "true");
  const properties = memberValue(text, root, "properties");
  if (properties === null) return text;
  const info = memberValue(text, properties.start, "delivery_info");
  return info !== null && text[info.start] === "{" ? withMember(text, info.start, "redelivered", "true") : text;
}

/** One field of the `unacked` hash: the envelope's own text and where it was sent. */
export interface UnackedRecord {
  envelope: string;
  exchange: string;
  routingKey: string;
}

/** `[envelope, exchange, routing_key]`, as Kombu writes it. */
export function encodeUnacked(record: UnackedRecord): string {
  return `[${record.envelope}, ${encodeJson(record.exchange)}, ${encodeJson(record.routingKey)}]`;
}

/** Throws `DecodeError` when the text is no such record. */
export function decodeUnacked(text: string): UnackedRecord {
  const start = skipSpace(text, 0);
  const first = skipSpace(text, start + 1);
  if (text[start] !== "[" || text[first] !== "{")
    throw new DecodeError("an unacked record must be [envelope, exchange, key]");
  const end = endOfValue(text, first);
  const comma = skipSpace(text, end);
  if (text[comma] !== ",") throw new DecodeError("an unacked record must be [envelope, exchange, key]");
  const rest = decodeJson(`[${text.slice(comma + 1)}`, { maxDepth: 2 });
  if (!Array.isArray(rest) || rest.length !== 2)
    throw new DecodeError("an unacked record must be [envelope, exchange, key]");
  return {
    envelope: text.slice(first, end),
    exchange: textOr(rest[0], ""),
    routingKey: textOr(rest[1], ""),
  };
}
