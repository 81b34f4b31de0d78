import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DecodeError, EncodeError } from "./errors.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { readJson } from "./json-reader.ts";
import { PyDateTime, PyFloat } from "./values.ts";

describe("decoding", () => {
  test("agrees with JSON.parse on ordinary JSON, on both paths", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        // Integers beyond 2**53 are read otherwise, on purpose.
        fc.pre(!/(?<![.\d])\d{16}/.test(text));
        const parsed: unknown = JSON.parse(text);
        expect(decodeJson(text)).toEqual(parsed);
        expect(readJson(text, 512, false)).toEqual(parsed);
      }),
    );
  });

  test("finds every integer beyond 2**53, wherever it stands in the text", () => {
    fc.assert(
      fc.property(fc.nat(64), fc.bigInt({ min: 2n ** 53n, max: 10n ** 40n }), fc.boolean(), (blanks, n, negative) => {
        const integer = negative ? -n : n;
        expect(decodeJson(`[1.5, ${" ".repeat(blanks)}${integer}, "${"8".repeat(20)}"]`)).toEqual([
          1.5,
          integer,
          "8".repeat(20),
        ]);
      }),
    );
    expect(decodeJson("[9007199254740991, -9007199254740991]")).toEqual([9007199254740991, -9007199254740991]);
    expect(decodeJson("9007199254740992")).toBe(9007199254740992n);
    expect(decodeJson("0.12345678901234566")).toBe(0.12345678901234566);
  });

  test("reads NaN and infinities as Python writes them", () => {
    expect(decodeJson("[NaN, Infinity, -Infinity]")).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
  });

  test("keeps 1.0 and 1 apart when asked", () => {
    const kept = decodeJson("[1.0, 1, 1.5, 1e3, 1.9999999999999999999]", { floats: "keep" });
    expect(kept).toEqual([new PyFloat(1), 1, 1.5, new PyFloat(1000), new PyFloat(2)]);
    expect(decodeJson("[1.0, 1]")).toEqual([1, 1]);
    expect(encodeJson(kept)).toBe("[1.0, 1, 1.5, 1000.0, 2.0]");
  });

  test("finds a tag whose letters are escaped", () => {
    const tag = '{"__type__": "bytes", "__value__": "A"}';
    for (const letter of "_type") {
      const code = letter.charCodeAt(0).toString(16).padStart(4, "0");
      for (const hex of [code, code.toUpperCase()]) {
        const text = tag.replace("__type__", "__type__".replace(letter, `\\u${hex}`));
        expect(decodeJson(text)).toEqual(Uint8Array.of(65));
      }
    }
  });

  test("leaves an object alone that merely resembles a tag", () => {
    for (const text of ['{"__type__":"x"}', '{"__type__":"x","__value__":1,"y":2}']) {
      expect(decodeJson(text)).toEqual(JSON.parse(text));
    }
  });

  test.each([
    ["unknown", '{"__type__": "nothing", "__value__": 1}'],
    ["inherited", '{"__type__": "constructor", "__value__": 1}'],
    ["not text", '{"__type__": 1, "__value__": 1}'],
    ["with a bad value", '{"a": [{"__type__": "uuid", "__value__": {"hex": "12"}}]}'],
  ])("refuses a tag that is %s", (_, text) => {
    expect(() => decodeJson(text)).toThrow(DecodeError);
  });

  test.each(["", '"__type__", ', "12345678901234567890, "])("keeps __proto__ an own member (%s)", (before) => {
    const [value] = (decodeJson(`[${before}{"__proto__": {"polluted": 1}, "constructor": 2}]`) as unknown[]).slice(-1);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value as object)).toEqual(["__proto__", "constructor"]);
    expect("polluted" in (value as object)).toBe(false);
  });

  test.each(["", "12345678901234567890"])("lets the last of equal names win (%s)", (extra) => {
    expect(decodeJson(`{"a": 1, "b": [${extra}], "a": 2}`)).toMatchObject({ a: 2 });
  });

  test("never exhausts the stack, whatever the nesting", () => {
    for (const text of [
      "[".repeat(1e6),
      "[".repeat(1e6) + "]".repeat(1e6),
      '{"a":'.repeat(2e5),
      '[{"__type__":'.repeat(2e5),
    ]) {
      expect(() => decodeJson(text)).toThrow(DecodeError);
    }
    const deep = "[".repeat(1e5) + "]".repeat(1e5);
    expect(() => decodeJson(deep, { maxDepth: 1e5 })).not.toThrow();
    expect(() => readJson(deep, 1e5, false)).not.toThrow();
  });

  test("counts levels alike on both paths", () => {
    const nested = (levels: number, inside = "") => "[".repeat(levels) + inside + "]".repeat(levels);
    for (const inside of ["", "12345678901234567890"]) {
      expect(() => decodeJson(nested(1000, inside))).not.toThrow();
      expect(() => decodeJson(nested(1001, inside))).toThrow(/deeper than 1000/);
      expect(() => decodeJson(nested(4, inside), { maxDepth: 3 })).toThrow(DecodeError);
    }
    expect(() => decodeJson(`[${Array(2000).fill('{"a": []}').join(",")}]`)).not.toThrow();
  });

  test("says where broken JSON breaks", () => {
    expect(() => decodeJson('{"a": 1,}')).toThrow(/character 8 of 9/);
    expect(() => decodeJson("[1] 2")).toThrow(/character 4/);
    expect(() => decodeJson("\ufeff1")).toThrow(/byte order mark/);
    expect(() => decodeJson("9".repeat(4301))).toThrow(/4300 digits/);
  });

  test("throws nothing but DecodeError", () => {
    const noise = fc.string({
      unit: fc.constantFrom(...'[]{}",:0123456789.-eE\\u_NaIn \n', "__type__", "__value__", '"bytes"'),
    });
    fc.assert(
      fc.property(noise, (text) => {
        try {
          decodeJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

describe("encoding", () => {
  test.each<[string, (value: unknown) => unknown]>([
    ["arrays", (value) => [value, value]],
    ["members", (value) => ({ a: value, b: value })],
    [
      "a map",
      (value) =>
        new Map([
          [1, value],
          [2, value],
        ]),
    ],
  ])(
    "a text of more than 128 MiB is refused before it is written, however little stands for it: %s",
    (_what, twice) => {
      let value: unknown = "x".repeat(2 ** 22);
      for (let level = 0; level < 100; level++) value = twice(value);
      expect(() => encodeJson(value)).toThrow(/more than 134217728 characters/);
    },
  );

  test("writes what Python's json.dumps writes", () => {
    const body = [[2, 3], {}, { callbacks: null, errbacks: null, chain: null, chord: null }];
    expect(encodeJson(body)).toBe('[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]');
    expect(encodeJson('é😀\ud800\x7f\n"\\/')).toBe('"\\u00e9\\ud83d\\ude00\\ud800\\u007f\\n\\"\\\\/"');
    expect(encodeJson([Number.NaN, Infinity, -Infinity, 2n ** 70n, true])).toBe(
      "[NaN, Infinity, -Infinity, 1180591620717411303424, true]",
    );
  });

  test.each([
    [1, "1"],
    [-0, "0"],
    [1.5, "1.5"],
    [2 ** 53 - 1, "9007199254740991"],
    [2 ** 53, "9007199254740992.0"],
    [1e16, "1e+16"],
    [1e21, "1e+21"],
    [1e100, "1e+100"],
    [1e-7, "1e-07"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [-1.5e-10, "-1.5e-10"],
    [123456789012345680, "1.2345678901234568e+17"],
  ])("writes %d as Python does: %s", (number, text) => {
    expect(encodeJson(number)).toBe(text);
  });

  test("gives back what JSON can carry", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        // What JSON itself can carry: it has no minus zero among whole numbers.
        const carried: unknown = JSON.parse(JSON.stringify(value));
        expect(decodeJson(encodeJson(value))).toEqual(carried);
        expect(JSON.parse(encodeJson(value))).toEqual(carried);
        expect(encodeJson(value)).toMatch(/^[ -~]*$/);
      }),
    );
  });

  test("drops undefined members, turns undefined items into null", () => {
    expect(encodeJson({ a: undefined, b: [undefined], c: 1 })).toBe('{"b": [null], "c": 1}');
    expect(encodeJson(undefined)).toBe("null");
  });

  test("writes what JavaScript offers beyond JSON", () => {
    class Point {
      x = 1;
      #hidden = 2;
      sum(): number {
        return this.x + this.#hidden;
      }
    }
    const map = new Map<unknown, unknown>([
      ["a", 1],
      [1, 2],
      [true, 3],
      [null, 4],
      [1.5, 5],
    ]);
    expect(encodeJson(map)).toBe('{"a": 1, "1": 2, "true": 3, "null": 4, "1.5": 5}');
    expect(encodeJson(new Set([1, 2]))).toBe("[1, 2]");
    expect(encodeJson(new Point())).toBe('{"x": 1}');
    expect(encodeJson({ toJSON: () => [1] })).toBe("[1]");
    expect(encodeJson(new URL("http://h/"))).toBe('"http://h/"');
    expect(encodeJson(new Float64Array([1, 1.5]))).toBe("[1, 1.5]");
    expect(encodeJson(JSON.parse('{"__proto__": 1}'))).toBe('{"__proto__": 1}');
    expect(encodeJson(new Date(0))).toBe('{"__type__": "datetime", "__value__": "1970-01-01T00:00:00+00:00"}');
  });

  const cyclic: Record<string, unknown> = { list: [] };
  cyclic.list = [{ back: cyclic }];
  test.each<[string, unknown, RegExp]>([
    ["a function", { f: [1, () => 1] }, /function .* value\.f\[1\]/],
    ["a symbol", [Symbol("s")], /symbol .* value\[0\]/],
    ["a cycle", { a: cyclic }, /cycle .* value\.a\.list\[0\]\.back\)/],
    ["a promise", { "odd key": Promise.resolve() }, /Promise .* value\["odd key"\]/],
    ["an error", new RangeError("x"), /Error .* value\)/],
    ["an invalid date", [new Date(Number.NaN)], /value\[0\]/],
    ["a map with object keys", new Map([[{}, 1]]), /key/],
    [
      "an array that is far longer than what it holds",
      { a: Object.assign([], { length: 4e9 }) },
      /4000000000 items.*value\.a/,
    ],
    [
      "a getter that throws",
      {
        get g() {
          throw new TypeError("boom");
        },
      },
      /boom.*value\.g/,
    ],
  ])("refuses %s and says where it is", (_, value, message) => {
    expect(() => encodeJson(value)).toThrow(EncodeError);
    expect(() => encodeJson(value)).toThrow(message);
  });

  test("refuses nesting beyond the limit rather than the stack", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 1e5; i++) deep = [deep];
    expect(() => encodeJson(deep)).toThrow(/deeper than 1000/);
  });

  test("gives back a datetime to the microsecond", () => {
    const time = decodeJson('{"__type__": "datetime", "__value__": "2030-01-02T03:04:05.678901+05:30"}');
    expect(time).toBeInstanceOf(PyDateTime);
    expect(encodeJson(time)).toBe('{"__type__": "datetime", "__value__": "2030-01-02T03:04:05.678901+05:30"}');
  });
});
