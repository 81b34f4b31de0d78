/**
 * The Mognet grid: every case from each client in every fleet, compared with what Python makes of Python's: what both clients are
 * told, and what stands in Redis afterwards: result, value, children, metadata, state, their expiry, and the notes of every run.
 * `LOVAGE_TEST_MOGNET="mixed"` (comma separated names of fleets) runs some fleets only, besides the control;
 * `LOVAGE_TEST_MOGNET_POOL=threads` (or `processes`) runs the tasks of TypeScript workers in a pool;
 * `LOVAGE_TEST_MOGNET_REPORT=<folder>` writes there what each fleet left, to be looked at.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import { mognetText } from "../harness/compatibility.ts";
import { readPart, writePart } from "../harness/compatibility-file.ts";
import { type Case, type Form, groupOf } from "./case.ts";
import { allCases } from "./cases/all.ts";
import { comparable, differences } from "./differences.ts";
import { Fleet, type FleetName, fleetNames, type Language } from "./fleet.ts";
import { known, knownToFail } from "./known-failing.ts";
import { alive, clientNames, type FleetReport, leftBehind, reportKey, runFleet } from "./run-fleet.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_MOGNET !== undefined;
const asked = (process.env.LOVAGE_TEST_MOGNET ?? "").split(",").filter((part) => part !== "");
const fleets = fleetNames.filter((name) => name === "python" || asked.length === 0 || asked.includes(name));
const folder = process.env.LOVAGE_TEST_MOGNET_REPORT;
const cases = allCases();
const runsIn = (fleet: FleetName) => (one: Case) => one.workers === undefined || fleet === "python";
const isControl = (fleet: FleetName, client: Language) => fleet === "python" && client === "python";

/** How many cases of a group passed, by `tallyKey`. */
const passed = new Map<string, number>();
const tallyKey = (group: string, client: Language, fleet: FleetName) => `${group} | ${columnOf(client, fleet)}`;
const columnOf = (client: Language, fleet: FleetName) => `${client} to ${fleet.replace(" the other way", "")}`;

describe.skipIf(!ready)("Mognet", () => {
  const ran = new Map<FleetName, FleetReport | Error>();

  beforeAll(async () => {
    for (const name of fleets) {
      const seen = await runOnce(name);
      ran.set(name, seen);
      if (folder === undefined || seen instanceof Error) continue;
      await writeFile(join(folder, `${name}.json`), JSON.stringify([...seen], null, 1));
    }
  }, 600_000);

  afterAll(() => ran.clear());

  const seen = (fleet: FleetName, key: string): Form => {
    const report = ran.get(fleet);
    if (report instanceof Error) throw report;
    const form = report?.get(key);
    if (form === undefined) throw new HarnessError("NOT_RUN", `${key} was not run in the ${fleet} fleet`);
    return form;
  };
  const formOf = (fleet: FleetName, client: Language, name: string) => seen(fleet, reportKey(client, name));

  for (const fleet of fleets) {
    for (const client of clientNames) {
      describe(`${client}'s client, ${fleet} fleet`, () => {
        for (const { name, chance } of cases.filter(runsIn(fleet))) {
          const run = knownToFail(`${client} to ${fleet} fleet`, name) ? test.fails : test;
          run(name, () => {
            const form = formOf(fleet, client, name);
            const control = formOf("python", "python", name);
            expect(brokenBy(form), "it was run").toBeNull();
            if (chance !== undefined && fleet === "typescript") expect(statesIn(form)).toEqual([chance]);
            if (chance === undefined && !isControl(fleet, client)) {
              expect(comparable(fleet, client, name, form)).toEqual(comparable(fleet, client, name, control));
            }
            const key = tallyKey(groupOf(name), client, fleet);
            passed.set(key, (passed.get(key) ?? 0) + 1);
          });
        }
      });
    }
    test(`the ${fleet} fleet ${leftBehind}`, () => expect(seen(fleet, leftBehind)).toEqual({ outcome: "drained" }));
    test(`the ${fleet} fleet ${alive}`, () => {
      const nodes = [
        ["(app)-0", 0],
        ["(app)-1", 0],
      ];
      expect(seen(fleet, alive)).toEqual({ outcome: [nodes, nodes] });
    });
  }

  test.skipIf(asked.length > 0)("docs/compatibility.md says what this run has shown", async () => {
    const text = documentText();
    const partly = text.match(/\b(\d+)\/(?!\1\b)\d+/g);
    expect(partly, "groups in which cases failed").toBeNull();
    if (process.env.CI !== "true") await writePart("mognet", text);
    expect(await readPart("mognet")).toBe(text);
  });
});

async function runOnce(name: FleetName): Promise<FleetReport | Error> {
  try {
    await using fleet = await Fleet.open(name);
    return await runFleet(fleet, cases.filter(runsIn(name)));
  } catch (error) {
    return error instanceof Error ? error : new HarnessError("THROWN", String(error));
  }
}

function brokenBy({ outcome }: Form): unknown {
  return typeof outcome === "object" && outcome !== null && "broke" in outcome ? outcome.broke : null;
}

function documentText(): string {
  const groups = [...new Set(cases.map(({ name }) => groupOf(name)))];
  const pairs = fleetNames.flatMap((fleet) => clientNames.map((client) => ({ fleet, client })));
  const columns = [...new Set(pairs.map(({ client, fleet }) => columnOf(client, fleet)))];
  const cell = (group: string, column: string) => {
    const of = pairs.filter(({ client, fleet }) => columnOf(client, fleet) === column);
    const all = of.reduce(
      (sum, { fleet }) => sum + cases.filter(runsIn(fleet)).filter(({ name }) => groupOf(name) === group).length,
      0,
    );
    return all === 0 ? "off" : `${passed.get(`${group} | ${column}`) ?? 0}/${all}`;
  };
  const pythonOnly = cases.filter(({ workers }) => workers === "python").length;
  const intro =
    `${cases.length} cases with RabbitMQ and Redis, from a client of each language in fleets of two workers: both Python, both TypeScript, ` +
    "one of each (twice, with their queues exchanged). Python to Python is the control: what both clients are told, and what is left in " +
    "Redis (the result's fields byte for byte, value, children, metadata, state, expiry) and was noted by every run and every hook of " +
    "middleware, has to be the same in all others. A number is how many passed of how many that are on. What passes from worker to " +
    "worker (kills, stops, pauses, priorities, two queues) and what faults do is tested apart, in all directions.";
  const notes = [
    `Off: ${pythonOnly} cases of values, annotations and errors that only a Python worker can make; both clients read them from one.`,
    `Where Lovage differs on purpose, or cannot be the same:\n\n${differences.map(({ cases: of, reason }) => `- ${of.map((one) => `\`${one}\``).join(", ")}: ${reason}.`).join("\n")}`,
    "Revoking a tree is up to chance where Python has a part in it: a parent that sees the end of its child before it is cancelled itself fails with it, and writes that over REVOKED. Trees of TypeScript workers end REVOKED, all of them.",
    known.length === 0
      ? "Known to fail: nothing."
      : known.map(({ where, case: of, reason }) => `- known to fail: \`${of}\` (${where}): ${reason}.`).join("\n"),
  ];
  return mognetText(intro, groups, columns, cell, notes);
}

/** All states in the tree that a form tells of. */
function statesIn(form: Form): string[] {
  const found = JSON.stringify(form.left).matchAll(/"state":"\\"(\w+)\\""/g);
  return [...new Set([...found].map(([, state = ""]) => state))];
}
