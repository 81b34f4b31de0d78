/**
 * How values become message bodies and back: Kombu's registry of serialisers and its rules of acceptance.
 * wire: celery-wire 3.1, 3.4; kombu/serialization.py `dumps`, `loads`, `prepare_accept_content`.
 */
import { utf8Decode, utf8Encode } from "./bytes.ts";
import { ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured, ProtocolError } from "./errors.ts";
import { DEFAULT_JSON_DEPTH, decodeJson, encodeJson } from "./json.ts";
import { JsonText } from "./json-text.ts";
import type { Message } from "./message.ts";

/** What a body may cost to read. */
export interface DecodeLimits {
  /** Levels of arrays and objects inside one another. */
  maxDepth: number;
  /** `"keep"`: Python's `1.0` stays apart from `1`, as a `PyFloat`. @default "number" */
  floats?: "number" | "keep";
}

/** Those of `decodeJson` without options. */
export const DEFAULT_LIMITS: DecodeLimits = { maxDepth: DEFAULT_JSON_DEPTH };

/** Writes values to bodies and reads them, under a content type. wire: kombu/serialization.py. */
export interface Serializer {
  /** Name in `task_serializer` and `accept_content`. */
  readonly name: string;
  readonly contentType: string;
  readonly contentEncoding: string;
  /** Throws `EncodeError` for a value that has no form. */
  encode(value: unknown): Uint8Array;
  /**
   * The value as part of others that are encoded: what of it need be done only once is done. Whoever has this writes `JsonText` as it is.
   * @default the value itself
   */
  prepare?(value: unknown): unknown;
  /** Throws `DecodeError`. */
  decode(bytes: Uint8Array, limits: DecodeLimits): unknown;
}

/** Kombu's JSON: Python's spelling, ASCII only, tagged types. */
export const jsonSerializer: Serializer = {
  name: "json",
  contentType: "application/json",
  contentEncoding: "utf-8",
  encode: (value) => utf8Encode(encodeJson(value)),
  prepare: (value) => new JsonText(encodeJson(value)),
  decode: (bytes, limits) => decodeJson(utf8Decode(bytes), limits),
};

/** Text and bytes as they are. A text is sent as utf-8, which `encodePayload` says in its content encoding. */
export const rawSerializer: Serializer = {
  name: "raw",
  contentType: "application/data",
  contentEncoding: "binary",
  encode(value) {
    if (typeof value === "string") return utf8Encode(value, { strict: true });
    if (value instanceof Uint8Array) return value;
    throw new EncodeError("the raw serializer takes text or bytes only");
  },
  decode: (bytes) => bytes,
};

/** Always acceptable, whatever `accept_content` says (Kombu: `TRUSTED_CONTENT`). */
const TRUSTED_TYPES: ReadonlySet<string> = new Set(["application/data", "application/text"]);
/** Encodings whose bodies stay bytes (Kombu: `SKIP_DECODE`). */
const BINARY_ENCODINGS: ReadonlySet<string> = new Set(["binary", "ascii-8bit"]);
/** Names that peers use in `accept_content`, whether or not there is a decoder here. */
const KNOWN_TYPES: readonly (readonly [name: string, contentType: string])[] = [
  ["json", "application/json"],
  ["raw", "application/data"],
  ["auth", "application/data"],
  ["pickle", "application/x-python-serialize"],
  ["yaml", "application/x-yaml"],
  ["msgpack", "application/x-msgpack"],
];

/** Serialisers by name and by content type. */
export class SerializerRegistry {
  readonly #byName = new Map<string, Serializer>();
  readonly #byType = new Map<string, Serializer>();
  readonly #typeOfName = new Map<string, string>(KNOWN_TYPES);

  /** @param additional beside `json` and `raw`; the last one of a name or type wins */
  constructor(additional: Iterable<Serializer> = []) {
    this.#byName.set(rawSerializer.name, rawSerializer); // by name only: bodies of its type are read by their encoding
    this.#add(jsonSerializer);
    for (const serializer of additional) this.#add(serializer);
  }

  #add(serializer: Serializer): void {
    this.#byName.set(serializer.name, serializer);
    this.#byType.set(serializer.contentType, serializer);
    this.#typeOfName.set(serializer.name, serializer.contentType);
  }

  /** Throws `ImproperlyConfigured` for a name without encoder. */
  byName(name: string): Serializer {
    const serializer = this.#byName.get(name);
    if (serializer !== undefined) return serializer;
    throw new ImproperlyConfigured(
      `no serializer named ${JSON.stringify(name)}; there are: ${[...this.#byName.keys()].join(", ")}`,
    );
  }

  byType(contentType: string): Serializer | undefined {
    return this.#byType.get(contentType);
  }

  /** Is it a serialiser's type that this registry cannot read (pickle, yaml, msgpack, unless added)? */
  lacksDecoder(contentType: string): boolean {
    if (this.#byType.has(contentType) || TRUSTED_TYPES.has(contentType)) return false;
    return KNOWN_TYPES.some((known) => known[1] === contentType);
  }

  /** The content types of an `accept_content` setting, whose entries are names or MIME types. */
  acceptedTypes(accept: Iterable<string>): Set<string> {
    const types = new Set<string>();
    for (const entry of accept) {
      const type = entry.includes("/") ? entry : this.#typeOfName.get(entry);
      if (type === undefined) {
        throw new ImproperlyConfigured(`accept_content: no serializer is named ${JSON.stringify(entry)}`);
      }
      types.add(type);
    }
    return types;
  }
}

/** `json` and `raw`. */
export const builtinSerializers: SerializerRegistry = new SerializerRegistry();

/** The content types of an `accept_content` setting; an unknown name is `ImproperlyConfigured`. */
export function acceptedTypes(
  accept: Iterable<string>,
  serializers: SerializerRegistry = builtinSerializers,
): Set<string> {
  return serializers.acceptedTypes(accept);
}

/** Body and content headers of an encoded value. */
export interface EncodedPayload {
  body: Uint8Array;
  contentType: string;
  contentEncoding: string;
}

/** Kombu's `dumps`. Without serialiser bytes travel as `application/data`, text as `text/plain`, anything else as JSON. */
export function encodePayload(value: unknown, serializer: Serializer | null): EncodedPayload {
  if (serializer === null && value instanceof Uint8Array) {
    return { body: value, contentType: "application/data", contentEncoding: "binary" };
  }
  if (typeof value === "string" && (serializer === null || serializer === rawSerializer)) {
    const contentType = serializer === null ? "text/plain" : rawSerializer.contentType;
    return { body: rawSerializer.encode(value), contentType, contentEncoding: "utf-8" };
  }
  const chosen = serializer ?? jsonSerializer;
  return {
    body: chosen.encode(value),
    contentType: chosen.contentType,
    contentEncoding: chosen.contentEncoding,
  };
}

/** What may be read, and how. */
export interface DecodeOptions {
  /** MIME types, from `acceptedTypes`. */
  accept: ReadonlySet<string>;
  limits?: DecodeLimits;
  serializers?: SerializerRegistry;
  /** Reads the text of Kombu's JSON. @default decodeJson */
  readJson?: (text: string, limits: DecodeLimits) => unknown;
  /** Undoes a `compression` header; a throw is a `DecodeError`. Without it such bodies cannot be read. */
  decompress?: (contentType: string, bytes: Uint8Array) => Uint8Array;
}

/**
 * The value of a message body. Kombu decompresses first and checks the type afterwards; here a type that is not accepted is
 * refused before anything is unpacked. Throws `ContentDisallowed` or `DecodeError`.
 */
export function decodePayload(message: Message, options: DecodeOptions): unknown {
  const contentType = message.contentType || "application/data";
  if (contentType !== "application/json" || !options.accept.has(contentType))
    requireAccepted(contentType, options.accept);
  const compression = message.headers?.compression;
  const body = compression ? decompressBody(compression, message.body, options) : message.body;
  if (body.length === 0) return body;
  const serializers = options.serializers ?? builtinSerializers;
  const serializer = serializers.byType(contentType);
  const { limits = DEFAULT_LIMITS, readJson } = options;
  if (serializer === jsonSerializer && readJson !== undefined) return readJson(utf8Decode(body), limits);
  if (serializer !== undefined) return decodeWith(serializer, body, limits);
  if (serializers.lacksDecoder(contentType)) {
    throw new DecodeError(`there is no decoder for content of type ${contentType}`);
  }
  return decodeText(body, (message.contentEncoding || "utf-8").toLowerCase());
}

/** Throws `ContentDisallowed` unless the type is trusted or accepted. */
export function requireAccepted(contentType: string, accept: ReadonlySet<string>): void {
  if (!accept.has(contentType) && !TRUSTED_TYPES.has(contentType)) throw new ContentDisallowed(contentType);
}

function decompressBody(compression: unknown, body: Uint8Array, options: DecodeOptions): Uint8Array {
  if (typeof compression !== "string") throw new DecodeError("the compression header must be text");
  if (options.decompress === undefined) throw new DecodeError(`cannot decompress ${compression}`);
  try {
    return options.decompress(compression, body);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new DecodeError(`cannot decompress ${compression}`, { cause: error });
  }
}

function decodeWith(serializer: Serializer, body: Uint8Array, limits: DecodeLimits): unknown {
  try {
    return serializer.decode(body, limits);
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new DecodeError(`cannot decode content of type ${serializer.contentType}`, { cause: error });
  }
}

function decodeText(body: Uint8Array, encoding: string): string | Uint8Array {
  if (BINARY_ENCODINGS.has(encoding)) return body;
  if (encoding === "utf-8" || encoding === "utf8") return utf8Decode(body);
  if (encoding === "latin-1" || encoding === "iso-8859-1") return latin1(body);
  if (encoding === "us-ascii" || encoding === "ascii") {
    if (body.some((byte) => byte > 127)) throw new DecodeError("the body is not ASCII text");
    return latin1(body);
  }
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(body);
  } catch (error) {
    throw new DecodeError(`cannot decode text in encoding ${JSON.stringify(encoding)}`, { cause: error });
  }
}

function latin1(body: Uint8Array): string {
  let text = "";
  for (const byte of body) text += String.fromCharCode(byte);
  return text;
}
