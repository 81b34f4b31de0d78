/** A TypeScript worker, or any other Node program, in a process of its own: to be killed, restarted and watched. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { HarnessError, WaitTimeout } from "./errors.ts";
import { packageRoot } from "./fixture-files.ts";
import { knownOptions, type NamesOf } from "./known-options.ts";
import { PeerProcess } from "./peer-process.ts";

/** What is run as a worker; a `module` or a `script`. */
export interface NodeWorkerOptions {
  /** The module with the app, for `lovage worker -A`. */
  module?: string;
  /** A program to run instead of `lovage worker`. */
  script?: string;
  /** More arguments of the command or the program. */
  args?: readonly string[];
  /** Flags of Node itself. */
  execArgv?: readonly string[];
  /** @default the Node that runs the test */
  node?: string;
  cwd?: string;
  /** A `LOVAGE_LOG_LEVEL` of this process does not reach it: it must say that it is ready. One that is given here does. */
  env?: Readonly<Record<string, string | undefined>>;
  /** What it logs when it is ready. @default the word `ready` */
  ready?: RegExp | string;
  logFile?: string;
  /** Milliseconds until it must be ready. @default 60_000 */
  timeout?: number;
}

const nodeWorkerOptions: NamesOf<NodeWorkerOptions> = {
  module: true,
  script: true,
  args: true,
  execArgv: true,
  node: true,
  cwd: true,
  env: true,
  ready: true,
  logFile: true,
  timeout: true,
};

const NO_READY =
  "\n(that line is of level info: a LOVAGE_LOG_LEVEL or --loglevel above it, or a log of the app's own, hides it; `ready` may name another)";

/** Starts a worker process and resolves when it says that it is ready. Disposal stops it warm, then for good. */
export async function startNodeWorker(options: NodeWorkerOptions): Promise<PeerProcess> {
  knownOptions(options, nodeWorkerOptions, "startNodeWorker()");
  const worker = await PeerProcess.start(options.node ?? process.execPath, {
    name: options.module ?? options.script ?? "node-worker",
    args: [...(options.execArgv ?? []), ...program(options), ...(options.args ?? [])],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { LOVAGE_LOG_LEVEL: undefined, ...options.env },
    ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
  });
  try {
    await worker.waitForLog(options.ready ?? /\bready\b/, { timeout: options.timeout ?? 60_000 });
  } catch (error) {
    await worker.stop({ signal: "SIGKILL" });
    if (error instanceof WaitTimeout && options.ready === undefined)
      throw new WaitTimeout(`${error.message}${NO_READY}`);
    throw error;
  }
  return worker;
}

function program(options: NodeWorkerOptions): string[] {
  if (options.script !== undefined) return [options.script];
  if (options.module === undefined) throw new HarnessError("NO_MODULE", "startNodeWorker needs a module or a script");
  const cli = join(packageRoot(), "dist", "src", "cli", "main.js");
  if (!existsSync(cli)) throw new HarnessError("NOT_BUILT", "the command line is not built: npm run build");
  return [cli, "worker", "-A", options.module];
}
