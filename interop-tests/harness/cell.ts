/**
 * One cell of the matrix: a Python version on one broker and result backend, with a virtual host, prefix or folder of its own, one
 * worker and one client of each language. Everything a cell starts ends with it.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pyRepr } from "../../protocol/python-repr.ts";
import * as lovage from "../../src/index.ts";
import type { Log } from "../../src/runtime/log.ts";
import {
  assertDrained,
  HarnessError,
  type PeerProcess,
  type PythonCelery,
  type PythonWorker,
  rabbitmqApi,
  startNodeWorker,
  startPythonClient,
  startPythonWorker,
  type TempVhost,
  tempFolder,
  waitFor,
} from "../../src/testing/index.ts";
import { Worker } from "../../src/worker-entry.ts";
import type { Direction, Side } from "../celery/case.ts";
import { directions, type Stores, versions } from "../features.ts";
import { fixtureTasks } from "../fixtures/tasks.mjs";
import { addresses, Cleanup, pythonOf, service, vhostFor } from "./opening.ts";

const here = fileURLToPath(new URL("../fixtures/", import.meta.url));
const pythonFixtures = fileURLToPath(new URL("../../python-fixtures/", import.meta.url));

export const queueOf = (worker: Side) => `main-${worker}`;
export const topicQueueOf = (worker: Side) => `topic-${worker}`;
export const lateQueueOf = (direction: Direction) => `late-${direction.name}`;
export const orderQueueOf = (direction: Direction) => `order-${direction.name}`;

/** Who holds a late-acked task when it dies: the language that does not finish it, except between TypeScript workers. */
export const diesIn = (direction: Direction): Side =>
  direction.name === "py-ts" || direction.name === "py-py" ? "python" : "typescript";

export class Cell implements AsyncDisposable {
  readonly version: string;
  readonly stores: Stores;
  readonly folder: string;
  readonly python: PythonCelery;
  readonly typescript: lovage.Celery;
  readonly pythonWorker: PythonWorker;
  readonly typescriptWorker: PeerProcess;
  readonly settings: Record<string, unknown>;
  /** Lines of the workers inside the test. */
  readonly received: string[] = [];
  readonly redisPrefix: string;
  readonly #queues = new Set<string>();
  readonly #vhost: TempVhost | null;
  readonly #stack: Cleanup;
  #host: lovage.Celery | null = null;

  static async open(version: string, stores: Stores): Promise<Cell> {
    return Cleanup.around((cleanup) => openCell(version, stores, cleanup));
  }

  constructor(parts: CellParts) {
    this.version = parts.version;
    this.stores = parts.stores;
    this.folder = parts.folder;
    this.settings = parts.settings;
    this.python = parts.python;
    this.typescript = parts.typescript;
    this.pythonWorker = parts.pythonWorker;
    this.typescriptWorker = parts.typescriptWorker;
    this.redisPrefix = parts.redisPrefix;
    this.#vhost = parts.vhost;
    this.#stack = parts.cleanup;
    for (const queue of parts.queues) this.#queues.add(queue);
  }

  get rpc(): boolean {
    return this.stores === "amqp+rpc";
  }

  get broker(): "amqp" | "redis" | "filesystem" {
    return this.stores === "redis+redis" ? "redis" : this.stores === "filesystem+file" ? "filesystem" : "amqp";
  }

  /** A folder for one case, made. */
  async caseFolder(): Promise<string> {
    const path = join(this.folder, `case-${randomUUID()}`);
    await mkdir(path);
    return path;
  }

  /** What the workers wrote with `fixture.record`. */
  async records(): Promise<string> {
    return readFile(join(this.folder, "records"), "utf8").catch(() => "");
  }

  /** A TypeScript worker inside the test, which starts and stops in a moment. */
  async startInside(queues: readonly string[], concurrency = 8): Promise<Worker> {
    for (const queue of queues) this.#queues.add(queue);
    this.#host ??= this.#makeHost();
    return await new Worker(this.#host, {
      queues,
      concurrency,
      name: `inside-${randomUUID().slice(0, 8)}@test`,
    }).start();
  }

  /** Python's worker begins to consume a queue, or stops; resolves when it has. Its own answer only says that it will. */
  async pythonConsumes(queue: string, on: boolean): Promise<void> {
    this.#queues.add(queue);
    await this.#control(on ? "add_consumer" : "cancel_consumer", { queue });
    await waitFor(
      async () => (await this.#control("active_queues")).includes(`"name":${JSON.stringify(queue)},`) === on,
      { describe: `Python ${on ? "to consume" : "to leave"} ${queue}` },
    );
  }

  async #control(command: string, args: object = {}): Promise<string> {
    const destination = [this.pythonWorker.node];
    const replies = await this.python.broadcast(command, { arguments: args, destination, timeout: 20_000 });
    if (replies?.length !== 1) throw new HarnessError("NO_REPLY", `Python's worker did not answer ${command}`);
    return JSON.stringify(replies);
  }

  peer(side: Side): PeerProcess {
    return side === "python" ? this.pythonWorker : this.typescriptWorker;
  }

  assertAlive(side: Side): void {
    this.peer(side).assertAlive();
  }

  /** Every queue that a case used is empty, and nobody holds a message. */
  async assertDrained(): Promise<void> {
    const queues = [...this.#queues];
    if (this.#vhost !== null) {
      await assertDrained({ api: rabbitmqApi(service("LOVAGE_TEST_RABBITMQ_API")), vhost: this.#vhost.name }, queues);
    } else if (this.broker === "redis") {
      await assertDrained(service("LOVAGE_TEST_REDIS_URL"), queues, { keyPrefix: this.redisPrefix });
    } else await assertDrained(this.typescript.transport, queues);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host?.close();
    await this.#stack[Symbol.asyncDispose]();
  }

  #makeHost(): lovage.Celery {
    const note = (fields: object, message = "") => {
      if (message === "received" && "id" in fields) this.received.push(String(fields.id));
    };
    const quiet = () => undefined;
    const log: Log = { trace: quiet, debug: quiet, info: note, warn: quiet, error: quiet, fatal: quiet };
    process.env.FIXTURE_RECORD = join(this.folder, "records");
    return new lovage.Celery("interop-inside", {
      tasks: fixtureTasks(lovage, pyRepr),
      settings: { ...this.settings, worker_prefetch_multiplier: 1 },
      log,
      env: {},
    });
  }
}

interface CellParts {
  version: string;
  stores: Stores;
  folder: string;
  settings: Record<string, unknown>;
  python: PythonCelery;
  typescript: lovage.Celery;
  pythonWorker: PythonWorker;
  typescriptWorker: PeerProcess;
  redisPrefix: string;
  vhost: TempVhost | null;
  cleanup: Cleanup;
  queues: readonly string[];
}

async function openCell(version: string, stores: Stores, cleanup: Cleanup): Promise<Cell> {
  const folder = cleanup.standOn(await tempFolder("interop")).path;
  const redisPrefix = `cell${randomBytes(5).toString("hex")}`;
  const vhost = await vhostFor(stores, cleanup);
  const place = { folder, prefix: redisPrefix, vhost, redisBroker: { unacked_restore_interval: 1 } };
  const settings = { ...(await addresses(stores, place)), ...common(stores) };
  const queues = ["main", "topic"].flatMap((kind) => [`${kind}-python`, `${kind}-typescript`]);
  const env = {
    FIXTURE_RECORD: join(folder, "records"),
    PYTHONPATH: `${pythonFixtures}:${here}`,
    INTEROP_SETTINGS: JSON.stringify({ ...settings, lovage_exact_floats: true }),
  };
  const interpreter = pythonOf(version);
  const late = (side: Side) => directions.filter((direction) => diesIn(direction) === side).map(lateQueueOf);
  const [pythonWorker, typescriptWorker, python] = await Promise.all([
    startPythonWorker({
      python: interpreter,
      settings: { ...settings, imports: ["interop_tasks", "whole_files"] },
      queues: [queueOf("python"), topicQueueOf("python"), ...late("python")],
      // Not threads: on AMQP their acks go astray before Celery 5.7 (seen with 5.4.0 and 5.6.3).
      pool: "prefork",
      concurrency: 8,
      heartbeat: false,
      env,
    }).then((worker) => cleanup.use(worker)),
    startNodeWorker({
      module: join(here, "worker.mjs"),
      args: ["-Q", [queueOf("typescript"), topicQueueOf("typescript"), ...late("typescript")].join(","), "-c", "8"],
      env,
    }).then((worker) => cleanup.use(worker)),
    startPythonClient({ python: interpreter, settings, env }).then(async (client) => {
      cleanup.use(client);
      // So that Celery's client finds the application's own exceptions, and writes files whole.
      await client.run("import celery_app.exceptions, whole_files");
      const { celery, kombu } = await client.versions();
      if (!versions.some((named) => named.celery === celery && named.kombu === kombu && celery === version)) {
        throw new HarnessError("WRONG_VERSION", `the Python for ${version} has Celery ${celery} with Kombu ${kombu}`);
      }
      return client;
    }),
  ]);
  const typescript = new lovage.Celery("interop-client", {
    settings: { ...settings, lovage_exact_floats: true },
    log: silent,
    env: {},
  });
  cleanup.use(typescript);
  return new Cell({
    ...{ version, stores, folder, settings, python, typescript, pythonWorker, typescriptWorker, redisPrefix, vhost },
    ...{ cleanup, queues },
  });
}

const quiet = () => undefined;
const silent: Log = { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet, fatal: quiet };

/** What all peers of a cell share. */
function common(stores: Stores): Record<string, unknown> {
  const sides: Side[] = ["python", "typescript"];
  const direct = (name: string, more: object = {}) => ({
    name,
    exchange: name,
    exchange_type: "direct",
    routing_key: name,
    ...more,
  });
  const priorities = stores.startsWith("amqp") ? { max_priority: 10 } : {};
  return {
    task_default_queue: "unrouted",
    task_queues: [
      direct("unrouted"),
      ...sides.map((side) => direct(queueOf(side))),
      ...sides.map((side) => ({
        name: topicQueueOf(side),
        exchange: "interop.topic",
        exchange_type: "topic",
        routing_key: `${side}.*`,
      })),
      ...directions.map((direction) => direct(orderQueueOf(direction), priorities)),
    ],
    task_routes: { "fixture.whoami": { queue: queueOf("typescript") }, "fixture.mu*": { queue: queueOf("python") } },
    result_extended: true,
    worker_prefetch_multiplier: 4,
  };
}
