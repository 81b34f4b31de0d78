/**
 * The content header of a message: AMQP's basic properties. wire: celery-wire 1.1, 1.2; AMQP 0-9-1 section 4.2.6.
 * Names that AMQP does not have (`properties.extra`) are left out, as py-amqp does.
 */
import type { Buffer } from "node:buffer";
import { DecodeError, EncodeError } from "../../../protocol/errors.ts";
import type { Message, MessageProperties } from "../../../protocol/message.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { TableReader } from "./field-table.ts";
import type { ContentPlaces } from "./repeated-publish.ts";
import type { RepeatedTable } from "./repeated-table.ts";
import { KnownTexts } from "./texts.ts";

const CLASS_BASIC = 60;
const FLAG = {
  contentType: 0x8000,
  contentEncoding: 0x4000,
  headers: 0x2000,
  deliveryMode: 0x1000,
  priority: 0x0800,
  correlationId: 0x0400,
  replyTo: 0x0200,
  expiration: 0x0100,
  messageId: 0x0080,
  timestamp: 0x0040,
  type: 0x0020,
  userId: 0x0010,
  appId: 0x0008,
  clusterId: 0x0004,
} as const;

/** Appends the payload of a header frame, and says where its parts stand. `headers` knows the table of the message before. */
export function writeContentHeader(
  out: ByteWriter,
  message: Message,
  defaultDeliveryMode: number | undefined,
  headers: RepeatedTable,
): ContentPlaces {
  const { properties } = message;
  out.u16(CLASS_BASIC);
  out.u16(0);
  out.u64(message.body.length);
  const flagsAt = out.mark();
  out.u16(0);
  let flags = 0;
  flags |= shortText(out, FLAG.contentType, "contentType", message.contentType);
  flags |= shortText(out, FLAG.contentEncoding, "contentEncoding", message.contentEncoding);
  const table = out.mark();
  if (message.headers !== null) {
    headers.write(out, message.headers);
    flags |= FLAG.headers;
  }
  const tableEnd = out.mark();
  flags |= octet(out, FLAG.deliveryMode, "deliveryMode", properties.deliveryMode ?? defaultDeliveryMode);
  flags |= octet(out, FLAG.priority, "priority", properties.priority);
  const correlation = out.mark();
  const hasCorrelation = shortText(out, FLAG.correlationId, "correlationId", properties.correlationId);
  flags |= hasCorrelation;
  flags |= shortText(out, FLAG.replyTo, "replyTo", properties.replyTo);
  flags |= shortText(out, FLAG.expiration, "expiration", properties.expiration);
  flags |= shortText(out, FLAG.messageId, "messageId", properties.messageId);
  if (properties.timestamp !== undefined) {
    const seconds = Math.floor(properties.timestamp);
    if (!(seconds >= 0)) throw new EncodeError("the property timestamp must be a number of seconds since 1970");
    out.u64(seconds);
    flags |= FLAG.timestamp;
  }
  flags |= shortText(out, FLAG.type, "type", properties.type);
  flags |= shortText(out, FLAG.userId, "userId", properties.userId);
  flags |= shortText(out, FLAG.appId, "appId", properties.appId);
  flags |= shortText(out, FLAG.clusterId, "clusterId", properties.clusterId);
  out.patchU16(flagsAt, flags);
  return { table, tableEnd, correlationId: hasCorrelation === 0 ? null : correlation + 1 };
}

function shortText(out: ByteWriter, flag: number, name: string, value: string | undefined): number {
  if (value === undefined || value === null) return 0;
  writeShortText(out, name, value);
  return flag;
}

/** Text of at most 255 bytes with its length in front; otherwise an `EncodeError` that names it. */
export function writeShortText(out: ByteWriter, name: string, value: string): void {
  const mark = out.mark();
  out.u8(0);
  const length = out.text(value);
  if (length > 255) throw new EncodeError(`the property ${name} is ${length} bytes long; AMQP allows 255`);
  out.patchU8(mark, length);
}

function octet(out: ByteWriter, flag: number, name: string, value: number | undefined): number {
  if (value === undefined || value === null) return 0;
  if (!Number.isInteger(value) || value < 0 || value > 255) {
    throw new EncodeError(`the property ${name} must be a whole number from 0 to 255, not ${value}`);
  }
  out.u8(value);
  return flag;
}

/** A message without its body yet. */
export type ContentHeader = Omit<Message, "body">;

export class ContentReader {
  readonly #tables = new TableReader();
  readonly #texts = new KnownTexts();
  #bytes!: Buffer;
  #at = 0;

  /** Reads the payload of a header frame. What cannot be read gives a message with `refused` set. */
  read(payload: Buffer): ContentHeader {
    try {
      return this.#read(payload);
    } catch (error) {
      const why = error instanceof DecodeError || error instanceof RangeError ? error.message : String(error);
      return { headers: null, properties: {}, refused: why };
    }
  }

  #read(payload: Buffer): ContentHeader {
    this.#bytes = payload;
    this.#at = 14;
    const flags = payload.readUInt16BE(12);
    if (flags & 1) throw new DecodeError("a content header has more property flags than AMQP 0-9-1 defines");
    const properties: MessageProperties = {};
    const header: ContentHeader = { headers: null, properties };
    if (flags & FLAG.contentType) header.contentType = this.#known(0);
    if (flags & FLAG.contentEncoding) header.contentEncoding = this.#known(1);
    if (flags & FLAG.headers) {
      const { table, end } = this.#tables.read(payload, this.#at);
      header.headers = table;
      this.#at = end;
    }
    if (flags & FLAG.deliveryMode) properties.deliveryMode = this.#octet();
    if (flags & FLAG.priority) properties.priority = this.#octet();
    if (flags & FLAG.correlationId) properties.correlationId = this.#text();
    if (flags & FLAG.replyTo) properties.replyTo = this.#known(2);
    if (flags & FLAG.expiration) properties.expiration = this.#text();
    if (flags & FLAG.messageId) properties.messageId = this.#text();
    if (flags & FLAG.timestamp) {
      properties.timestamp = Number(payload.readBigUInt64BE(this.#at));
      this.#at += 8;
    }
    if (flags & FLAG.type) properties.type = this.#text();
    if (flags & FLAG.userId) properties.userId = this.#text();
    if (flags & FLAG.appId) properties.appId = this.#text();
    if (flags & FLAG.clusterId) properties.clusterId = this.#text();
    return header;
  }

  #octet(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  #text(): string {
    const from = this.#span();
    return this.#bytes.toString("utf8", from, this.#at);
  }

  #known(place: number): string {
    const from = this.#span();
    return this.#texts.read(this.#bytes, from, this.#at, place);
  }

  #span(): number {
    const length = this.#octet();
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new DecodeError("a content header ends in the middle of a property");
    return from;
  }
}
