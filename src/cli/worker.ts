/** `lovage worker`: runs the tasks of an app until it is told to stop. */
import { Worker } from "../app/worker.ts";
import type { Celery } from "../app.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { pickBackend, pickBroker } from "../settings/urls.ts";
import { APP_FLAGS, applyAppFlags, levelOf, openApp } from "./app-flags.ts";
import { type Command, EXIT, UsageError } from "./command.ts";
import { version } from "./version.ts";

export const worker: Command = {
  name: "worker",
  summary: "run the tasks of an app",
  usage: "-A ./app.js [-Q queues] [-c N] [-n name@%h] [-l info]",
  about: [
    "Runs the tasks that the app defines with a handler, from the app's queues or those of -Q.",
    "SIGTERM or one ^C stops it warm: it takes nothing more and lets running tasks end. A second ^C, or SIGQUIT, stops it cold.",
  ].join("\n"),
  examples: [
    "lovage worker -A ./app.js",
    "lovage worker -A ./app.ts -Q images,mail -c 50 -n images@%h -l info",
    "lovage worker -A ./app.js -b 'amqp://guest:guest@localhost:5672//' --result-backend redis://localhost:6379/0",
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
    concurrency: { type: "string", short: "c", value: "N", help: "tasks in flight (default: the number of CPUs)" },
    hostname: {
      type: "string",
      short: "n",
      value: "NAME",
      help: "node name; %h host, %n its first part, %d its domain",
    },
    pool: { type: "string", short: "P", value: "POOL", help: "how tasks run: async, on the event loop" },
    "prefetch-multiplier": {
      type: "string",
      value: "N",
      help: "messages taken ahead for each task in flight (default 4)",
    },
    "time-limit": { type: "string", value: "SECONDS", help: "hard time limit of tasks" },
    "soft-time-limit": { type: "string", value: "SECONDS", help: "soft time limit of tasks" },
    purge: { type: "boolean", help: "delete the waiting messages of its queues first" },
    quiet: { type: "boolean", short: "q", help: "no banner" },
  },
  async run(given) {
    if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
    const level = levelOf(given, "info");
    process.env.LOVAGE_LOG_LEVEL = level;
    applyAppFlags(given, {
      WORKER_POOL: given.text("pool"),
      WORKER_PREFETCH_MULTIPLIER: given.text("prefetch-multiplier"),
      TASK_TIME_LIMIT: given.text("time-limit"),
      TASK_SOFT_TIME_LIMIT: given.text("soft-time-limit"),
    });
    const app = await openApp(given, level, true);
    const excluded = new Set(given.list("exclude-queues"));
    const named = given.list("queues");
    const queues = (named.length > 0 ? named : app.queues.configured.map((queue) => queue.name)).filter(
      (name) => !excluded.has(name),
    );
    if (queues.length === 0) throw new UsageError("no queue is left to consume");
    const concurrency = given.number("concurrency");
    const name = given.text("hostname");
    const running = new Worker(app, {
      queues,
      handleSignals: true,
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(name === undefined ? {} : { name }),
    });
    if (!given.on("quiet")) process.stderr.write(banner(app, running, level));
    if (running.taskNames.length === 0)
      app.log.warn({}, "the app has no task with a handler: everything will be unknown");
    try {
      if (given.on("purge")) await purgeAll(app, queues);
      await Promise.race([running.start(), running.finished]);
      await running.finished;
    } finally {
      await running.stop("cold");
      await app.close();
    }
    return EXIT.ok;
  },
};

async function purgeAll(app: Celery, queues: readonly string[]): Promise<void> {
  await app.transport.connect();
  await app.transport.declare(app.selectQueues(queues));
  for (const queue of queues) app.log.info({ queue, messages: await app.transport.purge(queue) }, "purged");
}

function banner(app: Celery, running: Worker, level: string): string {
  const broker = pickBroker(app.settings, { purpose: "read" });
  const backend = pickBackend(app.settings);
  const urls = (list: readonly string[]) => list.map(maskUrl).join(" ; ");
  const rows = [
    ["app", `${app.name}`],
    ["broker", broker.embedded ? `files under .lovage/ (no broker_url is set)` : urls(broker.urls)],
    ["results", backend.urls.length === 0 ? "disabled" : urls(backend.urls)],
    ["concurrency", `${running.concurrency} (${app.settings.worker_pool})`],
    ["queues", running.queueNames.join(", ")],
    ["log level", level],
  ];
  const tasks = [...running.taskNames].sort().map((name) => `  . ${name}`);
  return [
    "",
    ` lovage ${version()}  ${running.hostname}  node ${process.versions.node}, pid ${process.pid}`,
    "",
    ...rows.map(([key = "", value]) => ` ${key.padEnd(12)} ${value}`),
    "",
    " [tasks]",
    ...tasks,
    "",
    "",
  ].join("\n");
}
