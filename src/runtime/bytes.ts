/**
 * Makes the pure codecs of `protocol/bytes.ts` fast on Node: importing this file installs a `Buffer`-backed codec.
 * Same answers as the plain codec; the tests run both over the same inputs.
 */
import { Buffer, isUtf8 } from "node:buffer";
import { type BytesCodec, installBytes } from "../../protocol/bytes.ts";

function view(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export const nodeBytesCodec: BytesCodec = {
  utf8Encode: (text) => Buffer.from(text, "utf8"),
  utf8Decode(bytes) {
    const text = view(bytes).toString("utf8");
    // Only text with a replacement character can come from broken bytes; it may also have been sent as such.
    return text.includes("\ufffd") && !isUtf8(bytes) ? null : text;
  },
  utf8DecodeLossy: (bytes) => view(bytes).toString("utf8"),
  base64Encode: (bytes) => view(bytes).toString("base64"),
  base64Decode: (text) => Buffer.from(text, "base64"),
};

installBytes(nodeBytesCodec);
