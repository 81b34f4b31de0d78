/** What `new Celery`, `new Worker` and their methods accept: looked at once, so that a mistake is named where it was made. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../runtime/console-log.ts";
import {
  bool,
  count,
  type Kind,
  mismatch,
  nullable,
  oneOf,
  seconds,
  structured,
  text,
  texts,
} from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { type AnyTask, isTaskDefinition } from "../tasks/definition.ts";

export const anyObject = structured("an object", (value, at) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw mismatch(at, "an object", value);
});

/** Checked further where it is read. */
const asItIs = structured("a value", () => undefined);

export const definitions: Kind<readonly AnyTask[]> = structured("an array of task definitions", (value, at) => {
  if (!Array.isArray(value)) throw mismatch(at, "an array of task definitions", value);
  return value.map((entry: unknown, index) => definition(entry, `${at}[${index}]`));
});

/** The classes themselves are the registry's to check. */
export const errorClasses = structured("an array of error classes", (value, at) => {
  const iterable = typeof value === "object" && value !== null && Symbol.iterator in value;
  if (!iterable) throw mismatch(at, "an array of error classes", value);
});

const LOG_METHODS = ["trace", "debug", "info", "warn", "error", "fatal"];

export const logger = structured("a logger with the methods trace, debug, info, warn, error and fatal", (value, at) => {
  const object = typeof value === "object" && value !== null;
  if (object && LOG_METHODS.every((name) => typeof Reflect.get(value, name) === "function")) return;
  throw mismatch(at, "a logger with the methods trace, debug, info, warn, error and fatal", value);
});

const CELERY_OPTIONS: OptionKinds = {
  tasks: definitions,
  broker: asItIs,
  backend: asItIs,
  settings: anyObject,
  settingsFile: text,
  errors: errorClasses,
  controlCommands: structured("an array of commands that controlCommand() made", (value, at) => {
    if (!Array.isArray(value)) throw mismatch(at, "an array of commands that controlCommand() made", value);
  }),
  log: logger,
  env: anyObject,
};

const WORKER_OPTIONS: OptionKinds = {
  queues: texts(),
  concurrency: nullable(count({ min: 1 })),
  name: text,
  handleSignals: bool,
  events: bool,
  heartbeat: bool,
  heartbeatInterval: seconds({ min: 0.1 }),
  gossip: bool,
  mingle: bool,
  pool: oneOf(["async", "threads", "processes"]),
  module: structured("the path or URL of a module", (value, at) => {
    const right = value instanceof URL || typeof value === "string";
    if (!right) throw mismatch(at, "the path or URL of a module", value);
  }),
  autoscale: structured("{ max, min }", (value, at) => {
    checkOptionObject(value, { max: count({ min: 1 }), min: count() }, at);
    const { max, min } = value as { max?: number; min?: number };
    if (max === undefined || min === undefined || min > max)
      throw mismatch(at, "{ max, min } with min up to max", value);
  }),
};

const stopMode = oneOf(["warm", "cold"]);

export function checkCeleryOptions(name: string, options: unknown): void {
  checkOptionObject(options, CELERY_OPTIONS, `app ${name}`);
}

export function checkWorkerOptions(options: unknown): void {
  checkOptionObject(options, WORKER_OPTIONS, "new Worker()");
}

export function checkStopMode(mode: unknown): void {
  stopMode.parse(mode, "worker.stop(): the mode");
}

/** A definition; throws `ImproperlyConfigured` that tells who has only a name of the call that takes names. */
export function definition(value: unknown, at: string): AnyTask {
  if (isTaskDefinition(value)) return value;
  const hint = typeof value === "string" ? "; a task is sent by its name with sendTask(name, args, kwargs)" : "";
  const wrong = mismatch(at, "a task definition, as task() makes it", value).message;
  throw new ImproperlyConfigured(`${wrong}${hint}`);
}

export function notAName(value: unknown): ImproperlyConfigured {
  const hint = isTaskDefinition(value) ? "; a task is sent by its definition with send(task, args)" : "";
  return new ImproperlyConfigured(`${mismatch("app.sendTask(): the name", "a text", value).message}${hint}`);
}

const taskId: Kind<string> = { ...text, what: "the id of a task" };

export function checkTaskId(id: unknown): void {
  taskId.parse(id, "app.result(): the id");
}

const groupId: Kind<string> = { ...text, what: "the id of a group" };

export function checkGroupId(id: unknown): void {
  groupId.parse(id, "app.restoreGroup(): the id");
}

const queueNames = texts({ ...text, what: "a queue's name" });

export function checkQueueNames(names: unknown): void {
  queueNames.parse(names, "app.selectQueues(): the names");
}

/** The level that `LOVAGE_LOG_LEVEL` names. */
export function logLevel(env: NodeJS.ProcessEnv): LogLevel {
  const named = env.LOVAGE_LOG_LEVEL ?? "info";
  const level = LOG_LEVELS.find((known) => known === named);
  if (level === undefined) {
    throw new ImproperlyConfigured(`LOVAGE_LOG_LEVEL is one of ${LOG_LEVELS.join(", ")}, not ${named}`);
  }
  return level;
}
