/** What Python's client makes of requests that end oddly in our worker: it waits for each, and none is left open. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Mognet } from "../../app/mognet.ts";
import { Worker } from "../../app/worker.ts";
import { newId } from "../../runtime/ids.ts";
import { silentLog } from "../../runtime/log.ts";
import { task } from "../../tasks/definition.ts";
import { startPythonMognetClient, tempVhost, testService } from "../../testing/index.ts";

const redis = testService("LOVAGE_TEST_REDIS_URL");
const amqp = testService("LOVAGE_TEST_AMQP_URL");
const api = testService("LOVAGE_TEST_RABBITMQ_API");
const python = testService("LOVAGE_TEST_PYTHON_MOGNET");
const ready = redis !== undefined && amqp !== undefined && api !== undefined && python !== undefined;

const LATE_MS = 1_500;
const tasks = [
  task("ok", () => "ok"),
  task("unreadable", async () => ({
    toJSON() {
      throw new RangeError("no form");
    },
  })),
  task("busy", () => {
    for (const until = Date.now() + LATE_MS; Date.now() < until; ) Math.random();
    return "too late";
  }),
];

test.skipIf(!ready)(
  "Python's client is told how requests ended whose body, deadline or result is odd, and goes on",
  async () => {
    const name = `endings-${newId().slice(0, 8)}`;
    await using vhost = await tempVhost(api ?? "", amqp ?? "");
    const store = { redis: { url: redis ?? "" } };
    const config = { broker: { amqp: { url: vhost.url } }, result_backend: store, state_backend: store };
    await using app = new Mognet(name, { config, tasks, log: silentLog, env: {} });
    await app.connect();
    await using client = await startPythonMognetClient({
      python: python ?? "",
      broker: vhost.url,
      redis: redis ?? "",
      name,
    });
    const unreadable = await client.submit("unreadable");
    const busy = await client.submit("busy", [], {}, { deadline: (LATE_MS - 500) / 1000 });
    const [spelled, spoilt, below] = [await client.submit("ok"), await client.submit("ok"), await client.submit("ok")];
    const server = new Redis(redis ?? "");
    try {
      await server.hset(app.names.resultKey(spelled), "number_of_starts", "1.0", "number_of_stops", "1");
      await server.multi().del(app.names.resultKey(spoilt)).set(app.names.resultKey(spoilt), "x").exec();
      await using _worker = await new Worker(app).start();
      expect(await client.get(below)).toMatchObject({ state: "SUCCESS", value: "ok" });
      expect(await client.get(unreadable)).toMatchObject({ state: "FAILURE", raised: { type: "ValueError" } });
      expect(await client.get(busy)).toMatchObject({ state: "REVOKED", raised: { type: "Revoked" } });
      expect(await client.get(spelled)).toMatchObject({ state: "SUCCESS", value: "ok" });
      expect(await client.result(spelled)).toMatchObject({ number_of_starts: 2, number_of_stops: 2 });
      expect(await client.get(spoilt)).toMatchObject({ state: "FAILURE" });
      expect(await client.get(await client.submit("ok"))).toMatchObject({ state: "SUCCESS", value: "ok" });
      await server.unlink(...(await server.keys(`${name}.*`)));
    } finally {
      server.disconnect();
    }
  },
);
