import { describe, expect, test } from "vitest";
import { allCases } from "./celery/cases/all.ts";
import { directions, matches, off, stores, versions } from "./features.ts";
import { readKnownFailures } from "./harness/known-failing.ts";

const names = allCases().map(({ name }) => name);

describe("the lists of the matrix", () => {
  test("have at least 45 cases, each with a name of its own", () => {
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThanOrEqual(45);
  });

  test("take out only what exists", () => {
    for (const { cases } of off)
      expect(
        names.some((name) => matches(cases, name)),
        cases,
      ).toBe(true);
  });

  test("expect failures only of cells that exist", () => {
    for (const known of readKnownFailures()) {
      expect(["*", ...versions.map(({ celery }) => celery)]).toContain(known.version);
      expect(["*", ...stores]).toContain(known.stores);
      expect(["*", ...directions.map(({ name }) => name)]).toContain(known.direction);
      expect(
        names.some((name) => matches(known.case, name)),
        known.case,
      ).toBe(true);
    }
  });
});
