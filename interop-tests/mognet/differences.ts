/** What Lovage does on purpose otherwise than Mognet: not compared where a TypeScript worker, or client, may have had a part in it. */
import type { Form } from "./case.ts";
import type { FleetName, Language } from "./fleet.ts";

interface Difference {
  /** Names of cases; a `*` at the end stands for anything. */
  readonly cases: readonly string[];
  /** Who makes the difference. */
  readonly part: "worker" | "client";
  readonly reason: string;
  readonly without: (form: Form) => Form;
}

export const differences: readonly Difference[] = [];

/** What is left of a report to compare. */
export function comparable(fleet: FleetName, client: Language, name: string, form: Form): Form {
  let left = form;
  for (const { cases, part, without } of differences) {
    const applies = part === "worker" ? fleet !== "python" : client === "typescript";
    if (applies && cases.some((pattern) => matches(pattern, name))) left = without(left);
  }
  return left;
}

export function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
