/** A real Celery worker as a peer. */
import { randomUUID } from "node:crypto";
import { fixturesFolder, pythonProgram } from "./fixture-files.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { PeerProcess } from "./peer-process.ts";

/** For `startPythonWorker()`. */
export interface PythonWorkerOptions {
  /** An interpreter whose environment has Celery. @default LOVAGE_TEST_PYTHON, else `python3` */
  python?: string;
  /** What `celery -A` gets. @default the fixture app with its `fixture.*` tasks */
  app?: string;
  /** Working folder, also on the module path. @default the fixture app's folder */
  cwd?: string;
  broker?: string;
  backend?: string;
  /** Celery settings for the fixture app, with Celery's own names. */
  settings?: Readonly<Record<string, unknown>>;
  /** @default what the settings say */
  queues?: readonly string[];
  /** @default 1 */
  concurrency?: number;
  /** @default "prefork" */
  pool?: "prefork" | "threads" | "solo" | "processes" | "gevent" | "eventlet";
  /** Node name before the `@`. @default a fresh one */
  name?: string;
  loglevel?: "DEBUG" | "INFO";
  logFile?: string;
  /** Ask other workers for their clock and revokes at start, which costs Celery a second. @default false */
  mingle?: boolean;
  /** @default false */
  gossip?: boolean;
  /** @default true */
  heartbeat?: boolean;
  /** Send task events (`-E`). @default false */
  events?: boolean;
  /** More arguments of `celery worker`. */
  args?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until it must be ready. @default 60_000 */
  timeout?: number;
}

const pythonWorkerOptions: NamesOf<PythonWorkerOptions> = {
  python: true,
  app: true,
  cwd: true,
  broker: true,
  backend: true,
  settings: true,
  queues: true,
  concurrency: true,
  pool: true,
  name: true,
  loglevel: true,
  logFile: true,
  mingle: true,
  gossip: true,
  heartbeat: true,
  events: true,
  args: true,
  env: true,
  timeout: true,
};

/** The process, and the node name under which it answers remote control. */
export type PythonWorker = PeerProcess & { readonly node: string };

/** Starts `celery worker` and resolves when it consumes. Disposal stops it warm, then for good. */
export async function startPythonWorker(options: PythonWorkerOptions = {}): Promise<PythonWorker> {
  knownOptions(options, pythonWorkerOptions, "startPythonWorker()");
  const node = `${options.name ?? `py-${randomUUID().slice(0, 8)}`}@lovage-test`;
  const cwd = options.cwd ?? fixturesFolder();
  const without = (["mingle", "gossip"] as const).filter((part) => !options[part]).map((part) => `--without-${part}`);
  if (options.heartbeat === false) without.push("--without-heartbeat");
  const worker = await PeerProcess.start(pythonProgram(options.python), {
    name: node,
    cwd,
    args: [
      ...["-m", "celery", "-A", options.app ?? "celery_app.app", "--no-color", "worker", "-n", node],
      ...["--loglevel", options.loglevel ?? "INFO", "--pool", options.pool ?? "prefork"],
      ...["--concurrency", String(options.concurrency ?? 1), ...without],
      ...(options.queues ? ["-Q", options.queues.join(",")] : []),
      ...(options.events ? ["-E"] : []),
      ...(options.args ?? []),
    ],
    env: pythonEnvironment(options, cwd),
    ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
  });
  try {
    await worker.waitForLog(/ ready\.$/, { timeout: options.timeout ?? 60_000 });
  } catch (error) {
    await worker.stop({ signal: "SIGKILL" });
    throw error;
  }
  return Object.assign(worker, { node });
}

/** The environment that the fixture programs, and any Celery app, read their URLs and settings from. */
export function pythonEnvironment(
  options: Pick<PythonWorkerOptions, "broker" | "backend" | "settings" | "env">,
  modules: string,
): Record<string, string | undefined> {
  return {
    PYTHONUNBUFFERED: "1",
    PYTHONPATH: [modules, process.env.PYTHONPATH].filter(Boolean).join(":"),
    FIXTURE_SETTINGS: undefined,
    FIXTURE_SETTINGS_JSON: options.settings === undefined ? undefined : JSON.stringify(options.settings),
    CELERY_BROKER_URL: options.broker,
    CELERY_RESULT_BACKEND: options.backend,
    ...options.env,
  };
}
