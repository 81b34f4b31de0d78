/**
 * Mognet's broker goes away under load. Mognet's messages are transient: a cut connection loses none of them, a broker that ends loses
 * those that wait in its queues, and their results stay PENDING; what a worker of ours holds by then is carried to its end.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type RabbitmqServer, startRabbitmq, tcpProxy } from "../../src/testing/index.ts";
import { makeSite, openSite, service, startWorker } from "../mognet/fleet.ts";
import { openPythonClient } from "../mognet/python-client.ts";
import { openTypescriptClient } from "../mognet/typescript-client.ts";
import { counters, expectValues, notedIds, openGate, reach, ready, submitMany, tally } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

describe.skipIf(!ready)("a Mognet worker whose connection is cut", () => {
  test("ten times under load loses no task, ends no run, and runs none twice", async () => {
    await using site = await openSite();
    await using proxy = await tcpProxy({ target: site.broker });
    await using client = await openPythonClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 20, broker: proxy.url });
    const ids: string[] = [];
    for (let cut = 1; cut <= 10; cut++) {
      const more = await submitMany(client, 40, (index) => ({ task: "slow", args: [(index % 10) * 0.02, index] }));
      ids.push(...more);
      await reach(site, "run", ids.length - 35);
      proxy.cut();
    }
    await expectValues(client, ids, (index) => index % 40);
    await site.drained(["tasks"]);
    worker.assertAlive();
    expect(tally(await counters(client, ids))).toEqual({ "1/1": ids.length });
    expect(Object.values(tally(await notedIds(site, "run"))).every((times) => times === 1)).toBe(true);
  });

  test("with parents that wait for children goes on with both", async () => {
    await using site = await openSite();
    await using proxy = await tcpProxy({ target: site.broker });
    await using client = await openPythonClient(site);
    await using worker = await startWorker(site, "typescript", { concurrency: 2, broker: proxy.url });
    const ids = await submitMany(client, 10, () => ({ task: "parent", args: ["fixture.hold", ["gate"]] }));
    await reach(site, "run", 2);
    proxy.cut();
    await openGate(site, "gate");
    await expectValues(client, ids, () => "gate");
    await site.drained(["tasks"]);
    worker.assertAlive();
    expect(tally(await counters(client, ids))).toEqual({ "1/1": ids.length });
    expect(await client.status(1)).toMatchObject([[expect.anything(), 0]]);
  });
});

describe.skipIf(!ready)("RabbitMQ", () => {
  let rabbitmq: RabbitmqServer;
  beforeAll(async () => {
    rabbitmq = await startRabbitmq();
  });
  afterAll(() => rabbitmq?.[Symbol.asyncDispose]());

  test.each(["SIGKILL", "SIGTERM"] as const)(
    "ends by %s under load and is started again: what runs ends, what comes later runs",
    async (signal) => {
      await using site = makeSite({
        broker: rabbitmq.url,
        vhost: "/",
        api: rabbitmq.apiUrl,
        redisUrl: service("LOVAGE_TEST_REDIS_URL"),
      });
      await using client = await openTypescriptClient(site);
      await using worker = await startWorker(site, "typescript", { concurrency: 20 });
      const held = await submitMany(client, 20, () => ({ task: "hold", args: ["gate"] }));
      await reach(site, "run", 20);
      const waiting = await submitMany(client, 30, (index) => ({ task: "echo", args: [index] }));

      const failed: unknown[] = [];
      let back = false;
      const sending = (async () => {
        const ids: [string, number][] = [];
        for (let index = 0, more = 20; !back || more > 0; index++) {
          // Twenty that are taken once it is back, however long the client takes to notice.
          await client.submit({ task: "echo", args: [index] }, "").then(
            (id) => {
              ids.push([id, index]);
              if (back) more--;
            },
            (error: unknown) => failed.push(error),
          );
        }
        return ids;
      })();
      await rabbitmq.stop(signal);
      await openGate(site, "gate");
      await expectValues(client, held, () => "gate");
      await rabbitmq.start();
      back = true;
      const sent = await sending;
      for (const error of failed) expect(error).toMatchObject({ name: "CouldNotSubmit" });

      const later = await submitMany(client, 100, (index) => ({ task: "echo", args: [index] }));
      await expectValues(client, later, (index) => index);
      await site.drained(["tasks"]);
      worker.assertAlive();
      // Those that the broker had and nobody held went with it; no other did.
      const all = [...waiting, ...sent.map(([id]) => id)];
      const states = await Promise.all(all.map(async (id) => (await client.read(id))?.state));
      expect([...new Set(states)].filter((state) => state !== "SUCCESS" && state !== "PENDING")).toEqual([]);
      const after = sent.slice(-1).map(([id]) => id);
      for (const id of after) expect((await client.read(id))?.state).toBe("SUCCESS");
      expect(tally(await counters(client, held))).toEqual({ "1/1": held.length });
    },
  );
});
