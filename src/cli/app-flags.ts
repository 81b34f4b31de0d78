/** The flags that every command shares: which app, which broker, where results are. */
import { loadApp, loadWorkerApps } from "../app/load-app.ts";
import type { WorkerApp } from "../app/worker.ts";
import { Celery } from "../app.ts";
import { consoleLog, LOG_LEVELS, type LogLevel } from "../runtime/console-log.ts";
import { type Flags, type Given, UsageError } from "./command.ts";

export const APP_FLAGS: Flags = {
  app: {
    type: "string",
    short: "A",
    value: "MODULE",
    help: "module that exports the app: ./app.js, ./app.ts, ./app.js:name, a-package/app",
  },
  broker: { type: "string", short: "b", value: "URL", help: "broker URL, over the app's own" },
  "result-backend": { type: "string", value: "URL", help: "result backend URL, over the app's own" },
  config: { type: "string", value: "FILE", help: "JSON file of Celery settings, when no app is named" },
  workdir: { type: "string", value: "DIR", help: "change to this folder first" },
  loglevel: { type: "string", short: "l", value: "LEVEL", help: "debug, info, warning, error, critical or fatal" },
  "no-color": { type: "boolean", short: "C", help: "no colours" },
  quiet: { type: "boolean", short: "q", help: "no banner" },
  help: { type: "boolean", short: "h", help: "this text" },
};

const LEVELS: Record<string, LogLevel> = {
  trace: "trace",
  debug: "debug",
  info: "info",
  warning: "warn",
  warn: "warn",
  error: "error",
  critical: "fatal",
  fatal: "fatal",
};

/** Settings that a flag stands for, by the variable that carries them to the app. */
const FLAG_OF: ReadonlyMap<string, string> = new Map([
  ["LOVAGE_BROKER_URL", "--broker"],
  ["LOVAGE_RESULT_BACKEND", "--result-backend"],
  ["LOVAGE_WORKER_POOL", "--pool"],
  ["LOVAGE_WORKER_MAX_TASKS_PER_CHILD", "--max-tasks-per-child"],
  ["LOVAGE_WORKER_MAX_MEMORY_PER_CHILD", "--max-memory-per-child"],
  ["LOVAGE_WORKER_STATE_DB", "--statedb"],
  ["LOVAGE_WORKER_PREFETCH_MULTIPLIER", "--prefetch-multiplier"],
  ["LOVAGE_TASK_TIME_LIMIT", "--time-limit"],
  ["LOVAGE_TASK_SOFT_TIME_LIMIT", "--soft-time-limit"],
]);
const fromFlags = new Set<string>();

/**
 * Flags become environment variables before the app is loaded: the environment wins over what the app's code says. Gives the
 * level to log from: the flag's, else `LOVAGE_LOG_LEVEL`, else `fallback`; apps that are loaded afterwards log from it too.
 */
export function applyAppFlags(
  given: Given,
  fallback: LogLevel,
  more: Readonly<Record<string, string | undefined>> = {},
): LogLevel {
  const level = levelOf(given, fallback);
  process.env.LOVAGE_LOG_LEVEL = level;
  const workdir = given.text("workdir");
  if (workdir !== undefined) changeFolder(workdir);
  if (given.on("no-color")) process.env.NO_COLOR = "1";
  // What a worker logs is gathered by machines, what other commands say is read by who has called them, also in a script's output.
  if (fallback !== "info" && !process.stderr.isTTY) process.env.LOVAGE_LOG_FORMAT ||= "%(levelname)s: %(message)s";
  const variables = { BROKER_URL: given.text("broker"), RESULT_BACKEND: given.text("result-backend"), ...more };
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) continue;
    process.env[`LOVAGE_${name}`] = value;
    fromFlags.add(`LOVAGE_${name}`);
  }
  return level;
}

/** An error about a variable that a flag has set, in the words of who wrote the flag. */
export function inFlagNames(message: string): string {
  let text = message;
  for (const variable of fromFlags)
    text = text.replaceAll(`environment ${variable}`, FLAG_OF.get(variable) ?? variable);
  return text;
}

function changeFolder(path: string): void {
  try {
    process.chdir(path);
  } catch (error) {
    throw new UsageError(`--workdir ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function levelOf(given: Given, fallback: LogLevel): LogLevel {
  const name = given.text("loglevel");
  if (name === undefined) {
    const set = process.env.LOVAGE_LOG_LEVEL;
    return LOG_LEVELS.find((level) => level === set) ?? fallback;
  }
  const level = LEVELS[name.toLowerCase()];
  if (level === undefined) throw new UsageError(`--loglevel is one of ${Object.keys(LEVELS).join(", ")}, not ${name}`);
  return level;
}

/** What a worker serves: the Celery app, the Mognet app, or both, of the module that `-A` (or `LOVAGE_APP`) names. */
export async function openWorkerApps(given: Given): Promise<readonly WorkerApp[]> {
  const spec = given.text("app") ?? (process.env.LOVAGE_APP || undefined);
  if (spec === undefined) throw new UsageError("which app? Name its module with -A, as in: -A ./app.js");
  return loadWorkerApps(spec);
}

/** The app of `-A` (or `LOVAGE_APP`), else one of settings alone. */
export async function openApp(given: Given, level: LogLevel, required = false): Promise<Celery> {
  const spec = given.text("app") ?? (process.env.LOVAGE_APP || undefined);
  if (spec !== undefined) return loadApp(spec);
  if (required) throw new UsageError("which app? Name its module with -A, as in: -A ./app.js");
  const file = given.text("config");
  return new Celery("lovage", {
    log: consoleLog({ level }),
    ...(file === undefined ? {} : { settingsFile: file }),
  });
}
