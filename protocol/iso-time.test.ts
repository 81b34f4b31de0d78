import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EncodeError } from "./errors.ts";
import { formatIso, MAX_PYTHON_MS, MIN_PYTHON_MS, parseIso } from "./iso-time.ts";

const T = Date.UTC(2030, 0, 2, 3, 4, 5);

// wire: celery-wire 1.5. Each row was read by dateutil 2.9.
test.each<[string, number, number, number | null]>([
  ["2030-01-02T03:04:05.678901+00:00", T + 678, 901, 0],
  ["2030-01-02T03:04:05Z", T, 0, 0],
  ["2030-01-02 03:04:05z", T, 0, 0],
  ["2030-01-02T03:04:05", T, 0, null],
  ["2030-01-02T03:04:05.6", T + 600, 0, null],
  ["2030-01-02T03:04:05,678901234", T + 678, 901, null],
  ["2030-01-02T03:04:05+05:30", T - 330 * 60_000, 0, 330],
  ["2030-01-02T03:04:05-0530", T + 330 * 60_000, 0, -330],
  ["2030-01-02T03:04:05-05", T + 300 * 60_000, 0, -300],
  ["20300102T030405Z", T, 0, 0],
  ["2030-01-02", Date.UTC(2030, 0, 2), 0, null],
  ["2030-01", Date.UTC(2030, 0, 1), 0, null],
  ["2030", Date.UTC(2030, 0, 1), 0, null],
  ["2030-W01-3", Date.UTC(2030, 0, 2), 0, null],
  ["2030-002T03:04", Date.UTC(2030, 0, 2, 3, 4), 0, null],
  ["2030-01-02T24:00", Date.UTC(2030, 0, 3), 0, null],
  ["0001-01-01T00:00:00", MIN_PYTHON_MS, 0, null],
])("reads %s", (text, epochMs, micros, offsetMinutes) => {
  expect(parseIso(text)).toEqual({ epochMs, micros, offsetMinutes });
});

test.each([
  "",
  "203",
  "203001",
  "2030-13-01",
  "2030-02-29",
  "2030-01-02T25:00",
  "2030-01-02T24:01",
  "2030-01-02T03:04:05+24:00",
  "2030-01-02T03:0405",
  "2030-01-02T03:04:05 UTC",
  "0000-01-01",
  "2030-01-02T٠٣:04",
  "now",
])("refuses %j", (text) => {
  expect(parseIso(text)).toBeNull();
});

test("tells what runs past Python's last year from what is no time at all", () => {
  expect(parseIso("9999-12-31T24:00:00")).toBe("overflow");
});

describe("formatting", () => {
  test("writes what Python's isoformat writes", () => {
    expect(formatIso(T)).toBe("2030-01-02T03:04:05+00:00");
    expect(formatIso(T + 678, 901)).toBe("2030-01-02T03:04:05.678901+00:00");
    expect(formatIso(T + 5)).toBe("2030-01-02T03:04:05.005000+00:00");
    expect(formatIso(T, 7)).toBe("2030-01-02T03:04:05.000007+00:00");
    expect(formatIso(T, 0, null)).toBe("2030-01-02T03:04:05");
    expect(formatIso(T, 0, -330)).toBe("2030-01-01T21:34:05-05:30");
  });

  test("refuses years that Python does not know", () => {
    for (const ms of [MIN_PYTHON_MS - 1, MAX_PYTHON_MS + 1, Number.NaN])
      expect(() => formatIso(ms)).toThrow(EncodeError);
    expect(() => formatIso(MAX_PYTHON_MS, 0, 60)).toThrow(EncodeError);
  });

  test("is read back exactly", () => {
    const offset = fc.option(fc.integer({ min: -1439, max: 1439 }));
    fc.assert(
      fc.property(fc.integer({ min: -6e13, max: 2.5e14 }), fc.nat(999), offset, (epochMs, micros, offsetMinutes) => {
        expect(parseIso(formatIso(epochMs, micros, offsetMinutes))).toEqual({ epochMs, micros, offsetMinutes });
      }),
    );
  });
});
