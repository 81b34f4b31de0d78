/**
 * Random cases that Celery makes and answers, in one batch: what a script of `python-fixtures/` prints, a JSON value a line.
 * `LOVAGE_TEST_PYTHON` names an interpreter with Celery 5.7; `LOVAGE_TEST_SEED` repeats a run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const python = process.env.LOVAGE_TEST_PYTHON;
const fixtures = new URL("../../../python-fixtures/", import.meta.url);

export const seed = Number(process.env.LOVAGE_TEST_SEED ?? 20300102);
export const hasPython = python !== undefined;

if (!hasPython && process.env.CI === "true") {
  test("LOVAGE_TEST_PYTHON must be set in CI", () => expect(python).toBeDefined());
}

export function pythonCases<Case>(script: string, count: number): Case[] {
  const args = [fileURLToPath(new URL(script, fixtures)), String(seed), String(count)];
  const run = spawnSync(python ?? "", args, { encoding: "utf8", maxBuffer: 2 ** 30 });
  expect(run.status, run.stderr).toBe(0);
  const lines = run.stdout.trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Case);
}

/** No case may differ; of those that do, the first few are shown with both answers. */
export function expectNone<Case>(
  differing: readonly { readonly one: Case; readonly ours: unknown; readonly theirs: unknown }[],
  of: number,
): void {
  const first = differing.slice(0, 3);
  expect(
    first.map(({ one, ours }) => ({ case: JSON.stringify(one), answer: ours })),
    `${differing.length} of ${of} differ`,
  ).toEqual(first.map(({ one, theirs }) => ({ case: JSON.stringify(one), answer: theirs })));
}
