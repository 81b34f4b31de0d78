import { expect, test } from "vitest";
import { base64Decode, isAscii, utf8Decode, utf8Encode } from "./bytes.ts";
import { DecodeError, EncodeError } from "./errors.ts";

test("refuses invalid UTF-8 unless asked to be lossy", () => {
  const broken = Uint8Array.of(0x41, 0xff);
  expect(() => utf8Decode(broken)).toThrow(DecodeError);
  expect(utf8Decode(broken, { lossy: true })).toBe("A\ufffd");
});

test("keeps a byte order mark, as Python's utf-8 codec does", () => {
  expect(utf8Decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).toBe("\ufeff1");
});

test("writes a lone surrogate as U+FFFD, or refuses it when strict", () => {
  expect(Array.from(utf8Encode("\ud800"))).toEqual([0xef, 0xbf, 0xbd]);
  expect(() => utf8Encode("\ud800", { strict: true })).toThrow(EncodeError);
  expect(Array.from(utf8Encode("😀", { strict: true }))).toEqual([0xf0, 0x9f, 0x98, 0x80]);
});

test("skips what is not base64, refuses what does not add up", () => {
  expect(Array.from(base64Decode("AQ I\nD"))).toEqual([1, 2, 3]);
  expect(Array.from(base64Decode("AQ-_=="))).toEqual([1]);
  expect(() => base64Decode("AQI")).toThrow(DecodeError);
});

test("tells ASCII from the rest", () => {
  expect(isAscii("\x00~\x7f")).toBe(true);
  expect(isAscii("é")).toBe(false);
  expect(isAscii(Uint8Array.of(127))).toBe(true);
  expect(isAscii(Uint8Array.of(128))).toBe(false);
});
