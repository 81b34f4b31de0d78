import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { queueOfFileName } from "../../../protocol/kombu/filesystem-names.ts";
import { compareMessageNames, nextMessageName } from "./message-names.ts";
import { namesPerQueue, PendingNames } from "./pending-names.ts";

const name = (ms: number, queue = "q") => `${ms}_00000000-0000-4000-8000-000000000000.${queue}.msg`;

describe("names of message files", () => {
  test("sort in the order in which they were made, within a millisecond too", () => {
    const names = Array.from({ length: 5000 }, () => nextMessageName("a.b"));
    expect([...names].sort()).toEqual(names);
    expect(new Set(names).size).toBe(5000);
  });

  test("are Kombu's: milliseconds, a UUID of version 4, the queue", () => {
    const made = nextMessageName("celery.priority");
    expect(made).toMatch(
      /^\d+_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.celery\.priority\.msg$/,
    );
    expect(queueOfFileName(made)).toBe("celery.priority");
  });

  test.runIf(process.platform === "linux")("count from the clock that the system's uptime shows", () => {
    const uptimeMs = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
    expect(Math.abs(Number.parseInt(nextMessageName("q"), 10) - uptimeMs)).toBeLessThan(1_000);
  });

  test("order by number where the number of digits changes", () => {
    expect(["1000000_a.q.msg", "999999_b.q.msg"].sort(compareMessageNames)[0]).toBe("999999_b.q.msg");
  });

  test.each(["a/b", "", "nul\0", "back\\slash"])("refuse the queue %j", (queue) => {
    expect(() => nextMessageName(queue)).toThrow(/cannot be named/);
  });
});

describe("pending names", () => {
  function tracked(...listing: string[]): PendingNames {
    const pending = new PendingNames();
    pending.track("q");
    pending.beginListing();
    pending.endListing(listing);
    return pending;
  }
  const drain = (pending: PendingNames) => {
    const taken: string[] = [];
    for (let next = pending.take("q"); next !== undefined; next = pending.take("q")) taken.push(next);
    return taken;
  };

  test("are taken in order, whatever the order of events", () => {
    const pending = tracked(name(5), name(3), name(4, "other"), "unrelated");
    for (const ms of [9, 7, 8, 1, 7]) pending.add(name(ms));
    expect(drain(pending)).toEqual([1, 3, 5, 7, 8, 9].map((ms) => name(ms)));
    expect(pending.take("other")).toBeUndefined();
  });

  test("wait for the first listing, so that no event overtakes an older file", () => {
    const pending = new PendingNames();
    pending.track("q");
    pending.beginListing();
    expect(pending.add(name(9))).toBe(true);
    expect(pending.take("q")).toBeUndefined();
    pending.endListing([name(2)]);
    expect(drain(pending)).toEqual([name(2), name(9)]);
  });

  test("a listing adds what events missed, drops what others took, and keeps what came meanwhile", () => {
    const pending = tracked(name(1), name(2), name(3));
    pending.beginListing();
    expect(pending.take("q")).toBe(name(1));
    pending.add(name(8));
    expect(pending.endListing([name(1), name(3), name(4)])).toBe(1);
    expect(drain(pending)).toEqual([name(3), name(4), name(8)]);
  });

  test("are bounded, and the rest is found by the next listing", () => {
    const pending = tracked(...Array.from({ length: namesPerQueue + 10 }, (_, i) => name(1_000_000 + i)));
    expect(pending.short).toBe(false);
    const taken = drain(pending);
    expect(taken).toHaveLength(namesPerQueue);
    expect(pending.short).toBe(true);
  });
});
