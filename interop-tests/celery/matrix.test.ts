/**
 * The matrix: every case over every Celery version, broker with result backend, and direction. The cells of a version run side by
 * side before its tests; the tests then compare what was seen with what the case promises, and with what Python sees of Python.
 * `LOVAGE_TEST_CELLS="5.7.0 redis+redis"` (comma separated parts of names) runs some cells only.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import { directions, offReason, type Stores, stores, versions } from "../features.ts";
import { Cell } from "../harness/cell.ts";
import { compatibilityText, type Tally } from "../harness/compatibility.ts";
import { readPart, writePart } from "../harness/compatibility-file.ts";
import { judgeCase, reportOf } from "../harness/judge.ts";
import { knownFailure, readKnownFailures } from "../harness/known-failing.ts";
import { drainedCase, type Reports, reportKey, runCell } from "../harness/run-cell.ts";
import { allCases } from "./cases/all.ts";

const asked = (process.env.LOVAGE_TEST_CELLS ?? "").split(",").filter((part) => part !== "");
const isAsked = (version: string, cell: string) =>
  asked.length === 0 || asked.some((part) => `${version} ${cell}`.includes(part.trim()));
const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_REDIS_URL !== undefined;
const known = readKnownFailures();
const cases = allCases();
const tally: Tally = new Map();
/** Tests that failed and were not expected to. */
let broken = 0;

describe.skipIf(!ready)("Celery", () => {
  for (const { celery: version } of versions) {
    const cells = stores.filter((cell) => isAsked(version, cell));
    if (cells.length > 0) describe(version, () => testVersion(version, cells));
  }

  test.skipIf(asked.length > 0)("docs/compatibility.md is what this run generates", async () => {
    expect(broken, "cases that failed").toBe(0);
    const text = compatibilityText(cases, tally, known);
    if (process.env.CI !== "true") await writePart("matrix", text);
    expect(await readPart("matrix")).toBe(text);
  });
});

function testVersion(version: string, cells: readonly Stores[]): void {
  const ran = new Map<Stores, Reports | Error>();

  beforeAll(async () => {
    await Promise.all(
      cells.map(async (name) => {
        try {
          await using cell = await Cell.open(version, name);
          ran.set(name, await runCell(cell, allCases()));
        } catch (error) {
          ran.set(name, error instanceof Error ? error : new HarnessError("THROWN", String(error)));
        }
      }),
    );
  }, 600_000);

  for (const cell of cells) {
    describe(cell, () => {
      for (const one of cases) {
        for (const direction of directions) {
          const { name } = one;
          if (offReason(name, version, cell, direction.name) !== null) continue;
          const why = knownFailure(known, name, version, cell, direction.name);
          const run = why === null ? test : test.fails;
          run(`${name} [${direction.name}]`, () => {
            try {
              judgeCase(one, direction, { version, stores: cell }, ran.get(cell));
            } catch (error) {
              if (why === null) broken++;
              throw error;
            }
            count(name, cell, version);
          });
        }
      }
      test(drainedCase, () => {
        expect(reportOf(ran.get(cell), drainedCase, "").problem).toBeNull();
        count(drainedCase, cell, version);
      });
    });
  }

  afterAll(() => ran.clear());
}

function count(name: string, cell: Stores, version: string): void {
  const key = reportKey(name, `${version} ${cell}`);
  tally.set(key, (tally.get(key) ?? 0) + 1);
}
