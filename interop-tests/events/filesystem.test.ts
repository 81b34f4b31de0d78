/** On the filesystem broker remote control and events travel as files that both languages read. */
import { expect, test } from "vitest";
import { Worker } from "../../src/app/worker.ts";
import { Celery } from "../../src/app.ts";
import { silentLog } from "../../src/runtime/log.ts";
import { task } from "../../src/tasks/definition.ts";
import { startPythonWorker, tempFolder, waitFor } from "../../src/testing/index.ts";
import { addresses } from "../harness/opening.ts";

// Kombu reads files that another Kombu is still writing, and fails with it: here nothing of Kombu's listens but the worker.
test("on the filesystem broker we steer and hear workers of both languages", async () => {
  await using folder = await tempFolder("fleet-files");
  const settings = await addresses("filesystem+file", { folder: folder.path, prefix: "", vhost: null });
  await using python = await startPythonWorker({ settings, queues: ["py"], name: "py", pool: "solo", events: true });
  await using app = new Celery("files", {
    settings,
    log: silentLog,
    env: {},
    tasks: [task("fixture.add", {}, (x: number, y: number) => x + y)],
  });
  const worker = await new Worker(app, { name: "ts@files", queues: ["ts"], events: true }).start();
  const stop = new AbortController();
  const told: string[] = [];
  const stream = await app.events.receive({ signal: stop.signal }).start();
  const listening = (async () => {
    for await (const { type, hostname } of stream) if (type.startsWith("task-")) told.push(`${hostname} ${type}`);
  })();
  try {
    const nodes = [python.node, "ts@files"];
    const pong = Object.fromEntries(nodes.map((node) => [node, { ok: "pong" }]));
    expect(await app.control.inspect({ destination: nodes, timeout: 20 }).ping()).toEqual(pong);
    for (const queue of ["py", "ts"]) {
      const result = await app.sendTask("fixture.add", [1, 2], {}, { queue });
      expect(await result.get({ timeout: 20_000 })).toBe(3);
    }
    const lives = nodes.flatMap((node) => ["received", "started", "succeeded"].map((what) => `${node} task-${what}`));
    await waitFor(() => lives.every((line) => told.includes(line)), {
      timeout: 20_000,
      describe: "both lives to be told",
    });
    expect([...told].sort()).toEqual([...lives].sort());
  } finally {
    stop.abort();
    await listening;
    await worker.stop();
  }
  python.assertAlive();
});
