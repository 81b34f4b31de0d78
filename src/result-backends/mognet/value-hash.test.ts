import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DecodeError } from "../../../protocol/errors.ts";
import { encodeMognetValue, mognetValueOf } from "../../../protocol/mognet/value.ts";
import { decodeValueFields, encodeValueFields } from "./value-hash.ts";

const JSON_TYPE = Buffer.from('"application/json"');
const GZIP = Buffer.from('"gzip"');

describe("the hash of a value", () => {
  test("is gzip that any reader unpacks, short or long, and is read back", () => {
    for (const length of [0, 1, 100, 150, 160, 170, 200, 5000]) {
      const value = mognetValueOf("é".repeat(length));
      const [, contents, , encoding, , contentType] = encodeValueFields(value, "gzip");
      expect([encoding, contentType]).toEqual(['"gzip"', '"application/json"']);
      expect(gunzipSync(contents).toString()).toBe(encodeMognetValue(value));
      expect(decodeValueFields([contents, GZIP, JSON_TYPE])).toEqual(value);
    }
  });

  test("is plain text where the setting says so, and either is read whatever the setting", () => {
    const value = mognetValueOf({ a: 1 });
    const [, contents, , encoding] = encodeValueFields(value, null);
    expect([contents.toString(), encoding]).toEqual([encodeMognetValue(value), "null"]);
    for (const absent of [Buffer.from("null"), null])
      expect(decodeValueFields([contents, absent, JSON_TYPE])).toEqual(value);
  });

  test("that is not there is null; a damaged, foreign or bloated one is a DecodeError", () => {
    const fine = gzipSync(Buffer.from(encodeMognetValue(mognetValueOf(1))));
    expect(decodeValueFields([null, null, null])).toBeNull();
    expect(() => decodeValueFields([null, GZIP, JSON_TYPE])).toThrow(DecodeError);
    expect(() => decodeValueFields([fine.subarray(0, 20), GZIP, JSON_TYPE])).toThrow(DecodeError);
    expect(() => decodeValueFields([Buffer.from("{}"), GZIP, JSON_TYPE])).toThrow(DecodeError);
    expect(() => decodeValueFields([fine, GZIP, Buffer.from('"application/x-python-pickle"')])).toThrow(/content_type/);
    expect(() => decodeValueFields([gzipSync(Buffer.alloc(65 * 1024 * 1024)), GZIP, JSON_TYPE])).toThrow(/longer than/);
  });
});
