/** The file result backend beside Celery's, on one folder. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createFileBackend } from "./file.ts";
import { type ContractRecord, contractCodec, until } from "./result-backend.contract.ts";
import type { RecordCodec } from "./result-backend.ts";

const python = process.env.LOVAGE_TEST_PYTHON;
if (python === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_PYTHON is needed here");

const program = `
import sys, time
from celery import Celery
url, act, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
app = Celery("t", broker="memory://", backend=url)
backend = app.backend
if act == "store":
    for i in range(first, first + count):
        backend.store_result(f"t{i}", None, "STARTED")
        backend.store_result(f"t{i}", i, "SUCCESS")
elif act == "overwrite":
    for i in range(first, first + count):
        backend.store_result(f"t{i}", ValueError("late"), "FAILURE")
elif act == "read":
    print("ready", flush=True)
    print([app.AsyncResult(f"t{i}").get(timeout=20, interval=0.01) for i in range(first, first + count)])
`;

/** The suite's codec with Celery's field for the value. */
const plain = contractCodec();
const codec: RecordCodec<ContractRecord> = {
  ...plain,
  encode: (id, record) => ({
    body: `{"status": "${record.status}", "result": ${JSON.stringify(record.value ?? null)}, "traceback": null, "children": [], "date_done": null, "task_id": "${id}"}`,
    contentType: "application/json",
    contentEncoding: "utf-8",
  }),
  decode(id, bytes) {
    const { status } = plain.decode(id, bytes);
    const parsed: { result?: unknown } = JSON.parse(new TextDecoder().decode(bytes));
    return { status, value: parsed.result };
  },
};

describe.skipIf(python === undefined)("beside Celery", () => {
  const root = mkdtempSync(join(tmpdir(), "lovage-file-python-"));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  function celery(directory: string, act: string, first: number, count: number) {
    const child = spawn(python ?? "", ["-c", program, `file://${directory}`, act, String(first), String(count)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      err += chunk;
    });
    const output = new Promise<string>((resolve, reject) => {
      child.once("close", (code) => {
        if (code === 0) resolve(out.replace("ready\n", ""));
        else reject(new TypeError(`Python ended with ${code}: ${err}`));
      });
    });
    return { output, isReady: () => out.includes("ready") };
  }

  test("we wait for a thousand results that Python writes in place", async () => {
    const backend = createFileBackend({ codec, directory: join(root, "a") });
    const waits = Array.from({ length: 1000 }, (_, i) => backend.watch(`t${i}`, {}));
    await celery(backend.directory, "store", 0, 1000).output;
    expect((await Promise.all(waits)).map((record) => record.value)).toEqual(waits.map((_, i) => i));
    expect(backend.waiting).toBe(0);
    await backend.close();
  });

  test("Python reads what we write while it waits, and leaves our SUCCESS alone", async () => {
    const backend = createFileBackend({ codec, directory: join(root, "b") });
    const reading = celery(backend.directory, "read", 0, 300);
    await until(reading.isReady, 20_000);
    for (let i = 0; i < 300; i++) {
      await backend.store(`t${i}`, { status: "STARTED" });
      await backend.store(`t${i}`, { status: "SUCCESS", value: i });
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(JSON.parse(await reading.output)).toEqual(Array.from({ length: 300 }, (_, i) => i));
    await celery(backend.directory, "overwrite", 0, 5).output;
    expect(await backend.get("t3")).toEqual({ status: "SUCCESS", value: 3 });
    await celery(backend.directory, "store", 1000, 1).output;
    await backend.store("t1000", { status: "FAILURE" });
    expect((await backend.get("t1000"))?.status).toBe("SUCCESS");
    await backend.close();
  });
});
