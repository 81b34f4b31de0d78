/**
 * Every control and inspect command, asked by Celery's client and command line and by ours, of a Python and of a TypeScript worker, on
 * each broker with each version of Celery. The fleets run side by side; the tests say what came of it.
 * `LOVAGE_TEST_CONTROL="5.7.0 redis"` runs those fleets only whose name has that in it.
 */
import { expect, test } from "vitest";
import { type Kind, kinds } from "../faults/support.ts";
import { writesFeatures } from "../harness/feature-table.ts";
import { celeryPanel } from "./ask.ts";
import { apartFromCases, type ControlCase, cases, type Manner, nameOf } from "./cases.ts";
import { compareCase } from "./compare.ts";
import type { Fleet } from "./fleet.ts";
import { lastScenes, scenes } from "./scenes.ts";
import { type Run, testFleets } from "./test-fleets.ts";

const asked = process.env.LOVAGE_TEST_CONTROL ?? "";
const versions = ["5.7.0", "5.4.0"] as const;

/** What one fleet goes through. */
function runOf(version: string, kind: Kind, manner: Manner): Run {
  const mine = cases.filter((one) => (one.manner ?? "fixed") === manner);
  const compared = mine.map((one) => ({
    name: nameOf(one),
    run: async (fleet: Fleet) => compareCase(fleet, one, await celeryPanel(fleet)),
  }));
  // A Python pool that has shrunk and grown again is slow to have all its processes.
  const [resizing = [], others = []] = [true, false].map((yes) =>
    compared.filter(({ name }) => name.startsWith("pool_") === yes),
  );
  const last = lastScenes.filter((one) => one.versions?.includes(version) ?? true);
  const title = `${version} ${kind}`;
  if (manner === "fixed") {
    return { title, choice: { kind, version }, steps: [...others, ...scenes, ...resizing, ...last] };
  }
  const choice = {
    kind,
    version,
    settings: { worker_pool_restarts: true },
    worker: { autoscale: { max: 3, min: 1 } },
    python: { args: ["--autoscale", "3,1"], gossip: false },
  };
  return { title: `${title} with autoscale`, choice, steps: compared };
}

const runs = [
  ...versions.flatMap((version) => kinds.map((kind) => runOf(version, kind, "fixed"))),
  ...versions.map((version, index) => runOf(version, kinds[index % kinds.length] ?? "redis", "scaled")),
];
const open = testFleets(runs.filter(({ title }) => title.includes(asked)));

test("every command that Celery's workers know has a case", async () => {
  const named = new Set([...cases.map(({ command }) => command), ...apartFromCases]);
  for (const fleet of open) expect((await celeryPanel(fleet)).answered.filter((name) => !named.has(name))).toEqual([]);
});

const columns = versions.flatMap((version) => kinds.map((kind) => `${version} ${kind}`));
const commandOf = new Map(cases.map((one) => [nameOf(one), one.command]));

if (asked === "" && kinds.length === 2) {
  writesFeatures({
    part: "control",
    intro:
      `${cases.length} control messages, to each of Celery's commands with right and with wrong arguments, are sent to a Python and a ` +
      "TypeScript worker by Celery's client and by ours, and where a command line can say them by `celery` and by `lovage`, with --json " +
      "and without. Both workers' answers have to be the same, or of the same members and types where they tell of the worker itself; " +
      "and all four askers have to read the same. A number is how many passed, of how many there are.",
    columns,
    place(suites, title) {
      const column = columns.find((one) => suites[0]?.startsWith(one));
      const command = commandOf.get(title);
      if (column === undefined) return null;
      return { row: command === undefined ? title : `\`${command}\``, column };
    },
    notes: [notesOf(cases)],
  });
}

/** What is not compared, and why. */
function notesOf(all: readonly ControlCase[]): string {
  const lines = new Set(
    all.flatMap(({ command, apart = {} }) =>
      Object.entries(apart).map(([member, reason]) => `- \`${member}\` of \`${command}\`: ${reason}.`),
    ),
  );
  const garbage = "- Garbage in the mailboxes (5.4.0): it ends Celery 5.4's worker on Redis.";
  return ["Not compared, and why:", "", ...lines, garbage].join("\n");
}
