/** What of the grid is known to fail. A listed workflow that passes fails the run. */
import { matches } from "../features.ts";

interface Known {
  /** Part of `<stores> <fleet> <client>`. */
  readonly where: string;
  /** A `*` at the end stands for anything. */
  readonly workflow: string;
  readonly reason: string;
}

const known: readonly Known[] = [];

export function knownToFail(where: string, workflow: string): boolean {
  return known.some((one) => where.includes(one.where) && matches(one.workflow, workflow));
}
