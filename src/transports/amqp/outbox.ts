/**
 * The way out of one connection: publishes, acks and rejects of one turn of the event loop leave in one write. Whole frames
 * only, so that amqplib may write its own in between.
 */
import type { Duplex } from "node:stream";
import type { Message } from "../../../protocol/message.ts";
import { PublishError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import {
  FRAME,
  type PublishAddress,
  PublishWriter,
  writeAck,
  writeBodyHead,
  writeReject,
  writeRequeueUpTo,
} from "./frames.ts";

/** Pending bytes that leave without waiting for the end of the turn. */
const FULL_BYTES = 48 * 1024;
/** A body from here on is handed to the socket as it is, not copied. */
const LARGE_BODY = 16 * 1024;

/** Has something to write before the bytes of this turn leave. */
export interface LateWriter {
  writeLate(): void;
}

export class Outbox {
  readonly #stream: Duplex;
  readonly #frameMax: number;
  readonly #onWrite: () => void;
  readonly #out = new ByteWriter();
  readonly #publishes = new PublishWriter();
  #late: LateWriter[] = [];
  #turn: NodeJS.Immediate | null = null;
  #congested = false;
  #closed = false;
  /** Called when the socket takes bytes again. */
  onDrain: () => void = () => undefined;

  constructor(stream: Duplex, frameMax: number, onWrite: () => void) {
    this.#stream = stream;
    this.#frameMax = frameMax;
    this.#onWrite = onWrite;
    stream.on("drain", () => {
      this.#congested = false;
      this.onDrain();
    });
  }

  /** The socket has more to write than it likes: publishing should wait for `onDrain`. */
  get congested(): boolean {
    return this.#congested;
  }

  /** Bytes that the network has not taken. */
  get unsent(): number {
    return this.#out.pending + this.#stream.writableLength;
  }

  /** A message that cannot be written throws, and nothing of it was written. */
  publish(channel: number, message: Message, to: PublishAddress, deliveryMode: number | undefined): void {
    const out = this.#out;
    const mark = out.mark();
    try {
      const headerBytes = this.#publishes.write(out, channel, message, to, deliveryMode);
      if (headerBytes > this.#frameMax - FRAME.overhead) {
        const why = `headers and properties take ${headerBytes} bytes, more than one frame of ${this.#frameMax} bytes can hold`;
        throw new PublishError(why, to, { code: "MESSAGE_TOO_LARGE" });
      }
    } catch (error) {
      out.rewind(mark);
      throw error;
    }
    this.#body(channel, message.body);
    this.#written();
  }

  ack(channel: number, tag: number, multiple: boolean): void {
    writeAck(this.#out, channel, tag, multiple);
    this.#written();
  }

  reject(channel: number, tag: number, requeue: boolean): void {
    writeReject(this.#out, channel, tag, requeue);
    this.#written();
  }

  requeueUpTo(channel: number, tag: number): void {
    writeRequeueUpTo(this.#out, channel, tag);
    this.#written();
  }

  /** Asks `writer` for its frames before this turn's bytes leave. */
  atEndOfTurn(writer: LateWriter): void {
    this.#late.push(writer);
    this.#schedule();
  }

  flush(): void {
    if (this.#turn) clearImmediate(this.#turn);
    this.#turn = null;
    const late = this.#late;
    if (late.length > 0) {
      this.#late = [];
      for (const writer of late) writer.writeLate();
    }
    this.#send();
  }

  /** Nothing is written from here on. */
  close(): void {
    this.#closed = true;
    if (this.#turn) clearImmediate(this.#turn);
    this.#turn = null;
    this.#late = [];
  }

  #body(channel: number, body: Uint8Array): void {
    const most = this.#frameMax - FRAME.overhead;
    for (let from = 0; from < body.length; from += most) {
      const size = Math.min(most, body.length - from);
      writeBodyHead(this.#out, channel, size);
      const part = size === body.length ? body : body.subarray(from, from + size);
      if (size < LARGE_BODY) {
        this.#out.bytes(part);
      } else {
        this.#send();
        this.#write(part);
      }
      this.#out.u8(FRAME.end);
    }
  }

  #written(): void {
    if (this.#out.pending >= FULL_BYTES) this.#send();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#turn || this.#closed) return;
    this.#turn = setImmediate(() => {
      this.#turn = null;
      this.flush();
    });
  }

  #send(): void {
    if (this.#out.pending > 0) this.#write(this.#out.take());
  }

  #write(bytes: Uint8Array): void {
    if (this.#closed || this.#stream.writableEnded || this.#stream.destroyed) return;
    this.#onWrite();
    if (!this.#stream.write(bytes)) this.#congested = true;
  }
}
