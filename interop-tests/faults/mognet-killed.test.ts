/** Mognet workers that die without a word while 50 of their tasks run: all run again, and nothing else does. */
import { describe, expect, test, vi } from "vitest";
import { type Language, openSite, startWorker } from "../mognet/fleet.ts";
import { openPythonClient } from "../mognet/python-client.ts";
import { openTypescriptClient } from "../mognet/typescript-client.ts";
import { counters, expectValues, notedIds, openGate, reach, ready, submitMany, tally } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 180_000 });

const ways: readonly (readonly [Language, Language])[] = [
  ["typescript", "typescript"],
  ["typescript", "python"],
  ["python", "typescript"],
];

describe.skipIf(!ready).each(ways)("a %s worker that is killed with 50 running", (first, second) => {
  test(`leaves all of them to a ${second} worker`, async () => {
    await using site = await openSite();
    await using client = await (first === "python" ? openTypescriptClient : openPythonClient)(site);
    await using worker = await startWorker(site, first, { concurrency: 50 });
    const ids = await submitMany(client, 120, (index) => ({ task: "hold", args: ["gate"], metadata: { index } }));
    const running = await reach(site, "run", 50);
    expect(running).toHaveLength(50);
    worker.kill("SIGKILL");
    await worker.ended;

    await openGate(site, "gate");
    await using next = await startWorker(site, second, { concurrency: 50 });
    await expectValues(client, ids, () => "gate");
    await site.drained(["tasks"]);
    next.assertAlive();
    const twice = new Set(running);
    expect(await counters(client, ids)).toEqual(ids.map((id) => (twice.has(id) ? "2/1" : "1/1")));
    const runs = tally(await notedIds(site, "run"));
    expect(Object.keys(runs).sort()).toEqual([...ids].sort());
    expect(Object.entries(runs).filter(([id, times]) => times !== (twice.has(id) ? 2 : 1))).toEqual([]);
    const ends = tally(await notedIds(site, "completed"));
    expect(Object.values(ends).every((times) => times === 1)).toBe(true);
  });
});
