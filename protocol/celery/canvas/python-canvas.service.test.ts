/**
 * Hundreds of random and written canvases, in one batch: what Celery sends for each, and what the plan says.
 * `LOVAGE_TEST_PYTHON` names an interpreter with Celery 5.7; `LOVAGE_TEST_SEED` repeats a run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { type Answered, brokenInPython, ours, type PythonCase, theirs } from "./python-canvas.contract.ts";

const python = process.env.LOVAGE_TEST_PYTHON;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? 20300102);
const count = Number(process.env.LOVAGE_TEST_CANVASES ?? 1500);
const script = fileURLToPath(new URL("../../../python-fixtures/check_canvas.py", import.meta.url));
const SHOWN = 3;

if (python === undefined && process.env.CI === "true") {
  test("LOVAGE_TEST_PYTHON must be set in CI", () => expect(python).toBeDefined());
}

describe.skipIf(python === undefined)(`canvases as Celery sends them (seed ${seed})`, () => {
  let cases: PythonCase[] = [];

  beforeAll(() => {
    const run = spawnSync(python as string, [script, String(seed), String(count)], {
      encoding: "utf8",
      maxBuffer: 2 ** 30,
    });
    expect(run.status, run.stderr).toBe(0);
    cases = run.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as PythonCase);
  });

  const ops = ["apply", "freeze", "or", "fold", "link", "link_error", "replace", "add_to_chord", "stamp"] as const;
  test.each(ops)("%s", (op) => {
    const asked = cases.filter((one) => one.op === op);
    expect(asked.length).toBeGreaterThan(20);
    const differing: { name: string; case: PythonCase; ours: Answered; theirs: Answered }[] = [];
    for (const one of asked) {
      // Where Celery breaks by accident, a plan is as good as a refusal.
      if (brokenInPython(one)) continue;
      const answers = { ours: ours(one), theirs: theirs(one) };
      if (!isDeepStrictEqual(answers.ours, answers.theirs)) differing.push({ name: one.name, case: one, ...answers });
    }
    const first = differing.slice(0, SHOWN);
    expect(
      first.map((one) => [one.name, one.ours]),
      `${differing.length} of ${asked.length} differ: ${JSON.stringify(first.map((one) => one.case))}`,
    ).toEqual(first.map((one) => [one.name, one.theirs]));
  });
});
