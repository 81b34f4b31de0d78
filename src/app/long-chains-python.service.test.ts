/** Long chains, whose later links our workers pass on unread, through workers of both languages on one queue, sent by either. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeSignature, type WireSignature } from "../../protocol/celery/signature.ts";
import { PyFloat } from "../../protocol/values.ts";
import { Celery } from "../app.ts";
import { signatureFrom } from "../canvas/signature-from.ts";
import { AsyncResult } from "../client/async-result.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { type PythonClient, startPythonClient } from "../testing/python-client.ts";
import { type PythonWorker, startPythonWorker } from "../testing/python-worker.ts";
import { testService } from "../testing/services.ts";
import { Worker } from "./worker.ts";

const amqp = testService("LOVAGE_TEST_AMQP_URL");
const redis = testService("LOVAGE_TEST_REDIS_URL");
const python = testService("LOVAGE_TEST_PYTHON_5_7_0");

const LENGTH = 90;
const timeout = { timeout: 60_000 };
const queue = `long-chains-${randomUUID()}`;
const here = `${queue}-ours`;
const there = `${queue}-theirs`;
const add = task("fixture.add", (x: number, y: number) => x + y);

describe.skipIf(redis === undefined || python === undefined).each([
  ["Redis", redis],
  ["RabbitMQ", amqp],
])("long chains across languages on %s", { timeout: 180_000 }, (_name, url) => {
  const broker = url ?? redis ?? "";
  let app: Celery;
  let worker: Worker;
  let theirs: PythonWorker;
  let client: PythonClient;

  beforeAll(async () => {
    const settings = { task_default_queue: queue, worker_prefetch_multiplier: 1 };
    const options = {
      python: python ?? "",
      broker,
      backend: redis ?? "",
      settings: { ...settings, task_queues: [queue, there] },
    };
    app = new Celery("long-chains", {
      tasks: [add],
      broker,
      backend: redis ?? "",
      settings,
      log: silentLog,
      env: {},
    });
    worker = new Worker(app, { queues: [queue, here], concurrency: 2 });
    [theirs, client] = await Promise.all([startPythonWorker(options), startPythonClient(options)]);
    await worker.start();
  }, 120_000);
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await theirs?.[Symbol.asyncDispose]();
    await worker?.stop("cold");
    await app?.close();
  });

  test("sent by us give the sum of all links, and floats stay floats on their way through us", async () => {
    const link = (args: readonly unknown[], at: string): WireSignature =>
      encodeSignature({ task: "fixture.add", args, options: { queue: at, shadow: `é"\\] ${"x".repeat(50)}` } });
    const tasks = [
      link([0, 1], here),
      ...Array.from({ length: LENGTH }, (_, index) => link([1], [here, there, queue][index % 3] ?? queue)),
      // Read by Python, after ninety others passed it on: `1.0`, and no `1`.
      link([new PyFloat(1)], there),
    ];
    const result = await app.apply(
      signatureFrom(encodeSignature({ task: "celery.chain", kwargs: { tasks }, subtask_type: "chain" })),
    );
    if (!(result instanceof AsyncResult)) return expect.fail("a chain has one result");
    expect(await result.get(timeout)).toBe(LENGTH + 2);
    expect(await client.get(result.id, timeout)).toMatchObject({ repr: `${LENGTH + 2}.0` });
  });

  test("sent by Python give the sum of all links", async () => {
    const sent = await client.apply({
      chain: Array.from({ length: LENGTH }, (_, index) => ({
        task: "fixture.add",
        args: index === 0 ? [0, 1] : [1],
        options: { queue: [here, queue, there][index % 3] },
      })),
    });
    expect(await client.get(sent, timeout)).toMatchObject({ repr: `${LENGTH}` });
  });
});
