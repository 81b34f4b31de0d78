/** ETAs on quorum queues: RabbitMQ holds them, whoever sends and whoever serves (Celery 5.5 and newer). */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Celery } from "../app.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import type { PythonCelery } from "../testing/python-celery.ts";
import { type PythonClient, startPythonClient } from "../testing/python-client.ts";
import { rabbitmqApi, type TempVhost, tempVhost } from "../testing/rabbitmq-api.ts";
import { testService } from "../testing/services.ts";
import { waitFor } from "../testing/wait.ts";
import { Worker } from "./worker.ts";

const amqp = testService("LOVAGE_TEST_AMQP_URL");
const api = testService("LOVAGE_TEST_RABBITMQ_API");
const redis = testService("LOVAGE_TEST_REDIS_URL");
const python = testService("LOVAGE_TEST_PYTHON_5_7_0");

const fleet = {
  task_default_queue: "jobs",
  task_default_queue_type: "quorum",
  task_default_exchange: "work",
  task_default_exchange_type: "topic",
  task_default_routing_key: "work.jobs",
} as const;

const add = task("fixture.add", (x: number, y: number) => x + y);
const again = task("ours.again", { params: {}, maxRetries: 1 }, (_, ctx) => {
  if (ctx.retries === 0) ctx.retry({ countdown: 1 });
  return [ctx.deliveryInfo.exchange, ctx.deliveryInfo.routingKey.endsWith(".1.work.jobs")];
});

describe.skipIf([amqp, api, redis, python].includes(undefined))("an ETA on a quorum queue", () => {
  let vhost: TempVhost;
  let client: PythonClient;
  let theirs: PythonCelery;
  let app: Celery;

  beforeAll(async () => {
    vhost = await tempVhost(api as string, amqp as string);
    client = await startPythonClient({ python: python as string, broker: vhost.url, backend: redis as string });
    theirs = await client.celery({ ...fleet, result_backend: redis });
    app = new Celery("delays", {
      broker: vhost.url,
      backend: redis as string,
      settings: fleet,
      tasks: [add, again],
      log: silentLog,
    });
  }, 120_000);

  afterAll(async () => {
    await app?.close();
    await client?.[Symbol.asyncDispose]();
    await vhost?.[Symbol.asyncDispose]();
  });

  test("waits in RabbitMQ when TypeScript sends it, not with the workers of the queue", async () => {
    await app.send(add, [1, 2], { countdown: 7 });
    const early = await theirs.basicGet("jobs");
    expect(early).toBeNull();
    const late = await waitFor(() => theirs.basicGet("jobs"), { describe: "the message to come to its queue" });
    expect(late.delivery_info).toMatchObject({ exchange: "celery_delayed_delivery" });
    expect(String(late.delivery_info.routing_key)).toMatch(/^(?:[01]\.){25}1\.1\.1\.work\.jobs$/);
    expect(late.headers).toMatchObject({ task: "fixture.add", eta: expect.stringContaining("T") });
  });

  test("is run by a TypeScript worker when Python sends it, where no Python worker has ever been", async () => {
    await using alone = await tempVhost(api as string, amqp as string);
    await using peer = await startPythonClient({
      python: python as string,
      broker: alone.url,
      backend: redis as string,
    });
    const sender = await peer.celery({ ...fleet, result_backend: redis });
    await using served = new Celery("delays", {
      broker: alone.url,
      backend: redis as string,
      settings: fleet,
      tasks: [add],
      log: silentLog,
    });
    await using _worker = await new Worker(served).start();
    const id = await sender.send("fixture.add", [2, 3], {}, { countdown: 1 });
    expect(await sender.get(id)).toMatchObject({ state: "SUCCESS", value: 5 });
  });

  test("of a retry in TypeScript waits there too", async () => {
    await using _worker = await new Worker(app).start();
    const result = await app.send(again, {});
    expect(await result.get({ timeout: 60_000 })).toEqual(["celery_delayed_delivery", true]);
  });

  test("is held by the worker where the queues are not ours to declare, or are of another type than ours", async () => {
    const settings = { ...fleet, broker_native_delayed_delivery_queue_type: "classic" as const };
    const options = { broker: vhost.url, backend: redis as string, tasks: [add], log: silentLog };
    await using other = new Celery("delays", { ...options, settings });
    await using _worker = await new Worker(other).start();
    const clashing = await other.send(add, [1, 1], { countdown: 1 });
    await using passive = new Celery("delays", { ...options, settings: { ...fleet, lovage_declare: "never" } });
    const direct = await passive.send(add, [2, 2], { countdown: 1 });
    expect([await clashing.get({ timeout: 60_000 }), await direct.get({ timeout: 60_000 })]).toEqual([2, 4]);
    const queues = await rabbitmqApi(api as string).queues(vhost.name);
    expect(queues.filter(({ name }) => name.startsWith("celery_delayed_"))).toHaveLength(28);
  });
});
