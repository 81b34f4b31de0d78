import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assertDrained } from "./assert-drained.ts";
import { PeerFailed, PythonRaised } from "./errors.ts";
import { type PythonMognetClient, startPythonMognetClient } from "./python-mognet-client.ts";
import { type PythonMognetWorker, startPythonMognetWorker } from "./python-mognet-worker.ts";
import { rabbitmqApi, type TempVhost, tempVhost } from "./rabbitmq-api.ts";
import { testService } from "./services.ts";
import { waitFor } from "./wait.ts";

const python = testService("LOVAGE_TEST_PYTHON_MOGNET");
const redis = testService("LOVAGE_TEST_REDIS_URL");
const amqp = testService("LOVAGE_TEST_AMQP_URL");
const api = testService("LOVAGE_TEST_RABBITMQ_API");

describe.skipIf(!python || !redis || !amqp || !api)("Mognet peers", () => {
  const name = `peers-${randomUUID().slice(0, 8)}`;
  let vhost: TempVhost;
  let worker: PythonMognetWorker;
  let client: PythonMognetClient;

  const common = () => ({ broker: vhost.url, redis: redis as string, name });
  const drained = () => assertDrained({ api: rabbitmqApi(api as string), vhost: vhost.name }, [`${name}.tasks`]);

  beforeAll(async () => {
    vhost = await tempVhost(api as string, amqp as string);
    [worker, client] = await Promise.all([
      startPythonMognetWorker({ ...common(), node: `${name}-worker`, keepPaused: true, keepConnections: true }),
      startPythonMognetClient(common()),
    ]);
  });

  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await worker?.[Symbol.asyncDispose]();
    await vhost?.[Symbol.asyncDispose]();
    const connection = new Redis(redis as string);
    const keys = await connection.keys(`${name}.*`);
    if (keys.length > 0) await connection.unlink(...keys);
    connection.disconnect();
  });

  test("a request is answered, and Python says what the value is", async () => {
    const id = await client.submit("fixture.add", [1], { b: 2.5 }, { metadata: { who: "me" }, priority: 9 });
    expect(await client.get(id)).toEqual({ state: "SUCCESS", value: 3.5, repr: "3.5", type: "builtins:float" });
    expect(await client.result(id)).toMatchObject({
      state: "SUCCESS",
      number_of_starts: 1,
      number_of_stops: 1,
      node_id: worker.node,
      request_kwargs_repr: "1, b=2.5",
      metadata: { who: "me" },
      children: [],
    });
    expect(await client.value(id)).toEqual({ value_type: "builtins:float", raw_value: 3.5 });
    await drained();
    worker.assertAlive();
  });

  test("values keep their Python types, and errors are data", async () => {
    const order = await client.get(await client.submit("fixture.value", ["model"]));
    expect(order).toMatchObject({ type: "mognet_app.models:Order", value: { items: [{ price: "1.10" }, {}] } });
    const failed = await client.get(await client.submit("fixture.raise", ["custom"]));
    expect(failed).toMatchObject({ state: "FAILURE", raised: { type: "ShopError", message: "E1: sold out" } });
    const invalid = await client.get(await client.submit("fixture.add", ["x"]));
    expect(invalid).toMatchObject({ state: "INVALID", raised: { type: "InvalidTaskArguments" } });
  });

  test("trees, metadata, pauses and deletion", async () => {
    const id = await client.submit("fixture.tree", [3, 2]);
    expect(await client.get(id)).toMatchObject({ value: 7 });
    expect((await client.result(id))?.children).toHaveLength(2);
    const tree = await client.tree(id);
    expect(tree.children.map(({ children }) => children.length)).toEqual([2, 2]);
    expect(tree.children[0]?.result.parent_id).toBe(id);
    await client.setMetadata(id, { late: [1] });
    expect((await client.result(id))?.metadata).toEqual({ late: [1] });
    await client.delete(id);
    expect(await client.result(id)).toBeNull();
    const paused = await client.submit("fixture.checkpoints");
    expect(await client.get(paused)).toMatchObject({ state: "SUCCESS", value: { left: null } });
  });

  test("paused tasks are kept when asked for", async () => {
    const ids = await Promise.all(Array.from({ length: 25 }, () => client.submit("fixture.pause", [4])));
    const ends = await Promise.all(ids.map((id) => client.get(id)));
    expect(ends.map((end) => [end.state, end.raised ?? end.value])).toEqual(ids.map(() => ["SUCCESS", 4]));
    await drained();
  });

  test("a running request shows in the status of its node and can be revoked", async () => {
    const id = await client.submit("fixture.slow", [60]);
    await waitFor(async () => (await client.result(id))?.state === "RUNNING", { describe: "it to run" });
    const [reply] = await client.status({ nodes: 1, timeout: 20_000 });
    expect(reply).toMatchObject({ node_id: worker.node, payload: { running_request_ids: [id] } });
    expect(await client.revoke(id)).toMatchObject({ state: "REVOKED" });
    expect(await client.get(id)).toMatchObject({ state: "REVOKED", raised: { type: "Revoked" } });
    await drained();
  });

  test("queues are counted and purged", async () => {
    expect(await client.queue("tasks")).toEqual({ messages: 0, consumers: 1 });
    await expect(client.queue("nowhere")).rejects.toBeInstanceOf(PythonRaised);
    expect(await client.purge()).toEqual({ tasks: 0 });
  });

  test("any Python text runs in the client, and may await", async () => {
    expect(await client.run("answer = [app.name, await asyncio.sleep(0, 3), x]", { x: 1 })).toEqual([name, 3, 1]);
    await expect(client.run("raise KeyError('x')")).rejects.toMatchObject({ type: "KeyError" });
  });

  test("a worker of another module, with queues and configuration of its own, is watched to its end", async () => {
    const other = await startPythonMognetWorker({
      ...common(),
      app: "mognet_app.app:app",
      config: { task_routes: { "fixture.echo": "left", "fixture.add": "right" }, max_retries: 1 },
      includeQueues: ["left"],
      concurrency: 1,
    });
    expect(await client.queue("left")).toMatchObject({ consumers: 1 });
    await expect(client.queue("right"), "what is not included is not declared either").rejects.toMatchObject({
      type: "QueueNotFound",
    });
    expect(await other.stop()).toEqual({ code: 0, signal: null });
    expect(() => other.assertAlive()).toThrow(PeerFailed);
    expect(other.log()).toMatch(/Closed app/);
  });

  test("a worker that cannot start says why", async () => {
    await expect(startPythonMognetWorker({ ...common(), app: "no_such_module" })).rejects.toThrow(/no_such_module/);
    await expect(startPythonMognetClient({ ...common(), app: "no_such_module" })).rejects.toThrow(/no_such_module/);
  });
});
