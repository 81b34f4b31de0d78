import { describe, expect, test } from "vitest";
import { namedZone, zoneOf } from "./timezone.ts";

const at = (text: string) => Date.parse(text);

describe("instants as Python writes them", () => {
  test.each([
    ["UTC", "2030-01-02T03:04:05Z", "2030-01-02T03:04:05+00:00"],
    ["UTC", "2030-01-02T03:04:05.678Z", "2030-01-02T03:04:05.678000+00:00"],
    ["Europe/Oslo", "2030-01-02T03:04:05Z", "2030-01-02T04:04:05+01:00"],
    ["Europe/Oslo", "2030-07-02T23:04:05Z", "2030-07-03T01:04:05+02:00"],
    ["America/St_Johns", "2030-01-02T03:04:05Z", "2030-01-01T23:34:05-03:30"],
    ["Asia/Kolkata", "2030-01-02T03:04:05Z", "2030-01-02T08:34:05+05:30"],
    ["Australia/Lord_Howe", "2030-01-02T03:04:05Z", "2030-01-02T14:04:05+11:00"],
  ])("%s %s", (zone, instant, text) => {
    expect(namedZone(zone).iso(at(instant))).toBe(text);
  });

  test("microseconds are added exactly", () => {
    const iso = (micros: number) => namedZone("UTC").iso(at("2030-01-02T03:04:05Z"), micros);
    expect(iso(1234)).toBe("2030-01-02T03:04:05.001234+00:00");
    expect(iso(1_000_000)).toBe("2030-01-02T03:04:06+00:00");
    expect(iso(-1)).toBe("2030-01-02T03:04:04.999999+00:00");
    expect(namedZone("Europe/Oslo").iso(at("2030-03-31T00:59:59.999Z"), 1000)).toBe("2030-03-31T03:00:00+02:00");
  });

  test("the offset changes at the very second the clocks do", () => {
    const oslo = namedZone("Europe/Oslo");
    expect(oslo.iso(at("2030-03-31T00:59:59Z"))).toBe("2030-03-31T01:59:59+01:00");
    expect(oslo.iso(at("2030-03-31T01:00:00Z"))).toBe("2030-03-31T03:00:00+02:00");
  });
});

describe("clock readings", () => {
  const oslo = namedZone("Europe/Oslo");
  test.each([
    ["in winter", "2030-01-02T03:04:05Z", "2030-01-02T02:04:05.000Z"],
    ["in summer", "2030-07-02T03:04:05Z", "2030-07-02T01:04:05.000Z"],
    ["that happen twice: the first", "2030-10-27T02:30:00Z", "2030-10-27T00:30:00.000Z"],
    ["that are skipped: moved on", "2030-03-31T02:30:00Z", "2030-03-31T01:30:00.000Z"],
    ["just before the change", "2030-03-31T01:59:59Z", "2030-03-31T00:59:59.000Z"],
    ["just after it", "2030-03-31T03:00:00Z", "2030-03-31T01:00:00.000Z"],
  ])("%s", (_about, wall, instant) => {
    expect(new Date(oslo.fromWall(at(wall))).toISOString()).toBe(instant);
  });
});

describe("the zone of the settings", () => {
  test("is the named one, else UTC, else the machine's", () => {
    expect(zoneOf({ timezone: "Asia/Tokyo", enable_utc: false }).name).toBe("Asia/Tokyo");
    expect(zoneOf({ timezone: null, enable_utc: true }).name).toBe("UTC");
    const here = new Intl.DateTimeFormat().resolvedOptions().timeZone;
    expect(zoneOf({ timezone: null, enable_utc: false }).iso(0)).toBe(namedZone(here).iso(0));
  });

  test("that nobody knows is refused", () => {
    expect(() => namedZone("Mars/Base")).toThrow(/no time zone "Mars\/Base"/);
  });
});
