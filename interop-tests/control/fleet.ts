/** A fleet for the tests of remote control and events: one Python and one TypeScript worker on one broker, and a client of each. */
import { writeFileSync } from "node:fs";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, type WorkerOptions } from "../../src/app/worker.ts";
import { Celery, type CeleryOptions } from "../../src/app.ts";
import type { Log } from "../../src/runtime/log.ts";
import type { SettingsInput } from "../../src/settings/settings.ts";
import { currentTask } from "../../src/tasks/context.ts";
import { task } from "../../src/tasks/definition.ts";
import {
  type PythonClient,
  type PythonWorker,
  type PythonWorkerOptions,
  startPythonClient,
  startPythonWorker,
  waitFor,
} from "../../src/testing/index.ts";
import { type Kind, openSite, type Site } from "../faults/support.ts";
import { pythonOf } from "../harness/opening.ts";

export const TS_QUEUE = "ts";
export const PY_QUEUE = "py";

const folderOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const modules = [folderOf("fixtures/"), folderOf("../../python-fixtures/")].join(delimiter);

/** Gates that bodies wait at, by name. */
const gates = new Map<string, { promise: Promise<void>; open: () => void }>();

export function gate(name: string) {
  let found = gates.get(name);
  if (found === undefined) {
    let open: () => void = () => undefined;
    const promise = new Promise<void>((resolve) => {
      open = resolve;
    });
    found = { promise, open };
    gates.set(name, found);
  }
  return found;
}

class ValueError extends Error {
  static readonly python = "builtins.ValueError";
  override readonly name = "ValueError";
}

/** `fixtures/fleet_tasks.py` has the same for the Python worker. */
export const tasks = [
  task("fleet.add", {}, (x: number, y: number) => x + y),
  task("fleet.echo", {}, (value: unknown) => value),
  task("fleet.wait", {}, async (name: string) => {
    await gate(name).promise;
    return name;
  }),
  task("fleet.late", { acksLate: true }, async (name: string) => {
    await gate(name).promise;
    return name;
  }),
  task("fleet.fail", { rateLimit: "1000/s", maxRetries: 7 }, () => {
    throw new ValueError("boom");
  }),
  task("fleet.again", { maxRetries: 1, defaultRetryDelay: 0.01 }, () =>
    currentTask()?.retry({ exc: new ValueError("not yet") }),
  ),
];

/** Every line that a log took, for promises about what is said. */
export class Lines {
  readonly all: { level: string; fields: object; message: string }[] = [];
  readonly log: Log;

  constructor() {
    const at = (level: string) => (fields: object, message?: string) => {
      this.all.push({ level, fields, message: message ?? "" });
    };
    this.log = {
      trace: () => undefined,
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      fatal: at("fatal"),
    };
  }

  said(words: string): boolean {
    return this.all.some((line) => line.message.includes(words));
  }

  get errors() {
    return this.all.filter((line) => line.level === "error" || line.level === "fatal");
  }
}

export interface Fleet extends AsyncDisposable {
  readonly kind: Kind;
  /** Celery's. */
  readonly version: string;
  readonly site: Site;
  readonly app: Celery;
  readonly worker: Worker;
  readonly python: PythonWorker;
  readonly client: PythonClient;
  readonly lines: Lines;
  /** Node names. */
  readonly ts: string;
  readonly py: string;
  /** Lets the bodies of both languages go on that wait at the gate of that name. */
  openGate(name: string): void;
}

export interface FleetChoice {
  kind: Kind;
  /** Celery's. @default the one that the tests run with */
  version?: string;
  /** Settings of both workers and of both clients. */
  settings?: SettingsInput;
  app?: Omit<CeleryOptions, "log" | "tasks">;
  worker?: WorkerOptions;
  python?: PythonWorkerOptions;
}

export async function openFleet(choice: FleetChoice): Promise<Fleet> {
  const { kind, version, app: options = {}, worker: ours = {}, python: theirs = {} } = choice;
  const site = await openSite(kind, { persist: false, hasty: false });
  const lines = new Lines();
  const shared = { ...site.settings, ...choice.settings };
  const settings = { ...shared, ...options.settings };
  const app = new Celery("fleet", { ...options, settings, tasks, log: lines.log, env: {} });
  const worker = new Worker(app, { name: "ts@fleet", queues: [TS_QUEUE], concurrency: 2, ...ours });
  const interpreter = version === undefined ? {} : { python: pythonOf(version) };
  const env = { FLEET_GATES: site.folder.path, PYTHONPATH: modules };
  const [peer, client] = await Promise.all([
    startPythonWorker({
      ...interpreter,
      settings: { ...shared, imports: ["fleet_tasks"] },
      queues: [PY_QUEUE],
      name: "py",
      pool: "prefork",
      concurrency: 2,
      gossip: true,
      mingle: true,
      env,
      ...theirs,
    }),
    startPythonClient({ ...interpreter, settings: shared, env }),
    worker.start(),
  ]);
  await untilHeard(app, [worker.hostname, peer.node]);
  return {
    kind,
    version: version ?? (await client.versions()).celery,
    site,
    app,
    worker,
    python: peer,
    client,
    lines,
    ts: worker.hostname,
    py: peer.node,
    openGate(name) {
      writeFileSync(site.folder.join(`gate-${name}`), "");
      gate(name).open();
    },
    async [Symbol.asyncDispose]() {
      for (const { open } of gates.values()) open();
      gates.clear();
      await worker.stop("cold");
      await app.close();
      await Promise.all([client[Symbol.asyncDispose](), peer[Symbol.asyncDispose]()]);
      await site[Symbol.asyncDispose]();
    },
  };
}

/** Celery on Redis says that it is ready a moment before it subscribes to its mailbox: what is broadcast in between is lost on it. */
async function untilHeard(app: Celery, destination: readonly string[]): Promise<void> {
  await waitFor(async () => (await app.control.ping({ destination, timeout: 2 })).length === destination.length, {
    timeout: 90_000,
    describe: `${destination.join(" and ")} to answer`,
  });
}

/**
 * The shape of an answer: names and kinds of values, not the values. Lists have the shapes of their members, each once.
 * `"number"` is Python's int, `"float"` what it writes with a point; both are numbers here, so they are told apart by Python.
 */
export function shapeOf(value: unknown, free: ReadonlySet<string> = new Set(), path = ""): unknown {
  if (value === null) return "null";
  if (Array.isArray(value)) return [...new Set(value.map((item) => JSON.stringify(shapeOf(item, free, `${path}[]`))))];
  if (typeof value !== "object") return typeof value;
  const shape: Record<string, unknown> = {};
  for (const key of Object.keys(value).sort()) {
    const at = path === "" ? key : `${path}.${key}`;
    shape[key] = free.has(at) ? "free" : shapeOf(Reflect.get(value, key), free, at);
  }
  return shape;
}
