import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DecodeError, ImproperlyConfigured } from "../../protocol/errors.ts";
import { compress, compressionMime, compressionNames, decompress } from "./compression.ts";

const text = new TextEncoder().encode("größer, größer, größer, größer ".repeat(40));

describe("what a peer compressed", () => {
  test("gzip is a zlib stream, as Python's zlib.compress writes", () => {
    const { mime, bytes } = compress("gzip", text);
    expect(mime).toBe("application/x-gzip");
    expect([...bytes.subarray(0, 2)]).toEqual([0x78, 0x9c]);
    expect(new Uint8Array(decompress(mime, bytes))).toEqual(text);
  });

  test("reads what Python compressed with zlib", () => {
    // python3 -c "import zlib; print(zlib.compress(b'[1, 2, 3]').hex())"
    const python = Buffer.from("789c8b36d45130d251308e0500098501e7", "hex");
    expect(Buffer.from(decompress("application/x-gzip", python)).toString()).toBe("[1, 2, 3]");
  });

  test("reads a real gzip file from a peer that took the name at its word", () => {
    expect(new Uint8Array(decompress("application/x-gzip", gzipSync(text)))).toEqual(text);
  });

  test.each(compressionNames())("%s survives the round trip", (name) => {
    const { mime, bytes } = compress(name, text);
    expect(bytes.length).toBeLessThan(text.length / 4);
    expect(new Uint8Array(decompress(mime, bytes))).toEqual(text);
    expect(compressionMime(name)).toBe(mime);
  });

  test("an output beyond the limit is refused before it is built", () => {
    const bomb = compress("gzip", new Uint8Array(20_000_000)).bytes;
    expect(bomb.length).toBeLessThan(25_000);
    expect(() => decompress("application/x-gzip", bomb, { maxBytes: 1_000_000 })).toThrow(/longer than 1000000 bytes/);
  });

  test("damaged and truncated bytes are a DecodeError", () => {
    const { bytes } = compress("gzip", text);
    expect(() => decompress("application/x-gzip", bytes.subarray(0, 20))).toThrow(DecodeError);
    expect(() => decompress("application/x-gzip", text)).toThrow(DecodeError);
  });

  test("unknown names are refused on both sides with what there is", () => {
    expect(() => compress("snappy", text)).toThrow(ImproperlyConfigured);
    expect(() => compress("snappy", text)).toThrow(/available: gzip, zlib, brotli/);
    expect(() => decompress("application/x-snappy", text)).toThrow(DecodeError);
  });

  test("bzip2 and lzma are named as not available in Node", () => {
    for (const name of ["bzip2", "bzip", "lzma", "xz"]) {
      expect(() => compress(name, text)).toThrow(/not available in Node/);
    }
    expect(() => decompress("application/x-bz2", text)).toThrow(/not available in Node/);
    expect(() => decompress("application/x-lzma", text)).toThrow(DecodeError);
  });

  test.skipIf(compressionNames().includes("zstd"))("zstd on an older Node names the Node that has it", () => {
    expect(() => compress("zstd", text)).toThrow(/Node 22\.15/);
    expect(() => decompress("application/zstd", text)).toThrow(/Node 22\.15/);
  });
});
