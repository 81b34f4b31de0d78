/** A real Mognet worker as a peer. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { fixturesFolder, pythonProgram } from "./fixture-files.ts";
import { PeerProcess } from "./peer-process.ts";

/** What a Python process with a Mognet app is given. The fixture app reads all of it; an app of yours reads `env`. */
export interface PythonMognetOptions {
  /** An interpreter whose environment has Mognet. @default LOVAGE_TEST_PYTHON_MOGNET, else `python3` */
  python?: string;
  /** What `mognet` gets: `module` or `module:attribute`. @default the fixture app with its `fixture.*` tasks */
  app?: string;
  /** Working folder, also on the module path. @default the fixture app's folder */
  cwd?: string;
  /** URL of RabbitMQ, for the fixture app. */
  broker?: string;
  /** URL of the Redis with results and state, for the fixture app. */
  redis?: string;
  /** The fixture app's name, which stands in front of its queues and keys. @default "fixture" */
  name?: string;
  /** Node id of the fixture app; no two processes may share one. @default a fresh one */
  node?: string;
  /** More of the fixture app's configuration, with the keys of Mognet's AppConfig. */
  config?: Readonly<Record<string, unknown>>;
  env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until it must be ready. @default 60_000 */
  timeout?: number;
}

/** For `startPythonMognetWorker()`. */
export interface PythonMognetWorkerOptions extends PythonMognetOptions {
  /** `minimum_concurrency` of the fixture app. @default 4 */
  concurrency?: number;
  /** `--include-queues` */
  includeQueues?: readonly string[];
  /** `--exclude-queues` */
  excludeQueues?: readonly string[];
  /**
   * Repairs a race of Mognet 2.0.0, in which a paused task that comes back to the same worker at once is lost for ever (seen in one
   * of four pauses). @default false
   */
  keepPaused?: boolean;
  /**
   * Repairs another one, in which a revoke makes the worker use a connection to Redis twice at a time: what else it does then fails
   * at random, the revoke itself or the whole process at worst. @default false
   */
  keepConnections?: boolean;
  logLevel?: "DEBUG" | "INFO" | "WARNING" | "ERROR";
  logFile?: string;
}

/** The process, and its node id. */
export type PythonMognetWorker = PeerProcess & { readonly node: string };

/**
 * Starts `mognet <app> run` and resolves when it consumes its task queues and its control queue. Mognet ends at once when it is
 * asked to, and gives back what it runs; so does disposal.
 */
export async function startPythonMognetWorker(options: PythonMognetWorkerOptions = {}): Promise<PythonMognetWorker> {
  const node = options.node ?? `py-${randomUUID().slice(0, 8)}`;
  const cwd = options.cwd ?? fixturesFolder();
  const flag = (name: string, queues: readonly string[] | undefined) =>
    queues === undefined ? [] : [name, queues.join(",")];
  const worker = await PeerProcess.start(mognetPython(options), {
    name: node,
    cwd,
    args: [
      join(fixturesFolder(), "mognet_worker.py"),
      ...["--log-level", options.logLevel ?? "INFO", options.app ?? fixtureApp, "run"],
      ...flag("--include-queues", options.includeQueues),
      ...flag("--exclude-queues", options.excludeQueues),
    ],
    env: {
      ...mognetEnvironment({ ...options, node }, cwd, options.concurrency),
      LOVAGE_KEEP_PAUSED: options.keepPaused ? "1" : undefined,
      LOVAGE_KEEP_CONNECTIONS: options.keepConnections ? "1" : undefined,
    },
    ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
  });
  try {
    await worker.waitForLog(/lovage: consuming/, { timeout: options.timeout ?? 60_000 });
  } catch (error) {
    await worker.stop({ signal: "SIGKILL" });
    throw error;
  }
  return Object.assign(worker, { node });
}

export const fixtureApp = "mognet_app.app";

export function mognetPython(options: PythonMognetOptions): string {
  return pythonProgram(options.python ?? process.env.LOVAGE_TEST_PYTHON_MOGNET);
}

/** The environment that `python-fixtures/mognet_app` reads. */
export function mognetEnvironment(
  options: PythonMognetOptions,
  modules: string,
  concurrency?: number,
): Record<string, string | undefined> {
  return {
    PYTHONUNBUFFERED: "1",
    PYTHONPATH: [modules, process.env.PYTHONPATH].filter(Boolean).join(":"),
    FIXTURE_AMQP: options.broker,
    FIXTURE_REDIS: options.redis,
    FIXTURE_APP: options.name,
    FIXTURE_NODE: options.node,
    FIXTURE_CONCURRENCY: concurrency === undefined ? undefined : String(concurrency),
    FIXTURE_CONFIG: options.config === undefined ? undefined : JSON.stringify(options.config),
    ...options.env,
  };
}
