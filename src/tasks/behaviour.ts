/** What a definition says besides parameters and result, and how that is checked. wire: celery/app/task.py `Task`. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { bool, count, dict, type Kind, mismatch, nullable, seconds, structured, text } from "../settings/kinds.ts";
import { rateLimit } from "../settings/rate-limit-setting.ts";
import { didYouMean } from "../settings/suggest.ts";

/** Any class of errors, whatever its constructor takes. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** What a definition says besides parameters and result; each mirrors the Celery task attribute of the same name. */
export interface TaskBehaviour {
  /** Errors that make the task retry by itself. */
  autoretryFor?: readonly ErrorClass[];
  /** Errors that never do, although `autoretryFor` matches. */
  dontAutoretryFor?: readonly ErrorClass[];
  /** Options of the automatic retry; without `retryBackoff`, `countdown` is its delay in seconds. */
  retryKwargs?: { countdown?: number; maxRetries?: number | null };
  /** Exponential delay: true is factor 1, a number is the factor in seconds. @default false */
  retryBackoff?: boolean | number;
  /** Longest backoff in seconds. @default 600 */
  retryBackoffMax?: number;
  /** A random whole number of seconds from 0 to the backoff instead of the backoff itself. @default true */
  retryJitter?: boolean;
  /** Attempts after the first; null: no limit. @default 3 */
  maxRetries?: number | null;
  /** Seconds. @default 180 */
  defaultRetryDelay?: number;
  /** Ack after the end instead of at the start. @default `task_acks_late` */
  acksLate?: boolean;
  /** @default `task_acks_on_failure_or_timeout` */
  acksOnFailureOrTimeout?: boolean;
  /** @default `task_acks_on_failure`, else `acksOnFailureOrTimeout` */
  acksOnFailure?: boolean;
  /** @default `task_acks_on_timeout`, else `acksOnFailureOrTimeout` */
  acksOnTimeout?: boolean;
  /** @default `task_reject_on_worker_lost` */
  rejectOnWorkerLost?: boolean;
  /** Try again, as `retry()` does, when its process or thread died. @default `task_retry_on_worker_lost` */
  retryOnWorkerLost?: boolean;
  /** Starts per worker: `10/s`, `5/m`, `2/h`, or a number per second; null: no limit. @default `task_default_rate_limit` */
  rateLimit?: string | number | null;
  /** Store STARTED when the task starts. @default `task_track_started` */
  trackStarted?: boolean;
  /** @default `task_ignore_result` */
  ignoreResult?: boolean;
  /** @default `task_store_errors_even_if_ignored` */
  storeErrorsEvenIfIgnored?: boolean;
  /** Hard limit in seconds. @default `task_time_limit` */
  timeLimit?: number;
  /** Soft limit in seconds. @default `task_soft_time_limit` */
  softTimeLimit?: number;
  /** False: no events of this task are sent, whatever its worker sends of others. @default true */
  sendEvents?: boolean;
  /** Errors that are part of the task's normal life: logged as information, without stack. */
  throws?: readonly ErrorClass[];
  /** Defaults of a call: each is overridden by the call's own option. */
  queue?: string;
  exchange?: string;
  routingKey?: string;
  priority?: number;
  /** Seconds from the call. */
  expires?: number;
  serializer?: string;
  compression?: string;
  /** Typed calls travel as positional arguments instead of keywords. @default false */
  positional?: boolean;
}

const errorClasses = structured("an array of error classes", (value, at) => {
  if (!Array.isArray(value)) throw mismatch(at, "an array of error classes", value);
  for (const [index, entry] of value.entries()) {
    if (typeof entry !== "function") throw mismatch(`${at}[${index}]`, "an error class", entry);
  }
});

const retryBackoff = structured("true, false or a number of seconds", (value, at) => {
  if (typeof value !== "boolean" && !(typeof value === "number" && value >= 0)) {
    throw mismatch(at, "true, false or a number of seconds", value);
  }
});

const retryKwargs = structured("an object", (value, at) => {
  for (const [key, entry] of Object.entries(dict.parse(value, at))) {
    const kind = key === "countdown" ? seconds() : key === "maxRetries" ? nullable(count()) : null;
    if (kind === null) throw new ImproperlyConfigured(`${at}: unknown option ${JSON.stringify(key)}`);
    if (entry !== undefined) kind.parse(entry, `${at}.${key}`);
  }
});

/** `Infinity` is a way to say that there is none. */
const limit = structured("a number of seconds, at least 0", (value, at) => {
  if (!(typeof value === "number" && value >= 0)) throw mismatch(at, "a number of seconds, at least 0", value);
});

const BEHAVIOUR: { readonly [K in keyof Required<TaskBehaviour>]: Kind<unknown> } = {
  autoretryFor: errorClasses,
  dontAutoretryFor: errorClasses,
  retryKwargs,
  retryBackoff,
  retryBackoffMax: limit,
  retryJitter: bool,
  maxRetries: nullable(count()),
  defaultRetryDelay: seconds(),
  acksLate: bool,
  acksOnFailureOrTimeout: bool,
  acksOnFailure: bool,
  acksOnTimeout: bool,
  rejectOnWorkerLost: bool,
  retryOnWorkerLost: bool,
  rateLimit: nullable(rateLimit),
  trackStarted: bool,
  ignoreResult: bool,
  storeErrorsEvenIfIgnored: bool,
  timeLimit: limit,
  softTimeLimit: limit,
  sendEvents: bool,
  throws: errorClasses,
  queue: text,
  exchange: text,
  routingKey: structured("a text", (value, at) => {
    if (typeof value !== "string") throw mismatch(at, "a text", value);
  }),
  priority: count({ max: 255 }),
  expires: seconds(),
  serializer: text,
  compression: text,
  positional: bool,
};

const BEHAVIOUR_NAMES = Object.keys(BEHAVIOUR);

/** Throws `ImproperlyConfigured` for unknown names and wrong kinds. */
export function checkBehaviour(name: string, behaviour: TaskBehaviour): void {
  for (const [key, value] of Object.entries(behaviour)) {
    if (!isBehaviour(key)) {
      const hint = didYouMean(key, BEHAVIOUR_NAMES);
      throw new ImproperlyConfigured(`task ${name}: unknown option ${JSON.stringify(key)}${hint}`);
    }
    if (value !== undefined) BEHAVIOUR[key].parse(value, `task ${name}: ${key}`);
  }
}

function isBehaviour(key: string): key is keyof TaskBehaviour {
  return Object.hasOwn(BEHAVIOUR, key);
}
