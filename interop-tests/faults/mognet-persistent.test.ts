/**
 * RabbitMQ crashes and comes back. Mognet's messages are transient, and go with it; those of an app with `lovage.persistent_messages` do
 * not: what waits runs, here or in Python, what pauses begins again, and parents get their children.
 */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { task } from "../../src/index.ts";
import { Mognet, type MognetConfigInput, mognetContext, type Result } from "../../src/mognet.ts";
import { type Log, silentLog } from "../../src/runtime/log.ts";
import { type RabbitmqServer, startRabbitmq, waitFor } from "../../src/testing/index.ts";
import { Worker } from "../../src/worker-entry.ts";
import { fullConfig, makeSite, type Site, service, startWorker } from "../mognet/fleet.ts";
import { ready } from "./mognet-support.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 180_000 });

const LIMITS = { timeout: 60_000 };
const QUEUED = 20;

let rabbitmq: RabbitmqServer;
beforeAll(async () => {
  if (ready) rabbitmq = await startRabbitmq();
});
afterAll(() => rabbitmq?.[Symbol.asyncDispose]());

/** An app whose tasks wait for `open`, pause, and run children of the queue `later`. */
function makeApp(site: Site, name: string, persistent: boolean, queues: readonly string[]) {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const warnings: { task?: unknown; id?: unknown; words?: unknown }[] = [];
  const log: Log = {
    ...silentLog,
    warn: (fields, words) => void warnings.push({ ...fields, words }),
  };
  const runs: string[] = [];
  const child = task("child", (index: number) => index);
  const pausing = task("pausing", async () => {
    const context = mognetContext();
    runs.push("pausing");
    if ((await context.state.get("paused", false)) === true) return "resumed";
    await context.state.set("paused", true);
    await opened;
    return context.pause();
  });
  const parent = task("parent", async () => {
    const context = mognetContext();
    const children = await Promise.all([1, 2].map((index) => context.submit(child, [index])));
    runs.push("parent");
    return context.gather(children);
  });
  const config: MognetConfigInput = {
    ...fullConfig(site),
    task_routes: { child: "later", "fixture.echo": "python" },
    task_queues: { include: queues },
    minimum_concurrency: 5,
    reconnect_interval: 0.2,
    lovage: { persistent_messages: persistent },
  };
  const app = new Mognet(name, { config, env: {}, log, tasks: [child, pausing, parent] });
  return { app, open, runs, warnings };
}

test.skipIf(!ready)("nothing of an app with persistent messages is lost with a broker that crashes", async () => {
  const url = service("LOVAGE_TEST_REDIS_URL");
  const config = { task_routes: { "fixture.echo": "python" } };
  await using site = makeSite({ broker: rabbitmq.url, vhost: "/", api: rabbitmq.apiUrl, redisUrl: url, config });
  const kept = makeApp(site, site.name, true, ["tasks"]);
  const late = makeApp(site, site.name, true, ["later"]);
  const transient = makeApp(site, `${site.name}.transient`, false, ["tasks"]);
  await using keptApp = kept.app;
  await using lateApp = late.app;
  await using transientApp = transient.app;
  // Declares the queue that nobody serves yet.
  await lateApp.connect();
  await using _worker = await new Worker(keptApp).start();
  await using _other = await new Worker(transientApp).start();
  const paused = await keptApp.submit("pausing");
  const parent = await keptApp.submit("parent");
  const gone = await transientApp.submit("pausing");
  const queued: Result[] = [];
  for (let index = 0; index < QUEUED; index++) queued.push(await keptApp.submit("child", [index]));
  const forPython = await Promise.all([1, 2, 3].map((index) => keptApp.submit("fixture.echo", [index])));
  const running = () => kept.runs.length === 2 && transient.runs.length === 1;
  await waitFor(running, { timeout: 60_000, describe: "both tasks of one app and the other's to run" });

  await rabbitmq.stop("SIGKILL");
  await rabbitmq.start();
  for (const { app } of [kept, transient]) {
    const consumed = async () => (await app.queueStats("tasks")).consumerCount === 1;
    await waitFor(consumed, { timeout: 60_000, describe: "the worker to be back" });
  }
  kept.open();
  transient.open();
  await using _late = await new Worker(lateApp).start();
  await using python = await startWorker(site, "python", { queues: ["python"] });

  expect(await paused.get(LIMITS)).toBe("resumed");
  expect(paused.record).toMatchObject({ numberOfStarts: 2, numberOfStops: 2 });
  expect(await parent.get(LIMITS)).toEqual([1, 2]);
  expect(kept.runs.toSorted()).toEqual(["parent", "pausing", "pausing"]);
  expect(await Promise.all(queued.map((result) => result.get(LIMITS)))).toEqual(queued.map((_, index) => index));
  expect(await Promise.all(forPython.map((result) => result.get(LIMITS)))).toEqual([1, 2, 3]);
  python.assertAlive();
  await site.drained(["tasks", "later", "python"]);

  // What cannot be given back is said, with the task's name and what helps.
  const said = () => transient.warnings.find(({ id }) => id === gone.id);
  await waitFor(() => said() !== undefined, { timeout: 60_000, describe: "a warning" });
  expect(said()).toMatchObject({ task: "pausing", words: expect.stringContaining("lovage.persistent_messages") });
  expect((await gone.refresh()).state).toBe("SUSPENDED");
  await site.redis.unlink(...(await site.redis.keys(`${site.name}.transient.*`)));
});
