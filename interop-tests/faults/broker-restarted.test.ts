/**
 * The broker crashes and comes back while 5,000 tasks are sent and run. Client and worker live through it: nothing is lost, and
 * nothing runs twice but what may have been sent twice, because its send had not been answered when the broker went away.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RabbitmqServer, startRabbitmq, startRedis } from "../../src/testing/index.ts";
import {
  clientOf,
  expectAllRan,
  expectResults,
  keysOf,
  kinds,
  makeSite,
  repeated,
  type Site,
  sendAll,
  startWorker,
} from "./support.ts";

vi.setConfig({ testTimeout: 180_000 });

const tasks = 5_000;
const patient = { task_publish_retry_policy: { max_retries: null, interval_max: 0.2 } };

/** `stop` ends the broker in one way or another. */
async function runThrough(site: Site, stop: () => Promise<void>, start: () => Promise<void>): Promise<void> {
  await using app = clientOf(site, patient);
  await using worker = await startWorker(site, { queues: ["busy"], concurrency: 20 });
  const keys = keysOf(tasks, "task");
  const pending = new Set<string>();
  const unanswered = new Set<string>();
  let third = () => {};
  const thirdSent = new Promise<void>((resolve) => {
    third = resolve;
  });
  const sending = sendAll(
    app,
    keys,
    {
      task: (key) => (Number(key.slice(5)) % 2 === 0 ? "fault.early" : "fault.late"),
      args: (key) => [key, Number(key.slice(5)) % 20],
      queue: "busy",
    },
    pending,
    (sent) => {
      if (sent === tasks / 4) third();
    },
  );
  await thirdSent;
  const stopping = stop();
  // What is sent while an orderly stop goes on may meet its end too.
  const note = setInterval(() => {
    for (const key of pending) unanswered.add(key);
  }, 1);
  await stopping;
  for (const key of pending) unanswered.add(key);
  clearInterval(note);
  expect(unanswered.size).toBeGreaterThan(0);
  await start();
  await sending;

  await expectResults(app, keys, (key) => `done:${key}`, 60_000);
  await site.endDrained([worker], "busy");
  const ran = site.ledger.keys("end");
  expectAllRan(ran, keys);
  expect(repeated(site.ledger.keys("start")).filter((key) => !unanswered.has(key))).toEqual([]);
}

describe.skipIf(!kinds.includes("amqp"))("RabbitMQ", () => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq();
  });
  afterAll(() => rabbitmq[Symbol.asyncDispose]());

  const site = async () =>
    makeSite({ kind: "amqp", redis: await startRedis(), broker: rabbitmq.url, api: rabbitmq.apiUrl });

  test("shuts down and is started again", async () => {
    await using place = await site();
    const stop = async () => {
      rabbitmq.process.kill("SIGTERM");
      // By now connections are closed and messages stored; what is left is a web server that takes its time.
      await rabbitmq.process.waitForLog(/msg_store_persistent' is stopped/, { timeout: 60_000 });
      await rabbitmq.stop("SIGKILL");
    };
    await runThrough(place, stop, () => rabbitmq.start());
  });

  test("crashes and is started again", async () => {
    await using place = await site();
    await runThrough(
      place,
      () => rabbitmq.stop("SIGKILL"),
      () => rabbitmq.start(),
    );
  });
});

describe("Redis, which keeps the results too,", () => {
  test.each(["SIGTERM", "SIGKILL"] as const)("ends by %s and is started again", async (signal) => {
    const redis = await startRedis({ persist: true });
    await using site = await makeSite({ kind: "redis", redis, broker: redis.database(0) });
    await runThrough(
      site,
      () => redis.stop(signal),
      () => redis.start(),
    );
  });
});
