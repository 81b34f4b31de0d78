import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { DecodeError } from "../../../protocol/errors.ts";
import { encodeMognetValue, mognetValueOf } from "../../../protocol/mognet/value.ts";
import { wholeStoreSettings } from "./store-settings.ts";
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
  });

  test("that is long is unpacked off the event loop", async () => {
    const value = mognetValueOf("x".repeat(1_200_000));
    const packed = gzipSync(Buffer.from(encodeMognetValue(value)));
    const read = decodeValueFields([packed, GZIP, JSON_TYPE]);
    expect(read).toBeInstanceOf(Promise);
    expect(await read).toEqual(value);
    await expect(decodeValueFields([packed.subarray(0, -4), GZIP, JSON_TYPE])).rejects.toThrow(/damaged/);
  });

  test("that is bloated is a DecodeError, and until then others have their turns", async () => {
    const bomb = gzipSync(Buffer.alloc(5_000_000));
    const settings = wholeStoreSettings({ maxValueBytes: 4_000_000 });
    let turns = 0;
    let waiting = true;
    const turn = () => {
      turns++;
      if (waiting) setImmediate(turn);
    };
    setImmediate(turn);
    await expect(decodeValueFields([bomb, GZIP, JSON_TYPE], settings)).rejects.toThrow(/longer than 4000000/);
    waiting = false;
    expect(turns).toBeGreaterThan(5);
    const small = wholeStoreSettings({ maxValueBytes: 1000 });
    expect(() => decodeValueFields([gzipSync(Buffer.alloc(2000)), GZIP, JSON_TYPE], small)).toThrow(/longer than 1000/);
  });
});
