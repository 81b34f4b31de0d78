/** Workers that are asked to end while they are busy: warm, soft and cold. Exit codes are those of Celery's worker. */
import { describe, expect, test } from "vitest";
import { within } from "../../src/testing/index.ts";
import {
  clientOf,
  expectAllRan,
  expectResults,
  keysOf,
  kinds,
  open,
  openSite,
  repeated,
  sendAll,
  startWorker,
} from "./support.ts";

describe.each(kinds)("a worker under load, on %s,", (kind) => {
  test.each([
    ["SIGTERM", 0],
    ["SIGINT", 1],
  ] as const)("stops warm by %s: ends what runs, gives the rest back, exits with %i", async (signal, code) => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const gate = site.folder.join("gate");
    const running = keysOf(10, "running");
    const waiting = keysOf(200, "waiting");
    const choice = { queues: ["work"], concurrency: 10 };
    await using first = await startWorker(site, choice);
    await sendAll(app, running, {
      task: (key) => (Number(key.slice(8)) % 2 ? "fault.hold-late" : "fault.hold-early"),
      args: (key) => [key, gate],
      queue: "work",
    });
    await site.ledger.reach("start", running.length);
    await sendAll(app, waiting, { task: "fault.late", queue: "work" });
    first.kill(signal);
    await first.waitForLog(/warm shutdown/);
    await site.reach("work", waiting.length, 5);
    first.assertAlive();
    open(gate);
    expect(await within(first.ended, 60_000, "the warm stop")).toEqual({ code, signal: null });
    expect(site.ledger.keys("end").sort()).toEqual(running.sort());

    await using second = await startWorker(site, choice);
    await expectResults(app, [...running, ...waiting]);
    await site.endDrained([second], "work");
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
  });

  test("stops cold by SIGQUIT: late-acked tasks go back and run elsewhere, early-acked ones are told as cancelled", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const gate = site.folder.join("gate");
    const late = keysOf(5, "late");
    const early = keysOf(5, "early");
    const waiting = keysOf(100, "waiting");
    const choice = { queues: ["work"], concurrency: 10 };
    await using first = await startWorker(site, choice);
    const hold = { args: (key: string) => [key, gate], queue: "work" };
    await sendAll(app, late, { ...hold, task: "fault.hold-late" });
    await sendAll(app, early, { ...hold, task: "fault.hold-early" });
    await site.ledger.reach("start", 10);
    await sendAll(app, waiting, { task: "fault.late", queue: "work" });
    first.kill("SIGQUIT");
    expect(await within(first.ended, 60_000, "the cold stop")).toEqual({ code: 0, signal: null });
    expect(site.ledger.keys("end")).toEqual([]);
    await site.reach("work", late.length + waiting.length, 0);
    for (const key of early) expect(await app.result(key).state()).toBe("RETRY");

    open(gate);
    await using second = await startWorker(site, choice);
    await expectResults(app, [...late, ...waiting]);
    await site.endDrained([second], "work");
    expectAllRan(site.ledger.keys("end"), [...late, ...waiting]);
    expect(repeated(site.ledger.keys("start"))).toEqual(late);
  });

  test("stops softly: what ends within the time is not run again, the rest is", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const [gate, never] = [site.folder.join("gate"), site.folder.join("never")];
    const quick = keysOf(5, "quick");
    const slow = keysOf(5, "slow");
    const choice = { queues: ["work"], concurrency: 10, settings: { worker_soft_shutdown_timeout: 5 } };
    await using first = await startWorker(site, choice);
    await sendAll(app, quick, { task: "fault.hold-late", args: (key) => [key, gate], queue: "work" });
    await sendAll(app, slow, { task: "fault.hold-late", args: (key) => [key, never], queue: "work" });
    await site.ledger.reach("start", 10);
    first.kill("SIGQUIT");
    await first.waitForLog(/soft shutdown/);
    open(gate);
    expect(await within(first.ended, 60_000, "the soft stop")).toEqual({ code: 0, signal: null });
    await expectResults(app, quick);
    await site.reach("work", slow.length, 0);

    open(never);
    await using second = await startWorker(site, choice);
    await expectResults(app, slow);
    await site.endDrained([second], "work");
    expect(repeated(site.ledger.keys("start"))).toEqual(slow);
  });
});
