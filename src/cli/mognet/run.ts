/** `lovage mognet run`: serves an app until it is told to stop. wire: mognet/cli/run.py. */
import type { Mognet } from "../../app/mognet.ts";
import { Worker } from "../../app/worker.ts";
import { maskUrl } from "../../runtime/credentials.ts";
import { version } from "../../runtime/version.ts";
import type { PoolName } from "../../worker/pools/pool.ts";
import { EXIT } from "../command.ts";
import { bearBrokenOutput, complain } from "../output.ts";
import type { StopSignals } from "../stop-signals.ts";
import { catchStrays } from "../strays.ts";

export interface RunOptions {
  /** Where tasks run. @default async */
  pool?: PoolName;
  concurrency?: number;
  /** What children of a pool load. */
  module?: string;
}

export interface Running extends RunOptions {
  signals: StopSignals;
  quiet: boolean;
}

/** 0 when it was told to stop, by whichever signal, as Mognet's. Throws when it could not start. */
export async function runMognet(app: Mognet, { signals, quiet, ...options }: Running): Promise<number> {
  bearBrokenOutput();
  const { log } = app;
  try {
    const worker = new Worker([app], options);
    introduce(app, worker, quiet);
    let thrown = false;
    const strays = catchStrays(log, () => {
      thrown = true;
      worker.stop("warm").catch((error: unknown) => log.error({ err: error }, "shutdown failed"));
    });
    try {
      signals.attach({
        stop(mode, signal) {
          log.warn({ signal, active: worker.active }, `${mode} shutdown`);
          worker.stop(mode).catch((error: unknown) => log.error({ err: error }, "shutdown failed"));
        },
      });
      await Promise.race([worker.start(), worker.finished]).catch((error: unknown) => {
        // Told to stop while it was still looking for its broker.
        if (signals.first === null && !thrown) throw error;
      });
      await worker.finished;
    } finally {
      await worker.stop("cold");
      strays.close();
    }
    log.info({ ...worker.stats }, "stopped");
    return thrown ? EXIT.failed : EXIT.ok;
  } finally {
    await app.close();
    signals.close();
  }
}

/** A banner for a person; where the log is JSON lines, one more of them. */
function introduce(app: Mognet, worker: Worker, quiet: boolean): void {
  const { config, log, name } = app;
  const about = {
    version: version(),
    node: process.versions.node,
    pid: process.pid,
    app: name,
    nodeId: config.node_id,
    broker: config.broker.amqp.url.split(";").map(maskUrl).join(" ; "),
    results: config.result_backend.redis.url.split(";").map(maskUrl).join(" ; "),
    concurrency: worker.concurrency,
    pool: worker.pool,
    queues: worker.queueNames,
    tasks: [...worker.taskNames].sort(),
  };
  if (process.stderr.isTTY !== true) log.info(about, "starting");
  else if (!quiet) complain(banner(about));
  if (about.tasks.length === 0) log.warn({}, "the app has no task with a handler: whatever comes will be unknown");
}

function banner(about: Record<string, unknown> & { queues: readonly string[]; tasks: readonly string[] }): string {
  const shown = ["app", "broker", "results", "concurrency", "pool"].map((key) => [key, String(about[key])]);
  const rows = [...shown, ["queues", about.queues.join(", ")]];
  return [
    "",
    ` ${String(about.nodeId)}   lovage ${String(about.version)}, node ${String(about.node)}, pid ${String(about.pid)}`,
    "",
    ...rows.map(([key = "", value]) => ` ${key.padEnd(12)} ${value}`),
    "",
    " tasks",
    ...about.tasks.slice(0, 40).map((task) => `   ${task}`),
    ...(about.tasks.length > 40 ? [`   and ${about.tasks.length - 40} more`] : []),
    "",
    "",
  ].join("\n");
}
