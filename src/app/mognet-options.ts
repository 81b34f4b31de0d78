/** What `new Mognet` and its methods accept: looked at once, so that a mistake is named where it was made. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { bool, count, mismatch, structured, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { didYouMean } from "../settings/suggest.ts";
import type { MognetMiddleware } from "../tasks/mognet-middleware.ts";
import { REQUEST_OPTIONS } from "../tasks/mognet-request.ts";
import type { RunLimits } from "./mognet.ts";
import { anyObject, definitions, errorClasses, logger } from "./options.ts";

/** All hooks there are; the type sees to it. */
const HOOKS: Readonly<Record<keyof MognetMiddleware, true>> = {
  onAppStarting: true,
  onAppStarted: true,
  onAppStopping: true,
  onAppStopped: true,
  onRequestSubmitting: true,
  onRunningTaskCountChanged: true,
  onTaskStarting: true,
  onTaskCompleted: true,
};

/** What is no hook may be the middleware's own, unless its name is nearly that of one: `onTaskStarted` would never be called. */
export function checkMiddleware(value: unknown, at: string): void {
  if (typeof value !== "object" || value === null) throw mismatch(at, "an object of hooks", value);
  const known = Object.keys(HOOKS);
  for (const name of namesOf(value)) {
    if (Object.hasOwn(HOOKS, name)) {
      const hook: unknown = Reflect.get(value, name);
      if (hook !== undefined && typeof hook !== "function") throw mismatch(`${at}: ${name}`, "a function", hook);
    } else if (/^on[A-Z_]/.test(name)) {
      const hint = didYouMean(name, known);
      if (hint !== "") throw new ImproperlyConfigured(`${at}: there is no hook ${name}${hint}`);
    }
  }
}

/** Of the object and of its class. */
function namesOf(value: object): Set<string> {
  const names = new Set<string>();
  for (let of: unknown = value; typeof of === "object" && of !== null && of !== Object.prototype; ) {
    for (const name of Object.getOwnPropertyNames(of)) names.add(name);
    of = Object.getPrototypeOf(of);
  }
  return names;
}

const hooks = structured("an array of middleware", (value, at) => {
  if (!Array.isArray(value)) throw mismatch(at, "an array of middleware", value);
});

const MOGNET_OPTIONS: OptionKinds = {
  tasks: definitions,
  config: anyObject,
  configFile: text,
  middleware: hooks,
  errors: errorClasses,
  log: logger,
  env: anyObject,
};

const milliseconds = structured("a number of milliseconds", (value, at) => {
  if (!(typeof value === "number" && value >= 0)) throw mismatch(at, "a number of milliseconds, at least 0", value);
});

const signal = structured("an AbortSignal", (value, at) => {
  if (!(value instanceof AbortSignal)) throw mismatch(at, "an AbortSignal", value);
});

const RUN: OptionKinds = { timeout: milliseconds, signal };
const REVOKE: OptionKinds = { force: bool };
const STATUS: OptionKinds = { timeout: milliseconds, nodes: count({ min: 1 }), signal };

export function checkMognetOptions(name: string, options: unknown): void {
  checkOptionObject(options, MOGNET_OPTIONS, `app ${name}`);
}

export function checkSubmit(options: unknown): void {
  checkOptionObject(options, REQUEST_OPTIONS, "app.submit()");
}

export function checkRunLimits(limits: unknown): RunLimits {
  if (limits === undefined) return {};
  checkOptionObject(limits, RUN, "app.run()");
  return limits as RunLimits;
}

export function checkRevoke(options: unknown): void {
  checkOptionObject(options, REVOKE, "app.revoke()");
}

export function checkStatus(options: unknown): void {
  checkOptionObject(options, STATUS, "app.nodeStatus()");
}

export function checkQueueStats(queue: unknown): void {
  text.parse(queue, "app.queueStats(): the queue");
}
