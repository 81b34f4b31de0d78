/** The shortest proof that both languages meet, on every broker: what CI also runs on the newest LTS Node. */
import { randomUUID } from "node:crypto";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Worker } from "../src/app/worker.ts";
import { Celery } from "../src/app.ts";
import { silentLog } from "../src/runtime/log.ts";
import type { SettingsInput } from "../src/settings/settings.ts";
import { task } from "../src/tasks/definition.ts";
import { startPythonClient, startPythonWorker, tempFolder, testService } from "../src/testing/index.ts";

const double = task("smoke.double", { params: { n: z.number() }, returns: z.number() }, ({ n }) => n * 2);
const python = testService("LOVAGE_TEST_PYTHON");
const redis = testService("LOVAGE_TEST_REDIS_URL");
const amqp = testService("LOVAGE_TEST_AMQP_URL");

/** Settings that both languages read, and the folder that some of them name. */
const brokers: Record<string, (folder: string) => SettingsInput> = {
  redis: () => ({ broker_url: redis as string, result_backend: redis as string }),
  amqp: () => ({ broker_url: amqp as string, result_backend: redis as string }),
  filesystem: (folder) => ({
    broker_url: "filesystem://",
    broker_transport_options: {
      data_folder_in: folder,
      data_folder_out: folder,
      control_folder: folder,
      polling_interval: 0.02,
    },
    result_backend: pathToFileURL(folder).href,
  }),
};

for (const [name, settingsFor] of Object.entries(brokers)) {
  describe.skipIf(!python || !redis || !amqp)(name, () => {
    test("a Python client and a TypeScript worker, a TypeScript client and a Python worker", async () => {
      await using folder = await tempFolder("smoke");
      const settings = settingsFor(folder.path);
      const ours = `smoke-${randomUUID()}`;
      const theirs = `smoke-${randomUUID()}`;
      await using app = new Celery("smoke", { settings, tasks: [double], log: silentLog });
      await using worker = await new Worker(app, { queues: [ours], concurrency: 2 }).start();
      // One after the other: Kombu's filesystem transport does not expect two programs to declare at the same moment.
      await using peer = await startPythonWorker({
        settings: { ...settings, task_queues: [theirs], task_default_queue: theirs },
        pool: "solo",
      });
      await using client = await startPythonClient({ settings: { ...settings } });

      const sent = await client.send("smoke.double", [], { n: 21 }, { queue: ours });
      expect(await client.get(sent)).toMatchObject({ state: "SUCCESS", value: 42, repr: "42" });

      const result = await app.sendTask("fixture.add", [1, 2.5], {}, { queue: theirs });
      expect(await result.get({ timeout: 30_000 })).toBe(3.5);

      expect(worker.active).toBe(0);
      peer.assertAlive();
    });
  });
}
