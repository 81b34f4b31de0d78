/** Workers that die without a word, and who takes over from them. */
import { existsSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
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
  startPython,
  startWorker,
} from "./support.ts";

// See `endDrained` on how long Celery may take to stop.
vi.setConfig({ testTimeout: 240_000 });

describe.each(kinds)("a worker that is killed, on %s", (kind) => {
  test("its 50 late-acked tasks in flight run again, all others once", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const gate = site.folder.join("gate");
    const keys = keysOf(120, "late");
    const late = { queues: ["late"], concurrency: 50, settings: { worker_prefetch_multiplier: 2 } };
    await using first = await startWorker(site, late);
    await sendAll(app, keys, { task: "fault.hold-late", args: (key) => [key, gate], queue: "late" });
    await site.ledger.reach("start", 50);
    first.kill("SIGKILL");
    await first.ended;
    const inFlight = site.ledger.keys("start").sort();
    expect(inFlight).toHaveLength(50);

    open(gate);
    await using second = await startWorker(site, late);
    await expectResults(app, keys);
    await site.endDrained([second], "late");
    expectAllRan(site.ledger.keys("end"), keys);
    expect(repeated(site.ledger.keys("end"))).toEqual([]);
    expect(repeated(site.ledger.keys("start"))).toEqual(inFlight);
  });

  test("early-acked tasks in flight are gone and run no second time; what had not begun runs once", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const gate = site.folder.join("gate");
    const keys = keysOf(60, "early");
    const early = { queues: ["early"], concurrency: 10, settings: { worker_prefetch_multiplier: 3 } };
    await using first = await startWorker(site, early);
    await sendAll(app, keys, { task: "fault.hold-early", args: (key) => [key, gate], queue: "early" });
    await site.ledger.reach("start", 10);
    // Ten run and are acked; thirty are held and not begun; so twenty are left.
    await site.reach("early", 20, 30);
    first.kill("SIGKILL");
    await first.ended;
    const lost = new Set(site.ledger.keys("start"));
    expect(lost.size).toBe(10);

    open(gate);
    await using second = await startWorker(site, early);
    const rest = keys.filter((key) => !lost.has(key));
    await expectResults(app, rest);
    await site.endDrained([second], "early");
    expectAllRan(site.ledger.keys("end"), rest);
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
  });

  test("a Python worker takes over from ours", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const settings = { task_acks_late: true, worker_prefetch_multiplier: 2 };
    const held = keysOf(10, "held");
    const brief = keysOf(40, "brief");
    await using ours = await startWorker(site, { queues: ["mixed"], concurrency: 10, settings });
    const gateOf = (key: string) => site.folder.join(key);
    await sendAll(app, held, { task: "fixture.hold", args: (key) => [gateOf(key)], queue: "mixed" });
    await site.ledger.reach("start", held.length);
    await sendAll(app, brief, { task: "fixture.record", queue: "mixed" });
    ours.kill("SIGKILL");
    await ours.ended;
    expect(site.ledger.keys("start").sort()).toEqual([...held].sort());

    for (const key of held) open(gateOf(key));
    await using python = await startPython(site, { queues: ["mixed"], concurrency: 4, settings });
    await expectResults(app, held, gateOf);
    await expectResults(app, brief, (key) => key);
    await site.endDrained([python], "mixed");
    const ran = site.ledger.read("end");
    expect(new Set(ran.map((run) => run.lang))).toEqual(new Set(["python"]));
    expectAllRan(
      ran.map((run) => run.key),
      brief,
    );
    expect(repeated(ran.map((run) => run.key))).toEqual([]);
  });

  test("ours takes over from a Python worker", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const settings = { task_acks_late: true, worker_prefetch_multiplier: 2 };
    const held = keysOf(4, "held");
    const brief = keysOf(46, "brief");
    const gateOf = (key: string) => site.folder.join(key);
    await using python = await startPython(site, { queues: ["mixed"], concurrency: 4, settings });
    await sendAll(app, held, { task: "fixture.hold", args: (key) => [gateOf(key)], queue: "mixed" });
    await waitFor(() => held.every((key) => existsSync(`${gateOf(key)}.started`)), { describe: "Python to begin" });
    await sendAll(app, brief, { task: "fixture.record", queue: "mixed" });
    // Kombu takes and marks as taken in two steps; between them a kill loses the message, which is not ours to mend.
    await site.reach("mixed", 42, 8);
    python.killGroup("SIGKILL");
    await python.ended;
    expect(site.ledger.read("end")).toEqual([]);

    for (const key of held) open(gateOf(key));
    await using ours = await startWorker(site, { queues: ["mixed"], concurrency: 10, settings });
    await expectResults(app, held, gateOf);
    await expectResults(app, brief, (key) => key);
    await site.endDrained([ours], "mixed");
    expectAllRan(site.ledger.keys("end"), [...held, ...brief]);
    expect(repeated(site.ledger.keys("end"))).toEqual([]);
  });
});
