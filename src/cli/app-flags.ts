/** The flags that every command shares: which app, which broker, where results are. */

import { Celery } from "../app.ts";
import { consoleLog, type LogLevel } from "../runtime/console-log.ts";
import { type Flags, type Given, UsageError } from "./command.ts";
import { loadApp } from "./load-app.ts";

export const APP_FLAGS: Flags = {
  app: {
    type: "string",
    short: "A",
    value: "MODULE",
    help: "module that exports the app: ./app.js, ./app.ts, ./app.js:name",
  },
  broker: { type: "string", short: "b", value: "URL", help: "broker URL, over the app's own" },
  "result-backend": { type: "string", value: "URL", help: "result backend URL, over the app's own" },
  config: { type: "string", value: "FILE", help: "JSON file of settings, when no app is named" },
  workdir: { type: "string", value: "DIR", help: "change to this folder first" },
  loglevel: { type: "string", short: "l", value: "LEVEL", help: "debug, info, warning, error, critical or fatal" },
  "no-color": { type: "boolean", short: "C", help: "no colours" },
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

/** Flags become environment variables before the app is loaded: the environment wins over what the app's code says. */
export function applyAppFlags(given: Given, more: Readonly<Record<string, string | undefined>> = {}): void {
  const workdir = given.text("workdir");
  if (workdir !== undefined) process.chdir(workdir);
  if (given.on("no-color")) process.env.NO_COLOR = "1";
  const variables = { BROKER_URL: given.text("broker"), RESULT_BACKEND: given.text("result-backend"), ...more };
  for (const [name, value] of Object.entries(variables)) {
    if (value !== undefined) process.env[`LOVAGE_${name}`] = value;
  }
}

/** The log level that the command line asks for; also what apps loaded afterwards log from. */
export function levelOf(given: Given, fallback: LogLevel): LogLevel {
  const name = given.text("loglevel");
  if (name === undefined) return fallback;
  const level = LEVELS[name.toLowerCase()];
  if (level === undefined) throw new UsageError(`--loglevel is one of ${Object.keys(LEVELS).join(", ")}, not ${name}`);
  return level;
}

/** The app of `-A` (or `LOVAGE_APP`, `APP`), else one of settings alone. */
export async function openApp(given: Given, level: LogLevel, required = false): Promise<Celery> {
  const spec = given.text("app") ?? process.env.LOVAGE_APP ?? process.env.APP;
  if (spec !== undefined) return loadApp(spec);
  if (required) throw new UsageError("which app? Name its module with -A, as in: lovage worker -A ./app.js");
  const file = given.text("config");
  return new Celery("lovage", {
    log: consoleLog({ level }),
    ...(file === undefined ? {} : { settingsFile: file }),
  });
}
