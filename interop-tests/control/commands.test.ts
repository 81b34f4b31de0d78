/**
 * Every control and inspect command, asked by Celery's client and command line and by ours, of a Python and of a TypeScript worker, on
 * each broker with each version of Celery. The fleets run side by side; the tests say what came of it.
 * `LOVAGE_TEST_CONTROL="5.7.0 redis"` runs those fleets only whose name has that in it.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { within } from "../../src/testing/index.ts";
import { type Kind, kinds } from "../faults/support.ts";
import { celeryPanel } from "./ask.ts";
import { apartFromCases, cases, type Manner, nameOf } from "./cases.ts";
import { compareCase } from "./compare.ts";
import { type Fleet, openFleet } from "./fleet.ts";
import { lastScenes, scenes } from "./scenes.ts";

const versions = ["5.7.0", "5.4.0"] as const;

interface Run {
  readonly kind: Kind;
  readonly version: string;
  readonly manner: Manner;
  readonly steps: readonly Step[];
  /** By the step's name: null passed. */
  readonly ended: Map<string, unknown>;
}

interface Step {
  readonly name: string;
  run(fleet: Fleet): Promise<void>;
}

const runs = [
  ...versions.flatMap((version) => kinds.map((kind) => makeRun(kind, version, "fixed"))),
  ...versions.map((version, index) => makeRun(kinds[index % kinds.length] ?? "redis", version, "scaled")),
].filter(({ kind, version, manner }) => `${version} ${kind} ${manner}`.includes(process.env.LOVAGE_TEST_CONTROL ?? ""));

function makeRun(kind: Kind, version: string, manner: Manner): Run {
  const asked = cases.filter((one) => (one.manner ?? "fixed") === manner);
  const compared = asked.map((one) => ({
    name: nameOf(one),
    run: async (fleet: Fleet) => compareCase(fleet, one, await celeryPanel(fleet)),
  }));
  // A Python pool that has shrunk and grown again is slow to have all its processes.
  const [resizing, others] = [true, false].map((yes) =>
    compared.filter(({ name }) => name.startsWith("pool_") === yes),
  );
  const last = lastScenes.filter((one) => one.versions?.includes(version) ?? true);
  const steps = manner === "scaled" ? compared : [...(others ?? []), ...scenes, ...(resizing ?? []), ...last];
  return { kind, version, manner, steps, ended: new Map() };
}

const open: Fleet[] = [];

/** No step waits that long for anything but the machine. */
const stepMs = 40_000;

async function goThrough({ kind, version, manner, steps, ended }: Run): Promise<void> {
  const scaled = {
    settings: { worker_pool_restarts: true },
    worker: { autoscale: { max: 3, min: 1 } },
    python: { args: ["--autoscale", "3,1"], gossip: false },
  } as const;
  const fleet = await openFleet({ kind, version, ...(manner === "scaled" ? scaled : {}) });
  open.push(fleet);
  for (const { name, run } of steps) {
    try {
      await within(run(fleet), stepMs, name);
      ended.set(name, null);
    } catch (error) {
      ended.set(name, error);
    }
  }
}

beforeAll(async () => {
  await Promise.all(runs.map(goThrough));
}, 240_000);

afterAll(async () => {
  await Promise.all(open.map((fleet) => fleet[Symbol.asyncDispose]()));
});

describe.each(runs)("Celery $version on $kind, $manner", ({ steps, ended }) => {
  test.each(steps)("$name", ({ name }) => {
    const end = ended.get(name);
    if (end !== null) throw end ?? new Error("was not run");
  });
});

test("every command that Celery's workers know has a case", async () => {
  const named = new Set([...cases.map(({ command }) => command), ...apartFromCases]);
  for (const fleet of open) expect((await celeryPanel(fleet)).answered.filter((name) => !named.has(name))).toEqual([]);
});
