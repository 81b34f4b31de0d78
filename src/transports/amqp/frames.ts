/** AMQP 0-9-1 frames of the paths that carry messages; everything else is amqplib's. Section 2.3 of the specification. */
import { Buffer } from "node:buffer";
import type { Message } from "../../../protocol/message.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { writeContentHeader, writeShortText } from "./content.ts";
import { RepeatedPublish } from "./repeated-publish.ts";
import { RepeatedTable } from "./repeated-table.ts";

export const FRAME = { method: 1, header: 2, body: 3, heartbeat: 8, end: 0xce, headBytes: 7, overhead: 8 } as const;

/** Class and method in one number. */
export const METHOD = {
  publish: 0x003c0028,
  return: 0x003c0032,
  deliver: 0x003c003c,
  ack: 0x003c0050,
  reject: 0x003c005a,
  nack: 0x003c0078,
} as const;

/** Where a message goes, and whether it comes back when nobody takes it. */
export interface PublishAddress {
  readonly exchange: string;
  readonly routingKey: string;
  readonly mandatory: boolean;
}

/** Writes messages of which many go the same way. */
export class PublishWriter {
  readonly #headers = new RepeatedTable();
  readonly #repeated = new RepeatedPublish();
  /** The `basic.publish` written last. */
  #method: Buffer = Buffer.alloc(0);
  #channel = -1;
  #to: PublishAddress | null = null;

  /** Appends `basic.publish` and the content header; says how long the header frame's payload is. */
  write(
    out: ByteWriter,
    channel: number,
    message: Message,
    to: PublishAddress,
    deliveryMode: number | undefined,
  ): number {
    const method = out.mark();
    if (channel === this.#channel && this.#to !== null && isSameAddress(this.#to, to)) {
      if (this.#repeated.canWrite(message, deliveryMode)) return this.#repeated.write(out, message, this.#headers);
      out.bytes(this.#method);
    } else {
      this.#repeated.forget();
      this.#writeMethod(out, channel, to);
    }
    const header = open(out, FRAME.header, channel);
    const places = writeContentHeader(out, message, deliveryMode, this.#headers);
    const size = close(out, header);
    this.#repeated.learn(out, message, deliveryMode, { ...places, method, header });
    return size;
  }

  #writeMethod(out: ByteWriter, channel: number, to: PublishAddress): void {
    const method = open(out, FRAME.method, channel);
    out.u32(METHOD.publish);
    out.u16(0);
    writeShortText(out, "exchange", to.exchange);
    writeShortText(out, "routingKey", to.routingKey);
    out.u8(to.mandatory ? 1 : 0);
    close(out, method);
    this.#method = out.since(method);
    this.#channel = channel;
    this.#to = { exchange: to.exchange, routingKey: to.routingKey, mandatory: to.mandatory };
  }
}

function isSameAddress(a: PublishAddress, b: PublishAddress): boolean {
  return a.exchange === b.exchange && a.routingKey === b.routingKey && a.mandatory === b.mandatory;
}

export function writeAck(out: ByteWriter, channel: number, tag: number, multiple: boolean): void {
  const mark = open(out, FRAME.method, channel);
  out.u32(METHOD.ack);
  out.u64(tag);
  out.u8(multiple ? 1 : 0);
  close(out, mark);
}

export function writeReject(out: ByteWriter, channel: number, tag: number, requeue: boolean): void {
  const mark = open(out, FRAME.method, channel);
  out.u32(METHOD.reject);
  out.u64(tag);
  out.u8(requeue ? 1 : 0);
  close(out, mark);
}

/** Gives back every unsettled delivery up to `tag`. */
export function writeRequeueUpTo(out: ByteWriter, channel: number, tag: number): void {
  const mark = open(out, FRAME.method, channel);
  out.u32(METHOD.nack);
  out.u64(tag);
  // multiple, requeue
  out.u8(0b11);
  close(out, mark);
}

/** The seven bytes in front of `size` bytes of body. */
export function writeBodyHead(out: ByteWriter, channel: number, size: number): void {
  out.u8(FRAME.body);
  out.u16(channel);
  out.u32(size);
}

function open(out: ByteWriter, type: number, channel: number): number {
  const mark = out.mark();
  out.u8(type);
  out.u16(channel);
  out.u32(0);
  return mark;
}

function close(out: ByteWriter, mark: number): number {
  const size = out.mark() - mark - FRAME.headBytes;
  out.patchU32(mark + 3, size);
  out.u8(FRAME.end);
  return size;
}
