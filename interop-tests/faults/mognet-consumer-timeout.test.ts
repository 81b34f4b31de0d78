/**
 * RabbitMQ takes back what a consumer holds for longer than `consumer_timeout`, by closing its channel. In Mognet the same task then
 * runs again beside itself until its retries are used up; here it goes on, and the log says what happened and what to do.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RabbitmqServer, startRabbitmq, waitFor } from "../../src/testing/index.ts";
import { makeSite, service, startWorker } from "../mognet/fleet.ts";
import { openPythonClient } from "../mognet/python-client.ts";
import { counters, expectValues, notedIds, openGate, ready, submitMany } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

describe.skipIf(!ready)("a task that runs for longer than RabbitMQ's consumer_timeout", () => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq({ config: ["consumer_timeout = 1000"] });
    // How often it looks for deliveries that are overdue; a minute by default.
    await rabbitmq.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).");
  });
  afterAll(() => rabbitmq?.[Symbol.asyncDispose]());

  test("runs once, and the log explains", async () => {
    await using site = makeSite({
      broker: rabbitmq.url,
      vhost: "/",
      api: rabbitmq.apiUrl,
      redisUrl: service("LOVAGE_TEST_REDIS_URL"),
    });
    await using client = await openPythonClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 2 });
    const ids = await submitMany(client, 2, () => ({ task: "hold", args: ["gate"] }));
    await worker.waitForLog(/longer than its consumer_timeout.*Raise consumer_timeout/);
    expect(worker.log()).toContain("fixture.hold");
    // What RabbitMQ took back has come again.
    await waitFor(async () => (await client.queue("tasks")).consumers === 1, { describe: "the worker to be back" });
    await openGate(site, "gate");
    await expectValues(client, ids, () => "gate");
    expect(await counters(client, ids)).toEqual(["1/1", "1/1"]);
    expect((await notedIds(site, "run")).sort()).toEqual([...ids].sort());
    await expectValues(client, await submitMany(client, 1, () => ({ task: "slow", args: [0, 7] })), () => 7);
    await site.drained(["tasks"]);
    worker.assertAlive();
  });
});
