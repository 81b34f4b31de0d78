/**
 * Kombu's compressors under Kombu's names and MIME types, over node:zlib. `gzip` is a zlib stream (RFC 1950, `78 9c`) and not
 * the gzip format, because that is what Python's `zlib.compress` writes. Node has no bzip2 and no xz: they are refused by name.
 * wire: celery-wire 3.4; kombu/compression.py.
 */
import * as zlib from "node:zlib";
import { DecodeError, ImproperlyConfigured } from "../../protocol/errors.ts";

/** Largest output of `decompress` when the caller names none: 64 MiB. */
export const defaultMaxDecompressedBytes = 64 * 1024 * 1024;

type Codec = (bytes: Uint8Array, options: { maxOutputLength?: number }) => Uint8Array;

interface Compressor {
  readonly mime: string;
  readonly names: readonly string[];
  readonly compress?: Codec;
  readonly decompress?: Codec;
  /** Why there is no codec here. */
  readonly absent?: string;
}

const noZstd = `zstd needs node:zlib of Node 22.15 or 23.8 and newer; this is Node ${process.versions.node}`;

// Looked up by name: the types of the oldest supported Node do not have these.
function zlibFunction(name: string): Codec | undefined {
  const found: unknown = Reflect.get(zlib, name);
  return typeof found === "function" ? (found as Codec) : undefined;
}

// Python's brotli compresses at quality 11, which costs a hundred times the time of 5 for a few percent; readers do not care.
const brotliOptions = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } };

const compressors: readonly Compressor[] = [
  {
    mime: "application/x-gzip",
    names: ["gzip", "zlib"],
    compress: (bytes) => zlib.deflateSync(bytes),
    // unzip tells the zlib and the gzip format apart by their first bytes, so a peer that wrote real gzip is understood too
    decompress: (bytes, options) => zlib.unzipSync(bytes, options),
  },
  {
    mime: "application/x-brotli",
    names: ["brotli"],
    compress: (bytes) => zlib.brotliCompressSync(bytes, brotliOptions),
    decompress: (bytes, options) => zlib.brotliDecompressSync(bytes, options),
  },
  {
    mime: "application/zstd",
    names: ["zstd", "zstandard"],
    compress: zlibFunction("zstdCompressSync"),
    decompress: zlibFunction("zstdDecompressSync"),
    absent: noZstd,
  },
  {
    mime: "application/x-bz2",
    names: ["bzip2", "bzip"],
    absent: "bzip2 is not available in Node; use gzip on the Python side",
  },
  {
    mime: "application/x-lzma",
    names: ["lzma", "xz"],
    absent: "lzma (xz) is not available in Node; use gzip on the Python side",
  },
];

const byName = new Map<string, Compressor>();
for (const compressor of compressors) {
  for (const name of [compressor.mime, ...compressor.names]) byName.set(name, compressor);
}

/** The names that `compress` takes on this Node, in Kombu's spelling. */
export function compressionNames(): string[] {
  return compressors.filter((c) => c.compress !== undefined).flatMap((c) => c.names);
}

/** Checks a `task_compression` or `result_compression` setting and returns its MIME type. Throws `ImproperlyConfigured`. */
export function compressionMime(name: string): string {
  return usableCompressor(name).mime;
}

/**
 * Compresses `bytes`. `name` is a Kombu name (`gzip`, `zlib`, `brotli`, `zstd`, …) or MIME type; the returned `mime` belongs in the
 * `compression` header. Throws `ImproperlyConfigured` for a name that Kombu does not know or this Node cannot do.
 */
export function compress(name: string, bytes: Uint8Array): { mime: string; bytes: Uint8Array } {
  const compressor = usableCompressor(name);
  return { mime: compressor.mime, bytes: compressor.compress(bytes, {}) };
}

/**
 * Undoes `compress` for a MIME type or name that a peer wrote. Throws `DecodeError` for an unknown or unavailable type, for damaged
 * bytes, and when the output would be longer than `maxBytes`, which is noticed before it is built.
 */
export function decompress(
  mime: string,
  bytes: Uint8Array,
  { maxBytes = defaultMaxDecompressedBytes }: { maxBytes?: number } = {},
): Uint8Array {
  const compressor = byName.get(mime);
  if (compressor === undefined) throw new DecodeError(`unknown compression ${JSON.stringify(mime)}`);
  if (compressor.decompress === undefined)
    throw new DecodeError(`cannot decompress ${compressor.mime}: ${compressor.absent}`, { beyondUs: true });
  try {
    return compressor.decompress(bytes, { maxOutputLength: maxBytes });
  } catch (cause) {
    const tooLong = cause instanceof RangeError;
    throw new DecodeError(
      tooLong
        ? `decompressed ${compressor.mime} is longer than ${maxBytes} bytes`
        : `damaged ${compressor.mime}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause, beyondUs: tooLong },
    );
  }
}

function usableCompressor(name: string): Compressor & { compress: Codec } {
  const compressor = byName.get(name);
  if (compressor === undefined) {
    throw new ImproperlyConfigured(
      `unknown compression method ${JSON.stringify(name)}; available: ${compressionNames().join(", ")}`,
    );
  }
  const { compress: run } = compressor;
  if (run === undefined) throw new ImproperlyConfigured(`cannot compress with ${name}: ${compressor.absent}`);
  return { ...compressor, compress: run };
}
