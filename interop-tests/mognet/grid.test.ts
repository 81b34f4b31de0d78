/**
 * The Mognet grid: every case from each client in every fleet, compared with what Python makes of Python's: what both clients are
 * told, and what stands in Redis afterwards: result, value, children, metadata, state, their expiry, and the notes of every run.
 * `LOVAGE_TEST_MOGNET="mixed"` (comma separated names of fleets) runs some fleets only, besides the control;
 * `LOVAGE_TEST_MOGNET_REPORT=<folder>` writes there what each fleet left, to be looked at.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import type { Case, Form } from "./case.ts";
import { allCases } from "./cases/all.ts";
import { comparable } from "./differences.ts";
import { Fleet, type FleetName, fleetNames, type Language } from "./fleet.ts";
import { knownToFail } from "./known-failing.ts";
import { alive, clientNames, type FleetReport, leftBehind, reportKey, runFleet } from "./run-fleet.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_MOGNET !== undefined;
const asked = (process.env.LOVAGE_TEST_MOGNET ?? "").split(",").filter((part) => part !== "");
const fleets = fleetNames.filter((name) => name === "python" || asked.length === 0 || asked.includes(name));
const folder = process.env.LOVAGE_TEST_MOGNET_REPORT;
const cases = allCases();
const runsIn = (fleet: FleetName) => (one: Case) => one.workers === undefined || fleet === "python";
const isControl = (fleet: FleetName, client: Language) => fleet === "python" && client === "python";

describe.skipIf(!ready)("Mognet", () => {
  const ran = new Map<FleetName, FleetReport | Error>();

  beforeAll(async () => {
    for (const name of fleets) {
      try {
        await using fleet = await Fleet.open(name);
        const report = await runFleet(fleet, cases.filter(runsIn(name)));
        ran.set(name, report);
        if (folder !== undefined) await writeFile(join(folder, `${name}.json`), JSON.stringify([...report], null, 1));
      } catch (error) {
        ran.set(name, error instanceof Error ? error : new HarnessError("THROWN", String(error)));
      }
    }
  }, 240_000);

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
            expect(form, "it was run").not.toMatchObject({ outcome: { broke: expect.anything() } });
            if (chance !== undefined && fleet === "typescript") expect(statesIn(form)).toEqual([chance]);
            if (chance !== undefined || isControl(fleet, client)) return;
            expect(comparable(fleet, client, name, form)).toEqual(comparable(fleet, client, name, control));
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
});

/** All states in the tree that a form tells of. */
function statesIn(form: Form): string[] {
  const found = JSON.stringify(form.left).matchAll(/"state":"\\"(\w+)\\""/g);
  return [...new Set([...found].map(([, state = ""]) => state))];
}
