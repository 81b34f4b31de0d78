/** Messages over a limit: each is refused with a reason, leaves its queue, and nothing else suffers. */
import { describe, expect, test } from "vitest";
import { RemoteTaskError } from "../../src/tasks/errors.ts";
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

const limits = {
  lovage_max_message_bytes: 65_536,
  lovage_max_message_depth: 50,
  lovage_max_decompressed_bytes: 131_072,
};

const nested = (depth: number): unknown => (depth === 0 ? [] : [nested(depth - 1)]);

describe.each(kinds)("over a limit, on %s,", (kind) => {
  test("a message is refused with a reason; its neighbours run and the worker lives", async () => {
    await using site = await openSite(kind);
    await using app = clientOf(site);
    await using worker = await startWorker(site, { queues: ["work"], concurrency: 4, settings: limits });
    const good = keysOf(90, "good");
    const send = { task: "fault.late", queue: "work" };
    await sendAll(app, good.slice(0, 30), send);
    const big = await app.sendTask("fault.late", ["big", "x".repeat(80_000)], {}, { queue: "work" });
    // Far over it: on Redis so far that the message is not even fetched.
    const huge = await app.sendTask("fault.late", ["huge", "x".repeat(2_000_000)], {}, { queue: "work" });
    await sendAll(app, good.slice(30, 60), send);
    const deep = await app.sendTask("fault.late", ["deep", nested(200)], {}, { queue: "work" });
    const bomb = await app.sendTask(
      "fault.late",
      ["bomb", "x".repeat(1_000_000)],
      {},
      { queue: "work", compression: "gzip" },
    );
    await sendAll(app, good.slice(60), send);

    await expectResults(app, good);
    const error = await big.get({ timeout: 30_000, propagate: false });
    expect(error).toBeInstanceOf(RemoteTaskError);
    expect(String(error)).toMatch(/InvalidTaskError.*65536/);
    const refusals: [typeof big, RegExp][] = [
      [huge, /InvalidTaskError.*(is over the limit|65536)/],
      [bomb, /InvalidTaskError.*longer than/],
    ];
    for (const [sent, words] of refusals) {
      expect(String(await sent.get({ timeout: 30_000, propagate: false }))).toMatch(words);
    }
    // As Celery answers what nests too deeply: off the queue, with a line in the log.
    await worker.waitForLog(/can't decode the message body.*/);
    await site.endDrained([worker], "work");
    expectAllRan(site.ledger.keys("end"), good);
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
    const errors = worker
      .log()
      .split("\n")
      .filter((line) => /"level":50/.test(line));
    expect(errors.length).toBeGreaterThanOrEqual(4);
    expect(deep.id).not.toBe("");
  });
});
