/**
 * Mognet tasks in threads and processes, for a Python client: what a body can do with its `ctx` there, what becomes of one that is
 * revoked, late, or taken down with its child. The grid runs in a pool too, with `LOVAGE_TEST_MOGNET_POOL=threads` or `processes`.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PeerProcess,
  type PythonMognetClient,
  startNodeWorker,
  startPythonClient,
  startPythonMognetClient,
  waitFor,
} from "../../src/testing/index.ts";
import { fullConfig, openSite, type Site, service } from "./fleet.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_MOGNET !== undefined;
const module = fileURLToPath(new URL("./fixtures/pool-app.mjs", import.meta.url));

describe.skipIf(!ready).each(["threads", "processes"] as const)("Mognet tasks in %s", (pool) => {
  let site: Site;
  let worker: PeerProcess;
  let python: PythonMognetClient;

  const start = (more: readonly string[] = []) =>
    startNodeWorker({
      module,
      args: ["-P", pool, "-c", "2", "-q", "-l", "info", ...more],
      env: {
        FIXTURE_APP: site.name,
        FIXTURE_CONFIG: JSON.stringify({
          ...fullConfig(site),
          task_queues: { include: ["tasks"] },
          services_settings: { greeting: "good day" },
        }),
      },
      ready: /"ready"|\bready\b/,
      timeout: 60_000,
    });

  beforeAll(async () => {
    site = await openSite();
    [worker, python] = await Promise.all([
      start(),
      startPythonMognetClient({
        python: service("LOVAGE_TEST_PYTHON_MOGNET"),
        broker: site.broker,
        redis: site.redisUrl,
        name: site.name,
        node: "python-client",
      }),
    ]);
  });

  afterAll(async () => {
    await python?.[Symbol.asyncDispose]();
    await worker?.[Symbol.asyncDispose]();
    await site?.[Symbol.asyncDispose]();
  });

  const call = async (name: string, args: readonly unknown[] = [], options: object = {}) =>
    python.get(await python.submit(name, args, {}, options), { timeout: 30_000 });
  const valueOf = async (name: string, args?: readonly unknown[]) => {
    const outcome = await call(name, args);
    expect(outcome).toMatchObject({ state: "SUCCESS" });
    return outcome.raised === undefined ? outcome.value : outcome.raised;
  };
  const stateOf = async (id: string) => (await python.result(id))?.state;
  const said = (text: string) => waitFor(() => worker.log().includes(text), { timeout: 20_000, describe: text });

  test("run elsewhere, and give their value", async () => {
    expect(await call("pool.add", [2, 3])).toMatchObject({ state: "SUCCESS", value: 5, type: "builtins:int" });
    const [pid, thread] = (await valueOf("pool.where")) as [number, number];
    if (pool === "threads") expect([pid, thread > 0]).toEqual([worker.pid, true]);
    else expect([pid === worker.pid, thread]).toEqual([false, 0]);
  });

  test("fail with their own class, and are invalid with pydantic's words", async () => {
    const failed = await call("pool.fail");
    expect(failed).toMatchObject({ state: "FAILURE", raised: { type: "KeyError" } });
    const id = await python.submit("pool.fail", []);
    await python.get(id);
    const stored = (await python.value(id)).raw_value as Record<string, string>;
    expect(stored.traceback).toContain("pool-app.mjs");
    const invalid = await call("pool.add", ["x", 3]);
    expect(invalid).toMatchObject({ state: "INVALID", raised: { type: "InvalidTaskArguments" } });
    expect(invalid.raised?.message).toContain("Input should be a valid integer");
  });

  test("have all of their context", async () => {
    expect(await valueOf("pool.everything", [{ float: 1.5, big: 2 ** 60, text: "é", none: null }])).toEqual({
      x: { float: 1.5, big: 2 ** 60, text: "é", none: null },
      values: [3, 7, 3],
      error: ["RemoteTaskError", "KeyError", ["no tea"]],
      metadata: { halfway: true, progress: 0.5 },
      result: { state: "RUNNING", isHere: true },
      services: ["hello you", "good day you"],
      context: [true, "pool.everything", null, 0, false],
      app: true,
      refused: ["NOT_WITH_THIS_PROTOCOL", "NOT_WITH_THIS_PROTOCOL"],
    });
    await said("from inside");
  });

  test("remember over pauses, and start again each time", async () => {
    const id = await python.submit("pool.pausing", [2]);
    expect(await python.get(id, { timeout: 30_000 })).toMatchObject({
      value: [[1.5, 1.5, 1.5], "by default", [1.5, 1.5, 1.5]],
    });
    expect(await python.result(id)).toMatchObject({ number_of_starts: 3, unexpected_retry_count: 0 });
  });

  test("wait for more children than there are places, many parents at once too", async () => {
    expect(await call("pool.down", [5])).toMatchObject({ value: 5 });
    const parents = await Promise.all(Array.from({ length: 3 }, () => python.submit("pool.down", [1])));
    for (const id of parents) expect(await python.get(id, { timeout: 60_000 })).toMatchObject({ value: 1 });
  });

  test("are ended by their deadline whatever they do, and others run on", async () => {
    const busy = await Promise.all([1, 2, 3].map(() => python.submit("pool.busy", [], {}, { deadline: "PT1S" })));
    for (const id of busy) {
      const outcome = await python.get(id, { timeout: 30_000 });
      expect(outcome).toMatchObject({ state: "REVOKED" });
    }
    expect(await call("pool.add", [1, 1])).toMatchObject({ value: 2 });
  });

  test("are revoked whatever they do, and may clean up", async () => {
    const [busy, patient] = [await python.submit("pool.busy", []), await python.submit("pool.parent", [])];
    await waitFor(async () => (await stateOf(busy)) === "RUNNING" && (await stateOf(patient)) === "SUSPENDED");
    const child = await waitFor(async () => (await python.result(patient))?.children[0] ?? null);
    await waitFor(async () => (await python.result(child))?.metadata.progress === 0.1);
    await Promise.all([python.revoke(busy), python.revoke(patient)]);
    expect(await Promise.all([busy, patient, child].map(stateOf))).toEqual(["REVOKED", "REVOKED", "REVOKED"]);
    await said("cleaned up");
    expect(worker.log()).toMatch(/"revoked":true/);
    expect(await call("pool.add", [1, 2])).toMatchObject({ value: 3 });
  });

  test("run again when their child has died, and know of it", async () => {
    const id = await python.submit("pool.crash", []);
    expect(await python.get(id, { timeout: 30_000 })).toMatchObject({ state: "SUCCESS", value: [1, 1] });
    expect(await python.result(id)).toMatchObject({ number_of_starts: 2, number_of_stops: 1 });
  });

  test("go back to their queue when the worker stops, and leave nothing behind", async () => {
    const id = await python.submit("pool.busy", []);
    await waitFor(async () => (await stateOf(id)) === "RUNNING");
    expect(await worker.stop({ grace: 20_000 })).toMatchObject({ code: 0 });
    expect(await stateOf(id)).toBe("SUSPENDED");
    worker = await start();
    await waitFor(async () => (await python.result(id))?.number_of_starts === 2);
    await python.revoke(id);
    expect(await call("pool.add", [1, 3])).toMatchObject({ value: 4 });
    await site.drained(["tasks"]);
  });
});

describe.skipIf(!ready).each(["threads", "processes"] as const)("a worker of both protocols with %s", (pool) => {
  test("runs the tasks of each in children of its own, and no more at a time than it may", async () => {
    await using site = await openSite();
    const celerySettings = { broker_url: site.broker, result_backend: site.redisUrl, task_default_queue: "celery" };
    await using worker = await startNodeWorker({
      module: fileURLToPath(new URL("./fixtures/pool-both.mjs", import.meta.url)),
      args: ["-P", pool, "-c", "1", "-q"],
      env: {
        FIXTURE_APP: site.name,
        FIXTURE_CELERY: JSON.stringify(celerySettings),
        FIXTURE_CONFIG: JSON.stringify({ ...fullConfig(site), task_queues: { include: ["tasks"] } }),
      },
      ready: /"ready"|\bready\b/,
      timeout: 60_000,
    });
    await using celery = await startPythonClient({ broker: site.broker, backend: site.redisUrl });
    await using mognet = await startPythonMognetClient({
      python: service("LOVAGE_TEST_PYTHON_MOGNET"),
      broker: site.broker,
      redis: site.redisUrl,
      name: site.name,
      node: "python-client",
    });
    const viaCelery = async () => celery.get(await celery.send("both.where", [], {}), { timeout: 30_000 });
    const viaMognet = async () => mognet.get(await mognet.submit("both.where"), { timeout: 30_000 });
    const elsewhere = pool === "threads" ? [worker.pid, expect.any(Number)] : [expect.any(Number), 0];
    expect(await viaCelery()).toMatchObject({ value: ["celery", ...elsewhere] });
    expect(await viaMognet()).toMatchObject({ value: ["mognet", ...elsewhere] });

    const busy = await mognet.submit("both.busy");
    await waitFor(async () => (await mognet.result(busy))?.state === "RUNNING");
    const waiting = await celery.send("both.where", [], {});
    // The one place there is taken, whichever protocol took it.
    expect((await celery.get(waiting, { timeout: 1_000 })).raised).toMatchObject({ type: "TimeoutError" });
    await mognet.revoke(busy);
    expect(await celery.get(waiting, { timeout: 30_000 })).toMatchObject({ value: ["celery", ...elsewhere] });
    expect(await worker.stop({ grace: 20_000 })).toMatchObject({ code: 0 });
  });
});
