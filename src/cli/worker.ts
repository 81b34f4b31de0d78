/** `lovage worker`: runs the tasks of an app until it is told to stop. */
import type { FleetOptions } from "../app/fleet-member.ts";
import type { Mognet } from "../app/mognet.ts";
import { Worker, type WorkerApp } from "../app/worker.ts";
import { Celery } from "../app.ts";
import { APP_FLAGS, applyAppFlags, openWorkerApps } from "./app-flags.ts";
import { withBroker } from "./broker.ts";
import { type Command, EXIT, type Given, UsageError } from "./command.ts";
import { bearBrokenOutput } from "./output.ts";
import { concurrencyOf, POOL_FLAG, poolOf } from "./pool-flag.ts";
import { type StopSignals, stopSignals } from "./stop-signals.ts";
import { catchStrays } from "./strays.ts";
import { introduceWorker } from "./worker-banner.ts";

export const worker: Command = {
  name: "worker",
  summary: "run the tasks of an app",
  usage: "-A ./app.js [-Q queues] [-c N] [-n name@%h] [-l info]",
  about: [
    "Runs the tasks that the app defines with a handler, from the app's queues or those of -Q. While the broker is away it keeps",
    "trying. SIGTERM or ^C stops it warm: it takes nothing more and lets running tasks end. A second one, or SIGQUIT, stops it",
    "cold: running tasks are cancelled, those with late acks go back to their queue. One more ends the process at once.",
    "A module that exports a Mognet app too, or only one, is served as well: one worker with one concurrency for both.",
    "Exit codes are Celery's: 0, or 1 after ^C and when the worker could not start.",
    "On a terminal the log is readable, otherwise it is one JSON object a line; it goes to standard error.",
  ].join("\n"),
  examples: [
    "lovage worker -A ./app.js",
    "lovage worker -A ./app.ts -Q images,mail -c 50 -n images@%h -l info",
    "lovage worker -A ./app.js -b amqp://guest:guest@localhost:5672// --result-backend redis://localhost:6379/0",
  ],
  flags: {
    ...APP_FLAGS,
    queues: {
      type: "string",
      short: "Q",
      multiple: true,
      value: "NAMES",
      help: "queues to consume, comma separated (default: all of task_queues)",
    },
    "exclude-queues": { type: "string", short: "X", multiple: true, value: "NAMES", help: "queues to leave out" },
    concurrency: {
      type: "string",
      short: "c",
      value: "N",
      help: "tasks in flight (default, and auto: 16 on the event loop, else the number of CPUs)",
    },
    hostname: {
      type: "string",
      short: "n",
      value: "NAME",
      help: "node name; %h host, %n its first part, %d its domain (default celery@%h)",
    },
    pool: POOL_FLAG,
    autoscale: {
      type: "string",
      value: "MAX,MIN",
      help: "let the pool follow the work between MIN (0 when left out) and MAX slots",
    },
    "max-tasks-per-child": { type: "string", value: "N", help: "replace a thread or process after N tasks" },
    "max-memory-per-child": {
      type: "string",
      value: "KIB",
      help: "replace a thread or process that uses more KiB after a task",
    },
    statedb: { type: "string", short: "S", value: "FILE", help: "keep revoked ids over restarts in this file" },
    "prefetch-multiplier": {
      type: "string",
      value: "N",
      help: "messages taken ahead for each task in flight (default 4)",
    },
    "time-limit": { type: "string", value: "SECONDS", help: "hard time limit of tasks" },
    "soft-time-limit": { type: "string", value: "SECONDS", help: "soft time limit of tasks" },
    purge: { type: "boolean", help: "first delete the messages that wait in its queues" },
    discard: { type: "boolean", help: null },
    "task-events": { type: "boolean", short: "E", help: "send task events from the start, for monitors" },
    events: { type: "boolean", help: null },
    "without-gossip": { type: "boolean", help: "do not listen to the other workers" },
    "without-mingle": { type: "boolean", help: "do not ask the other workers at the start what was revoked" },
    "without-heartbeat": { type: "boolean", help: "do not send heartbeats; monitors do not see the worker then" },
    "heartbeat-interval": { type: "string", value: "SECONDS", help: "seconds between heartbeats (default 2)" },
  },
  async run(given) {
    if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
    const concurrency = concurrencyOf(given);
    const autoscale = autoscaleOf(given);
    for (const name of NUMBERS) given.number(name);
    const level = applyAppFlags(given, "info", {
      WORKER_POOL: given.text("pool") === "prefork" ? "processes" : given.text("pool"),
      WORKER_MAX_TASKS_PER_CHILD: given.text("max-tasks-per-child"),
      WORKER_MAX_MEMORY_PER_CHILD: given.text("max-memory-per-child"),
      WORKER_STATE_DB: given.text("statedb"),
      WORKER_PREFETCH_MULTIPLIER: given.text("prefetch-multiplier"),
      TASK_TIME_LIMIT: given.text("time-limit"),
      TASK_SOFT_TIME_LIMIT: given.text("soft-time-limit"),
      MOGNET_BROKER_AMQP_URL: forMognet(given.text("broker"), /^amqps?:/i),
      MOGNET_RESULT_BACKEND_REDIS_URL: forMognet(given.text("result-backend"), /^(?:rediss?|sentinel):/i),
    });
    bearBrokenOutput();
    const signals = stopSignals.listen();
    const apps = await openWorkerApps(given);
    try {
      return await serve(apps, given, { signals, concurrency, autoscale, level });
    } finally {
      for (const app of apps) await app.close();
      signals.close();
    }
  },
};

const NUMBERS = ["prefetch-multiplier", "time-limit", "soft-time-limit", "max-tasks-per-child", "max-memory-per-child"];

/** A flag counts for every app of the module that can do with its value. */
function forMognet(url: string | undefined, scheme: RegExp): string | undefined {
  return url !== undefined && scheme.test(url) ? url : undefined;
}

interface Serving {
  signals: StopSignals;
  concurrency: number | undefined;
  autoscale: { max: number; min: number; swapped: boolean } | undefined;
  level: string;
}

async function serve(apps: readonly WorkerApp[], given: Given, serving: Serving): Promise<number> {
  const { signals, concurrency, autoscale, level } = serving;
  const log = apps[0]!.log;
  const celery = apps.find((app) => app instanceof Celery);
  if (celery === undefined) onlyForCelery(given);
  const queues = selectedQueues(apps, given);
  const name = given.text("hostname");
  const pool = poolOf(given);
  const running = new Worker(apps, {
    ...(queues === undefined ? {} : { queues }),
    // What -A names is what children load, from wherever the app came.
    module: given.text("app") ?? process.env.LOVAGE_APP ?? "",
    ...(pool === undefined ? {} : { pool }),
    ...(autoscale === undefined ? {} : { autoscale: { max: autoscale.max, min: autoscale.min } }),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(name === undefined ? {} : { name }),
    ...fleetOf(given),
  });
  if (autoscale?.swapped) {
    const { max, min } = autoscale;
    log.warn({ max, min }, "--autoscale is MAX,MIN: the larger number is taken for MAX, as Celery does");
  }
  introduceWorker(apps, running, level, given.on("quiet"));
  let failed = false;
  const strays = catchStrays(log, () => {
    failed = true;
    running.stop("warm").catch((error: unknown) => log.error({ err: error }, "shutdown failed"));
  });
  try {
    if (given.on("purge") || given.on("discard")) await purgeAll(apps, running);
    signals.attach({
      stop(mode, signal) {
        log.warn({ signal, active: running.active }, `${mode} shutdown`);
        running.stop(mode).catch((error: unknown) => log.error({ err: error }, "shutdown failed"));
      },
    });
    await Promise.race([running.start(), running.finished]).catch((error: unknown) => {
      // Told to stop while it was still looking for its broker.
      if (signals.first === null && !failed) throw error;
    });
    await running.finished;
  } finally {
    await running.stop("cold");
    strays.close();
  }
  log.info({ ...running.stats }, "stopped");
  return failed ? EXIT.failed : signals.exitCode;
}

function fleetOf(given: Given): FleetOptions {
  const interval = given.number("heartbeat-interval");
  return {
    ...(given.on("task-events") || given.on("events") ? { events: true } : {}),
    ...(given.on("without-gossip") ? { gossip: false } : {}),
    ...(given.on("without-mingle") ? { mingle: false } : {}),
    ...(given.on("without-heartbeat") ? { heartbeat: false } : {}),
    ...(interval === undefined ? {} : { heartbeatInterval: interval }),
  };
}

/** Flags that a Mognet app has no meaning for. */
function onlyForCelery(given: Given): void {
  for (const flag of ONLY_FOR_CELERY) {
    if (given.text(flag) !== undefined || given.on(flag))
      throw new UsageError(`--${flag} is for Celery apps, and the module exports none`);
  }
}

const ONLY_FOR_CELERY = [
  "prefetch-multiplier",
  "time-limit",
  "soft-time-limit",
  "autoscale",
  "max-tasks-per-child",
  "max-memory-per-child",
  "statedb",
  "task-events",
  "events",
  "heartbeat-interval",
];

/** `10,3`, in either order, or `10`: from 0. wire: celery/bin/worker.py `Autoscale`. */
function autoscaleOf(given: Given): { max: number; min: number; swapped: boolean } | undefined {
  const text = given.text("autoscale");
  if (text === undefined) return undefined;
  const [first = Number.NaN, second = 0, ...more] = text
    .split(",")
    .map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const [max, min] = [Math.max(first, second), Math.min(first, second)];
  if (more.length > 0 || !Number.isInteger(max) || !Number.isInteger(min) || max < 1 || min < 0) {
    throw new UsageError(`--autoscale is MAX,MIN in whole numbers, not ${text}`);
  }
  return { max, min, swapped: first < second };
}

/** Undefined: what each app consumes by itself. */
function selectedQueues(apps: readonly WorkerApp[], given: Given): string[] | undefined {
  const excluded = new Set(given.list("exclude-queues"));
  const named = given.list("queues");
  if (named.length === 0 && excluded.size === 0) return undefined;
  const all = named.length > 0 ? named : apps.flatMap((app) => queuesOf(app));
  const queues = [...new Set(all)].filter((name) => !excluded.has(name));
  if (queues.length === 0) throw new UsageError("no queue is left to consume");
  return queues;
}

function queuesOf(app: WorkerApp): readonly string[] {
  return app instanceof Celery ? app.queues.configured.map((queue) => queue.name) : app.queues.consumed;
}

async function purgeAll(apps: readonly WorkerApp[], running: Worker): Promise<void> {
  for (const app of apps) {
    const queues = running.queuesOf(app);
    if (queues.length === 0) continue;
    if (app instanceof Celery) await purgeCelery(app, queues);
    else await purgeMognet(app, queues);
  }
}

async function purgeCelery(app: Celery, queues: readonly string[]): Promise<void> {
  const selected = app.selectQueues(queues);
  // Like the worker itself it waits for its broker.
  await withBroker(app, 2 ** 31 - 1, async (transport) => {
    await transport.declare(selected);
    for (const queue of queues) app.log.info({ queue, messages: await transport.purge(queue) }, "purged");
  });
}

async function purgeMognet(app: Mognet, queues: readonly string[]): Promise<void> {
  await app.connect();
  const { transport } = app.client;
  await transport.declare(queues.map((queue) => app.queues.task(queue)));
  for (const queue of queues) {
    app.log.info({ queue, messages: await transport.purge(app.names.taskQueue(queue)) }, "purged");
  }
}
