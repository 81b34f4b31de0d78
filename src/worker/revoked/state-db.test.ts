import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { silentLog } from "../../runtime/log.ts";
import { TimerHeap } from "../../runtime/timer-heap.ts";
import { RevokedIds } from "./revoked-ids.ts";
import { RevokedStamps } from "./revoked-stamps.ts";
import { StateDb } from "./state-db.ts";

let folder: string;
let path: string;
const timers = new TimerHeap();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lovage-state-"));
  path = join(folder, "state");
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(limits = { max: 10, maxAgeMs: 60_000 }) {
  const ids = new RevokedIds(limits);
  const stamps = new RevokedStamps(limits);
  const clock = {
    value: 0,
    adjust(other: number) {
      this.value = Math.max(this.value, other) + 1;
      return this.value;
    },
  };
  const db = new StateDb({ path, ids, stamps: stamps.keys, clock, timers, log: silentLog });
  return { ids, stamps, clock, db };
}

test("ids and clock are there again after a restart, in their order and with their age", () => {
  const first = open();
  first.db.load();
  first.ids.add("old", Date.now() - 50_000);
  first.ids.add("new");
  first.clock.value = 41;
  first.db.save();

  const second = open();
  second.db.load();
  expect(second.ids.ids()).toEqual(["old", "new"]);
  expect(second.clock.value).toBe(42);
  const third = open({ max: 10, maxAgeMs: 40_000 });
  third.db.load();
  expect(third.ids.ids()).toEqual(["new"]);
});

test("stamps are there again after a restart; a file from before they were kept has none", () => {
  const first = open();
  first.db.load();
  first.stamps.add("tenant", ["a", 7]);
  first.db.save();

  const second = open();
  second.db.load();
  expect(second.stamps.match({ stampedHeaders: ["tenant"], stamps: { tenant: ["b", 7] } })).toEqual({
    header: "tenant",
    value: 7,
  });
  expect(second.stamps.match({ stampedHeaders: ["tenant"], stamps: { tenant: "b" } })).toBeNull();

  writeFileSync(path, JSON.stringify({ lovage: "worker state", version: 1, clock: 3, revoked: [["x", Date.now()]] }));
  const third = open();
  third.db.load();
  expect([third.ids.ids(), third.stamps.size]).toEqual([["x"], 0]);
});

test("without a file nothing is there, and one is made", () => {
  const { db, ids } = open();
  db.load();
  expect(ids.size).toBe(0);
  db.save();
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ lovage: "worker state", revoked: [] });
});

test.each(["not JSON", "{}", "\u0013\u0057\u009a\u00ce a shelve of Python's"])(
  "a file of something else is refused and left as it is: %j",
  (content) => {
    writeFileSync(path, content);
    const { db } = open();
    expect(() => db.load()).toThrow(ImproperlyConfigured);
    db.save();
    expect(readFileSync(path, "utf8")).toBe(content);
  },
);

test("what is broken in the file is passed over, and an instant to come counts as now", () => {
  const revoked = [["good", Date.now() + 1e9], ["no time"], 5, [7, 8], ["also", 1], null];
  writeFileSync(path, JSON.stringify({ lovage: "worker state", revoked, clock: "x" }));
  const { db, ids } = open();
  db.load();
  expect(ids.ids()).toEqual(["good"]);
  const [[, at] = ["", 0]] = ids.entries();
  expect(at).toBeLessThanOrEqual(Date.now());
});

test("two workers that were given one file lose nothing of each other's", () => {
  const [one, two] = [open(), open()];
  one.db.load();
  two.db.load();
  one.ids.add("a", Date.now() - 2_000);
  one.db.save();
  two.ids.add("b", Date.now() - 1_000);
  two.db.save();
  one.ids.add("c");
  one.db.save();
  expect(one.ids.ids()).toEqual(["a", "b", "c"]);
  const third = open();
  third.db.load();
  expect(third.ids.ids()).toEqual(["a", "b", "c"]);
});

test.each(["no/such/folder/state", "", "/dev/full"])("what can hold no state is refused at the start: %j", (name) => {
  path = join(folder, name);
  if (name.startsWith("/")) path = name;
  expect(() => open().db.load()).toThrow(ImproperlyConfigured);
});
