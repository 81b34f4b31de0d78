/** A client that is killed while it sends and waits takes nothing with it. */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { startNodeWorker, waitFor } from "../../src/testing/index.ts";
import { clientOf, expectAllRan, expectResults, fixture, kinds, openSite, repeated, startWorker } from "./support.ts";

describe.each(kinds)("a client that is killed mid-task, on %s,", (kind) => {
  test("loses nothing that it had sent: every task runs once, and its result is there for others", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    const file = site.folder.join("sent");
    writeFileSync(file, "");
    const sent = () => readFileSync(file, "utf8").split("\n").slice(0, -1);
    await using worker = await startWorker(site, { queues: ["work"], concurrency: 4 });
    await using client = await startNodeWorker({
      script: fixture("client.js"),
      args: ["work", file],
      env: { FAULT_SETTINGS: JSON.stringify(site.settings), FAULT_LEDGER: undefined, LOVAGE_LOG_LEVEL: "warn" },
    });
    await waitFor(() => sent().length >= 300, { describe: "300 tasks to be sent" });
    client.kill("SIGKILL");
    await client.ended;

    const keys = sent();
    await expectResults(app, keys);
    // Also those that it did not live to note.
    await site.idle("work");
    await site.endDrained([worker], "work");
    const ran = site.ledger.keys("end");
    // Each of its four lanes may have had one send out that it did not live to note.
    expectAllRan(
      ran.filter((key) => keys.includes(key)),
      keys,
    );
    expect(ran.filter((key) => !keys.includes(key)).length).toBeLessThanOrEqual(4);
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
  });
});
