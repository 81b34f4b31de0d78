/**
 * When a task is tried again, by Celery's formulas. wire: celery/app/task.py `retry`, celery/app/autoretry.py,
 * celery/utils/time.py `get_exponential_backoff_interval`.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { parseIso } from "../../protocol/iso-time.ts";
import { saferepr } from "../../protocol/saferepr.ts";
import { PyDateTime } from "../../protocol/values.ts";
import { count, dict, mismatch, nullable, number } from "../settings/kinds.ts";
import { didYouMean } from "../settings/suggest.ts";
import type { TaskBehaviour } from "./behaviour.ts";
import type { RetryOptions } from "./context.ts";
import type { AnyTask } from "./definition.ts";
import { MaxRetriesExceededError } from "./errors.ts";
import { Retry, type RetryTime, TaskSignal } from "./signals.ts";

const DEFAULT_MAX_RETRIES = 3;
const DEFAULT_RETRY_DELAY_S = 180;

/** What of the running attempt the policy looks at. */
export interface Attempt {
  id: string;
  retries: number;
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
}

/** Seconds: `min(max, factor * 2^retries)`, or a random whole number from 0 to that. */
export function exponentialBackoff(
  factor: number,
  retries: number,
  maximum: number,
  fullJitter: boolean,
  random: () => number = Math.random,
): number {
  const countdown = Math.min(maximum, factor * 2 ** retries);
  return Math.max(0, fullJitter ? Math.floor(random() * (countdown + 1)) : countdown);
}

const RETRY_OPTIONS = ["countdown", "eta", "maxRetries", "exc", "args", "kwargs", "options"];
const countdownKind = number({ min: -2_147_483_648, unit: "seconds" });
const maxRetriesKind = nullable(count());

function isInstant(value: unknown): boolean {
  if (value instanceof Date) return !Number.isNaN(value.getTime());
  return value instanceof PyDateTime || (typeof value === "string" && parseIso(value) !== null);
}

/** A limit that is no number would never be reached. */
function checkOptions(task: AnyTask, options: RetryOptions): void {
  const at = `${task.name}: option`;
  for (const name of Object.keys(dict.parse(options, `${task.name}: the options of retry()`))) {
    if (RETRY_OPTIONS.includes(name)) continue;
    const hint = didYouMean(name, RETRY_OPTIONS);
    throw new ImproperlyConfigured(`${task.name}: unknown option ${JSON.stringify(name)} of retry()${hint}`);
  }
  const { countdown, eta, maxRetries, args, kwargs } = options;
  if (eta !== undefined && eta !== null && !isInstant(eta)) {
    throw mismatch(`${at} eta of retry()`, "a Date or a time in ISO 8601", eta);
  }
  if (countdown !== undefined && countdown !== null) countdownKind.parse(countdown, `${at} countdown of retry()`);
  if (maxRetries !== undefined) maxRetriesKind.parse(maxRetries, `${at} maxRetries of retry()`);
  if (args !== undefined && !Array.isArray(args)) throw mismatch(`${at} args of retry()`, "an array", args);
  if (kwargs !== undefined) dict.parse(kwargs, `${at} kwargs of retry()`);
  if (options.options !== undefined) dict.parse(options.options, `${at} options of retry()`);
}

/**
 * What `ctx.retry(options)` throws: `Retry`, or `exc` or `MaxRetriesExceededError` when no attempt is left. Throws
 * `ImproperlyConfigured` for options that cannot be.
 */
export function retryOutcome(task: AnyTask, attempt: Attempt, options: RetryOptions = {}): unknown {
  checkOptions(task, options);
  const { countdown, eta, maxRetries, exc, args, kwargs, options: overrides } = options;
  const limit =
    maxRetries !== undefined
      ? maxRetries
      : task.behaviour.maxRetries === undefined
        ? DEFAULT_MAX_RETRIES
        : task.behaviour.maxRetries;
  const next = mergeArguments(task, attempt, args, kwargs);
  if (limit !== null && attempt.retries + 1 > limit) {
    if (exc !== undefined && exc !== null) return exc;
    return new MaxRetriesExceededError(
      `Can't retry ${task.name}[${attempt.id}] args:${saferepr(next.args)} kwargs:${saferepr(next.kwargs)}`,
    );
  }
  // celery/app/task.py `retry`: null is absence, and a countdown other than 0 hides an eta.
  const when: RetryTime =
    eta !== undefined && eta !== null && !countdown
      ? { eta }
      : { countdown: countdown ?? task.behaviour.defaultRetryDelay ?? DEFAULT_RETRY_DELAY_S };
  // Without new arguments the message's own are sent again, as exactly as they came.
  const changed = args === undefined && kwargs === undefined ? {} : next;
  return new Retry(exc ?? null, when, { ...changed, ...(overrides === undefined ? {} : { options: overrides }) });
}

/**
 * What an error thrown by the body becomes: itself, or a retry when `autoretryFor` says so. Signals pass through, and
 * `dontAutoretryFor` wins over `autoretryFor`.
 */
export function autoretryOutcome(
  task: AnyTask,
  attempt: Attempt,
  error: unknown,
  random: () => number = Math.random,
): unknown {
  const { behaviour } = task;
  if (behaviour.autoretryFor === undefined || error instanceof TaskSignal) return error;
  if (behaviour.dontAutoretryFor?.some((type) => error instanceof type)) return error;
  if (!behaviour.autoretryFor.some((type) => error instanceof type)) return error;
  const backoff = backoffFactor(behaviour);
  const countdown =
    backoff === null
      ? behaviour.retryKwargs?.countdown
      : exponentialBackoff(
          backoff,
          attempt.retries,
          behaviour.retryBackoffMax ?? 600,
          behaviour.retryJitter ?? true,
          random,
        );
  const options: RetryOptions = { exc: error };
  if (countdown !== undefined) options.countdown = countdown;
  if (behaviour.retryKwargs?.maxRetries !== undefined) options.maxRetries = behaviour.retryKwargs.maxRetries;
  return retryOutcome(task, attempt, options);
}

function backoffFactor({ retryBackoff }: TaskBehaviour): number | null {
  const factor = retryBackoff === true ? 1 : retryBackoff === false || retryBackoff === undefined ? 0 : retryBackoff;
  return factor === 0 ? null : Math.trunc(Math.max(1, factor));
}

/** New args or kwargs replace the parameters they name and leave the others as they came (celery/app/task.py, #6494). */
function mergeArguments(
  task: AnyTask,
  attempt: Attempt,
  args: readonly unknown[] | undefined,
  kwargs: Record<string, unknown> | undefined,
): { args: readonly unknown[]; kwargs: Record<string, unknown> } {
  if (args !== undefined && kwargs !== undefined) return { args, kwargs };
  if (args === undefined && kwargs === undefined) return { args: attempt.args, kwargs: { ...attempt.kwargs } };
  const names = (task.parameters?.params ?? []).filter((param) => param.kind === "positionalOrKeyword");
  if (args !== undefined) {
    const kept = { ...attempt.kwargs };
    for (const param of names.slice(0, args.length)) delete kept[param.name];
    return { args, kwargs: kept };
  }
  const positional = [...attempt.args];
  const rest: Record<string, unknown> = { ...kwargs };
  for (const [index, param] of names.entries()) {
    if (index >= positional.length || !Object.hasOwn(rest, param.name)) continue;
    positional[index] = rest[param.name];
    delete rest[param.name];
  }
  return { args: positional, kwargs: rest };
}
