/**
 * Workers on one queue of one broker and one result store, and the clients that send to them: all Python, all TypeScript, or
 * Celery 5.7.0, Celery 5.6.3 and TypeScript together, where chance decides who runs what.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import * as lovage from "../../src/index.ts";
import { Celery } from "../../src/index.ts";
import { silentLog } from "../../src/runtime/log.ts";
import {
  assertDrained,
  type PeerProcess,
  type PythonClient,
  rabbitmqApi,
  startNodeWorker,
  startPythonClient,
  startPythonWorker,
  type TempVhost,
  tempFolder,
} from "../../src/testing/index.ts";
import { addresses, Cleanup, pythonOf, service, vhostFor } from "../harness/opening.ts";
import { canvasTasks } from "./fixtures/canvas-tasks.mjs";

export const fleetNames = ["python", "typescript", "mixed", "default"] as const;
/** `default`: TypeScript with its own settings; the others leave hanging what Celery leaves hanging, so that all can be compared. */
export type FleetName = (typeof fleetNames)[number] | "old";
/** What waits for what never comes is told so. */
export const isThorough = (fleet: FleetName): boolean => fleet === "default";
export const storeNames = ["redis+redis", "amqp+redis", "filesystem+file"] as const;
export type StoreName = (typeof storeNames)[number];

const here = fileURLToPath(new URL("./fixtures/", import.meta.url));
const pythonFixtures = fileURLToPath(new URL("../../python-fixtures/", import.meta.url));
const matrixFixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));
/** Where Python finds the modules of the fixtures. */
export const fixturePaths = `${pythonFixtures}:${here}:${matrixFixtures}`;
export const queue = "canvas";

export class Fleet implements AsyncDisposable {
  readonly name: FleetName;
  readonly stores: StoreName;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly workers: readonly PeerProcess[];
  readonly python: PythonClient;
  readonly typescript: Celery;
  /** In front of every key of the result store. */
  readonly prefix: string;
  readonly #vhost: TempVhost | null;
  readonly #stack: Cleanup;

  static async open(name: FleetName, stores: StoreName): Promise<Fleet> {
    return Cleanup.around((cleanup) => openFleet(name, stores, cleanup));
  }

  constructor(parts: FleetParts) {
    this.name = parts.name;
    this.stores = parts.stores;
    this.settings = parts.settings;
    this.workers = parts.workers;
    this.python = parts.python;
    this.typescript = parts.typescript;
    this.prefix = parts.prefix;
    this.#vhost = parts.vhost;
    this.#stack = parts.cleanup;
  }

  /** Late acks make an empty queue the end of all work: a message is settled after all that its task sends and stores. */
  async drained(timeout: number): Promise<void> {
    if (this.#vhost !== null) {
      const target = { api: rabbitmqApi(service("LOVAGE_TEST_RABBITMQ_API")), vhost: this.#vhost.name };
      await assertDrained(target, [queue], { timeout });
    } else if (this.stores === "redis+redis") {
      await assertDrained(service("LOVAGE_TEST_REDIS_URL"), [queue], { timeout, keyPrefix: this.prefix });
    }
  }

  assertAlive(): void {
    for (const worker of this.workers) worker.assertAlive();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
    if (this.stores === "filesystem+file") return;
    const redis = new Redis(service("LOVAGE_TEST_REDIS_URL"));
    for await (const keys of redis.scanStream({ match: `${this.prefix}*`, count: 1000 })) {
      if ((keys as string[]).length > 0) await redis.unlink(...(keys as string[]));
    }
    redis.disconnect();
  }
}

interface FleetParts {
  name: FleetName;
  stores: StoreName;
  settings: Record<string, unknown>;
  workers: PeerProcess[];
  python: PythonClient;
  typescript: Celery;
  prefix: string;
  vhost: TempVhost | null;
  cleanup: Cleanup;
}

async function openFleet(name: FleetName, stores: StoreName, cleanup: Cleanup): Promise<Fleet> {
  const folder = cleanup.standOn(await tempFolder("canvas")).path;
  // Celery puts a `_` behind the prefix of results, and Kombu nothing behind that of queues, unless it ends like this.
  const prefix = `canvas${randomBytes(5).toString("hex")}_`;
  const vhost = await vhostFor(stores, cleanup);
  const settings = { ...(await addresses(stores, { folder, prefix, vhost })), ...common };
  const env = {
    CANVAS_RECORD: service("LOVAGE_TEST_REDIS_URL"),
    CANVAS_SETTINGS: JSON.stringify({ ...settings, ...(isThorough(name) ? {} : { lovage_fail_unreachable: false }) }),
    PYTHONPATH: fixturePaths,
  };
  const imports = ["canvas_tasks", ...(stores === "filesystem+file" ? ["whole_files"] : [])];
  const pythonSettings = { ...settings, imports };
  const startPython = (version: string, concurrency: number) =>
    startPythonWorker({
      python: pythonOf(version),
      settings: pythonSettings,
      queues: [queue],
      pool: "prefork",
      concurrency,
      heartbeat: false,
      env,
    }).then((worker) => cleanup.use(worker));
  const startTypescript = (concurrency: number) =>
    startNodeWorker({
      module: join(here, "worker.mjs"),
      args: ["-Q", queue, "-c", String(concurrency)],
      env,
    }).then((worker) => cleanup.use(worker));
  const starts: Record<FleetName | "old", () => Promise<PeerProcess>[]> = {
    old: () => [startPython("5.7.0", 2), startPython("5.6.3", 2)],
    python: () => [startPython("5.7.0", 4)],
    typescript: () => [startTypescript(4)],
    default: () => [startTypescript(4)],
    mixed: () => [startPython("5.7.0", 2), startPython("5.6.3", 2), startTypescript(2)],
  };
  const [python, ...workers] = await Promise.all([
    startPythonClient({ python: pythonOf("5.7.0"), settings: pythonSettings, env }).then(async (client) => {
      cleanup.use(client);
      await client.run(`import ${imports.join(", ")}, canvas_client`);
      return client;
    }),
    ...starts[name](),
  ]);
  const typescript = cleanup.use(makeTypescriptClient(settings));
  return new Fleet({ name, stores, settings, workers, python, typescript, prefix, vhost, cleanup });
}

/** It knows the tasks, as a program that shares its definitions with the workers does. */
function makeTypescriptClient(settings: object): Celery {
  const made: { app?: Celery } = {};
  const tasks = canvasTasks(lovage, () => made.app as Celery);
  made.app = new Celery("canvas-client", { tasks, settings, log: silentLog, env: {} });
  return made.app;
}

const common = {
  task_default_queue: queue,
  task_acks_late: true,
  // One at a time, so that chance and not a buffer decides who runs what.
  worker_prefetch_multiplier: 1,
  result_extended: true,
  result_chord_retry_interval: 0.1,
};
