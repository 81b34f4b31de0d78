/** The hash in which a value lies: the document, gzipped or not, and how it is encoded. wire: Mognet 2.0.0 backend/redis_result_backend.py `_encode_result_value`, `_decode_result_value`. */
import { promisify } from "node:util";
import { gunzip, gunzipSync, gzipSync } from "node:zlib";
import { utf8Decode } from "../../../protocol/bytes.ts";
import { DecodeError } from "../../../protocol/errors.ts";
import { decodeMognetValue, encodeMognetValue, type MognetValue } from "../../../protocol/mognet/value.ts";
import { valueReading, type WholeStoreSettings, wholeStoreSettings } from "./store-settings.ts";

/** Names and values in turn: the arguments of `HSET`. */
export type ValueFields = ["contents", Buffer, "encoding", string, "content_type", string];

/** Throws `EncodeError` for a value without a form. */
export function encodeValueFields(value: MognetValue, encoding: "gzip" | null): ValueFields {
  const text = Buffer.from(encodeMognetValue(value), "utf8");
  const contents = encoding === null ? text : gzip(text);
  return [
    "contents",
    contents,
    "encoding",
    encoding === null ? "null" : '"gzip"',
    "content_type",
    '"application/json"',
  ];
}

/**
 * In the order of `HMGET … contents encoding content_type`; null: the key is not there. Throws `DecodeError`. A promise only of what
 * unpacks to more than a megabyte: that is done off the event loop.
 */
export function decodeValueFields(
  [contents, encoding, contentType]: readonly (Buffer | null | undefined)[],
  settings: WholeStoreSettings = wholeStoreSettings({}),
): MognetValue | null | Promise<MognetValue> {
  if (!contents && !encoding && !contentType) return null;
  if (!contents) throw new DecodeError("a Mognet value without contents");
  if (contentType?.toString() !== '"application/json"') {
    throw new DecodeError(`a Mognet value of content_type ${contentType?.toString().slice(0, 60) ?? "null"}`);
  }
  if (encoding?.toString() !== '"gzip"') return valueOf(contents, settings);
  const text = unpackedShort(contents, settings.maxValueBytes);
  if (text !== null) return valueOf(text, settings);
  return unpackedLong(contents, settings.maxValueBytes).then((long) => valueOf(long, settings));
}

function valueOf(text: Buffer, settings: WholeStoreSettings): MognetValue {
  if (text.length > settings.maxValueBytes) throw tooLong(settings.maxValueBytes);
  return decodeMognetValue(utf8Decode(text), valueReading(settings));
}

/** Short documents do not become shorter: they are stored blocks, which costs a tenth of a call of zlib. */
const STORED_UP_TO = 200;
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1]);

function gzip(bytes: Buffer): Buffer {
  const { length } = bytes;
  if (length > STORED_UP_TO) return gzipSync(bytes);
  const out = Buffer.allocUnsafe(HEADER.length + 4 + length + 8);
  HEADER.copy(out);
  out.writeUInt16LE(length, 11);
  out.writeUInt16LE(length ^ 0xffff, 13);
  bytes.copy(out, 15);
  out.writeUInt32LE(crc32(bytes), 15 + length);
  out.writeUInt32LE(length, 19 + length);
  return out;
}

function tooLong(most: number, cause?: unknown): DecodeError {
  return new DecodeError(`a Mognet value longer than ${most} bytes`, { cause, beyondUs: true });
}

/** What unpacks to no more is unpacked at once, in a few milliseconds. */
const SHORT = 1024 * 1024;

/** Null: it is longer than that. */
function unpackedShort(bytes: Buffer, most: number): Buffer | null {
  const stored = storedBlock(bytes);
  if (stored !== null) return stored;
  if (bytes.length > SHORT) return null;
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.min(most, SHORT) });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw damaged(cause);
    if (most <= SHORT) throw tooLong(most, cause);
    return null;
  }
}

const unpack = promisify<Buffer, { maxOutputLength: number; chunkSize: number }, Buffer>(gunzip);
/** Of one unpacking step; in between others have their turn. */
const STEP = 256 * 1024;
let before: Promise<unknown> = Promise.resolve();

/** One after the other: each may come to as much as the limit allows. */
function unpackedLong(bytes: Buffer, most: number): Promise<Buffer> {
  const turn = before.then(async () => {
    try {
      return await unpack(bytes, { maxOutputLength: most, chunkSize: STEP });
    } catch (cause) {
      throw cause instanceof RangeError ? tooLong(most, cause) : damaged(cause);
    }
  });
  before = turn.catch(() => undefined);
  return turn;
}

function damaged(cause: unknown): DecodeError {
  return new DecodeError("a Mognet value whose gzip is damaged", { cause });
}

/** What `gzip` made of a short document, else null. */
function storedBlock(bytes: Buffer): Buffer | null {
  const length = bytes.length - HEADER.length - 12;
  if (length < 0 || length > STORED_UP_TO || HEADER.compare(bytes, 0, HEADER.length) !== 0) return null;
  if (bytes.readUInt16LE(11) !== length) return null;
  const text = bytes.subarray(15, 15 + length);
  return bytes.readUInt32LE(15 + length) === crc32(text) ? text : null;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}
