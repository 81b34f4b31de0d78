/** Hundreds of random and written canvases: what Celery sends for each, and what the plan says. */
import { isDeepStrictEqual } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { brokenInPython, ours, type PythonCase, theirs } from "./python-canvas.contract.ts";
import { expectNone, hasPython, pythonCases, seed } from "./python-cases.contract.ts";

const count = Number(process.env.LOVAGE_TEST_CANVASES ?? 1500);

describe.skipIf(!hasPython)(`canvases as Celery sends them (seed ${seed})`, () => {
  let cases: PythonCase[] = [];
  beforeAll(() => {
    cases = pythonCases("check_canvas.py", count);
  }, 180_000);

  const ops = ["apply", "freeze", "or", "fold", "link", "link_error", "replace", "add_to_chord", "stamp"] as const;
  test.each(ops)("%s", (op) => {
    const asked = cases.filter((one) => one.op === op);
    expect(asked.length).toBeGreaterThan(20);
    // Where Celery breaks by accident, a plan is as good as a refusal.
    const answers = asked
      .filter((one) => !brokenInPython(one))
      .map((one) => ({ one, ours: ours(one), theirs: theirs(one) }));
    const differing = answers.filter((answer) => !isDeepStrictEqual(answer.ours, answer.theirs));
    expectNone(differing, asked.length);
  });
});
