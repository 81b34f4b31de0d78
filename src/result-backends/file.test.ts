import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { compress, decompress } from "../runtime/compression.ts";
import { countingCodec } from "./chord-counter.contract.ts";
import { BackendGetMetaError, BackendStoreError } from "./errors.ts";
import { createFileBackend, parseFileUrl } from "./file.ts";
import { contractCodec, testResultBackend, until } from "./result-backend.contract.ts";

const root = mkdtempSync(join(tmpdir(), "lovage-file-backend-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
const newFolder = () => join(root, `results-${++folders}`);
const codec = contractCodec();
const open = (directory = newFolder(), options = {}) => createFileBackend({ directory, codec, ...options });

testResultBackend({
  name: "file",
  can: { everyUpdate: false },
  many: 2000,
  async make() {
    const directory = newFolder();
    const ours = open(directory);
    return {
      ours,
      theirs: open(directory),
      leftovers: () => ours.waiting,
      async goAway() {
        renameSync(directory, `${directory}.away`);
        writeFileSync(directory, "a file where the folder was");
      },
      async comeBack() {
        rmSync(directory);
        renameSync(`${directory}.away`, directory);
      },
    };
  },
});

testResultBackend({
  name: "file, where nothing can be watched",
  can: { everyUpdate: false },
  many: 300,
  async make() {
    const directory = newFolder();
    const ours = open(directory, { events: false, pollMs: 20 });
    return { ours, theirs: open(directory), leftovers: () => ours.waiting };
  },
});

describe("the folder", () => {
  test("URL forms are Celery's", () => {
    expect(parseFileUrl("file:///var/results")).toBe("/var/results");
    expect(parseFileUrl("file://localhost/var/results")).toBe("/var/results");
    expect(parseFileUrl("file://results/here")).toBe("results/here");
    expect(parseFileUrl("file:///with%20space")).toBe("/with%20space");
    for (const bad of ["file://", "/var/results", "filesystem:///x"]) {
      expect(() => parseFileUrl(bad)).toThrow(ImproperlyConfigured);
    }
  });

  test("is made with its parents, for this user alone", () => {
    const directory = join(newFolder(), "a", "b");
    void open(directory).close();
    expect(readdirSync(directory)).toEqual([".lovage"]);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test("that cannot be made is said at once when it never will be", () => {
    const file = newFolder();
    writeFileSync(file, "");
    const backend = open(join(file, "below")); // ENOTDIR: may be mended
    void backend.close();
    expect(() => createFileBackend({ codec })).toThrow(ImproperlyConfigured);
  });
});

describe("what Python does to the folder", () => {
  const record = '{"status": "SUCCESS", "value": 7, "task_id": "t"}';

  test("an empty and a partial file are read again until they are whole", async () => {
    const backend = open();
    const path = join(backend.directory, "celery-task-meta-t");
    writeFileSync(path, "");
    const seen = Promise.all([backend.watch("t", {}), backend.get("t")]);
    writeFileSync(path, record.slice(0, 20));
    await until(() => backend.waiting === 1);
    await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(path, record);
    const [watched, got] = await seen;
    expect(watched.value).toBe(7);
    expect([null, 7]).toContain(got === null ? null : got.value);
    await backend.close();
  });

  test("a compressed SUCCESS is read, and is as final as a plain one", async () => {
    const compression = {
      compress: (bytes: Uint8Array) => compress("gzip", bytes),
      decompress: (mime: string, bytes: Uint8Array) => decompress(mime, bytes),
    };
    const writer = open(newFolder(), { compression });
    const reader = open(writer.directory, { compression: { decompress: compression.decompress } });
    await writer.store("t", { status: "SUCCESS", value: "x".repeat(2000) });
    const raw = readFileSync(join(writer.directory, "celery-task-meta-t"));
    expect(raw.subarray(0, 37).toString("latin1")).toBe("\0celery-compressed\0application/x-gzip");
    await reader.store("t", { status: "FAILURE" });
    expect((await reader.get("t"))?.status).toBe("SUCCESS");
    await expect(open(writer.directory).get("t")).rejects.toThrow(/no way to decompress/);
    await writer.close();
    await reader.close();
  });
});

describe("task ids", () => {
  test.each(["../escape", "a/b", "nul\0", "back\\slash", "x".repeat(300)])("%j cannot leave the folder", async (id) => {
    const backend = open();
    await expect(backend.store(id, { status: "SUCCESS" })).rejects.toBeInstanceOf(BackendStoreError);
    await expect(backend.get(id)).rejects.toBeInstanceOf(BackendGetMetaError);
    await expect(backend.watch(id, {})).rejects.toBeInstanceOf(BackendGetMetaError);
    await expect(backend.forget(id)).rejects.toBeInstanceOf(BackendGetMetaError);
    expect(backend.waiting).toBe(0);
    await backend.close();
  });

  test("dots and spaces are harmless", async () => {
    const backend = open();
    await backend.store("..a b..", { status: "SUCCESS", value: 1 });
    expect((await backend.get("..a b.."))?.value).toBe(1);
    await backend.close();
  });
});

describe("cleanup", () => {
  test("removes records older than the given seconds and nothing else", async () => {
    const backend = open();
    for (const id of ["old", "new"]) await backend.store(id, { status: "SUCCESS" });
    writeFileSync(join(backend.directory, "unrelated"), "");
    mkdirSync(join(backend.directory, "folder"));
    const long = Date.now() / 1000 - 7200;
    for (const name of ["celery-task-meta-old", "unrelated"]) utimesSync(join(backend.directory, name), long, long);
    writeFileSync(join(backend.directory, ".lovage", "left.tmp"), "");
    utimesSync(join(backend.directory, ".lovage", "left.tmp"), long, long);
    expect(await backend.cleanup(3600)).toBe(2);
    expect(readdirSync(backend.directory).sort()).toEqual([".lovage", "celery-task-meta-new", "folder", "unrelated"]);
    expect(readdirSync(join(backend.directory, ".lovage"))).toEqual([]);
    await backend.close();
  });
});

test("groups are kept beside the records under their own name, and go with them", async () => {
  const directory = mkdtempSync(join(tmpdir(), "lovage-groups-"));
  const backend = createFileBackend({ codec: countingCodec(), directory });
  await backend.groups?.save([["g", null], [[["a", null], null]]]);
  expect(readFileSync(join(directory, "celery-taskset-meta-g"), "utf8")).toBe(
    '{"result":[["g",null],[[["a",null],null]]]}',
  );
  expect(await backend.groups?.restore("g")).toEqual([["g", null], [[["a", null], null]]]);
  expect(await backend.cleanup(-1)).toBe(1);
  expect(await backend.groups?.restore("g")).toBeNull();
  await backend.close();
  rmSync(directory, { recursive: true });
});
