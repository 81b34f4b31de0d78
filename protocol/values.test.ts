import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { DecodeError, EncodeError } from "./errors.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid, registerJsonType } from "./values.ts";

const tag = (type: string, value: unknown): string => `{"__type__": "${type}", "__value__": ${JSON.stringify(value)}}`;

// As captured from Python: amqp-messages-serializer#json_extended_types and Kombu's own test values.
test.each<[string, unknown, new (...args: never[]) => unknown]>([
  ["datetime", "2030-01-02T03:04:05.678901", PyDateTime],
  ["datetime", "2030-01-02T03:04:05.678901+00:00", PyDateTime],
  ["datetime", "0001-01-01T00:00:00", PyDateTime],
  ["datetime", "9999-12-31T23:59:59.999999-11:30", PyDateTime],
  ["datetime", "1900-01-01T00:00:00+00:53:28", PyDateTime],
  ["datetime", "1969-12-31T23:59:59.999999+00:00:01.000001", PyDateTime],
  ["date", "2030-01-02", PyDate],
  ["time", "03:04:05", PyTime],
  ["time", "03:04:05.000001-05:00", PyTime],
  ["decimal", "1.10", PyDecimal],
  ["decimal", "1E+2", PyDecimal],
  ["decimal", "NaN", PyDecimal],
  ["decimal", "-0E-10", PyDecimal],
  ["uuid", { hex: "0123456789abcdef0123456789abcdef" }, PyUuid],
  ["bytes", "h\u0000i", Uint8Array],
  ["base64", "/wD+", Uint8Array],
])("a %s survives the way through JavaScript: %j", (type, value, constructor) => {
  const decoded = decodeJson(tag(type, value));
  expect(decoded).toBeInstanceOf(constructor);
  expect(JSON.parse(encodeJson([decoded]))).toEqual([JSON.parse(tag(type, value))]);
});

describe("PyDateTime", () => {
  test("is the instant for everything that takes a Date", () => {
    const time = PyDateTime.fromIso("2030-01-02T03:04:05.678901+05:30");
    expect(time.getTime()).toBe(Date.UTC(2030, 0, 1, 21, 34, 5, 678));
    expect([time.micros, time.offsetMinutes]).toEqual([901, 330]);
    expect(time.fields).toMatchObject({ year: 2030, month: 1, day: 2, hour: 3, microsecond: 678901 });
  });

  test("keeps naive apart from UTC", () => {
    expect(PyDateTime.fromIso("2030-01-02T03:04:05").iso).toBe("2030-01-02T03:04:05");
    expect(PyDateTime.fromIso("2030-01-02T03:04:05Z").iso).toBe("2030-01-02T03:04:05+00:00");
    expect(new PyDateTime(0, { offsetMinutes: null }).iso).toBe("1970-01-01T00:00:00");
    expect(new PyDateTime(0).iso).toBe("1970-01-01T00:00:00+00:00");
  });

  test("gives back every instant, offset and microsecond", () => {
    const parts = [
      fc.integer({ min: -6e13, max: 2.5e14 }),
      fc.nat(999),
      fc.option(fc.integer({ min: -1439, max: 1439 })),
    ] as const;
    fc.assert(
      fc.property(...parts, (ms, micros, offsetMinutes) => {
        const time = PyDateTime.fromIso(new PyDateTime(ms, { micros, offsetMinutes }).iso);
        expect([time.getTime(), time.micros, time.offsetMinutes]).toEqual([ms, micros, offsetMinutes]);
      }),
    );
  });

  test("says so when Python has no such year", () => {
    expect(() => new PyDateTime(8.64e15).iso).toThrow(EncodeError);
    expect(() => new PyDateTime(Number.NaN).iso).toThrow(EncodeError);
    expect(() => PyDateTime.fromIso("10000-01-01")).toThrow(DecodeError);
  });
});

test("decimals print as Python prints them", () => {
  expect(String(new PyDecimal("1e2"))).toBe("1E+2");
  expect(String(new PyDecimal("123e-9"))).toBe("1.23E-7");
  expect(String(new PyDecimal(1.5))).toBe("1.5");
  expect(String(new PyDecimal(10n ** 30n))).toBe(`1${"0".repeat(30)}`);
  expect(() => new PyDecimal("one")).toThrow(DecodeError);
});

test("a UUID shows its dashes", () => {
  expect(String(new PyUuid("{01234567-89AB-CDEF-0123-456789abcdef}"))).toBe("01234567-89ab-cdef-0123-456789abcdef");
});

test("a PyFloat computes like its number and leaves as a float", () => {
  expect(new PyFloat(2).valueOf() + 1).toBe(3);
  expect(encodeJson([new PyFloat(1), new PyFloat(-0), new PyFloat(1e16)])).toBe("[1.0, -0.0, 1e+16]");
});

test("bytes hold their own memory, not a runtime's pool", () => {
  for (const text of [tag("bytes", "abc"), tag("base64", "/wD+")]) {
    expect((decodeJson(text) as Uint8Array).buffer.byteLength).toBe(3);
  }
});

describe("registered types", () => {
  let remove: (() => void) | undefined;
  afterEach(() => remove?.());

  test("make sets travel under a name that Python can register too", () => {
    remove = registerJsonType<Set<unknown>>({
      name: "set",
      matches: (value): value is Set<unknown> => value instanceof Set,
      encode: (set) => [...set],
      decode: (items) => new Set(items as unknown[]),
    });
    const text = encodeJson({ s: new Set([1, new Date(0)]) });
    expect(text).toContain('{"__type__": "set", "__value__": [1, {"__type__": "datetime"');
    expect(decodeJson(text)).toEqual({ s: new Set([1, new PyDateTime(0)]) });
    remove();
    expect(encodeJson(new Set([1]))).toBe("[1]");
    expect(() => decodeJson(text)).toThrow(DecodeError);
  });

  test("come before the built-in ones, and travel untagged when they have no name", () => {
    remove = registerJsonType<Date>({
      name: null,
      matches: (value): value is Date => value instanceof Date,
      encode: (date) => date.getTime(),
    });
    expect(encodeJson([new Date(5)])).toBe("[5]");
  });

  test("turn a failing decoder into a refused message", () => {
    remove = registerJsonType<Map<string, unknown>>({
      name: "map",
      matches: (value): value is Map<string, unknown> => value instanceof Map,
      encode: (map) => [...map],
      decode: (entries) => new Map(entries as [string, unknown][]),
    });
    expect(() => decodeJson(tag("map", 5))).toThrow(DecodeError);
  });
});
