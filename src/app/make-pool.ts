/** Builds the pool that the options and settings ask for. */
import { availableParallelism } from "node:os";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { acceptedTypes } from "../../protocol/serialization.ts";
import type { Celery } from "../app.ts";
import type { Log } from "../runtime/log.ts";
import { steadyTimers } from "../runtime/timer-heap.ts";
import { TABLE } from "../settings/table.ts";
import type { AutoscaleRange } from "../worker/autoscaler.ts";
import { MognetPool } from "../worker/mognet/pool/mognet-pool.ts";
import { AsyncPool } from "../worker/pools/async-pool.ts";
import type { Spawn } from "../worker/pools/child.ts";
import { LOG_LEVEL_NAMES } from "../worker/pools/child-log.ts";
import { ChildPool } from "../worker/pools/child-pool.ts";
import type { ChildInit } from "../worker/pools/messages.ts";
import { type MakePool, mostSlots, type PoolName } from "../worker/pools/pool.ts";
import type { Mognet } from "./mognet.ts";
import { limitsOf } from "./parts.ts";

export interface PoolOptions {
  /**
   * Tasks in flight, of all apps together. @default `worker_concurrency`, else on the event loop 16, as its tasks mostly wait, and in
   * threads and processes the number of CPUs. A worker of Mognet apps alone: each app's `minimum_concurrency`
   */
  concurrency?: number | null;
  /** Where tasks run: `async` on the event loop, `threads`, or `processes`. @default `worker_pool` */
  pool?: PoolName;
  /** The module that exports the app or its tasks: what every thread and process of those pools loads. */
  module?: string | URL;
  /** Lets the pool follow the work between these numbers of slots; wins over `concurrency`. */
  autoscale?: AutoscaleRange;
}

/** Tasks in flight on the event loop when nobody says. */
const DEFAULT_CONCURRENCY = 16;

/** Tasks in flight at the start. */
export function poolSize({ settings }: Celery, options: PoolOptions): number {
  const name = options.pool ?? settings.worker_pool;
  const usual = name === "async" ? DEFAULT_CONCURRENCY : availableParallelism();
  return options.autoscale?.min ?? options.concurrency ?? settings.worker_concurrency ?? usual;
}

export function makePool(app: Celery, options: PoolOptions, hostname: string): MakePool {
  const { settings, log } = app;
  const name = options.pool ?? settings.worker_pool;
  const size = poolSize(app, options);
  demandSane(name, options.autoscale?.max ?? size);
  if (name === "async") {
    for (const setting of ["worker_max_tasks_per_child", "worker_max_memory_per_child"] as const) {
      if (settings[setting] !== null)
        log.warn({ setting }, "the async pool has no children: the setting has no effect");
    }
    return () => new AsyncPool(size, settings.lovage_validate_params);
  }
  const limits = limitsOf(settings);
  const init: ChildInit = {
    protocol: "celery",
    module: moduleOf(options, name),
    hostname,
    validate: settings.lovage_validate_params,
    accept: [...acceptedTypes(settings.accept_content)],
    maxBytes: settings.lovage_max_message_bytes,
    maxDecompressedBytes: settings.lovage_max_decompressed_bytes,
    maxDepth: limits.maxDepth,
    keepFloats: limits.floats === "keep",
    inheritPriority: settings.task_inherit_parent_priority,
    countsChords: app.backend?.chords !== undefined,
    logLevels: levelsOf(log),
    saysMemory: settings.worker_max_memory_per_child !== null,
  };
  return (host) =>
    new ChildPool({
      name,
      size,
      // What starts threads or processes is loaded when such a pool starts.
      spawner: () => spawnerOf(name, hostname),
      init,
      taskNames: host.taskNames,
      maxTasks: settings.worker_max_tasks_per_child,
      maxKib: settings.worker_max_memory_per_child,
      aliveTimeoutMs: settings.worker_proc_alive_timeout * 1000,
      validate: settings.lovage_validate_params,
      timers: host.timers,
      calls: host.calls,
      log,
    });
}

async function spawnerOf(name: "threads" | "processes", hostname: string): Promise<Spawn> {
  // Beside this file, as it is: compiled or not.
  const entry = new URL(`./pool-child${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
  if (name === "threads") return (await import("../worker/pools/thread-child.ts")).spawnThread(entry, hostname);
  return (await import("../worker/pools/process-child.ts")).spawnProcess(entry);
}

/** Threads or processes of a Mognet app, those of tasks that wait for others included, when `maximum_concurrency` does not say. */
const MOST_CHILDREN = 100;

/** Threads or processes for a Mognet app; null: its tasks run on the event loop. */
export function makeMognetPool(app: Mognet, options: PoolOptions, hostname: string): MognetPool | null {
  const { config, log } = app;
  const name = options.pool ?? "async";
  if (name === "async") return null;
  const size = mognetPoolSize(options);
  const most = mostSlots(name);
  demandSane(name, size);
  const { validate_params: validate, exact_floats: keepFloats, max_message_depth: maxDepth } = config.lovage;
  return new MognetPool({
    name,
    size,
    most: Math.min(most, config.maximum_concurrency ?? Math.max(MOST_CHILDREN, size)),
    spawner: () => spawnerOf(name, hostname),
    init: {
      protocol: "mognet",
      module: moduleOf(options, name),
      hostname,
      validate,
      keepFloats,
      maxDepth,
      logLevels: levelsOf(log),
      saysMemory: false,
    },
    taskNames: () => [...app.tasks.values()].filter((task) => task.handler !== null).map((task) => task.name),
    maxTasks: null,
    maxKib: null,
    aliveTimeoutMs: TABLE.worker_proc_alive_timeout.default * 1000,
    timers: steadyTimers(),
    log,
  });
}

function demandSane(name: PoolName, size: number): void {
  const most = mostSlots(name);
  if (size <= most) return;
  const hint =
    name === "async" ? "" : ", each with a heap and an event loop of its own; run more workers, or the async pool";
  throw new ImproperlyConfigured(`concurrency ${size}: a pool of ${name} has at most ${most} slots${hint}`);
}

/** Bodies at a time, in threads or processes. */
export function mognetPoolSize({ concurrency }: PoolOptions): number {
  return concurrency ?? availableParallelism();
}

function levelsOf(log: Log) {
  return LOG_LEVEL_NAMES.filter((level) => log.isLevelEnabled?.(level) !== false);
}

function moduleOf({ module }: PoolOptions, pool: string): string {
  if (module === undefined || module === "") {
    throw new ImproperlyConfigured(
      `pool ${JSON.stringify(pool)} needs the option module: the file that exports the app or its tasks, which every child loads, as in { pool: "${pool}", module: new URL("./tasks.js", import.meta.url) }`,
    );
  }
  return module instanceof URL ? module.href : module;
}
