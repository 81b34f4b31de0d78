/** The Mognet worker against RabbitMQ and Redis: lost connections, shutdown, control messages, and Celery's tasks beside it. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { encodeMognetRevoke } from "../../../protocol/mognet/control.ts";
import { Mognet } from "../../app/mognet.ts";
import { Worker, type WorkerApp, type WorkerOptions } from "../../app/worker.ts";
import { Celery } from "../../app.ts";
import { silentLog } from "../../runtime/log.ts";
import type { MognetConfigInput } from "../../settings/mognet-config.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { mognetContext, Pause } from "../../tasks/mognet-context.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import { haveRabbit, makeVhost, Proxy, type Vhost } from "../../transports/amqp-rig.contract.ts";
import { until } from "../../transports/transport.contract.ts";

const redis = process.env.LOVAGE_TEST_REDIS_URL;
const TIMEOUT = { timeout: 60_000 };

describe.runIf(haveRabbit() && redis !== undefined)("a Mognet worker", () => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  }, 30_000);

  interface Rig {
    vhost: Vhost;
    proxy: Proxy;
    /** One app under one name for each node; `proxied`: its connections can be cut. */
    app(node: string, tasks: readonly AnyTask[], config?: MognetConfigInput, proxied?: boolean): Mognet;
    serve(app: WorkerApp | readonly WorkerApp[], options?: WorkerOptions): Promise<Worker>;
  }

  async function rig(): Promise<Rig> {
    const vhost = await makeVhost();
    ends.push(() => vhost.remove());
    const proxy = await Proxy.before(vhost.url);
    ends.push(() => proxy.close());
    const name = `lovage-${randomUUID()}`;
    const store = { redis: { url: redis ?? "" } };
    return {
      vhost,
      proxy,
      app(node, tasks, config = {}, proxied = false) {
        const app = new Mognet(name, {
          log: silentLog,
          env: {},
          tasks,
          config: {
            node_id: node,
            reconnect_interval: 0.2,
            ...config,
            broker: { amqp: { url: proxied ? proxy.url : vhost.url } },
            result_backend: { redis: { ...store.redis, result_ttl: 600, result_value_ttl: 600 } },
            state_backend: store,
          },
        });
        ends.push(() => app.close());
        return app;
      },
      async serve(app, options = {}) {
        const worker = new Worker(app, options);
        ends.push(() => worker.stop("cold"));
        return worker.start();
      },
    };
  }

  async function drained(app: Mognet, queue = "tasks"): Promise<void> {
    await until(async () => (await app.queueStats(queue)).messageCount === 0, "an empty queue");
  }

  const add = task("add", { params: { a: z.number(), b: z.number() } }, ({ a, b }) => a + b);

  /** A task that ends when it is let, and how often it began. */
  function gate(name = "gate") {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const begun: string[] = [];
    const reasons: unknown[] = [];
    const body = task(name, { params: {} }, async (_params, ctx) => {
      begun.push(ctx.id);
      ctx.signal.addEventListener("abort", () => reasons.push(ctx.signal.reason), { once: true });
      await opened;
      return begun.length;
    });
    return { task: body, begun, reasons, open: () => open() };
  }

  test("goes on with what it runs when its connection is cut, and takes over the message that comes again", async () => {
    const { app, serve, proxy } = await rig();
    const held = gate();
    const client = app("client", [held.task]);
    const worker = await serve(app("worker", [held.task, add], { minimum_concurrency: 3 }, true));
    const results = await Promise.all([1, 2, 3].map(() => client.submit(held.task, {})));
    await until(() => held.begun.length === 3, "three runs");
    proxy.cut();
    await until(async () => (await client.queueStats("tasks")).consumerCount === 1, "the worker to be back");
    held.open();
    for (const result of results) {
      await result.wait(TIMEOUT);
      expect(result.record).toMatchObject({ state: "SUCCESS", numberOfStarts: 1, numberOfStops: 1 });
    }
    expect(held.begun).toHaveLength(3);
    expect(held.reasons).toEqual([]);
    await until(() => worker.active === 0, "nothing in hand");
    await drained(client);
    expect(await client.run("add", { a: 1, b: 2 }, {}, TIMEOUT)).toBe(3);
  });

  test("drops what a run gives that another node has begun anew meanwhile", async () => {
    const { app, serve, proxy } = await rig();
    const here = gate();
    const there = gate();
    const client = app("client", []);
    await serve(app("lost", [here.task], {}, true));
    const result = await client.submit("gate");
    await until(() => here.begun.length === 1, "the first run");
    await proxy.refuse();
    await serve(app("heir", [there.task]));
    await until(() => there.begun.length === 1, "the second run");
    here.open();
    await proxy.listen();
    await until(async () => (await client.queueStats("tasks")).consumerCount === 2, "both to consume");
    await result.refresh();
    expect(result.record).toMatchObject({ state: "RUNNING", nodeId: "heir" });
    there.open();
    expect(await result.get(TIMEOUT)).toBe(1);
    expect(result.record).toMatchObject({ state: "SUCCESS", nodeId: "heir" });
    await drained(client);
  });

  test("hands running tasks back when it stops: SUSPENDED, and another node begins them again", async () => {
    const { app, serve } = await rig();
    const held = gate();
    const client = app("client", []);
    const first = await serve(app("first", [held.task], { lovage: { shutdown_grace: 0.05 } }));
    const result = await client.submit("gate");
    await until(() => held.begun.length === 1, "the first run");
    await first.stop();
    expect(held.reasons).toMatchObject([{ code: "HANDED_BACK" }]);
    expect((await result.refresh()).record).toMatchObject({ state: "SUSPENDED", numberOfStarts: 1, numberOfStops: 1 });
    await serve(app("second", [held.task]));
    await until(() => held.begun.length === 2, "the second run");
    held.open();
    await result.wait(TIMEOUT);
    expect(result.record).toMatchObject({ state: "SUCCESS", nodeId: "second", numberOfStarts: 2, numberOfStops: 2 });
  });

  test("gives running tasks a while to end when it stops, and what has not begun goes back untouched", async () => {
    const { app, serve } = await rig();
    const held = gate();
    const client = app("client", []);
    const worker = await serve([app("first", [held.task, add])], { concurrency: 1 });
    const result = await client.submit("gate");
    await until(() => held.begun.length === 1, "the run");
    const waiting = await client.submit("add", [1, 2]);
    const stopped = worker.stop();
    held.open();
    expect(await result.get(TIMEOUT)).toBe(1);
    await stopped;
    await until(async () => (await client.queueStats("tasks")).messageCount === 1, "what had not begun to be back");
    expect((await waiting.refresh()).record).toMatchObject({ state: "PENDING", numberOfStarts: 0 });
  });

  test("revokes what a Revoke message alone names: the result says so, which Mognet forgets", async () => {
    const { app, serve } = await rig();
    const held = gate();
    const client = app("client", []);
    const worker = await serve(app("worker", [held.task]));
    const result = await client.submit("gate");
    await until(() => held.begun.length === 1, "the run");
    const { transport } = client.client;
    const to = { exchange: client.queues.control.name, routingKey: "" };
    await transport.publish(messageOf(encodeMognetRevoke(result.id, randomUUID())), to, { mandatory: false });
    await expect(result.get(TIMEOUT)).rejects.toMatchObject({ code: "TASK_REVOKED" });
    expect(held.reasons).toMatchObject([{ code: "TASK_REVOKED" }]);
    await until(() => worker.active === 0, "nothing in hand");
    held.open();
    await drained(client);
    expect((await result.refresh()).record).toMatchObject({ state: "REVOKED", numberOfStarts: 1, numberOfStops: 1 });
  });

  test("tells whoever waits for a request that cannot be read, and lives on after garbage everywhere", async () => {
    const { app, serve } = await rig();
    const client = app("client", []);
    await serve(app("worker", [add]));
    const result = await client.submit("add", [1, 2], { id: randomUUID(), queueName: null, deadline: 3600 });
    await result.wait(TIMEOUT);
    const { transport, store } = client.client;
    const id = randomUUID();
    await store.create({ result: { ...result.record, id, state: "PENDING", numberOfStarts: 0, numberOfStops: 0 } });
    const bodies = [
      "",
      "{",
      "[]",
      "nonsense",
      `{"id":"x","kind":"Other","payload":{}}`,
      `{"id":"${id}","kind":"Request","payload":{"id":"${id}","name":"add","args":null}}`,
      `{"id":"x","kind":"Revoke","payload":{"id":5}}`,
      `{"id":"x","kind":"Query","payload":{"id":"${id}","name":"Status"}}`,
    ];
    const publish = (body: string, exchange: string, routingKey: string) =>
      transport.publish(
        { body: new TextEncoder().encode(body), contentType: "application/json", headers: {}, properties: {} },
        { exchange, routingKey },
        { mandatory: false },
      );
    for (const body of bodies) {
      await publish(body, client.queues.direct.name, client.names.taskQueue("tasks"));
      await publish(body, client.queues.control.name, "");
    }
    const told = await client.getResult(id);
    await told?.wait(TIMEOUT);
    expect(told?.state).toBe("INVALID");
    expect(await client.run("add", [1, 2], {}, TIMEOUT)).toBe(3);
    expect(await client.nodeStatus({ timeout: 20_000, nodes: 1 })).toMatchObject([{ nodeId: "worker" }]);
    await drained(client);
  });

  test("stops by itself after max_tasks, and leaves the rest to others", async () => {
    const { app, serve } = await rig();
    const client = app("client", []);
    const results = await Promise.all(
      [1, 2, 3, 4, 5].map(async () => {
        await client.connect();
        return client.submit("add", [1, 2]);
      }),
    );
    const worker = await serve(app("worker", [add], { max_tasks: 3, minimum_concurrency: 4 }));
    await worker.finished;
    expect(worker.stats.succeeded).toBe(3);
    await until(async () => (await client.queueStats("tasks")).messageCount === 2, "the rest to be back");
    await serve(app("other", [add]));
    for (const result of results) expect(await result.get(TIMEOUT)).toBe(3);
  });

  test("never loses a paused task, nor one of a deep tree", { timeout: 120_000 }, async () => {
    const { app, serve } = await rig();
    const pausing = task("pausing", { params: { times: z.number() } }, async ({ times }, ctx) => {
      const { state } = mognetContext(ctx);
      const done = await state.get("done", 0);
      if (done >= times) return done;
      await state.set("done", done + 1);
      throw new Pause();
    });
    const down = task("down", { params: { depth: z.number() } }, async ({ depth }, ctx): Promise<number> => {
      return depth === 0 ? 0 : 1 + (await mognetContext(ctx).run<number>("down", { depth: depth - 1 }));
    });
    const client = app("client", [pausing, down]);
    const worker = await serve(app("one", [pausing, down], { minimum_concurrency: 2 }));
    await serve(app("two", [pausing, down], { minimum_concurrency: 2 }));
    const paused = await Promise.all(Array.from({ length: 50 }, () => client.submit(pausing, { times: 10 })));
    for (const result of paused) {
      expect(await result.get({ timeout: 50_000 })).toBe(10);
      expect(result.record).toMatchObject({ numberOfStarts: 11, numberOfStops: 11 });
    }
    const deep = await Promise.all(Array.from({ length: 20 }, () => client.submit(down, { depth: 10 })));
    for (const result of deep) {
      expect(await result.get({ timeout: 50_000 })).toBe(10);
      expect(result.record).toMatchObject({ numberOfStarts: 1, numberOfStops: 1 });
    }
    await until(() => worker.active === 0, "nothing in hand");
    await drained(client);
  });

  test("serves a Celery app and a Mognet app with one definition, one concurrency and one shutdown", async () => {
    const { app, serve, vhost } = await rig();
    let running = 0;
    let most = 0;
    const busy = task("busy", { params: { n: z.number() } }, async ({ n }, ctx) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      await ctx.progress({ n });
      running--;
      return n * 2;
    });
    const down = task("down", { params: { depth: z.number() } }, async ({ depth }, ctx): Promise<number> => {
      return depth === 0 ? 0 : 1 + (await mognetContext(ctx).run<number>("down", { depth: depth - 1 }));
    });
    const celery = new Celery(`lovage-${randomUUID()}`, {
      log: silentLog,
      env: {},
      tasks: [busy],
      broker: vhost.url,
      backend: "cache+memory://",
    });
    ends.push(() => celery.close());
    const mognet = app("both", [busy, down], { minimum_concurrency: 3 });
    const worker = await serve([celery, mognet], { concurrency: 3 });
    expect(worker.concurrency).toBe(3);
    expect([...worker.queueNames].sort()).toEqual(["celery", "tasks"]);
    const fromCelery = await Promise.all(Array.from({ length: 20 }, (_, n) => celery.send(busy, { n })));
    const fromMognet = await Promise.all(Array.from({ length: 20 }, (_, n) => mognet.submit(busy, { n })));
    for (const [n, result] of fromCelery.entries()) expect(await result.get(TIMEOUT)).toBe(2 * n);
    for (const [n, result] of fromMognet.entries()) expect(await result.get(TIMEOUT)).toBe(2 * n);
    expect(most).toBeLessThanOrEqual(3);
    expect(await fromMognet[3]?.getMetadata()).toEqual({ progress: { n: 3 } });
    expect(await mognet.run(down, { depth: 8 }, {}, TIMEOUT)).toBe(8);
    expect(worker.stats.succeeded).toBe(49);
    await worker.stop();
    await worker.finished;
    expect((await mognet.queueStats("tasks")).consumerCount).toBe(0);
  });
});
