/** A few cases of one cell: whether real Celery is understood at all. `scripts/ci.mjs` runs it on other Nodes. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import { directions, offReason, versions } from "../features.ts";
import { Cell } from "../harness/cell.ts";
import { judgeCase } from "../harness/judge.ts";
import { type Reports, runCell } from "../harness/run-cell.ts";
import { allCases } from "./cases/all.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_REDIS_URL !== undefined;
const groups = /^(binding|custom states|failures|links|retries|unknown tasks)\//;
const cases = allCases().filter(({ name }) => groups.test(name));
const cell = { version: versions[0].celery, stores: "redis+redis" } as const;

describe.skipIf(!ready)(`smoke: Celery ${cell.version} on ${cell.stores}`, () => {
  let reports: Reports | Error | undefined;

  beforeAll(async () => {
    try {
      await using open = await Cell.open(cell.version, cell.stores);
      reports = await runCell(open, cases);
    } catch (error) {
      reports = error instanceof Error ? error : new HarnessError("THROWN", String(error));
    }
  }, 300_000);

  for (const one of cases) {
    for (const direction of directions) {
      if (offReason(one.name, cell.version, cell.stores, direction.name) !== null) continue;
      test(`${one.name} [${direction.name}]`, () => judgeCase(one, direction, cell, reports));
    }
  }

  afterAll(() => {
    reports = undefined;
  });
});
