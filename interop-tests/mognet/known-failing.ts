/** What of the grid is known to fail. A listed case that passes fails the run. */
import { matches } from "./differences.ts";

interface Known {
  /** Part of `<client> to <fleet>`. */
  readonly where: string;
  /** A `*` at the end stands for anything. */
  readonly case: string;
  readonly reason: string;
}

export const known: readonly Known[] = [];

export function knownToFail(where: string, name: string): boolean {
  return known.some((one) => where.includes(one.where) && matches(one.case, name));
}
