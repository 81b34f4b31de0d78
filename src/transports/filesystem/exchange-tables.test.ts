import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLog } from "../../runtime/log.ts";
import { ExchangeTables } from "./exchange-tables.ts";
import { lockFile } from "./file-lock.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lovage-tables-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = () => new ExchangeTables(folder, silentLog);
const row = (queue: string, routingKey = queue) => ({ routingKey, pattern: "", queue });
const text = (exchange: string) => readFileSync(join(folder, `${exchange}.exchange`), "utf8");
const hasFlock = (() => {
  try {
    execFileSync("flock", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

test("a new table is Kombu's text, and the newest binding stands first", async () => {
  const tables = open();
  await tables.ensure("celery", [row("celery")]);
  expect(text("celery")).toBe('[["celery", "", "celery"]]');
  await tables.ensure("celery", [row("other", "k")]);
  expect(text("celery")).toBe('[["k", "", "other"], ["celery", "", "celery"]]');
  expect(readdirSync(folder)).toEqual(["celery.exchange"]);
  expect((await tables.read("celery")).map((binding) => binding.queue)).toEqual(["other", "celery"]);
  expect(await tables.read("missing")).toEqual([]);
});

test("what is bound already is not written again", async () => {
  const tables = open();
  writeFileSync(join(folder, "x.exchange"), '[["a","","a"]]');
  await tables.ensure("x", [row("a")]);
  expect(text("x")).toBe('[["a","","a"]]');
});

test("many writers at once lose nothing", async () => {
  const writers = Array.from({ length: 4 }, open);
  await Promise.all(
    writers.flatMap((tables, w) => Array.from({ length: 5 }, (_, i) => tables.ensure("x", [row(`q${w}-${i}`)]))),
  );
  expect((await open().read("x")).length).toBe(20);
});

test.runIf(hasFlock)("a table is not touched while another holds its lock", async () => {
  const path = join(folder, "x.exchange");
  writeFileSync(path, '[["a", "", "a"]]');
  const lock = await lockFile(path);
  let done = false;
  const ensuring = open()
    .ensure("x", [row("b")])
    .then(() => {
      done = true;
    });
  await lockFile(path, 150).then(
    () => expect.fail("the lock was given twice"),
    (error: unknown) => expect(String(error)).toMatch(/within 150 ms/),
  );
  expect(done).toBe(false);
  // what the holder writes meanwhile is kept
  writeFileSync(path, '[["c", "", "c"], ["a", "", "a"]]');
  await lock?.release();
  await ensuring;
  expect(text("x")).toBe('[["b", "", "b"], ["c", "", "c"], ["a", "", "a"]]');
});

test.runIf(hasFlock)("an emptied table is one that Python is about to write", async () => {
  const path = join(folder, "x.exchange");
  writeFileSync(path, "");
  const ensuring = open().ensure("x", [row("b")]);
  setTimeout(() => writeFileSync(path, '[["python", "", "python"]]'), 60);
  await ensuring;
  expect(text("x")).toBe('[["b", "", "b"], ["python", "", "python"]]');
});

test("a table that two Pythons damaged is put right", async () => {
  writeFileSync(join(folder, "x.exchange"), '[["k", "", "b"]]", "", "a-long-queue"]]');
  const tables = open();
  await tables.ensure("x", [row("c")]);
  expect(text("x")).toBe('[["c", "", "c"], ["k", "", "b"]]');
}, 10_000);

test("removing a queue takes it out of every table and shortens the file", async () => {
  const tables = open();
  await tables.ensure("x", [row("a"), row("gone", "k1"), row("gone", "k2")]);
  await tables.ensure("y", [row("gone")]);
  await tables.removeQueue("gone");
  expect(text("x")).toBe('[["a", "", "a"]]');
  expect(text("y")).toBe("[]");
});

test("an exchange that Kombu refuses is refused", async () => {
  for (const name of ["../x", "a b", "..", "con.x"]) await expect(open().read(name)).rejects.toThrow(/cannot be named/);
});
