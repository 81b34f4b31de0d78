/** Goes through lists of steps with several fleets side by side, and then says for each step how it ended, as tests. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { HarnessError, within } from "../../src/testing/index.ts";
import { type Fleet, type FleetChoice, openFleet } from "./fleet.ts";

export interface Step {
  readonly name: string;
  run(fleet: Fleet): Promise<void>;
}

export interface Run {
  readonly title: string;
  readonly choice: FleetChoice;
  /** In this order, each also after one that failed. */
  readonly steps: readonly Step[];
}

/** No step waits that long for anything but the machine. */
const stepMs = 120_000;

/** Declares the tests; gives the fleets, which are there when they run. */
export function testFleets(runs: readonly Run[]): readonly Fleet[] {
  const open: Fleet[] = [];
  const failures = new Map<Step, unknown>();
  const ended = new Set<Step>();
  const own = runs.map(({ steps, ...run }) => ({ ...run, steps: steps.map((step) => ({ ...step })) }));

  beforeAll(async () => {
    await Promise.all(
      own.map(async ({ choice, steps }) => {
        const fleet = await openFleet(choice);
        open.push(fleet);
        for (const step of steps) {
          try {
            await within(step.run(fleet), stepMs, step.name);
          } catch (error) {
            failures.set(step, error);
          }
          ended.add(step);
        }
      }),
    );
  }, 600_000);

  afterAll(async () => {
    await Promise.all(open.map((fleet) => fleet[Symbol.asyncDispose]()));
  });

  for (const { title, steps } of own) {
    describe(title, () => {
      for (const step of steps) {
        test(step.name, () => {
          if (failures.has(step)) throw failures.get(step);
          if (!ended.has(step)) throw new HarnessError("NOT_RUN", `${step.name} was not run`);
        });
      }
    });
  }
  return open;
}
