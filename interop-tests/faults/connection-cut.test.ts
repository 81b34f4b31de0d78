/**
 * Connections that end badly while the servers live: bytes vanish without a word, a broker goes and another one is there, a
 * queue is deleted under its consumer, a broker that is short of memory takes nothing.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { SettingsInput } from "../../src/settings/settings.ts";
import {
  endsWithin,
  type RabbitmqServer,
  startRabbitmq,
  startRedis,
  tcpProxy,
  waitFor,
} from "../../src/testing/index.ts";
import {
  clientOf,
  expectAllRan,
  expectResults,
  type Kind,
  keysOf,
  kinds,
  makeSite,
  open,
  openSite,
  repeated,
  sendAll,
  startWorker,
} from "./support.ts";

vi.setConfig({ testTimeout: 180_000 });

const patient = { task_publish_retry_policy: { max_retries: null, interval_max: 0.2 } };
/** Silence is noticed by what each protocol has for it: heartbeats, or answers that do not come. */
const watchful: Record<Kind, SettingsInput> = {
  amqp: { broker_heartbeat: 1 },
  redis: { broker_transport_options: { visibility_timeout: 60, socket_timeout: 1, health_check_interval: 1 } },
};

describe.each(kinds)("a proxy that drops all bytes, before %s,", (kind) => {
  test("is noticed; what ran goes on, what was sent arrives, nothing runs twice", async () => {
    await using site = await openSite(kind);
    await using proxy = await tcpProxy({ target: site.broker });
    const settings = { ...watchful[kind], ...patient, broker_url: proxy.url };
    await using app = clientOf(site, settings);
    await using worker = await startWorker(site, { queues: ["work"], concurrency: 10, settings });
    const gate = site.folder.join("gate");
    const running = keysOf(10, "running");
    const waiting = keysOf(100, "waiting");
    const during = keysOf(200, "during");
    await sendAll(app, running, {
      task: (key) => (Number(key.slice(8)) % 2 ? "fault.hold-late" : "fault.hold-early"),
      args: (key) => [key, gate],
      queue: "work",
    });
    await site.ledger.reach("start", running.length);
    await sendAll(app, waiting, { task: "fault.late", queue: "work" });

    const mark = worker.mark();
    proxy.stall();
    const sending = sendAll(app, during, { task: "fault.early", queue: "work" });
    await worker.waitForLog(/the connection to .* was lost/, { after: mark, timeout: 60_000 });
    open(gate);
    await expectResults(app, running);
    expect(await endsWithin(sending, 0)).toBe(false);
    proxy.resume();
    await sending;
    await expectResults(app, [...waiting, ...during]);
    await site.endDrained([worker], "work");
    expectAllRan(site.ledger.keys("end"), [...running, ...waiting, ...during]);
    // Those that were on their way into the silence may have arrived before it, and were sent again.
    expect(repeated(site.ledger.keys("start")).filter((key) => !during.includes(key))).toEqual([]);
  });
});

// It takes the fifteen seconds after which an answer of Redis counts as missing.
test("results that meet silence on their way to the store arrive in the end", async () => {
  await using site = await openSite("redis");
  await using proxy = await tcpProxy({ target: site.backend });
  await using app = clientOf(site);
  const settings = { result_backend: proxy.url };
  await using worker = await startWorker(site, { queues: ["work"], concurrency: 4, settings });
  const keys = keysOf(200, "task");
  await sendAll(app, keys.slice(0, 20), { task: "fault.late", queue: "work" });
  await expectResults(app, keys.slice(0, 20));
  proxy.stall();
  await sendAll(app, keys.slice(20), { task: "fault.late", queue: "work" });
  await site.ledger.reach("end", 24);
  // Its own end of the wait: no byte tells the worker that anything is wrong.
  await worker.waitForLog(/result store has gone/, { timeout: 60_000 });
  proxy.resume();
  await expectResults(app, keys);
  await site.endDrained([worker], "work");
  expect(repeated(site.ledger.keys("start"))).toEqual([]);
});

describe.skipIf(!kinds.includes("amqp"))("RabbitMQ", () => {
  test("behind two URLs: when the first is gone, client and worker go on at the second, and back again", async () => {
    await using site = await openSite("amqp");
    await using one = await tcpProxy({ target: site.broker });
    await using two = await tcpProxy({ target: site.broker });
    const settings = { ...patient, broker_url: [one.url, two.url] };
    await using app = clientOf(site, settings);
    await using worker = await startWorker(site, { queues: ["work"], concurrency: 10, settings });
    const keys = keysOf(600, "task");
    const pending = new Set<string>();
    const unanswered = new Set<string>();
    const turn = async (from: number, away: typeof one, there: typeof two) => {
      const part = keys.slice(from, from + 200);
      const sending = sendAll(
        app,
        part,
        { task: "fault.late", queue: "work", args: (key) => [key, 5], lanes: 10 },
        pending,
      );
      await site.ledger.reach("end", from + 50);
      for (const key of pending) unanswered.add(key);
      there.resume();
      away.refuse();
      for (const key of pending) unanswered.add(key);
      expect(away.cut()).toBeGreaterThanOrEqual(2);
      await sending;
      await expectResults(app, part);
      // What had nothing left to send or settle may be late to come back.
      // The client, and the worker to consume and to send its heartbeat.
      await waitFor(() => there.connections === 3, { describe: "all to be connected there", timeout: 60_000 });
    };
    await turn(0, one, two);
    await turn(200, two, one);
    await turn(400, one, two);
    two.resume();
    await site.endDrained([worker], "work");
    expectAllRan(site.ledger.keys("end"), keys);
    expect(repeated(site.ledger.keys("start")).filter((key) => !unanswered.has(key))).toEqual([]);
  });

  test("deletes the queue of a consumer: it is made again, and consumed", async () => {
    await using site = await openSite("amqp");
    await using app = clientOf(site);
    await using worker = await startWorker(site, { queues: ["work", "other"], concurrency: 2 });
    const gate = site.folder.join("gate");
    await sendAll(app, ["held"], { task: "fault.hold-late", args: (key) => [key, gate], queue: "work" });
    await site.ledger.reach("start", 1);
    await app.transport.deleteQueue("work");
    const keys = keysOf(50, "after");
    await waitFor(async () => (await app.transport.inspectQueue("work"))?.consumers === 1, {
      describe: "the queue to be back and consumed",
    });
    await sendAll(app, keys, { task: "fault.late", queue: "work" });
    await sendAll(app, ["elsewhere"], { task: "fault.late", queue: "other" });
    await expectResults(app, [...keys, "elsewhere"]);
    open(gate);
    await expectResults(app, ["held"]);
    await site.endDrained([worker], "work", "other");
    expect(repeated(site.ledger.keys("start"))).toEqual([]);
  });

  describe("short of memory", () => {
    let rabbitmq: RabbitmqServer;
    beforeAll(async () => {
      rabbitmq = await startRabbitmq();
    });
    afterAll(() => rabbitmq[Symbol.asyncDispose]());

    test("takes nothing until it has memory again: sends wait, the worker goes on with what is there", async () => {
      await using site = await makeSite({
        kind: "amqp",
        redis: await startRedis(),
        broker: rabbitmq.url,
        api: rabbitmq.apiUrl,
      });
      await using app = clientOf(site, patient);
      await using worker = await startWorker(site, { queues: ["work"], concurrency: 4 });
      const gate = site.folder.join("gate");
      const before = keysOf(100, "before");
      const during = keysOf(500, "during");
      await sendAll(app, ["held"], { task: "fault.hold-late", args: (key) => [key, gate], queue: "work" });
      await sendAll(app, before, { task: "fault.late", args: (key) => [key, 10], queue: "work" });
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0");
      // The alarm reaches the connections after the command has ended.
      await waitFor(
        async () => {
          const connections = (await rabbitmq.api.call("GET", "/api/connections")) as { state: string }[];
          return connections.length > 0 && connections.every(({ state }) => /^block/.test(state));
        },
        { describe: "the connections to be blocked" },
      );
      const pending = new Set<string>();
      const sending = sendAll(app, during, { task: "fault.late", queue: "work" }, pending);
      await expectResults(app, before);
      open(gate);
      await expectResults(app, ["held"]);
      expect(await endsWithin(sending, 500)).toBe(false);
      await rabbitmq.ctl("set_vm_memory_high_watermark", "0.4");
      await sending;
      await expectResults(app, during);
      await site.endDrained([worker], "work");
      expectAllRan(site.ledger.keys("end"), ["held", ...before, ...during]);
      expect(repeated(site.ledger.keys("start"))).toEqual([]);
    });
  });
});
