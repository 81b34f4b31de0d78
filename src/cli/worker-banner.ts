/** What a worker says of itself when it starts: a banner for a person; where the log is JSON lines, one more of them. */
import type { Mognet } from "../app/mognet.ts";
import type { Worker, WorkerApp } from "../app/worker.ts";
import { Celery } from "../app.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { version } from "../runtime/version.ts";
import { pickBackend, pickBroker } from "../settings/urls.ts";
import { complain } from "./output.ts";

export function introduceWorker(apps: readonly WorkerApp[], running: Worker, level: string, quiet: boolean): void {
  const about = aboutWorker(apps, running);
  const { log } = apps[0]!;
  if (process.stderr.isTTY !== true) log.info(about, "starting");
  else if (!quiet) complain(banner(about, level));
  if (about.tasks.length === 0) log.warn({}, "the app has no task with a handler: whatever comes will be unknown");
}

interface AboutApp {
  app: string;
  broker: string;
  results: string;
}

export interface About extends AboutApp {
  version: string;
  node: string;
  pid: number;
  hostname: string;
  concurrency: number;
  pool: string;
  queues: readonly string[];
  tasks: readonly string[];
  /** The others that it serves. */
  also?: readonly AboutApp[];
}

function aboutWorker(apps: readonly WorkerApp[], running: Worker): About {
  const [first, ...others] = apps.map((app) => (app instanceof Celery ? aboutCelery(app) : aboutMognet(app)));
  const mognet = apps.reduce((sum, app) => sum + (app instanceof Celery ? 0 : app.config.minimum_concurrency), 0);
  return {
    version: version(),
    node: process.versions.node,
    pid: process.pid,
    ...first!,
    hostname: running.hostname,
    concurrency: Number.isFinite(running.concurrency) ? running.concurrency : mognet,
    pool: running.pool,
    queues: running.queueNames,
    tasks: [...running.taskNames].sort(),
    ...(others.length === 0 ? {} : { also: others }),
  };
}

const urls = (list: readonly string[]) => list.map(maskUrl).join(" ; ");

function aboutCelery(app: Celery): AboutApp {
  const broker = pickBroker(app.settings, { purpose: "read" });
  const backend = pickBackend(app.settings);
  return {
    app: app.name,
    broker: broker.embedded ? "files under .lovage/ (no broker_url is set)" : urls(broker.urls),
    results: backend.embedded ? "files under .lovage/" : backend.urls.length === 0 ? "disabled" : urls(backend.urls),
  };
}

function aboutMognet({ name, config }: Mognet): AboutApp {
  const { broker, result_backend: results } = config;
  return { app: name, broker: urls(broker.amqp.url.split(";")), results: urls(results.redis.url.split(";")) };
}

/** Tasks that a banner names; an app may have hundreds. */
const SHOWN_TASKS = 40;

export function banner(about: About, level: string): string {
  const rows = [
    ...[about, ...(about.also ?? [])].flatMap(({ app, broker, results }) => [
      ["app", app],
      ["broker", broker],
      ["results", results],
    ]),
    ["concurrency", `${about.concurrency} (${about.pool})`],
    ["queues", about.queues.join(", ")],
    ["log level", level],
  ];
  const more = about.tasks.length - SHOWN_TASKS;
  return [
    "",
    ` ${about.hostname}   lovage ${about.version}, node ${about.node}, pid ${about.pid}`,
    "",
    ...rows.map(([key = "", value]) => ` ${key.padEnd(12)} ${value}`),
    "",
    " tasks",
    ...about.tasks.slice(0, SHOWN_TASKS).map((name) => `   ${name}`),
    ...(more > 0 ? [`   and ${more} more (lovage list tasks)`] : []),
    "",
    "",
  ].join("\n");
}
