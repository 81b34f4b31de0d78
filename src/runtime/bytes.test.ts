import fc from "fast-check";
import { expect, test } from "vitest";
import { plainBytesCodec } from "../../protocol/bytes.ts";
import { nodeBytesCodec } from "./bytes.ts";

const plain = (bytes: Uint8Array): number[] => Array.from(bytes);

test("the fast codec writes the same UTF-8 as the plain one, lone surrogates included", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)) }), (text) => {
      expect(plain(nodeBytesCodec.utf8Encode(text))).toEqual(plain(plainBytesCodec.utf8Encode(text)));
    }),
  );
});

test("the fast codec reads and refuses the same bytes as the plain one", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 8 }),
    fc.string({ unit: "binary" }).map((text) => plainBytesCodec.utf8Encode(text)),
    fc
      .constantFrom([0xef, 0xbb, 0xbf, 0x41], [0xef, 0xbf, 0xbd], [0xed, 0xa0, 0x80], [0xc0, 0x80])
      .map((b) => Uint8Array.from(b)),
  );
  fc.assert(
    fc.property(bytes, (data) => {
      expect(nodeBytesCodec.utf8Decode(data)).toBe(plainBytesCodec.utf8Decode(data));
      expect(nodeBytesCodec.utf8DecodeLossy(data)).toBe(plainBytesCodec.utf8DecodeLossy(data));
    }),
  );
});

test("the fast codec's base64 is the plain one's, both ways", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (data) => {
      const text = plainBytesCodec.base64Encode(data);
      expect(nodeBytesCodec.base64Encode(data)).toBe(text);
      expect(plain(nodeBytesCodec.base64Decode(text))).toEqual(plain(data));
      expect(plain(plainBytesCodec.base64Decode(text))).toEqual(plain(data));
    }),
  );
});
