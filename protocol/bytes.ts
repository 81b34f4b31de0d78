/**
 * Text and bytes. Everything here is plain ECMAScript; a runtime may install a faster codec (`src/runtime/bytes.ts`
 * installs Node's), which must give the same answers. wire: Kombu reads bodies as strict UTF-8, keeps a byte order mark
 * as a character (kombu/utils/json.py `loads`), and writes base64 with padding.
 */
import { DecodeError, EncodeError } from "./errors.ts";

/** What a runtime may replace. Input of `base64Decode` holds only base64 letters and correct padding. */
export interface BytesCodec {
  /** Lone surrogates become U+FFFD. */
  utf8Encode(text: string): Uint8Array;
  /** Null when the bytes are not UTF-8; a byte order mark stays. */
  utf8Decode(bytes: Uint8Array): string | null;
  /** Invalid sequences become U+FFFD; a byte order mark stays. */
  utf8DecodeLossy(bytes: Uint8Array): string;
  base64Encode(bytes: Uint8Array): string;
  base64Decode(text: string): Uint8Array;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LETTER_VALUES: readonly number[] = Array.from({ length: 128 }, (_, code) =>
  ALPHABET.indexOf(String.fromCharCode(code)),
);

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lossyDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The codec that needs nothing but the language. */
export const plainBytesCodec: BytesCodec = {
  utf8Encode: (text) => encoder.encode(text),
  utf8Decode(bytes) {
    try {
      return strictDecoder.decode(bytes);
    } catch {
      return null; // The only failure a fatal decoder has: these bytes are not UTF-8.
    }
  },
  utf8DecodeLossy: (bytes) => lossyDecoder.decode(bytes),
  base64Encode(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; at += 3) {
      const left = bytes.length - at;
      const bits = (bytes[at]! << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
      text += ALPHABET[bits >> 18]! + ALPHABET[(bits >> 12) & 63]!;
      text += left > 1 ? ALPHABET[(bits >> 6) & 63]! : "=";
      text += left > 2 ? ALPHABET[bits & 63]! : "=";
    }
    return text;
  },
  base64Decode(text) {
    const letters = text.endsWith("==") ? text.length - 2 : text.endsWith("=") ? text.length - 1 : text.length;
    const bytes = new Uint8Array(Math.floor((letters * 3) / 4));
    let bits = 0;
    let pending = 0;
    let out = 0;
    for (let at = 0; at < letters; at++) {
      bits = ((bits << 6) | LETTER_VALUES[text.charCodeAt(at)]!) & 0xffffff;
      pending += 6;
      if (pending >= 8) {
        pending -= 8;
        bytes[out++] = bits >> pending;
      }
    }
    return bytes;
  },
};

let codec = plainBytesCodec;

/** Makes every function of this file use the runtime's own codec. Meant for one call at start. */
export function installBytes(faster: BytesCodec): void {
  codec = faster;
}

/** UTF-8 bytes of the text. A lone surrogate has none: it becomes U+FFFD, or with `strict` an `EncodeError`, as in Python. */
export function utf8Encode(text: string, options?: { strict?: boolean }): Uint8Array {
  if (options?.strict === true && hasLoneSurrogate(text)) {
    throw new EncodeError("the text holds a lone surrogate, which UTF-8 cannot carry");
  }
  return codec.utf8Encode(text);
}

/** Text of UTF-8 bytes. Invalid bytes are a `DecodeError`, or with `lossy` become U+FFFD. A byte order mark stays. */
export function utf8Decode(bytes: Uint8Array, options?: { lossy?: boolean }): string {
  if (options?.lossy === true) return codec.utf8DecodeLossy(bytes);
  const text = codec.utf8Decode(bytes);
  if (text === null) throw new DecodeError(`${bytes.length} bytes are not valid UTF-8`);
  return text;
}

/** Text of UTF-8 bytes, or null when they are not UTF-8. */
export function utf8DecodeOrNull(bytes: Uint8Array): string | null {
  return codec.utf8Decode(bytes);
}

/** Standard base64 with padding. */
export function base64Encode(bytes: Uint8Array): string {
  return codec.base64Encode(bytes);
}

/** Reads base64 as Python's `b64decode` does: characters outside the alphabet are skipped, wrong padding is a `DecodeError`. */
export function base64Decode(text: string): Uint8Array {
  return codec.base64Decode(text.length % 4 === 0 && CLEAN_BASE64.test(text) ? text : cleanBase64(text));
}

// No group that repeats: one would exhaust the stack on a body of some megabytes.
const CLEAN_BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** What binascii's lenient reader would see; it stops at the first complete padding. */
function cleanBase64(text: string): string {
  let letters = "";
  let padding = 0;
  for (const letter of text) {
    const position = letters.length % 4;
    if (letter === "=") {
      padding++;
      if (position >= 2 && position + padding >= 4) return letters + "=".repeat(4 - position);
    } else if (ALPHABET.includes(letter)) {
      padding = 0;
      letters += letter;
    }
  }
  if (letters.length % 4 !== 0) throw new DecodeError("base64 text with incorrect padding");
  return letters;
}

/** Does every character have a code below 128? */
export function isAscii(data: string | Uint8Array): boolean {
  if (typeof data === "string") return ASCII_TEXT.test(data);
  for (let at = 0; at < data.length; at++) if (data[at]! > 127) return false;
  return true;
}

const ASCII_TEXT = /^[\x00-\x7f]*$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Does the text hold half of a surrogate pair? */
export function hasLoneSurrogate(text: string): boolean {
  return LONE_SURROGATE.test(text);
}
