/**
 * Where Celery 5.6.3 does not do what 5.7.0 does. In a mixed fleet chance decides which of the two it is, so there the parts of a
 * report that depend on it are not compared; everything else is, and the fleets of one language are compared in full.
 */
import { matches } from "../features.ts";
import type { NormalForm } from "./normal-form.ts";

interface Difference {
  /** Names of workflows; a `*` at the end stands for anything. */
  readonly workflows: readonly string[];
  readonly reason: string;
  /** Gives the report without what differs. */
  readonly without: (form: NormalForm) => NormalForm;
}

const leaving = (part: "stored" | "ran" | "tuple", text: RegExp) => (form: NormalForm) => {
  const lines = form[part];
  return { ...form, [part]: Array.isArray(lines) ? lines.filter((line) => !text.test(String(line))) : lines };
};

export const differences: readonly Difference[] = [];

/** What is left of a report to compare in a mixed fleet. */
export function comparable(workflow: string, form: NormalForm): NormalForm {
  let left = form;
  for (const { workflows, without } of differences) {
    if (workflows.some((pattern) => pattern === "*" || matches(pattern, workflow))) left = without(left);
  }
  return left;
}
