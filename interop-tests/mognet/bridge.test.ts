/** A request of Python's Mognet that Python's Celery carries out, and the reverse; only the bridge in between is ours. */
import { randomBytes, randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { viaCelery, viaMognet } from "../../src/app/bridge.ts";
import { Mognet } from "../../src/app/mognet.ts";
import { Worker } from "../../src/app/worker.ts";
import { Celery } from "../../src/app.ts";
import { silentLog } from "../../src/runtime/log.ts";
import {
  type PythonClient,
  PythonMognetClient,
  type PythonMognetWorker,
  type PythonWorker,
  type RedisServer,
  startPythonClient,
  startPythonMognetWorker,
  startPythonWorker,
  startRedis,
  type TempVhost,
  tempFolder,
  tempVhost,
  waitFor,
} from "../../src/testing/index.ts";
import { service } from "./fleet.ts";

/** Celery's tasks that Mognet's clients can ask for. */
const carried = ["add", "fail", "slow", "hold", "request_info"];

describe.each(["RabbitMQ", "Redis"])("a bridge between Mognet and Celery on %s", (celeryBroker) => {
  const name = `bridge${randomBytes(4).toString("hex")}`;
  let vhost: TempVhost;
  let celeryRedis: RedisServer;
  let mognet: Mognet;
  let celery: Celery;
  let bridge: Worker;
  let mognetWorker: PythonMognetWorker;
  let celeryWorker: PythonWorker;
  let mognetClient: PythonMognetClient;
  let celeryClient: PythonClient;

  beforeAll(async () => {
    vhost = await tempVhost(service("LOVAGE_TEST_RABBITMQ_API"), service("LOVAGE_TEST_AMQP_URL"));
    const redis = service("LOVAGE_TEST_REDIS_URL");
    const python = service("LOVAGE_TEST_PYTHON_MOGNET");
    // Python's Celery tasks are in `celery`; those that Mognet carries out come over `to-mognet`.
    celeryRedis = await startRedis();
    const broker = celeryBroker === "Redis" ? celeryRedis.url : vhost.url;
    const settings = {
      broker_url: broker,
      result_backend: redis,
      result_expires: 600,
      task_queue_max_priority: 10,
      task_track_started: true,
    };
    celery = new Celery(name, { settings, log: silentLog, env: {} });
    mognet = new Mognet(name, {
      config: {
        node_id: "bridge",
        broker: { amqp: { url: vhost.url } },
        result_backend: { redis: { url: redis } },
        state_backend: { redis: { url: redis } },
        task_routes: Object.fromEntries(carried.map((task) => [`celery.${task}`, "to-celery"])),
        task_queues: { include: ["to-celery"] },
        minimum_concurrency: 50,
      },
      log: silentLog,
      env: {},
    });
    mognet.register(...carried.map((task) => viaCelery(celery, `fixture.${task}`, { name: `celery.${task}` })));
    celery.register(
      ...["add", "fail", "slow", "request"].map((task) =>
        viaMognet(mognet, `fixture.${task}`, { name: `mognet.${task}`, celery }),
      ),
    );
    const mognetPython = { python, broker: vhost.url, redis, name };
    [mognetWorker, celeryWorker, mognetClient, celeryClient] = await Promise.all([
      startPythonMognetWorker({
        ...mognetPython,
        node: "py-1",
        concurrency: 4,
        keepPaused: true,
        keepConnections: true,
      }),
      startPythonWorker({ broker, backend: redis, settings, queues: ["celery"], concurrency: 3 }),
      PythonMognetClient.start({ ...mognetPython, config: { task_routes: mognet.config.task_routes } }),
      startPythonClient({ broker, backend: redis, settings }),
    ]);
    bridge = await startBridge();
  });

  function startBridge(): Promise<Worker> {
    return new Worker([celery, mognet], { concurrency: 50, queues: ["to-mognet", "to-celery"] }).start();
  }

  /** Python's Celery sends it, our worker hands it to Python's Mognet. */
  function sendToMognet(task: string, args: readonly unknown[], options: object = {}): Promise<string> {
    return celeryClient.send(`mognet.${task}`, args, {}, { queue: "to-mognet", ...options });
  }

  /** Sends a task that expires, and with more time once more, until its request has come to one of these states in Mognet before that. */
  async function sendInTime(
    task: string,
    argsFor: (expires: number) => readonly unknown[],
    states: readonly string[],
  ): Promise<{ id: string }> {
    for (let expires = 1; ; expires *= 2) {
      const id = await sendToMognet(task, argsFor(expires), { expires });
      const inTime = async () => states.includes((await mognetClient.result(id))?.state ?? "");
      await waitFor(async () => (await inTime()) || (await celeryState(id)) === "REVOKED");
      if (await inTime()) return { id };
    }
  }

  async function celeryState(id: string): Promise<string> {
    return (await celeryClient.state(id)).state;
  }

  afterAll(async () => {
    await bridge?.stop();
    await celery?.close();
    await mognet?.close();
    await Promise.all([mognetClient, celeryClient].map((client) => client?.[Symbol.asyncDispose]()));
    await Promise.all([mognetWorker, celeryWorker].map((worker) => worker?.stop({ grace: 5_000 })));
    await vhost?.[Symbol.asyncDispose]();
    await celeryRedis?.[Symbol.asyncDispose]();
  });

  describe("a Mognet request that Celery carries out", () => {
    test("gets the value, under one id", async () => {
      const id = await mognetClient.submit("celery.add", [2], { y: 3 });
      expect(await mognetClient.get(id)).toMatchObject({ state: "SUCCESS", value: 5 });
      expect(await celeryClient.state(id)).toMatchObject({ state: "SUCCESS", info: { value: 5 } });
    });

    test("fails with Python's own class and words", async () => {
      const id = await mognetClient.submit("celery.fail", ["KeyError", "no such tea"]);
      expect(await mognetClient.get(id)).toMatchObject({ state: "FAILURE" });
      const value = (await mognetClient.value(id)).raw_value as Record<string, string>;
      expect(value).toMatchObject({ name: "builtins:KeyError", message: expect.stringContaining("no such tea") });
    });

    test("is revoked with its Celery task, which ends", async () => {
      const id = await mognetClient.submit("celery.slow", [600]);
      await waitFor(async () => (await mognetClient.result(id))?.state === "RUNNING");
      await waitFor(async () => (await celeryClient.state(id)).state === "STARTED");
      await mognetClient.revoke(id);
      await waitFor(async () => (await celeryState(id)) === "REVOKED");
      expect((await mognetClient.result(id))?.state).toBe("REVOKED");
      const next = await mognetClient.submit("celery.add", [1, 1]);
      expect(await mognetClient.get(next)).toMatchObject({ value: 2 });
    });

    test("is revoked when someone revokes the Celery task", async () => {
      const id = await mognetClient.submit("celery.slow", [600]);
      await waitFor(async () => (await celeryState(id)) === "STARTED");
      await celeryClient.revoke(id, { terminate: true });
      expect(await mognetClient.get(id)).toMatchObject({ state: "REVOKED" });
    });

    test("takes its deadline along: what runs is ended, what waits expires", async () => {
      // With more time once more, where the deadline came before Celery had begun.
      for (let seconds = 1, begun = false; !begun; seconds *= 2) {
        const id = await mognetClient.submit("celery.slow", [600], {}, { deadline: `PT${seconds}S` });
        const look = async () => {
          begun = (await celeryState(id)) === "STARTED";
          return begun || (await mognetClient.result(id))?.state === "REVOKED";
        };
        await waitFor(look, { timeout: 60_000 });
        expect(await mognetClient.get(id)).toMatchObject({ state: "REVOKED" });
        if (begun) await waitFor(async () => (await celeryState(id)) === "REVOKED");
      }
    });

    test("is as urgent there as it was here", async () => {
      const seen = async (priority: number) => {
        const { value } = (await mognetClient.get(
          await mognetClient.submit("celery.request_info", [], {}, { priority }),
        )) as {
          value: { delivery_info: { priority: number | null } };
        };
        return value.delivery_info.priority;
      };
      const urgent = [await seen(9), await seen(5), await seen(1)];
      // On Redis less is sooner, and what nobody has chosen is most urgent.
      expect(urgent).toEqual(celeryBroker === "Redis" ? [0, 0, 7] : [9, 0, 0]);
    });

    test("is not sent again when its bridge stops and another takes over", async () => {
      await using folder = await tempFolder("bridge");
      const gate = folder.join("gate");
      const id = await mognetClient.submit("celery.hold", [gate, 90]);
      await waitFor(async () => (await celeryState(id)) === "STARTED");
      await bridge.stop("cold");
      expect((await mognetClient.result(id))?.state).toBe("SUSPENDED");
      bridge = await startBridge();
      writeFileSync(gate, "");
      expect(await mognetClient.get(id)).toMatchObject({ state: "SUCCESS", value: gate });
      expect((await celeryClient.queue("celery"))?.messages ?? 0).toBe(0);
      expect((await mognetClient.result(id))?.number_of_starts).toBe(2);
    });
  });

  describe("a Celery task that Mognet carries out", () => {
    test("gets the value, under one id", async () => {
      const id = await sendToMognet("add", [2, 3]);
      expect(await celeryClient.get(id)).toMatchObject({ state: "SUCCESS", value: 5 });
      expect(await mognetClient.result(id)).toMatchObject({ state: "SUCCESS", name: "fixture.add", node_id: "py-1" });
    });

    test("keeps an id that is no UUID, and fails with Python's own class and words", async () => {
      const id = `mine-${randomUUID()}`;
      await sendToMognet("fail", ["no tea"], { task_id: id });
      const outcome = await celeryClient.get(id);
      expect(outcome).toMatchObject({ state: "FAILURE", raised: { message: expect.stringContaining("no tea") } });
      const wrong = await celeryClient.get(await sendToMognet("add", ["x"]));
      expect(wrong.raised?.type).toBe("InvalidTaskArguments");
    });

    test("fails as revoked when its request is", async () => {
      const id = await sendToMognet("slow", [600]);
      await waitFor(async () => (await mognetClient.result(id))?.state === "RUNNING");
      await mognetClient.revoke(id);
      expect((await celeryClient.get(id)).raised?.type).toBe("TaskRevokedError");
    });

    test("takes its time limits along: the soft one revokes the request", async () => {
      const id = await sendToMognet("slow", [600], { soft_time_limit: 1 });
      expect((await celeryClient.get(id)).raised?.type).toBe("SoftTimeLimitExceeded");
      await waitFor(async () => (await mognetClient.result(id))?.state === "REVOKED");
      await waitFor(async () =>
        (await mognetClient.status({ nodes: 1 })).every(({ payload }) => !payload.running_request_ids.includes(id)),
      );
    });

    test("that expires before Mognet begins it is revoked there; one that has begun takes its time", async () => {
      const held = await Promise.all(Array.from({ length: 4 }, () => sendToMognet("slow", [600])));
      for (const id of held) await waitFor(async () => (await mognetClient.result(id))?.state === "RUNNING");
      const { id } = await sendInTime("add", () => [1, 2], ["PENDING", "REVOKED"]);
      await waitFor(async () => (await mognetClient.result(id))?.state === "REVOKED");
      expect((await celeryClient.get(id)).raised?.type).toBe("TaskRevokedError");
      expect((await mognetClient.result(id))?.number_of_starts).toBe(0);
      for (const other of held) await mognetClient.revoke(other);
      for (const other of held) expect((await celeryClient.get(other)).raised?.type).toBe("TaskRevokedError");
      const begun = await sendInTime("slow", (expires) => [2 * expires, "in time"], ["RUNNING", "SUCCESS"]);
      expect(await celeryClient.get(begun.id)).toMatchObject({ state: "SUCCESS", value: "in time" });
    });

    test("is as urgent there as it was here", async () => {
      const request = await sendToMognet("request", [], { priority: 8 });
      // On Redis less is sooner.
      const there = celeryBroker === "Redis" ? 0 : 8;
      expect(await celeryClient.get(request)).toMatchObject({ value: { priority: there } });
      const usual = await sendToMognet("request", []);
      expect(await celeryClient.get(usual)).toMatchObject({ value: { priority: 5 } });
    });
  });
});
