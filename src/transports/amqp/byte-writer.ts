/**
 * Bytes on their way to a socket. Frames are written one after the other into chunks and leave in one write a turn of the
 * event loop; a frame that turns out not to be writable is taken back as a whole.
 */
import { Buffer } from "node:buffer";

const CHUNK_BYTES = 64 * 1024;
/** Text up to this length is copied character by character, which beats the call into the runtime. */
const SHORT_TEXT = 48;

/** Byte by byte: the Buffer's own method takes three times as long until it is compiled. */
export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export class ByteWriter {
  #chunk: Buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #start = 0;
  #at = 0;

  /** Bytes written and not yet taken. */
  get pending(): number {
    return this.#at - this.#start;
  }

  /** A place to return to with `rewind` or to fill in later, valid until `take`. */
  mark(): number {
    return this.pending;
  }

  rewind(mark: number): void {
    this.#at = this.#start + mark;
  }

  /** What was written so far; the receiver may keep it. */
  take(): Buffer {
    const bytes = this.#chunk.subarray(this.#start, this.#at);
    this.#start = this.#at;
    return bytes;
  }

  u8(value: number): void {
    this.#need(1);
    this.#chunk[this.#at++] = value;
  }

  u16(value: number): void {
    this.#need(2);
    this.#chunk[this.#at++] = value >>> 8;
    this.#chunk[this.#at++] = value;
  }

  /** 32 bits, with a sign or without. */
  u32(value: number): void {
    this.#need(4);
    putU32(this.#chunk, this.#at, value);
    this.#at += 4;
  }

  /** A whole number from 0 to 2**53 as eight bytes. */
  u64(value: number): void {
    this.u32(Math.floor(value / 2 ** 32));
    this.u32(value % 2 ** 32);
  }

  i64(value: bigint): void {
    this.#need(8);
    this.#at = this.#chunk.writeBigInt64BE(value, this.#at);
  }

  f64(value: number): void {
    this.#need(8);
    this.#at = this.#chunk.writeDoubleBE(value, this.#at);
  }

  bytes(value: Uint8Array): void {
    this.#need(value.length);
    this.#chunk.set(value, this.#at);
    this.#at += value.length;
  }

  /** The bytes of `source` from `from` to `to`. */
  copy(source: Buffer, from: number, to: number): void {
    this.#need(to - from);
    this.#at += source.copy(this.#chunk, this.#at, from, to);
  }

  /** A copy of what was written since `mark`, or up to `end`. */
  since(mark: number, end: number = this.mark()): Buffer {
    return Buffer.from(this.#chunk.subarray(this.#start + mark, this.#start + end));
  }

  /** Puts what was written since `mark` into `target`. */
  read(mark: number, target: Buffer): void {
    this.#chunk.copy(target, 0, this.#start + mark, this.#at);
  }

  /** UTF-8 text without a length; says how many bytes it took. */
  text(value: string): number {
    this.#need(value.length * 3);
    const chunk = this.#chunk;
    const from = this.#at;
    const length = value.length;
    if (length <= SHORT_TEXT) {
      let i = 0;
      for (; i < length; i++) {
        const code = value.charCodeAt(i);
        if (code > 0x7f) break;
        chunk[from + i] = code;
      }
      if (i === length) {
        this.#at = from + length;
        return length;
      }
    }
    const written = chunk.write(value, from, "utf8");
    this.#at = from + written;
    return written;
  }

  /** Text of ASCII characters in the place of as many bytes written before. */
  patchAscii(mark: number, value: string): void {
    this.#chunk.write(value, this.#start + mark, "latin1");
  }

  /** Fills in four bytes written before. */
  patchU32(mark: number, value: number): void {
    putU32(this.#chunk, this.#start + mark, value);
  }

  patchU16(mark: number, value: number): void {
    this.#chunk.writeUInt16BE(value, this.#start + mark);
  }

  patchU8(mark: number, value: number): void {
    this.#chunk[this.#start + mark] = value;
  }

  #need(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return;
    const pending = this.pending;
    const chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, (pending + bytes) * 2));
    this.#chunk.copy(chunk, 0, this.#start, this.#at);
    this.#chunk = chunk;
    this.#start = 0;
    this.#at = pending;
  }
}
