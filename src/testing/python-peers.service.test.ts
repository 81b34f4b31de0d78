import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assertDrained } from "./assert-drained.ts";
import { PythonRaised } from "./errors.ts";
import { type PythonClient, startPythonClient } from "./python-client.ts";
import { type PythonWorker, startPythonWorker } from "./python-worker.ts";
import { rabbitmqApi, type TempVhost, tempVhost } from "./rabbitmq-api.ts";
import { testService } from "./services.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { waitFor } from "./wait.ts";

const pythons = ["5_7_0", "5_6_3", "5_4_0"].map((version) => ({
  version: version.replaceAll("_", "."),
  python: testService(`LOVAGE_TEST_PYTHON_${version}`),
}));
const redis = testService("LOVAGE_TEST_REDIS_URL");
const amqp = testService("LOVAGE_TEST_AMQP_URL");
const api = testService("LOVAGE_TEST_RABBITMQ_API");

for (const { version, python } of pythons) {
  describe.skipIf(!python || !redis || !amqp || !api)(`Celery ${version}`, () => {
    const queue = `peers-${randomUUID()}`;
    let folder: TempFolder;
    let vhost: TempVhost;
    let worker: PythonWorker;
    let client: PythonClient;

    beforeAll(async () => {
      folder = await tempFolder("peers");
      vhost = await tempVhost(api as string, amqp as string);
      const options = {
        python: python as string,
        broker: vhost.url,
        backend: redis as string,
        settings: { task_queues: [queue], task_default_queue: queue, result_extended: true },
        env: { FIXTURE_RECORD: folder.join("records") },
      };
      [worker, client] = await Promise.all([startPythonWorker(options), startPythonClient(options)]);
    });

    afterAll(async () => {
      await client?.[Symbol.asyncDispose]();
      await worker?.[Symbol.asyncDispose]();
      await vhost?.[Symbol.asyncDispose]();
      await folder?.[Symbol.asyncDispose]();
    });

    test("is the version that was asked for", async () => {
      expect((await client.versions()).celery).toBe(version);
    });

    test("answers a task, and says what the value is in Python", async () => {
      const id = await client.send("fixture.add", [1, 2.5]);
      expect(await client.get(id)).toMatchObject({ state: "SUCCESS", value: 3.5, repr: "3.5", type: "float" });
      expect(await client.state(id)).toMatchObject({ state: "SUCCESS", raised: false, name: "fixture.add", queue });
      expect(JSON.parse((await client.rawMeta(id)) as string)).toMatchObject({ status: "SUCCESS", result: 3.5 });
    });

    test("describes the exception of a failed task as data", async () => {
      const custom = await client.get(await client.send("fixture.fail_custom", ["E1", "no leaves"]));
      expect(custom.raised).toMatchObject({ type: "FixtureError", args: ["E1", "no leaves"] });
      const builtin = await client.get(await client.send("fixture.fail", ["KeyError", "k"]));
      expect(builtin.raised).toMatchObject({ type: "KeyError", bases: expect.arrayContaining(["LookupError"]) });
      const opaque = await client.get(await client.send("fixture.fail_opaque"));
      expect(opaque.raised?.type).toBe("OpaqueError");
    });

    test("keeps values that JSON lacks", async () => {
      const all = await client.get(await client.send("fixture.types", ["datetime_utc"]));
      expect(all.raised).toBeUndefined();
      expect(all).toMatchObject({ type: "datetime" });
      expect(await client.get(await client.send("fixture.types", ["nan"]))).toMatchObject({ value: null, json: "NaN" });
      expect(await client.get(await client.send("fixture.types"))).toMatchObject({ type: "dict", state: "SUCCESS" });
    });

    test("runs a canvas with links, errbacks and retries", async () => {
      const sent = await client.apply({
        chord: [
          { task: "fixture.add", args: [1, 1] },
          {
            chain: [
              { task: "fixture.add", args: [2, 2] },
              { task: "fixture.mul", args: [3] },
            ],
          },
        ],
        body: { task: "fixture.xsum" },
      });
      expect(await client.get(sent)).toMatchObject({ value: 14 });
      const retried = await client.send("fixture.retry_until", [3]);
      expect(await client.get(retried)).toMatchObject({ value: 3 });
      const failing = await client.send(
        "fixture.fail",
        ["ValueError", "x"],
        {},
        {
          link_error: [{ task: "fixture.on_error", immutable: false }],
        },
      );
      await client.get(failing);
      const line = await waitFor(async () => /errback (\S+)/.exec(await readFile(folder.join("records"), "utf8")));
      expect(line[1]).toBe(failing);
    });

    test("every task of the fixture app that takes no care keeps its worker alive", async () => {
      const outcomes = await Promise.all(
        [
          ["fixture.describe", [1, "a", null]],
          ["fixture.echo", [1]],
          ["fixture.signature_like", [1]],
          ["fixture.fail_keyword", ["r"]],
          ["fixture.fail_with_cause", ["i", "o"]],
          ["fixture.retry_exhausted", []],
          ["fixture.progress", []],
          ["fixture.reject_until_redelivered", []],
          ["fixture.request_info", ["x"]],
          ["fixture.whoami", []],
          ["fixture.big", [100_000]],
          ["fixture.record", ["k1"]],
          ["fixture.replace_with", [{ task: "fixture.add", args: [1, 1], kwargs: {}, options: {} }]],
          ["fixture.spawn", ["fixture.add", [1, 2]]],
        ].map(async ([task, args]) => [
          task,
          (await client.get(await client.send(task as string, args as unknown[]), { timeout: 20_000 })).state,
        ]),
      );
      expect(Object.fromEntries(outcomes)).toEqual({
        "fixture.describe": "SUCCESS",
        "fixture.echo": "SUCCESS",
        "fixture.signature_like": "FAILURE",
        "fixture.fail_keyword": "FAILURE",
        "fixture.fail_with_cause": "FAILURE",
        "fixture.retry_exhausted": "FAILURE",
        "fixture.progress": "SUCCESS",
        "fixture.reject_until_redelivered": "SUCCESS",
        "fixture.request_info": "SUCCESS",
        "fixture.whoami": "SUCCESS",
        "fixture.big": "SUCCESS",
        "fixture.record": "SUCCESS",
        "fixture.replace_with": "SUCCESS",
        "fixture.spawn": "SUCCESS",
      });
      expect(await readFile(folder.join("records"), "utf8")).toMatch(/^k1 python \d+ 1$/m);
      worker.assertAlive();
    });

    test("publishes and takes raw messages", async () => {
      const raw = `raw-${randomUUID()}`;
      await client.declare(raw);
      await client.publish({
        routing_key: raw,
        body_base64: Buffer.from([0, 255, 10]).toString("base64"),
        content_type: "application/x-strange",
        content_encoding: "binary",
        headers: { lang: "js", n: 1 },
        properties: { correlation_id: "c" },
      });
      expect(await client.queue(raw)).toEqual({ messages: 1, consumers: 0 });
      const seen = await client.basicGet(raw);
      expect(seen).toMatchObject({ body_base64: "AP8K", content_type: "application/x-strange", headers: { n: 1 } });
      expect(await client.basicGet(raw)).toBeNull();
    });

    test("is reached by remote control, and its events are seen", async () => {
      const quiet = await client.celery({ broker_url: vhost.url, result_backend: redis });
      await quiet.startEvents();
      const told = { destination: [worker.node], reply: true, timeout: 20_000 };
      // The task comes another way than the command, and may be there first.
      expect(await client.broadcast("enable_events", told)).toHaveLength(1);
      await client.get(await client.send("fixture.add", [1, 2]));
      await waitFor(async () => (await quiet.events()).some((event) => event.type === "task-succeeded"));
      await quiet.stopEvents();
      const [reply] = (await client.broadcast("ping", told)) ?? [];
      expect(reply).toEqual({ [worker.node]: { ok: "pong" } });
    });

    test("leaves nothing in its queue", async () => {
      await assertDrained({ api: rabbitmqApi(api as string), vhost: vhost.name }, [queue]);
    });

    test("an error of the request itself rejects with Python's words", async () => {
      await expect(client.run("raise KeyError('x')")).rejects.toBeInstanceOf(PythonRaised);
      expect(await client.run("answer = [app.main, a + 1]", { a: 1 })).toEqual(["fixture-client", 2]);
    });
  });
}
