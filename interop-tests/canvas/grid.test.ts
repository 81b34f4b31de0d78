/**
 * The canvas grid: every workflow from each client over every fleet, compared with what Python makes of Python's: the outcome, the
 * result with its parents and children, who ran with which ids, and what stands in the result store afterwards.
 * `LOVAGE_TEST_CANVAS="redis+redis mixed"` (comma separated parts of names) runs some fleets only, besides the control.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HarnessError } from "../../src/testing/index.ts";
import { readPart, writePart } from "../harness/compatibility-file.ts";
import { comparable } from "./differences.ts";
import { Fleet, type FleetName, fleetNames, isThorough, type StoreName, storeNames } from "./fleet.ts";
import { knownToFail } from "./known-failing.ts";
import type { NormalForm } from "./normal-form.ts";
import { type ClientName, clientNames, type FleetReport, reportKey, runFleet, unclaimed } from "./run-fleet.ts";
import { runsOn } from "./shape.ts";
import { allWorkflows } from "./shapes/all.ts";
import { WorkflowTally } from "./summary.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_REDIS_URL !== undefined;
const asked = (process.env.LOVAGE_TEST_CANVAS ?? "").split(",").filter((part) => part !== "");
const isAsked = (stores: StoreName, fleet: FleetName) =>
  asked.length === 0 || asked.some((part) => `${stores} ${fleet}`.includes(part.trim()));
const isControl = (fleet: FleetName, client: ClientName) => fleet === "python" && client === "python";

const tally = new WorkflowTally();
const nothing = { outcome: null, tuple: null, ran: [], stored: [], keys: [] };

describe.skipIf(!ready)("canvas", () => {
  for (const stores of storeNames) {
    const fleets = fleetNames.filter((fleet) => fleet === "python" || isAsked(stores, fleet));
    if (fleets.some((fleet) => isAsked(stores, fleet))) describe(stores, () => testStores(stores, fleets));
  }

  test.skipIf(asked.length > 0)("docs/compatibility.md has what this run generates", async () => {
    expect(tally.failed(allWorkflows()), "workflows that failed").toEqual([]);
    const text = tally.text(allWorkflows());
    if (process.env.CI !== "true") await writePart("workflows", text);
    expect(await readPart("workflows")).toBe(text);
  });
});

function testStores(stores: StoreName, fleets: readonly FleetName[]): void {
  const workflows = allWorkflows().filter((one) => runsOn(one, stores));
  const ran = new Map<FleetName, FleetReport | Error>();

  beforeAll(async () => {
    await Promise.all(
      fleets.map(async (name) => {
        try {
          await using fleet = await Fleet.open(name, stores);
          ran.set(name, await runFleet(fleet, clientNames, workflows));
        } catch (error) {
          ran.set(name, error instanceof Error ? error : new HarnessError("THROWN", String(error)));
        }
      }),
    );
  }, 500_000);

  afterAll(() => ran.clear());

  const formOf = (fleet: FleetName, key: string): NormalForm => {
    const report = ran.get(fleet);
    if (report instanceof Error) throw report;
    const form = report?.get(key);
    if (form === undefined) throw new HarnessError("NOT_RUN", `${key} was not run on ${fleet}`);
    return form;
  };

  for (const fleet of fleets) {
    const left = (name: string, form: NormalForm) => comparable(fleet, name, form);
    for (const client of clientNames) {
      describe(`${client}'s client, ${fleet} fleet`, () => {
        for (const { name, ends } of workflows) {
          const run = knownToFail(`${stores} ${fleet} ${client}`, name) ? test.fails : test;
          run(name, () => {
            const form = formOf(fleet, reportKey(client, name));
            if (isControl(fleet, client)) return expect(form, "something happened").not.toEqual(nothing);
            const control = formOf("python", reportKey("python", name));
            if (!isThorough(fleet)) expect(left(name, form)).toEqual(left(name, control));
            else if (ends !== undefined) expect(form.outcome).toMatchObject({ raised: { type: ends } });
            else {
              const [{ stored, ...ours }, { stored: least, ...theirs }] = [left(name, form), left(name, control)];
              expect(ours).toEqual(theirs);
              expect(stored, "and perhaps more failures").toEqual(expect.arrayContaining(least));
            }
            tally.pass(stores, name);
          });
        }
      });
    }
    if (isThorough(fleet)) continue;
    test(`the ${fleet} fleet leaves nothing that belongs to no workflow`, () => {
      expect(left(unclaimed, formOf(fleet, unclaimed))).toEqual(left(unclaimed, formOf("python", unclaimed)));
    });
  }
}
