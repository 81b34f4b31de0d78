/** The app that a `lovage mognet` command is about: a module's, or one of a configuration alone. */

import { loadMognetApp } from "../../app/load-app.ts";
import { Mognet } from "../../app/mognet.ts";
import { consoleLog, LOG_LEVELS, type LogLevel } from "../../runtime/console-log.ts";
import { logFormatProblem } from "../../runtime/log-format.ts";
import { type Flags, type Given, UsageError } from "../command.ts";

export const MOGNET_APP_FLAGS: Flags = {
  app: {
    type: "string",
    short: "A",
    value: "MODULE",
    help: "module of the Mognet app: ./app.js, ./app.ts, ./app.js:name (or the first word, as in Mognet)",
  },
  name: { type: "string", value: "NAME", help: "name of the app, when no module is named" },
  config: { type: "string", value: "FILE", help: "JSON file of Mognet's AppConfig, when no module is named" },
  broker: { type: "string", short: "b", value: "URL", help: "broker URL, over the app's own" },
  "result-backend": { type: "string", value: "URL", help: "Redis URL of the results, over the app's own" },
  workdir: { type: "string", value: "DIR", help: "change to this folder first" },
  "log-level": { type: "string", value: "LEVEL", help: "DEBUG, INFO, WARNING or ERROR" },
  loglevel: { type: "string", short: "l", value: "LEVEL", help: null },
  "log-format": {
    type: "string",
    value: "FORMAT",
    help: "of Python's logging, such as %(asctime)s:%(levelname)s:%(message)s",
  },
  "no-color": { type: "boolean", short: "C", help: "no colours" },
  quiet: { type: "boolean", short: "q", help: "no banner" },
  help: { type: "boolean", short: "h", help: "this text" },
};

const LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: "debug",
  info: "info",
  warning: "warn",
  warn: "warn",
  error: "error",
  critical: "fatal",
};

/** Flags become variables before the app is loaded: the environment wins over what its code says. */
export function applyMognetFlags(given: Given, fallback: LogLevel): LogLevel {
  const format = given.text("log-format");
  const problem = format === undefined ? null : logFormatProblem(format);
  if (problem !== null) throw new UsageError(`--log-format: ${problem}`);
  if (format !== undefined) process.env.LOVAGE_LOG_FORMAT = format;
  const level = levelOf(given, fallback);
  process.env.LOVAGE_LOG_LEVEL = level;
  const workdir = given.text("workdir");
  if (workdir !== undefined) {
    try {
      process.chdir(workdir);
    } catch (error) {
      throw new UsageError(`--workdir ${workdir}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (given.on("no-color")) process.env.NO_COLOR = "1";
  setVariable("BROKER_AMQP_URL", given.text("broker"));
  setVariable("RESULT_BACKEND_REDIS_URL", given.text("result-backend"));
  setVariable("TASK_QUEUES_INCLUDE", queuesOf(given, "include-queues"));
  setVariable("TASK_QUEUES_EXCLUDE", queuesOf(given, "exclude-queues"));
  return level;
}

/** A command answers, or says within seconds what does not: Mognet's own patience is for fleets. */
export function beImpatient(): void {
  for (const part of ["BROKER_AMQP", "RESULT_BACKEND_REDIS"]) {
    process.env[`LOVAGE_MOGNET_${part}_RETRY_CONNECT_ATTEMPTS`] ||= "4";
    process.env[`LOVAGE_MOGNET_${part}_RETRY_CONNECT_TIMEOUT`] ||= "3";
  }
}

function queuesOf(given: Given, flag: string): string | undefined {
  if (given.texts(flag).length === 0) return undefined;
  const names = given.list(flag);
  if (names.length === 0) throw new UsageError(`--${flag} names no queue`);
  return JSON.stringify(names);
}

function setVariable(name: string, value: string | undefined): void {
  if (value !== undefined) process.env[`LOVAGE_MOGNET_${name}`] = value;
}

function levelOf(given: Given, fallback: LogLevel): LogLevel {
  const name = given.text("log-level") ?? given.text("loglevel");
  if (name === undefined) return LOG_LEVELS.find((level) => level === process.env.LOVAGE_LOG_LEVEL) ?? fallback;
  const level = LEVELS[name.toLowerCase()];
  if (level === undefined) throw new UsageError(`--log-level is one of DEBUG, INFO, WARNING, ERROR, not ${name}`);
  return level;
}

/** The module that names the app, if one does. */
export function moduleSpec(given: Given, spec: string | undefined): string | undefined {
  return given.text("app") ?? spec ?? (process.env.LOVAGE_APP || undefined);
}

export async function openMognetApp(given: Given, spec: string | undefined, level: LogLevel): Promise<Mognet> {
  const module = moduleSpec(given, spec);
  const name = given.text("name");
  const file = given.text("config");
  if (module !== undefined) {
    if (name !== undefined || file !== undefined)
      throw new UsageError("-A names the app; --name and --config are for when it does not");
    return loadMognetApp(module);
  }
  if (name === undefined) {
    throw new UsageError(
      "which app? Name its module, as in: -A ./app.js; or, for one of Python's, --name and --config",
    );
  }
  return new Mognet(name, { log: consoleLog({ level }), ...(file === undefined ? {} : { configFile: file }) });
}
