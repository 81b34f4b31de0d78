/** How a publish is tried again. wire: celery/app/defaults.py `task_publish_retry_policy`; kombu/utils/functional.py `retry_over_time`. */
import { count, isPlainObject, mismatch, nullable, seconds, structured } from "./kinds.ts";
import { camelMembers } from "./words.ts";

/** What a publish does when the broker does not answer: attempts, and seconds between them. */
export interface RetryPolicy {
  /** Attempts after the first; null: for ever. @default 3 */
  readonly maxRetries: number | null;
  /** Seconds before the first retry. @default 0 */
  readonly intervalStart: number;
  /** Seconds added at each further one. @default 0.2 */
  readonly intervalStep: number;
  /** Longest wait in seconds. @default 1 */
  readonly intervalMax: number;
}

/** Either spelling of the names; what is absent keeps its default. */
export type RetryPolicyInput = Partial<RetryPolicy> & {
  max_retries?: number | null;
  interval_start?: number;
  interval_step?: number;
  interval_max?: number;
};

export const DEFAULT_RETRY_POLICY: RetryPolicy = Object.freeze({
  maxRetries: 3,
  intervalStart: 0,
  intervalStep: 0.2,
  intervalMax: 1,
});

/** The members that were given, checked, in camelCase. */
export function parseRetryPolicy(value: unknown, at: string): Partial<RetryPolicy> {
  if (!isPlainObject(value)) throw mismatch(at, "an object such as { max_retries, interval_start }", value);
  const members = camelMembers(value, ["maxRetries", "intervalStart", "intervalStep", "intervalMax"], at);
  const wait = (name: string): number => seconds().parse(members.get(name), `${at}.${name}`);
  return {
    ...(members.has("maxRetries") && {
      maxRetries: nullable(count()).parse(members.get("maxRetries"), `${at}.maxRetries`),
    }),
    ...(members.has("intervalStart") && { intervalStart: wait("intervalStart") }),
    ...(members.has("intervalStep") && { intervalStep: wait("intervalStep") }),
    ...(members.has("intervalMax") && { intervalMax: wait("intervalMax") }),
  };
}

export const retryPolicy = structured<RetryPolicy, RetryPolicyInput>(
  "an object of max_retries and intervals",
  (value, at) => Object.freeze({ ...DEFAULT_RETRY_POLICY, ...parseRetryPolicy(value, at) }),
);

/** Seconds to wait before retry number `retry` (0 is the first). wire: kombu/utils/functional.py `fxrange`. */
export function retryDelay(policy: RetryPolicy, retry: number): number {
  return Math.min(policy.intervalMax, policy.intervalStart + retry * policy.intervalStep);
}
