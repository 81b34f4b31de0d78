/**
 * Cuts the bytes of a connection into frames. Deliveries, returns and confirms are read here and go straight to their
 * channel; every other frame is left to amqplib, whole.
 *
 * Why not amqplib's own reader: it ends the connection at a header of type `L`, which py-amqp writes for every integer beyond
 * 32 bits, loses integers beyond 2**53, and lets a header named `__proto__` set a prototype.
 */
import { Buffer } from "node:buffer";
import type { Message } from "../../../protocol/message.ts";
import { type ContentHeader, ContentReader } from "./content.ts";
import { FRAME, METHOD } from "./frames.ts";
import { KnownTexts } from "./texts.ts";

/** What arrives for one channel. */
export interface ChannelInput {
  onDelivery(
    consumerTag: string,
    deliveryTag: number,
    redelivered: boolean,
    exchange: string,
    routingKey: string,
    message: Message,
  ): void;
  onReturn(reason: string, exchange: string, routingKey: string, message: Message): void;
  onConfirm(deliveryTag: number, multiple: boolean, ok: boolean): void;
}

/** A message of which some frames are still to come. */
class Incoming {
  readonly input: ChannelInput;
  readonly texts = new KnownTexts();
  returned = false;
  consumerTag = "";
  deliveryTag = 0;
  redelivered = false;
  reason = "";
  exchange = "";
  routingKey = "";
  header: ContentHeader | null = null;
  left = 0;
  parts: Buffer[] = [];

  constructor(input: ChannelInput) {
    this.input = input;
  }

  complete(body: Buffer): void {
    const header = this.header;
    if (!header) return;
    this.header = null;
    this.parts = [];
    const message: Message = {
      body,
      headers: header.headers,
      properties: header.properties,
    };
    if (header.contentType !== undefined) message.contentType = header.contentType;
    if (header.contentEncoding !== undefined) message.contentEncoding = header.contentEncoding;
    if (header.refused !== undefined) message.refused = header.refused;
    const { exchange, routingKey } = this;
    if (this.returned) this.input.onReturn(this.reason, exchange, routingKey, message);
    else this.input.onDelivery(this.consumerTag, this.deliveryTag, this.redelivered, exchange, routingKey, message);
  }
}

const EMPTY = Buffer.alloc(0);

export class FrameReader {
  readonly #pull: () => Buffer | null;
  readonly #pass: (frame: Buffer) => unknown;
  readonly #maxBodyBytes: number;
  readonly #content = new ContentReader();
  readonly #channels = new Map<number, Incoming>();
  #bytes: Buffer;
  #at = 0;

  /**
   * `rest` is what was read before, `pull` gives more bytes or null, `pass` takes a frame that is not ours and its answer is
   * the answer of `next`. A body over `maxBodyBytes` is dropped and its message refused.
   */
  constructor(rest: Buffer, pull: () => Buffer | null, pass: (frame: Buffer) => unknown, maxBodyBytes: number) {
    this.#bytes = rest;
    this.#pull = pull;
    this.#pass = pass;
    this.#maxBodyBytes = maxBodyBytes;
  }

  listen(channel: number, input: ChannelInput): void {
    this.#channels.set(channel, new Incoming(input));
  }

  unlisten(channel: number): void {
    this.#channels.delete(channel);
  }

  /** Reads until a frame is not ours (the answer), or no whole frame is left (false). */
  next(): unknown {
    for (;;) {
      const bytes = this.#bytes;
      const at = this.#at;
      const have = bytes.length - at;
      const size = have < FRAME.headBytes ? 0 : bytes.readUInt32BE(at + 3);
      const end = at + FRAME.headBytes + size;
      if (have < FRAME.headBytes || bytes.length < end + 1) {
        const more = this.#pull();
        if (more === null) return false;
        this.#bytes = have === 0 ? more : Buffer.concat([at === 0 ? bytes : bytes.subarray(at), more]);
        this.#at = 0;
        continue;
      }
      if (bytes[end] !== FRAME.end) throw new RangeError("the broker sent a frame without its end mark");
      this.#at = end + 1;
      const type = bytes[at];
      if (type === FRAME.heartbeat) continue;
      const incoming = this.#channels.get(bytes.readUInt16BE(at + 1));
      if (incoming === undefined || !this.#accept(incoming, type, bytes, at + FRAME.headBytes, end)) {
        return this.#pass(bytes.subarray(at, end + 1));
      }
    }
  }

  #accept(incoming: Incoming, type: number | undefined, bytes: Buffer, from: number, end: number): boolean {
    switch (type) {
      case FRAME.body:
        this.#body(incoming, bytes, from, end);
        return true;
      case FRAME.header:
        incoming.left = Number(bytes.readBigUInt64BE(from + 4));
        incoming.header = this.#content.read(bytes.subarray(from, end));
        if (incoming.left > this.#maxBodyBytes) {
          incoming.header.refused = `the body is ${incoming.left} bytes long; the limit is ${this.#maxBodyBytes}`;
        }
        if (incoming.left === 0) incoming.complete(EMPTY);
        return true;
      case FRAME.method:
        return this.#method(incoming, bytes, from);
      default:
        return false;
    }
  }

  #body(incoming: Incoming, bytes: Buffer, from: number, end: number): void {
    const whole = incoming.parts.length === 0 && end - from === incoming.left;
    incoming.left -= end - from;
    // Copied: a message may be held for hours, and must not hold the 64 KiB that it came in.
    const keep = incoming.header?.refused === undefined;
    if (keep) incoming.parts.push(Buffer.from(bytes.subarray(from, end)));
    if (incoming.left > 0) return;
    if (!keep) incoming.complete(EMPTY);
    else incoming.complete(whole ? incoming.parts[0]! : Buffer.concat(incoming.parts));
  }

  #method(incoming: Incoming, bytes: Buffer, from: number): boolean {
    switch (bytes.readUInt32BE(from)) {
      case METHOD.deliver: {
        let at = from + 4;
        let next = at + 1 + bytes[at]!;
        incoming.returned = false;
        incoming.consumerTag = incoming.texts.read(bytes, at + 1, next, 0);
        incoming.deliveryTag = tagAt(bytes, next);
        incoming.redelivered = (bytes[next + 8]! & 1) === 1;
        at = next + 9;
        next = at + 1 + bytes[at]!;
        incoming.exchange = incoming.texts.read(bytes, at + 1, next, 1);
        at = next;
        incoming.routingKey = incoming.texts.read(bytes, at + 1, at + 1 + bytes[at]!, 2);
        return true;
      }
      case METHOD.ack:
        incoming.input.onConfirm(tagAt(bytes, from + 4), (bytes[from + 12]! & 1) === 1, true);
        return true;
      case METHOD.nack:
        incoming.input.onConfirm(tagAt(bytes, from + 4), (bytes[from + 12]! & 1) === 1, false);
        return true;
      case METHOD.return: {
        incoming.returned = true;
        let at = from + 6;
        let next = at + 1 + bytes[at]!;
        incoming.reason = bytes.toString("utf8", at + 1, next);
        at = next;
        next = at + 1 + bytes[at]!;
        incoming.exchange = bytes.toString("utf8", at + 1, next);
        at = next;
        incoming.routingKey = bytes.toString("utf8", at + 1, at + 1 + bytes[at]!);
        return true;
      }
      default:
        return false;
    }
  }
}

function tagAt(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}
