/** 500 times in a row without one failure: pausing and resuming, and trees ten deep. Mognet itself loses every fourth pause or so. */
import { describe, expect, test, vi } from "vitest";
import { openSite, startWorker } from "../mognet/fleet.ts";
import { openTypescriptClient } from "../mognet/typescript-client.ts";
import { counters, expectValues, ready, submitMany, tally } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 240_000 });

describe.skipIf(!ready)("a Mognet worker", () => {
  test("pauses and resumes one task 500 times", async () => {
    await using site = await openSite();
    await using client = await openTypescriptClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 4 });
    const id = await client.submit({ task: "pause", args: [500] }, "");
    expect(await client.get(id, 120_000)).toEqual({ state: "SUCCESS", value: 500 });
    expect(await counters(client, [id])).toEqual(["501/501"]);
    await site.drained(["tasks"]);
    worker.assertAlive();
  });

  test("runs 500 tasks that pause, one after the other and many at once", async () => {
    await using site = await openSite();
    await using client = await openTypescriptClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 8 });
    for (let run = 0; run < 250; run++) {
      const id = await client.submit({ task: "pause", args: [1] }, "");
      expect(await client.get(id, 60_000), `run ${run}`).toEqual({ state: "SUCCESS", value: 1 });
    }
    const ids = await submitMany(client, 250, () => ({ task: "pause", args: [3] }));
    await expectValues(client, ids, () => 3);
    expect(tally(await counters(client, ids))).toEqual({ "4/4": 250 });
    await site.drained(["tasks"]);
    worker.assertAlive();
  });

  test("goes ten deep 500 times, five at a time, with room for one task", async () => {
    await using site = await openSite();
    await using client = await openTypescriptClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 1 });
    let next = 0;
    const lane = async () => {
      for (let run = next++; run < 500; run = next++) {
        const id = await client.submit({ task: "tree", args: [10] }, "");
        expect(await client.get(id, 60_000), `run ${run}`).toEqual({ state: "SUCCESS", value: 10 });
      }
    };
    await Promise.all(Array.from({ length: 5 }, lane));
    await site.drained(["tasks"]);
    worker.assertAlive();
  });

  test("passes five tasks 20 times to and fro with a Python worker", async () => {
    await using site = await openSite();
    await using client = await openTypescriptClient(site);
    await using ours = await startWorker(site, "typescript", { concurrency: 4 });
    await using python = await startWorker(site, "python", { concurrency: 4 });
    const ids = await submitMany(client, 5, () => ({ task: "relay", args: [20] }));
    await expectValues(client, ids, () => 20, 120_000);
    await site.drained(["tasks"]);
    for (const worker of [ours, python]) worker.assertAlive();
  });
});
