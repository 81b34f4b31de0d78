/** Bridges whose connection is lost. With Python at both ends: interop-tests/mognet/bridge.test.ts. */
import { randomUUID } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { Celery } from "../app.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { haveRabbit, makeVhost, Proxy } from "../transports/amqp-rig.contract.ts";
import { until } from "../transports/transport.contract.ts";
import { viaCelery } from "./bridge.ts";
import { Mognet } from "./mognet.ts";
import { Worker } from "./worker.ts";

const redis = process.env.LOVAGE_TEST_REDIS_URL;
const TIMEOUT = { timeout: 20_000 };

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
}, 30_000);

test.runIf(haveRabbit() && redis !== undefined)(
  "a bridge whose request has gone to another one leaves the Celery task alone",
  { timeout: 60_000 },
  async () => {
    const vhost = await makeVhost();
    ends.push(() => vhost.remove());
    const proxy = await Proxy.before(vhost.url);
    ends.push(() => proxy.close());
    const name = `lovage-${randomUUID()}`;

    const begun: string[] = [];
    let open: (value: string) => void = () => undefined;
    const hold = task("hold", { params: {} }, (_params, ctx) => {
      begun.push(ctx.id);
      return new Promise<string>((resolve, reject) => {
        open = resolve;
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason), { once: true });
      });
    });
    const celery = new Celery(name, {
      broker: "memory://",
      backend: "memory://",
      log: silentLog,
      env: {},
      tasks: [hold],
    });
    ends.push(() => celery.close());
    const celeryWorker = await new Worker(celery).start();
    ends.push(() => celeryWorker.stop("cold"));

    const store = { redis: { url: redis ?? "" } };
    const node = (id: string, url: string) => {
      const broker = { amqp: { url } };
      const config = { node_id: id, reconnect_interval: 0.2, broker, result_backend: store, state_backend: store };
      const app = new Mognet(name, { config, log: silentLog, env: {} });
      ends.push(() => app.close());
      return app;
    };
    const bridge = async (app: Mognet) => {
      app.register(viaCelery(celery, "hold"));
      const worker = await new Worker(app).start();
      ends.push(() => worker.stop("cold"));
      return worker;
    };

    const client = node("client", vhost.url);
    const cutOff = await bridge(node("cut off", proxy.url));
    const result = await client.submit("hold");
    await until(
      async () => begun.length === 1 && (await client.client.store.state.get(result.id, "lovage.via_celery")) === true,
      "the Celery task to run",
    );
    await proxy.refuse();
    await bridge(node("heir", vhost.url));
    await until(async () => (await result.refresh()).nodeId === "heir", "the other bridge to have it");
    await proxy.listen();
    await until(() => cutOff.active === 0, "the first bridge to let go of it");
    expect(await celery.result(result.id).state()).not.toBe("REVOKED");
    open("kept");
    expect(await result.get(TIMEOUT)).toBe("kept");
    expect(begun).toEqual([result.id]);
  },
);
