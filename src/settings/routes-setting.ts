/**
 * `task_routes` as it may be written, checked and brought into one form. wire: celery/app/routes.py `prepare`, `MapRoute`.
 * In a JSON file only objects and arrays of them can be said; regular expressions and functions belong to code.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import { bool, count, dict, isPlainObject, type Kind, mismatch, number, oneOf, structured, text } from "./kinds.ts";
import {
  type ConfiguredQueue,
  deliveryMode,
  type ExchangeSpec,
  parseExchange,
  parseQueue,
  type QueueSpec,
} from "./queues-setting.ts";
import { parseRetryPolicy, type RetryPolicyInput } from "./retry-policy-setting.ts";
import { camelMembers } from "./words.ts";

/** Where a task goes and with which message options; any call option of the same name wins. */
export interface RouteSpec {
  queue?: string | QueueSpec | null;
  exchange?: string | ExchangeSpec | null;
  exchangeType?: Exchange["type"] | null;
  routingKey?: string | null;
  /** Null: the message carries no priority. */
  priority?: number | null;
  serializer?: string | null;
  compression?: string | null;
  deliveryMode?: 1 | 2 | "transient" | "persistent" | null;
  headers?: Readonly<Record<string, unknown>> | null;
  /** Seconds after which the broker drops the message. */
  expiration?: number | null;
  retry?: boolean | null;
  retryPolicy?: RetryPolicyInput | null;
}

/** A route after checking: every name in camelCase, values in their final types. */
export interface Route {
  readonly queue?: string | ConfiguredQueue | null;
  readonly exchange?: Exchange | null;
  readonly exchangeType?: Exchange["type"] | null;
  readonly routingKey?: string | null;
  readonly priority?: number | null;
  readonly serializer?: string | null;
  readonly compression?: string | null;
  readonly deliveryMode?: 1 | 2 | null;
  readonly headers?: Readonly<Record<string, unknown>> | null;
  readonly expiration?: number | null;
  readonly retry?: boolean | null;
  readonly retryPolicy?: RetryPolicyInput | null;
}

/** What a route function is told about the call; `queue` is already looked up. */
export interface RouteCall {
  readonly options: Readonly<Record<string, unknown> & { queue?: Queue }>;
  /** The definition, when the task is registered here. */
  readonly task: { readonly name: string } | null;
}

/** Null or undefined: no opinion, ask the next router. A text is a queue's name. */
export type RouteFunction = (
  name: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: RouteCall["options"],
  task: RouteCall["task"],
) => RouteSpec | Record<string, unknown> | string | null | undefined;

type RouteValue = string | RouteSpec | Record<string, unknown>;
type RoutePairs = readonly (readonly [string | RegExp, RouteValue])[];
type RouterInput =
  | Readonly<Record<string, RouteValue>>
  | ReadonlyMap<string | RegExp, RouteValue>
  | RoutePairs
  | RouteFunction;
export type RoutesInput = RouterInput | readonly RouterInput[];

/** Patterns and what they lead to, in order. */
export type RouteTable = readonly (readonly [string | RegExp, Route])[];
export type RouterSetting = RouteTable | RouteFunction;

const ROUTE_NAMES: readonly (keyof Route)[] = [
  ...(["queue", "exchange", "exchangeType", "routingKey", "priority", "serializer", "compression"] as const),
  ...(["deliveryMode", "headers", "expiration", "retry", "retryPolicy"] as const),
];

const routeQueue = structured("a queue's name or an object", (value, at) =>
  typeof value === "string" ? value : parseQueue(value, at),
);
const routeExchange = structured("an exchange's name or an object", parseExchange);
const routingKey = structured("a text", (value, at) => {
  if (typeof value !== "string") throw mismatch(at, text.what, value);
  return value;
});
const exchangeType = oneOf(["direct", "topic", "fanout", "headers"]);
const policy = structured("an object", parseRetryPolicy);

/** One route: an object of options, or a queue's name. The empty text and the empty object are Celery's "default queue". */
export function parseRoute(value: unknown, at: string): Route {
  if (typeof value === "string") return value === "" ? {} : { queue: value };
  if (!isPlainObject(value)) throw mismatch(at, "a queue's name or an object such as { queue }", value);
  const members = camelMembers(value, ROUTE_NAMES, at);
  const read = <Out, In>(name: keyof Route, kind: Kind<Out, In>): Out | null | undefined => {
    const given = members.get(name);
    return given === undefined || given === null ? given : kind.parse(given, `${at}.${name}`);
  };
  return {
    queue: read("queue", routeQueue),
    exchange: read("exchange", routeExchange),
    exchangeType: read("exchangeType", exchangeType),
    routingKey: read("routingKey", routingKey),
    priority: read("priority", count({ max: 255 })),
    serializer: read("serializer", text),
    compression: read("compression", text),
    deliveryMode: read("deliveryMode", deliveryMode),
    headers: read("headers", dict),
    expiration: read("expiration", number({ min: 0 })),
    retry: read("retry", bool),
    retryPolicy: read("retryPolicy", policy),
  };
}

function parseTable(pairs: Iterable<readonly [unknown, unknown]>, at: string): RouteTable {
  const table: [string | RegExp, Route][] = [];
  for (const [pattern, value] of pairs) {
    if (typeof pattern !== "string" && !(pattern instanceof RegExp)) {
      throw mismatch(at, "keyed by task names, globs or regular expressions", pattern);
    }
    table.push([pattern, parseRoute(value, `${at}[${String(pattern)}]`)]);
  }
  return table;
}

function isPair(value: unknown): value is readonly [string | RegExp, unknown] {
  return Array.isArray(value) && value.length === 2 && (typeof value[0] === "string" || value[0] instanceof RegExp);
}

function isFunction(value: unknown): value is RouteFunction {
  return typeof value === "function";
}

function parseRouter(value: unknown, at: string): RouterSetting {
  if (isFunction(value)) return value;
  if (value instanceof Map) return parseTable(value, at);
  if (isPlainObject(value)) return parseTable(Object.entries(value), at);
  if (Array.isArray(value)) {
    return parseTable(
      value.map((entry: unknown, index) => {
        if (!isPair(entry)) throw mismatch(`${at}[${index}]`, "a pair of pattern and route", entry);
        return entry;
      }),
      at,
    );
  }
  if (typeof value === "string") {
    throw new ImproperlyConfigured(
      `${at}: a router named by its Python path (${value}) cannot run here; give a function`,
    );
  }
  throw mismatch(at, "an object, a Map, pairs or a function", value);
}

function parseRoutes(value: unknown, at: string): readonly RouterSetting[] {
  if (!Array.isArray(value) || (value.length > 0 && value.every(isPair))) return [parseRouter(value, at)];
  return value.map((entry: unknown, index) => parseRouter(entry, `${at}[${index}]`));
}

export const routes = structured<readonly RouterSetting[], RoutesInput>(
  "an object of task name or glob to route",
  parseRoutes,
);
