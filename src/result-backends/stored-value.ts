/**
 * What stands between a codec's bytes and a stored value: Celery 5.7's in-band compression marker, and judging from its first
 * bytes whether a stored value is final. wire: celery-wire 8.4; celery/backends/base.py `compress_payload`.
 */
import { Buffer } from "node:buffer";
import { joinCompressionMarker, splitCompressionMarker } from "../../protocol/celery/result-codec.ts";
import { DecodeError, ImproperlyConfigured, ProtocolError } from "../../protocol/errors.ts";
import type { EncodedRecord, RecordCodec } from "./result-backend.ts";

/** How stored values are compressed. Reading works without `compress`, as in Celery. */
export interface ValueCompression {
  /** Compresses what is written; absent: values are written as they are (`result_compression` unset). */
  compress?: (bytes: Uint8Array) => { mime: string; bytes: Uint8Array };
  decompress: (mime: string, bytes: Uint8Array) => Uint8Array;
}

/** The value to store: the body itself, or marker, MIME type, NUL and the compressed body. */
export function sealValue(body: string | Uint8Array, compression?: ValueCompression): Buffer {
  const bytes = typeof body === "string" ? Buffer.from(body) : asBuffer(body);
  if (compression?.compress === undefined) return bytes;
  return asBuffer(joinCompressionMarker(compression.compress(bytes)));
}

/** Undoes `sealValue`, and Celery's `compress_payload`; a value without marker is returned as it is. */
export function openValue(value: Uint8Array, compression?: ValueCompression): Uint8Array {
  const compressed = splitCompressionMarker(value);
  if (compressed === null) return value;
  const { mime, bytes } = compressed;
  if (compression === undefined) {
    throw new ImproperlyConfigured(
      `a result is compressed with ${mime}, and this backend was given no way to decompress it`,
    );
  }
  return compression.decompress(mime, bytes);
}

/** `unknown`: written by another serializer, or compressed; only decoding can tell. */
export type Finality = "final" | "open" | "unknown";

/**
 * Judges stored values unread. A value in our own form begins with the stem of `finalPrefix` (`{"status": "` of
 * `{"status": "SUCCESS"`); one that begins otherwise cannot be judged by its first bytes.
 */
export class FinalityRule {
  readonly prefix: Buffer;
  readonly stem: Buffer;

  constructor(finalPrefix: string) {
    this.prefix = Buffer.from(finalPrefix);
    this.stem = Buffer.from(finalPrefix.replace(/\w+"?$/, ""));
  }

  /** `head` needs no more than `prefix.length` bytes. */
  judge(head: Uint8Array): Finality {
    if (this.stem.length === 0) return "unknown";
    const bytes = asBuffer(head);
    if (bytes.subarray(0, this.prefix.length).equals(this.prefix)) return "final";
    return bytes.subarray(0, this.stem.length).equals(this.stem) ? "open" : "unknown";
  }
}

/** What a codec threw, with the task whose record it was and the key it is stored under. */
export function unreadable(error: unknown, id: string, key?: string): unknown {
  if (!(error instanceof DecodeError)) return error;
  const where = key === undefined ? "" : ` (key ${JSON.stringify(key)})`;
  return new DecodeError(`the result of task ${id}${where} cannot be read: ${error.message}`, { cause: error });
}

/** A codec with the value form around it. */
export class ValueCodec<R> {
  readonly codec: RecordCodec<R>;
  readonly compression: ValueCompression | undefined;
  readonly finality: FinalityRule;

  constructor(codec: RecordCodec<R>, compression?: ValueCompression) {
    this.codec = codec;
    this.compression = compression;
    this.finality = new FinalityRule(codec.finalPrefix);
  }

  encode(id: string, record: R): Buffer {
    const encoded: EncodedRecord = this.codec.encode(id, record);
    return sealValue(encoded.body, this.compression);
  }

  decode(id: string, value: Uint8Array, exactly?: boolean): R {
    try {
      return this.codec.decode(id, openValue(value, this.compression), undefined, exactly);
    } catch (error) {
      throw unreadable(error, id, this.codec.key(id));
    }
  }

  /** Whether a whole stored value is final; one that cannot be read protects nothing. */
  isFinal(id: string, value: Uint8Array): boolean {
    const finality = this.finality.judge(value);
    if (finality !== "unknown") return finality === "final";
    try {
      return this.codec.isFinal(this.decode(id, value));
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
