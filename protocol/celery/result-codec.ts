/**
 * Bytes of result records: serialiser, optional compression with its marker, key names and lifetimes.
 * wire: celery-wire 8.1, 8.4; celery/backends/base.py `encode`, `decode`, `compress_payload`, `decompress_payload`.
 */
import { utf8Decode, utf8Encode } from "../bytes.ts";
import { DecodeError, EncodeError } from "../errors.ts";
import type { Message } from "../message.ts";
import {
  acceptedTypes,
  DEFAULT_LIMITS,
  type DecodeLimits,
  decodePayload,
  jsonSerializer,
  type Serializer,
  type SerializerRegistry,
} from "../serialization.ts";
import { ResultKeys } from "./result-keys.ts";
import { encodeResultMeta, type ResultMeta, readResultDocument, resultDocument } from "./result-meta.ts";
import { FAILURE, isReady, SUCCESS } from "./states.ts";

/** Before the MIME type of a compressed payload; another zero byte follows the type (since 5.7). */
const MARKER = utf8Encode("\0celery-compressed\0");
/** No MIME type is longer; a marker without an end must not make us search megabytes. */
const MAX_MIME_LENGTH = 255;

/** A result that was compressed before it was stored. */
export interface CompressedPayload {
  mime: string;
  bytes: Uint8Array;
}

/** The compressed payload inside the marker; null for a payload without one. A marker without an end is a `DecodeError`. */
export function splitCompressionMarker(bytes: Uint8Array): CompressedPayload | null {
  if (bytes.length < MARKER.length || bytes[0] !== 0) return null;
  for (let at = 1; at < MARKER.length; at++) {
    if (bytes[at] !== MARKER[at]) return null;
  }
  const end = bytes.indexOf(0, MARKER.length);
  if (end < 0 || end - MARKER.length > MAX_MIME_LENGTH)
    throw new DecodeError("malformed compression marker of a result");
  return { mime: utf8Decode(bytes.subarray(MARKER.length, end)), bytes: bytes.subarray(end + 1) };
}

/** The payload with its marker in front. */
export function joinCompressionMarker(payload: CompressedPayload): Uint8Array {
  const mime = utf8Encode(payload.mime);
  const joined = new Uint8Array(MARKER.length + mime.length + 1 + payload.bytes.length);
  joined.set(MARKER, 0);
  joined.set(mime, MARKER.length);
  joined.set(payload.bytes, MARKER.length + mime.length + 1);
  return joined;
}

/** How records of results are written and read. */
export interface CeleryRecordCodecOptions {
  /** Setting: `result_serializer`. @default json */
  serializer?: Serializer;
  serializers?: SerializerRegistry;
  /** MIME types, from `acceptedTypes`. Setting: `result_accept_content`, else `accept_content`. @default json */
  accept?: ReadonlySet<string>;
  limits?: DecodeLimits;
  /** Setting: `result_compression`. Null: stored as it is. */
  compress?: ((bytes: Uint8Array) => CompressedPayload) | null;
  /** Undoes the compression marker; without it compressed results cannot be read. */
  decompress?: (contentType: string, bytes: Uint8Array) => Uint8Array;
  /** Seconds; null or 0: for ever. Setting: `result_expires`. @default 86400 */
  expires?: number | null;
  /** Seconds for FAILURE; 0: for ever. Setting: `result_failure_expires`. @default expires */
  failureExpires?: number | null;
  /** Setting: `result_backend_transport_options.global_keyprefix`. */
  globalKeyprefix?: string | null;
}

/** A record or payload as it is stored or sent. */
export interface EncodedResult {
  body: string | Uint8Array;
  contentType: string;
  contentEncoding: string;
}

/** Groups and parts of chords: plain values under keys of their own, in the same serialiser. */
export interface CeleryGroupCodec {
  key(groupId: string): string;
  /** Throws `EncodeError`. */
  encode(value: unknown): EncodedResult;
  /** Throws `DecodeError` or `ContentDisallowed`. */
  decode(bytes: Uint8Array): unknown;
}

/** Celery's results for a result backend: has the shape of `RecordCodec<ResultMeta>`. */
export interface CeleryRecordCodec {
  key(id: string): string;
  /** Throws `EncodeError` before anything is stored. */
  encode(id: string, meta: ResultMeta): EncodedResult;
  /** Throws `DecodeError` or `ContentDisallowed`. */
  decode(id: string, bytes: Uint8Array, contentType?: string, exactly?: boolean): ResultMeta;
  isReady(meta: ResultMeta): boolean;
  isFinal(meta: ResultMeta): boolean;
  /** Compressed records, and those of other serialisers than JSON, do not begin with it: they must be decoded to be judged. */
  readonly finalPrefix: string;
  ttl(meta: ResultMeta): number | null;
  readonly group: CeleryGroupCodec;
}

const DAY_SECONDS = 86_400;
const FINAL_PREFIX = '{"status": "SUCCESS"';

/** Celery's records for a result backend, which itself does not look into them. */
export function celeryRecordCodec(options: CeleryRecordCodecOptions = {}): CeleryRecordCodec {
  const keys = new ResultKeys(options.globalKeyprefix);
  const serializer = options.serializer ?? jsonSerializer;
  const accept = options.accept ?? acceptedTypes([serializer.contentType]);
  const limits = options.limits ?? DEFAULT_LIMITS;
  const compress = options.compress ?? null;
  const expires = lifetime(options.expires === undefined ? DAY_SECONDS : options.expires);
  const failureExpires =
    options.failureExpires === undefined || options.failureExpires === null
      ? expires
      : lifetime(options.failureExpires);
  const canEncode = serializer === jsonSerializer ? undefined : (value: unknown) => hasForm(serializer, value);

  function encodeBody(meta: ResultMeta): string | Uint8Array {
    if (serializer !== jsonSerializer) return packed(serializer.encode(resultDocument(meta, canEncode)));
    const text = encodeResultMeta(meta);
    return compress === null ? text : packed(utf8Encode(text));
  }
  function packed(bytes: Uint8Array): Uint8Array {
    return compress === null ? bytes : joinCompressionMarker(compress(bytes));
  }

  const exactLimits: DecodeLimits = { ...limits, floats: "keep" };
  function decodeValue(bytes: Uint8Array, contentType?: string, exactly = false): unknown {
    const compressed = splitCompressionMarker(bytes);
    const message: Message = {
      body: compressed === null ? bytes : compressed.bytes,
      contentType: contentType ?? serializer.contentType,
      contentEncoding: serializer.contentEncoding,
      headers: compressed === null ? null : { compression: compressed.mime },
      properties: {},
    };
    const { serializers, decompress } = options;
    const payload = { accept, limits: exactly ? exactLimits : limits, serializers, decompress };
    return decodePayload(message, payload);
  }
  const form = { contentType: serializer.contentType, contentEncoding: serializer.contentEncoding };

  return {
    finalPrefix: FINAL_PREFIX,
    key: (id) => keys.task(id),
    encode: (_id, meta) => ({ body: encodeBody(meta), ...form }),
    decode(id, bytes, contentType, exactly) {
      const meta = readResultDocument(decodeValue(bytes, contentType, exactly));
      if (meta.taskId === "") meta.taskId = id;
      return meta;
    },
    group: {
      key: (groupId) => keys.group(groupId),
      encode: (value) => ({ body: packed(serializer.encode(value)), ...form }),
      // Parts are sent on to the body, where 1.0 must not become 1.
      decode: (bytes) => decodeValue(bytes, undefined, true),
    },
    isReady: (meta) => isReady(meta.status),
    isFinal: (meta) => meta.status === SUCCESS,
    ttl: (meta) => (meta.status === FAILURE ? failureExpires : expires),
  };
}

function lifetime(seconds: number | null): number | null {
  return seconds === null || seconds <= 0 ? null : seconds;
}

function hasForm(serializer: Serializer, value: unknown): boolean {
  try {
    serializer.encode(value);
    return true;
  } catch (error) {
    if (error instanceof EncodeError) return false;
    throw error;
  }
}
