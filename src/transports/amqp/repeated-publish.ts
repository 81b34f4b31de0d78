/**
 * The two frames in front of a body, message after message: `basic.publish` and the content header. Messages of one series differ in
 * their headers, their correlation id and the size of their body; the rest is copied from the message before.
 */
import { Buffer } from "node:buffer";
import type { Headers, Message, MessageProperties } from "../../../protocol/message.ts";
import type { ByteWriter } from "./byte-writer.ts";
import type { RepeatedTable } from "./repeated-table.ts";

const NOTHING = Buffer.alloc(0);
/** From the start of the header frame to the size of the body, and so many bytes of it are always zero here. */
const BODY_SIZE_AT = 11;
const BODY_SIZE_ZEROES = 4;

/** Where in what was written the parts of a content header stand, as marks. */
export interface ContentPlaces {
  /** The headers. The same: there are none. */
  readonly table: number;
  readonly tableEnd: number;
  /** The text of the correlation id; null without one. */
  readonly correlationId: number | null;
}

/** Marks of what was written for one message. */
export interface WrittenPlaces extends ContentPlaces {
  readonly method: number;
  readonly header: number;
}

export class RepeatedPublish {
  #front: Buffer = NOTHING;
  #back: Buffer = NOTHING;
  /** In `#front`. */
  #header = 0;
  /** In `#back`; and how many bytes it has. */
  #correlationAt = 0;
  #correlationSize = -1;
  #contentType: string | undefined;
  #contentEncoding: string | undefined;
  #properties: MessageProperties | null = null;
  #deliveryMode: number | undefined;

  /** Takes the frames that were written last as the pattern of the next. */
  learn(out: ByteWriter, message: Message, deliveryMode: number | undefined, places: WrittenPlaces): void {
    this.#properties = null;
    const { method, header, table, tableEnd, correlationId } = places;
    if (message.headers === null) return;
    this.#front = out.since(method, table);
    this.#back = out.since(tableEnd);
    this.#header = header - method;
    this.#correlationAt = correlationId === null ? 0 : correlationId - tableEnd;
    this.#correlationSize = correlationId === null ? -1 : (this.#back[this.#correlationAt - 1] ?? -1);
    this.#contentType = message.contentType;
    this.#contentEncoding = message.contentEncoding;
    this.#properties = { ...message.properties };
    this.#deliveryMode = deliveryMode;
  }

  /** The next message goes another way. */
  forget(): void {
    this.#properties = null;
  }

  canWrite(message: Message, deliveryMode: number | undefined): message is Message & { headers: Headers } {
    const known = this.#properties;
    return (
      known !== null &&
      message.headers !== null &&
      message.contentType === this.#contentType &&
      message.contentEncoding === this.#contentEncoding &&
      deliveryMode === this.#deliveryMode &&
      message.body.length < 2 ** (8 * BODY_SIZE_ZEROES) &&
      this.#hasAlike(known, message.properties)
    );
  }

  /** What `canWrite`. Says how long the header frame's payload is. */
  write(out: ByteWriter, { body, headers, properties }: Message & { headers: Headers }, table: RepeatedTable): number {
    const start = out.mark();
    out.bytes(this.#front);
    table.write(out, headers);
    const back = out.mark();
    out.bytes(this.#back);
    if (properties.correlationId) out.patchAscii(back + this.#correlationAt, properties.correlationId);
    const header = start + this.#header;
    const size = out.mark() - header - 8;
    out.patchU32(header + 3, size);
    out.patchU32(header + BODY_SIZE_AT + BODY_SIZE_ZEROES, body.length);
    return size;
  }

  #hasAlike(known: MessageProperties, properties: MessageProperties): boolean {
    let count = 0;
    // A name without a value is as good as none: only those with one are counted on both sides.
    for (const name in properties) {
      if (properties[name as keyof MessageProperties] === undefined) continue;
      count++;
      if (name === "correlationId" ? !this.#fits(properties[name]) : !isSame(known, properties, name)) return false;
    }
    for (const name in known) if (known[name as keyof MessageProperties] !== undefined) count--;
    return count === 0;
  }

  #fits(correlationId: string | undefined): boolean {
    return (
      typeof correlationId === "string" &&
      correlationId.length === this.#correlationSize &&
      Buffer.byteLength(correlationId) === this.#correlationSize
    );
  }
}

/** What AMQP does not know is not written. */
function isSame(known: MessageProperties, properties: MessageProperties, name: string): boolean {
  if (name === "extra") return Object.hasOwn(known, name);
  return Object.is(known[name as keyof MessageProperties], properties[name as keyof MessageProperties]);
}
