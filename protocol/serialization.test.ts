import { describe, expect, test } from "vitest";
import { utf8Encode } from "./bytes.ts";
import { ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured } from "./errors.ts";
import type { Message } from "./message.ts";
import {
  acceptedTypes,
  builtinSerializers,
  decodePayload,
  encodePayload,
  jsonSerializer,
  rawSerializer,
  type Serializer,
  SerializerRegistry,
} from "./serialization.ts";

const json = acceptedTypes(["json"]);
const reversing: Serializer = {
  name: "rev",
  contentType: "application/x-rev",
  contentEncoding: "binary",
  encode: (value) => utf8Encode(String(value)).reverse(),
  decode: (bytes) => {
    if (bytes[0] === 33) throw new RangeError("exclaimed");
    return bytes.slice().reverse();
  },
};

function message(
  body: string | Uint8Array,
  contentType?: string,
  contentEncoding?: string,
  headers?: Message["headers"],
): Message {
  const built: Message = {
    body: typeof body === "string" ? utf8Encode(body) : body,
    headers: headers ?? null,
    properties: {},
  };
  if (contentType !== undefined) built.contentType = contentType;
  if (contentEncoding !== undefined) built.contentEncoding = contentEncoding;
  return built;
}

describe("accept_content", () => {
  test("takes names and MIME types", () => {
    expect([...acceptedTypes(["json", "pickle", "yaml", "msgpack", "application/x-custom"])]).toEqual([
      "application/json",
      "application/x-python-serialize",
      "application/x-yaml",
      "application/x-msgpack",
      "application/x-custom",
    ]);
    expect(new SerializerRegistry([reversing]).acceptedTypes(["rev"])).toEqual(new Set(["application/x-rev"]));
  });

  test("refuses a name that nobody knows", () => {
    expect(() => acceptedTypes(["jsonn"])).toThrow(ImproperlyConfigured);
    expect(() => builtinSerializers.byName("toString")).toThrow(/no serializer named "toString"; there are: raw, json/);
  });
});

describe("a body", () => {
  test.each<[string, Message, unknown]>([
    ["JSON", message('{"a": [1, null]}', "application/json", "utf-8"), { a: [1, null] }],
    ["JSON whose encoding is absent", message("1", "application/json"), 1],
    ["of no type, which counts as application/data: text", message("é", undefined, undefined), "é"],
    ["of no type in binary", message("é", undefined, "binary"), utf8Encode("é")],
    ["application/data in an encoding of another case", message("x", "application/data", "UTF-8"), "x"],
    [
      "application/text in latin-1",
      message(new Uint8Array([0xe9, 0x80]), "application/text", "latin-1"),
      "\u00e9\u0080",
    ],
    ["application/text in ascii", message("abc", "application/text", "us-ascii"), "abc"],
    ["application/text in utf-16le", message(new Uint8Array([0x41, 0]), "application/text", "utf-16le"), "A"],
    ["empty", message("", "application/json", "utf-8"), new Uint8Array(0)],
  ])("%s is decoded by Kombu's rules", (_what, given, value) => {
    expect(decodePayload(given, { accept: json })).toEqual(value);
  });

  test("of an unaccepted type is refused before it is unpacked", () => {
    let unpacked = 0;
    const decompress = (_type: string, bytes: Uint8Array): Uint8Array => {
      unpacked++;
      return bytes;
    };
    for (const type of ["application/x-python-serialize", "text/plain", "application/x-yaml", "APPLICATION/JSON"]) {
      const given = message("x", type, "binary", { compression: "application/x-gzip" });
      expect(() => decodePayload(given, { accept: json, decompress })).toThrow(ContentDisallowed);
    }
    expect(() => decodePayload(message("1", "application/json"), { accept: new Set() })).toThrow(
      /untrusted content of type application\/json/,
    );
    expect(unpacked).toBe(0);
  });

  test.each<[string, Message]>([
    ["broken JSON", message("{", "application/json")],
    ["JSON that is not UTF-8", message(new Uint8Array([0xff]), "application/json")],
    ["JSON nested too deeply", message("[[[1]]]", "application/json")],
    ["text that is not UTF-8", message(new Uint8Array([0xff]), "application/data", "utf-8")],
    ["text that is not ASCII", message("é", "application/data", "ascii")],
    ["an encoding that nobody knows", message("x", "application/data", "klingon")],
    ["a pickle, even when accepted", message("x", "application/x-python-serialize", "binary")],
    [
      "a compression without decompressor",
      message("x", "application/json", "utf-8", { compression: "application/zstd" }),
    ],
    ["a compression that is no text", message("x", "application/json", "utf-8", { compression: 1 })],
  ])("cannot be read: %s", (_what, given) => {
    const accept = acceptedTypes(["json", "pickle"]);
    expect(() => decodePayload(given, { accept, limits: { maxDepth: 2 } })).toThrow(DecodeError);
  });

  test("that the decompressor refuses is a DecodeError with its cause", () => {
    const cause = new RangeError("too much");
    const given = message("x", "application/json", "utf-8", { compression: "application/x-gzip" });
    const decompress = (): Uint8Array => {
      throw cause;
    };
    expect(() => decodePayload(given, { accept: json, decompress })).toThrow(
      expect.objectContaining({ code: "DECODE", cause, message: "cannot decompress application/x-gzip" }),
    );
  });

  test("of an added serialiser is read by it, and its throws are DecodeErrors", () => {
    const serializers = new SerializerRegistry([reversing]);
    const accept = serializers.acceptedTypes(["rev"]);
    expect(decodePayload(message("ab", "application/x-rev"), { accept, serializers })).toEqual(utf8Encode("ba"));
    expect(() => decodePayload(message("!", "application/x-rev"), { accept, serializers })).toThrow(DecodeError);
  });
});

describe("a value", () => {
  test("is encoded with the types of its serialiser", () => {
    expect(encodePayload({ a: 1 }, jsonSerializer)).toEqual({
      body: utf8Encode('{"a": 1}'),
      contentType: "application/json",
      contentEncoding: "utf-8",
    });
    expect(encodePayload("é", rawSerializer)).toMatchObject({
      contentType: "application/data",
      contentEncoding: "utf-8",
    });
    expect(encodePayload(new Uint8Array(1), rawSerializer)).toMatchObject({ contentEncoding: "binary" });
  });

  test("without serialiser travels as Kombu sends it", () => {
    expect(encodePayload("é", null)).toMatchObject({ contentType: "text/plain", contentEncoding: "utf-8" });
    expect(encodePayload(new Uint8Array(1), null)).toMatchObject({
      contentType: "application/data",
      contentEncoding: "binary",
    });
    expect(encodePayload([1], null)).toMatchObject({ contentType: "application/json" });
  });

  test("that has no form is an EncodeError", () => {
    expect(() => encodePayload(Symbol("x"), jsonSerializer)).toThrow(EncodeError);
    expect(() => encodePayload([1], rawSerializer)).toThrow(EncodeError);
    expect(() => encodePayload("\ud800", null)).toThrow(EncodeError);
  });
});
