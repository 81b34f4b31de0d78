/**
 * The result store goes away while tasks run. Results are stored before the ack, so the worker waits for the store: it neither
 * drops nor falsifies a result, takes no more than its bounds, and runs nothing twice. Who waits for a result is told, or
 * waits, as configured.
 */
import { describe, expect, test } from "vitest";
import { BackendGetMetaError } from "../../src/result-backends/errors.ts";
import { pause, startRedis, within } from "../../src/testing/index.ts";
import {
  clientOf,
  expectAllRan,
  expectResults,
  keysOf,
  kinds,
  openSite,
  repeated,
  sendAll,
  startWorker,
} from "./support.ts";

const concurrency = 4;
const window = 8;

describe.each(kinds)("without its result store, on %s,", (kind) => {
  test.each(["late", "early"])("%s-acked tasks wait for it, within bounds, and run once", async (acks) => {
    await using site = await openSite(kind);
    await using results = await startRedis({ persist: true });
    const settings = { result_backend: results.url, worker_prefetch_multiplier: window / concurrency };
    await using app = clientOf(site, settings);
    await using hasty = clientOf(site, { ...settings, lovage_result_lost_after: 1 });
    await using worker = await startWorker(site, { queues: ["work"], concurrency, settings });
    const send = { task: `fault.${acks}`, args: (key: string) => [key, 5], queue: "work" };
    const before = keysOf(20, "before");
    await sendAll(app, before, send);
    await expectResults(app, before);

    await results.stop("SIGKILL");
    const keys = keysOf(300, "away");
    await sendAll(app, keys, send);
    const patient = app.result("away-0").get({ timeout: 100_000 });
    const told = hasty.result("away-0").get();
    await expect(within(told, 30_000, "the client that waits a second for a lost store")).rejects.toBeInstanceOf(
      BackendGetMetaError,
    );
    await site.ledger.reach("end", before.length + window);
    // Late acks hold the prefetch full; early ones have their place freed, and then the bound on unstored results counts.
    if (acks === "late") await site.reach("work", keys.length - window, window);
    await pause(500);
    expect(site.ledger.keys("start").length - before.length).toBeLessThanOrEqual(
      acks === "late" ? window : window + concurrency,
    );
    worker.assertAlive();

    await results.start();
    await expectResults(app, keys);
    expect(await patient).toBe("done:away-0");
    await site.endDrained([worker], "work");
    expectAllRan(site.ledger.keys("end"), [...before, ...keys]);
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
  });
});

// It takes its time, twice five seconds.
test("a cold stop does not wait for a result store that is away, and what was not stored runs again", async () => {
  await using site = await openSite(kinds[0] ?? "redis");
  await using results = await startRedis({ persist: true });
  const settings = { result_backend: results.url, worker_prefetch_multiplier: window / concurrency };
  await using app = clientOf(site, settings);
  const choice = { queues: ["work"], concurrency, settings };
  await using first = await startWorker(site, choice);
  await results.stop("SIGKILL");
  const keys = keysOf(30, "cold");
  await sendAll(app, keys, { task: "fault.late", queue: "work" });
  await site.ledger.reach("end", window);
  first.kill("SIGTERM");
  await first.waitForLog(/warm shutdown/);
  first.kill("SIGQUIT");
  await within(first.ended, 40_000, "the cold stop");
  const unstored = new Set(site.ledger.keys("end"));

  await results.start();
  await using second = await startWorker(site, choice);
  await expectResults(app, keys);
  await site.endDrained([second], "work");
  expectAllRan(site.ledger.keys("end"), keys);
  expect(repeated(site.ledger.keys("end")).filter((key) => !unstored.has(key))).toEqual([]);
});
