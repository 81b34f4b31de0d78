/** The time as results have it, with microseconds. */
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";

export function now(): string {
  return mognetTimestamp(Date.now() + (performance.now() % 1));
}
