import { Buffer } from "node:buffer";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EncodeError } from "../../../protocol/errors.ts";
import { PyDateTime, PyDecimal, PyFloat } from "../../../protocol/values.ts";
import { ByteWriter } from "./byte-writer.ts";
import { TableReader, writeTable } from "./field-table.ts";

function encode(table: object): Buffer {
  const out = new ByteWriter();
  writeTable(out, table);
  return Buffer.from(out.take());
}

function decode(bytes: Buffer): Record<string, unknown> {
  return new TableReader().read(bytes, 0).table;
}

/** A table of the one key `k` with this value, as hexadecimal. */
function value(hex: string): Buffer {
  const item = Buffer.concat([Buffer.from("016b", "hex"), Buffer.from(hex.replaceAll(" ", ""), "hex")]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(item.length);
  return Buffer.concat([length, item]);
}

describe("headers are written as py-amqp writes them", () => {
  // Bytes: amqp.serialization.dumps('F', [{'k': value}]) of py-amqp 5.4.2.
  test.each([
    ["null is void", null, "56"],
    ["zero", 0, "49 00000000"],
    ["the largest 32 bit integer", 2_147_483_647, "49 7fffffff"],
    ["one more", 2_147_483_648, "4c 0000000080000000"],
    ["the smallest that py-amqp writes in 32 bits", -2_147_483_647, "49 80000001"],
    ["one less", -2_147_483_648, "4c ffffffff80000000"],
    ["a bigint", 2n ** 63n - 1n, "4c 7fffffffffffffff"],
    ["a small bigint", 7n, "49 00000007"],
    ["a float", 0.5, "64 3fe0000000000000"],
    ["a whole float", new PyFloat(1), "64 3ff0000000000000"],
    ["a number beyond the exact integers", 1e21, "64 444b1ae4d6e2ef50"],
    ["minus zero", -0, "64 8000000000000000"],
    ["true", true, "74 01"],
    ["text", "é", "53 00000002 c3a9"],
    ["bytes are text too", Uint8Array.of(0xff, 0), "53 00000002 ff00"],
    ["an array", [null, 30], "41 00000006 56 49 0000001e"],
    ["an object", { a: false }, "46 00000004 0161 74 00"],
    ["a date, in seconds", new Date(1_700_000_000_999), "54 000000006553f100"],
    ["a decimal", new PyDecimal("-1.25"), "44 02 ffffff83"],
    [
      "what has a number as its value",
      { valueOf: (): number => 0.5, __proto__: class {}.prototype },
      "64 3fe0000000000000",
    ],
  ])("%s", (_, given, hex) => {
    expect(encode({ k: given }).toString("hex")).toBe(value(hex).toString("hex"));
  });

  test("undefined is left out", () => {
    expect(encode({ k: undefined, a: 1 })).toEqual(encode({ a: 1 }));
  });

  test.each([
    ["an integer of more than 64 bits", 2n ** 63n, /64 bits/],
    ["NaN", Number.NaN, /NaN/],
    ["a float that is Infinity", new PyFloat(Number.POSITIVE_INFINITY), /Infinity/],
    ["a function", () => 1, /function/],
    ["a Map", new Map(), /Map/],
    ["a date before 1970", new Date(-1), /date/],
    ["a decimal of too many digits", new PyDecimal("12345678901"), /decimal/],
    ["a circle", circle(), /circle/],
  ])("%s has no form", (_, given, message) => {
    expect(() => encode({ k: given })).toThrow(EncodeError);
    expect(() => encode({ k: given })).toThrow(message);
  });

  test("a header name of more than 255 bytes has no form", () => {
    expect(() => encode({ ["é".repeat(128)]: 1 })).toThrow(EncodeError);
  });
});

function circle(): object {
  const knot: { self?: object } = {};
  knot.self = knot;
  return knot;
}

describe("headers of any client are read", () => {
  test.each([
    ["8 bits", "62 ff", -1],
    ["8 bits unsigned", "42 ff", 255],
    ["16 bits: RabbitMQ's s", "73 ff80", -128],
    ["16 bits: the specification's U", "55 ff80", -128],
    ["16 bits unsigned", "75 ff80", 65_408],
    ["32 bits unsigned", "69 ffffffff", 4_294_967_295],
    ["64 bits, RabbitMQ's l", "6c ffffffffffffffff", -1],
    ["64 bits, py-amqp's L", "4c 0020000000000001", 2n ** 53n + 1n],
    ["float", "66 3fc00000", 1.5],
    ["NaN", "64 7ff8000000000000", Number.NaN],
    ["a byte array", "78 00000002 ff00", Uint8Array.of(0xff, 0)],
    ["text that is not UTF-8", "53 00000001 ff", Uint8Array.of(0xff)],
    ["text with a replacement character", "53 00000003 efbfbd", "\ufffd"],
    ["a decimal", "44 02 ffffff83", new PyDecimal("-1.25")],
    ["a timestamp", "54 000000006553f100", new PyDateTime(1_700_000_000_000, { offsetMinutes: null })],
  ])("%s", (_, hex, wanted) => {
    expect(decode(value(hex))).toEqual({ k: wanted });
  });

  test.each([
    ["an unknown type", "3f 00"],
    ["text longer than the table", "53 000000ff 61"],
    ["an array longer than the table", "41 000000ff 56"],
    ["an array that ends within a value", "41 00000002 49 00"],
    ["nothing", ""],
  ])("garbage is refused: %s", (_, hex) => {
    expect(() => decode(value(hex))).toThrow(/header/);
  });

  test("nesting without end is refused", () => {
    const depth = 300;
    const parts: Buffer[] = [];
    for (let i = 0; i < depth; i++) {
      const head = Buffer.from("4100000000", "hex");
      head.writeUInt32BE(5 * (depth - 1 - i), 1);
      parts.push(head);
    }
    expect(() => decode(value(Buffer.concat(parts).toString("hex")))).toThrow(/deep/);
  });

  test("a name that comes again at another place is read anew", () => {
    const reader = new TableReader();
    for (const table of [{ a: 1, b: 2 }, { b: 2, a: 1 }, { abc: 1 }, { abd: 1 }, { é: 1 }]) {
      expect(reader.read(encode(table), 0).table).toEqual(table);
    }
  });

  test("whatever JSON can say comes back as it was", () => {
    const headers = fc.dictionary(fc.string({ maxLength: 50 }), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 20 });
    fc.assert(
      fc.property(headers, (table) => {
        expect(decode(encode(table))).toEqual(table);
      }),
    );
  });
});
