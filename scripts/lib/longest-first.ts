/**
 * The order of the outer rings' files: those that take long first, one that mostly waits (for a broker to come back, for a claim
 * to lapse) before one that keeps the processor busy, so that of the two that run side by side one leaves room for the other, and
 * no long one is left to run alone at the end. A file that is not named here comes after these.
 */
import { BaseSequencer, type TestSpecification } from "vitest/node";

const long = [
  ["faults/chords-killed", "celery/matrix"],
  ["faults/mognet-broker", "docs/samples"],
  ["faults/broker-restarted", "canvas/grid"],
  ["faults/connection-cut", "mognet/handover"],
  ["mognet/bridge", "pools/endings"],
  ["faults/result-store-away", "mognet/grid"],
  ["faults/fleet-churn", "cli/without-servers"],
  ["control/commands", "faults/eta-held"],
  ["mognet/pools", "faults/mognet-soak"],
  ["cli/fleet", "pools/steering"],
].flat();

function placeOf({ moduleId }: TestSpecification): number {
  const place = long.findIndex((name) => moduleId.endsWith(`interop-tests/${name}.test.ts`));
  return place < 0 ? long.length : place;
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b));
  }
}
