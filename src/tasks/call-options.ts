/**
 * The options of a call: Celery's `apply_async` options in camelCase, checked before anything is sent.
 * wire: celery-wire 1.2, 2.1; celery/app/task.py `apply_async`; celery/app/base.py `send_task`.
 */

import { ChainRest } from "../../protocol/celery/chain-tail.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { parseIso } from "../../protocol/iso-time.ts";
import type { MessageProperties } from "../../protocol/message.ts";
import { isRecord } from "../../protocol/records.ts";
import type { ExchangeType } from "../../protocol/routing.ts";
import { bool, count, dict, type Kind, mismatch, number, oneOf, seconds, structured, text } from "../settings/kinds.ts";
import {
  deliveryMode,
  type ExchangeSpec,
  parseExchange,
  parseQueue,
  type QueueSpec,
} from "../settings/queues-setting.ts";
import { parseRetryPolicy, type RetryPolicyInput } from "../settings/retry-policy-setting.ts";
import { didYouMean } from "../settings/suggest.ts";
import { snakeCase } from "./signature-options.ts";
import { stampsByName } from "./stamp-names.ts";

/** An instant: a `Date` (also a `PyDateTime`, whose zone and microseconds are kept), or ISO 8601 text, sent as it is. */
export type Instant = Date | string;

/** Celery's call options. Every one may be null, which is the same as leaving it out, except where it says otherwise. */
export interface ApplyAsyncOptions {
  /** Seconds from now; wins over `eta`. 0: at once. */
  countdown?: number | null;
  /** When to run. Text without an offset is read by the worker in its own time zone. */
  eta?: Instant | null;
  /** Seconds from now, or an instant, after which the task is no longer worth running. */
  expires?: number | Instant | null;
  /** 0 to 255. On RabbitMQ more is more urgent (needs `x-max-priority`), on Redis less is. Null: no priority property. */
  priority?: number | null;
  /** A queue's name, or a queue as data. */
  queue?: string | QueueSpec | null;
  /** Used only together with `routingKey`, unless the queue's exchange is not direct. */
  exchange?: string | ExchangeSpec | null;
  exchangeType?: ExchangeType | null;
  routingKey?: string | null;
  /** Further message headers; they can overwrite the protocol's own, as in Celery. */
  headers?: Readonly<Record<string, unknown>> | null;
  /** Name shown in logs and monitors instead of the task's. */
  shadow?: string | null;
  /** @default a fresh UUID */
  taskId?: string | null;
  /** @default what the result backend asks for */
  replyTo?: string | null;
  /** Hard limit in seconds, over the task's own. */
  timeLimit?: number | null;
  /** Soft limit in seconds, over the task's own. */
  softTimeLimit?: number | null;
  /** True: the result is not stored, and `get()` gives null at once. Null: the worker's own setting for the task. */
  ignoreResult?: boolean | null;
  /** 1 or "transient", 2 or "persistent". */
  deliveryMode?: 1 | 2 | "transient" | "persistent" | null;
  /** False: one attempt. @default `task_publish_retry` */
  retry?: boolean | null;
  /** Over `task_publish_retry_policy`, member by member. Seconds. */
  retryPolicy?: RetryPolicyInput | null;
  /** Shown in place of the arguments, for secrets. */
  argsrepr?: string | null;
  kwargsrepr?: string | null;
  /** Seconds after which the broker drops the message; `expires` sets it too. */
  expiration?: number | null;
  serializer?: string | null;
  compression?: string | null;
  rootId?: string | null;
  parentId?: string | null;
  groupId?: string | null;
  groupIndex?: number | null;
  /** Signatures to send when the task succeeds. */
  link?: WireSignature | readonly WireSignature[] | null;
  /** Signatures to send when it fails. */
  linkError?: WireSignature | readonly WireSignature[] | null;
  /** The rest of a chain, last step first. */
  chain?: readonly WireSignature[] | null;
  /** The body of the chord that this task is a part of. */
  chord?: WireSignature | null;
  /** Attempts already made. */
  retries?: number | null;
  replacedTaskNesting?: number | null;
  stampedHeaders?: readonly string[] | null;
  /** Values of `stampedHeaders`. */
  stamps?: Readonly<Record<string, unknown>> | null;
  /** @default `gen<pid>@<host>` */
  origin?: string | null;
  correlationId?: string | null;
  messageId?: string | null;
  userId?: string | null;
  appId?: string | null;
  type?: string | null;
  /** Further message properties; `extra` holds names that AMQP does not know. */
  properties?: MessageProperties | null;
  /** The name that `task_routes` sees instead of the task's. */
  routeName?: string | null;
  /** False: a message that reaches no queue is dropped in silence, as in Celery, instead of failing the call. */
  mandatory?: boolean | null;
  /** Remember the new task as a child of the one that sends it. @default true */
  addToParent?: boolean | null;
  /** Ends the wait for the broker and, for a chord, that for the result store. */
  signal?: AbortSignal | null;
}

const id: Kind<string> = { ...text, what: "a text that is not empty" };
const anyText = structured("a text", (value, at) => {
  if (typeof value !== "string") throw mismatch(at, "a text", value);
  return value;
});

const instant = structured("a Date, or ISO 8601 text such as 2030-01-02T03:04:05+00:00", (value, at) => {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value;
  if (typeof value !== "string") throw mismatch(at, instant.what, value);
  const parsed = parseIso(value);
  if (parsed === null || parsed === "overflow") throw mismatch(at, instant.what, value);
  return value;
});

const expires = structured("a number of seconds, a Date or ISO 8601 text", (value, at) =>
  typeof value === "number" ? delay.parse(value, at) : instant.parse(value, at),
);

// celery/app/amqp.py `_verify_seconds` refuses what lies before this; a past instant is legal, and means at once.
const delay = number({ min: -2_147_483_648, unit: "seconds" });

const signature = structured("a signature: an object with a task name", (value, at): WireSignature => {
  if (!isSignature(value)) throw mismatch(at, signature.what, value);
  return value;
});

const signatures = structured("a signature or an array of them", (value, at): readonly WireSignature[] => {
  if (!Array.isArray(value)) return [signature.parse(value, at)];
  return value.map((entry: unknown, index) => signature.parse(entry, `${at}[${index}]`));
});

const chain = structured("a signature or an array of them", (value, at): readonly WireSignature[] | ChainRest =>
  value instanceof ChainRest ? value : signatures.parse(value, at),
);

function isSignature(value: unknown): value is WireSignature {
  return typeof value === "object" && value !== null && "task" in value && typeof value.task === "string";
}

const names = structured("an array of texts", (value, at): readonly string[] => {
  if (!Array.isArray(value)) throw mismatch(at, "an array of texts", value);
  return value.map((entry: unknown) => text.parse(entry, at));
});

const properties = structured("an object of message properties", (value, at): MessageProperties => {
  if (!isRecord(value)) throw mismatch(at, "an object of message properties", value);
  return { ...value };
});

const signal = structured("an AbortSignal", (value, at) => {
  if (!(value instanceof AbortSignal)) throw mismatch(at, "an AbortSignal", value);
  return value;
});

const KINDS = {
  countdown: delay,
  eta: instant,
  expires,
  priority: count({ max: 255 }),
  queue: structured("a queue's name or an object", (value, at) =>
    typeof value === "string" ? id.parse(value, at) : parseQueue(value, at),
  ),
  exchange: structured("an exchange's name or an object", parseExchange),
  exchangeType: oneOf(["direct", "topic", "fanout", "headers"]),
  routingKey: anyText,
  headers: dict,
  shadow: anyText,
  taskId: id,
  replyTo: anyText,
  timeLimit: seconds(),
  softTimeLimit: seconds(),
  ignoreResult: bool,
  deliveryMode,
  retry: bool,
  retryPolicy: structured("an object", parseRetryPolicy),
  argsrepr: anyText,
  kwargsrepr: anyText,
  expiration: number({ min: 0, unit: "seconds" }),
  serializer: text,
  compression: text,
  rootId: anyText,
  parentId: anyText,
  groupId: anyText,
  groupIndex: number({ integer: true }),
  link: signatures,
  linkError: signatures,
  chain,
  chord: signature,
  retries: count(),
  replacedTaskNesting: count(),
  stampedHeaders: names,
  stamps: stampsByName,
  origin: anyText,
  correlationId: anyText,
  messageId: anyText,
  userId: anyText,
  appId: anyText,
  type: anyText,
  properties,
  routeName: text,
  mandatory: bool,
  addToParent: bool,
  signal,
} as const;

type Kinds = typeof KINDS;
export type OptionName = keyof Kinds;
type OutOf<K> = K extends Kind<infer Out, unknown> ? Out : never;

/** Checked options. Null is kept where the caller said null, since routing tells that from absence. */
export type CheckedOptions = { readonly [K in OptionName]?: OutOf<Kinds[K]> | null };

const OPTION_NAMES = Object.keys(KINDS);
const NO_OPTIONS: CheckedOptions = Object.freeze({});

export interface CheckRules {
  /** Begins the error texts. */
  task: string;
  /**
   * The options came with a signature from a peer: names that Lovage does not know become properties that AMQP drops and
   * virtual transports keep, as in Celery, instead of errors.
   */
  fromWire?: boolean;
}

/** Throws `ImproperlyConfigured` for an unknown name (with the nearest one), a wrong type or a value out of range. */
export function checkOptions(
  given: Readonly<Record<string, unknown>> | ApplyAsyncOptions | undefined,
  rules: CheckRules,
): CheckedOptions {
  if (given === undefined) return NO_OPTIONS;
  if (!isRecord(given)) throw mismatch(`${rules.task}: the options`, "an object", given);
  const checked = new Map<string, unknown>();
  const foreign: [string, unknown][] = [];
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (isOptionName(name))
      checked.set(name, value === null ? null : KINDS[name].parse(value, `${rules.task}: option ${name}`));
    else if (rules.fromWire) foreign.push([snakeCase(name), value]);
    else {
      throw new ImproperlyConfigured(
        `${rules.task}: unknown option ${JSON.stringify(name)}${didYouMean(name, OPTION_NAMES)}`,
      );
    }
  }
  if (foreign.length > 0) checked.set("properties", withForeign(checked.get("properties"), foreign));
  const options: CheckedOptions = Object.fromEntries(checked);
  if (!rules.fromWire) checkTogether(options, rules.task);
  return options;
}

function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(KINDS, name);
}

function checkTogether(options: CheckedOptions, task: string): void {
  const { timeLimit, softTimeLimit } = options;
  if (typeof timeLimit === "number" && typeof softTimeLimit === "number" && softTimeLimit > timeLimit) {
    throw new ImproperlyConfigured(`${task}: softTimeLimit must be less than or equal to timeLimit`);
  }
}

function withForeign(known: unknown, foreign: readonly [string, unknown][]): MessageProperties {
  const properties: MessageProperties = isRecord(known) ? known : {};
  return { ...properties, extra: { ...properties.extra, ...Object.fromEntries(foreign) } };
}
