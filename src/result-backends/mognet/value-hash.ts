/** The hash in which a value lies: the document, gzipped or not, and how it is encoded. wire: Mognet 2.0.0 backend/redis_result_backend.py `_encode_result_value`, `_decode_result_value`. */
import { gunzipSync, gzipSync } from "node:zlib";
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

/** In the order of `HMGET … contents encoding content_type`; null: the key is not there. Throws `DecodeError`. */
export function decodeValueFields(
  [contents, encoding, contentType]: readonly (Buffer | null | undefined)[],
  settings: WholeStoreSettings = wholeStoreSettings({}),
): MognetValue | null {
  if (!contents && !encoding && !contentType) return null;
  if (!contents) throw new DecodeError("a Mognet value without contents");
  if (contentType?.toString() !== '"application/json"') {
    throw new DecodeError(`a Mognet value of content_type ${contentType?.toString().slice(0, 60) ?? "null"}`);
  }
  const text = encoding?.toString() === '"gzip"' ? gunzip(contents, settings.maxValueBytes) : contents;
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

function gunzip(bytes: Buffer, most: number): Buffer {
  const stored = storedBlock(bytes);
  if (stored !== null) return stored;
  try {
    return gunzipSync(bytes, { maxOutputLength: most });
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLong(most, cause);
    throw new DecodeError("a Mognet value whose gzip is damaged", { cause });
  }
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
