/**
 * `task_queues` as plain data: an array of queues, or Celery's mapping of name to options, which is also what a JSON file
 * shared with Python holds. wire: kombu/entity.py `Queue`, `Queue.from_dict`; celery/app/amqp.py `Queues.add_compat`.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Exchange, ExchangeType } from "../../protocol/routing.ts";
import { bool, count, dict, isPlainObject, type Kind, mismatch, oneOf, seconds, structured, text } from "./kinds.ts";
import { camelMembers } from "./words.ts";

/** An exchange in Kombu's words. */
export interface ExchangeSpec {
  name: string;
  /** @default "direct" */
  type?: ExchangeType;
  /** @default true */
  durable?: boolean;
  /** @default false */
  autoDelete?: boolean;
  deliveryMode?: 1 | 2 | "transient" | "persistent";
  arguments?: Readonly<Record<string, unknown>>;
}

/** A queue in Kombu's words; every name may also be written with underscores. */
export interface QueueSpec {
  name: string;
  /** @default the default exchange (`task_default_exchange`) */
  exchange?: string | ExchangeSpec;
  /** @default "direct" */
  exchangeType?: ExchangeType;
  exchangeDurable?: boolean;
  exchangeAutoDelete?: boolean;
  exchangeArguments?: Readonly<Record<string, unknown>>;
  /** Delivery mode of the exchange. */
  deliveryMode?: 1 | 2 | "transient" | "persistent";
  /** @default in an array `task_default_routing_key`, in a mapping the queue's name, as in Celery */
  routingKey?: string;
  /** Celery's older word for `routingKey`; it wins. */
  bindingKey?: string;
  /** @default true */
  durable?: boolean;
  queueDurable?: boolean;
  exclusive?: boolean;
  /** @default false */
  autoDelete?: boolean;
  queueAutoDelete?: boolean;
  /** Raw broker arguments, such as `x-queue-type`. */
  queueArguments?: Readonly<Record<string, unknown>>;
  arguments?: Readonly<Record<string, unknown>>;
  /** Seconds without use after which the queue goes (`x-expires`). */
  expires?: number;
  /** Seconds a message may wait (`x-message-ttl`). */
  messageTtl?: number;
  maxLength?: number;
  maxLengthBytes?: number;
  /** `x-max-priority`. */
  maxPriority?: number;
  /** Further bindings. */
  bindings?: readonly { exchange: string | ExchangeSpec; exchangeType?: ExchangeType; routingKey?: string }[];
}

export type QueuesInput =
  | readonly (QueueSpec | Record<string, unknown>)[]
  | Readonly<Record<string, Omit<QueueSpec, "name"> | Record<string, unknown>>>;

/** A queue as configured: what is null is filled from the `task_default_…` settings when the queues are put together. */
export interface ConfiguredQueue {
  readonly name: string;
  readonly exchange: Exchange | null;
  readonly routingKey: string | null;
  readonly durable: boolean;
  readonly exclusive: boolean;
  readonly autoDelete: boolean;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly bindings: readonly { exchange: Exchange; routingKey: string }[];
}

const QUEUE_NAMES = [
  ...["name", "exchange", "exchangeType", "exchangeDurable", "exchangeAutoDelete", "exchangeArguments", "deliveryMode"],
  ...["routingKey", "bindingKey", "durable", "queueDurable", "exclusive", "autoDelete", "queueAutoDelete"],
  ...["queueArguments", "arguments", "expires", "messageTtl", "maxLength", "maxLengthBytes", "maxPriority", "bindings"],
];
const EXCHANGE_NAMES = ["name", "type", "durable", "autoDelete", "deliveryMode", "arguments"];
const exchangeTypes = oneOf(["direct", "topic", "fanout", "headers"]);

export const deliveryMode: Kind<1 | 2, 1 | 2 | "transient" | "persistent"> = {
  what: '1 or "transient", 2 or "persistent"',
  parse(value, at) {
    if (value === 1 || value === "transient") return 1;
    if (value === 2 || value === "persistent") return 2;
    throw mismatch(at, this.what, value);
  },
  fromText: (given) => (given === "1" ? 1 : given === "2" ? 2 : given),
};

/** The value of one member, checked; undefined when it is absent or null. */
type Member = <Out, In>(name: string, kind: Kind<Out, In>) => Out | undefined;

function reader(members: ReadonlyMap<string, unknown>, at: string): Member {
  return (name, kind) => {
    const value = members.get(name);
    return value === undefined || value === null ? undefined : kind.parse(value, `${at}.${name}`);
  };
}

/** An exchange by name or as an object. The empty name is the anonymous exchange. */
export function parseExchange(value: unknown, at: string): Exchange {
  if (typeof value === "string") return { name: value, type: "direct" };
  if (!isPlainObject(value)) throw mismatch(at, "an exchange's name or an object", value);
  const members = camelMembers(value, EXCHANGE_NAMES, at);
  const read = reader(members, at);
  const name = members.get("name") ?? "";
  if (typeof name !== "string") throw mismatch(`${at}.name`, "a text", name);
  return exchangeOf(name, {
    type: read("type", exchangeTypes),
    durable: read("durable", bool),
    autoDelete: read("autoDelete", bool),
    deliveryMode: read("deliveryMode", deliveryMode),
    arguments: read("arguments", dict),
  });
}

interface ExchangeParts {
  type: ExchangeType | undefined;
  durable: boolean | undefined;
  autoDelete: boolean | undefined;
  deliveryMode: 1 | 2 | undefined;
  arguments: Readonly<Record<string, unknown>> | undefined;
}

function exchangeOf(name: string, parts: ExchangeParts): Exchange {
  const exchange: Exchange = { name, type: parts.type ?? "direct" };
  if (parts.durable !== undefined) exchange.durable = parts.durable;
  if (parts.autoDelete !== undefined) exchange.autoDelete = parts.autoDelete;
  if (parts.deliveryMode !== undefined) exchange.deliveryMode = parts.deliveryMode;
  if (parts.arguments !== undefined) exchange.arguments = { ...parts.arguments };
  return exchange;
}

/** One queue. `name` is given by the mapping form, whose routing key defaults to it. */
export function parseQueue(value: unknown, at: string, name?: string): ConfiguredQueue {
  if (!isPlainObject(value)) throw mismatch(at, "an object with the queue's options", value);
  const members = camelMembers(value, QUEUE_NAMES, at);
  const read = reader(members, at);
  const queueName = name ?? text.parse(members.get("name"), `${at}.name`);
  if (name !== undefined && members.has("name") && members.get("name") !== name) {
    throw new ImproperlyConfigured(
      `${at}: the queue is named ${JSON.stringify(name)} by its key, and otherwise inside`,
    );
  }
  const durable = read("durable", bool);
  const autoDelete = read("autoDelete", bool);
  const exclusive = read("exclusive", bool) ?? false;
  const bindings = readBindings(members.get("bindings"), `${at}.bindings`);
  return Object.freeze({
    name: queueName,
    exchange: queueExchange(members, read, { durable, autoDelete }, at),
    routingKey: read("bindingKey", text) ?? read("routingKey", text) ?? name ?? null,
    durable: read("queueDurable", bool) ?? durable ?? true,
    exclusive,
    autoDelete: exclusive || (read("queueAutoDelete", bool) ?? autoDelete ?? false),
    arguments: queueArguments(read),
    bindings,
  });
}

function queueExchange(
  members: ReadonlyMap<string, unknown>,
  read: Member,
  shared: { durable: boolean | undefined; autoDelete: boolean | undefined },
  at: string,
): Exchange | null {
  const given = members.get("exchange");
  if (isPlainObject(given)) return parseExchange(given, `${at}.exchange`);
  const name = read("exchange", text) ?? "";
  const exchange = exchangeOf(name, {
    type: read("exchangeType", exchangeTypes),
    durable: read("exchangeDurable", bool) ?? shared.durable,
    autoDelete: read("exchangeAutoDelete", bool) ?? shared.autoDelete,
    deliveryMode: read("deliveryMode", deliveryMode),
    arguments: read("exchangeArguments", dict),
  });
  // Celery puts its default exchange in the place of a nameless one, and a type given for that is lost (`Queues._add`).
  return name === "" ? null : exchange;
}

// wire: kombu/transport/base.py `to_rabbitmq_queue_arguments`: the named options win over the raw arguments.
function queueArguments(read: Member): Readonly<Record<string, unknown>> {
  const found = new Map<string, unknown>(
    Object.entries({ ...read("arguments", dict), ...read("queueArguments", dict) }),
  );
  const put = (key: string, value: number | undefined) => value !== undefined && found.set(key, value);
  const milliseconds = (name: string) => {
    const value = read(name, seconds());
    return value === undefined ? undefined : Math.trunc(value * 1000);
  };
  put("x-expires", milliseconds("expires"));
  put("x-message-ttl", milliseconds("messageTtl"));
  put("x-max-length", read("maxLength", count()));
  put("x-max-length-bytes", read("maxLengthBytes", count()));
  put("x-max-priority", read("maxPriority", count({ max: 255 })));
  return Object.freeze(Object.fromEntries(found));
}

function readBindings(value: unknown, at: string): readonly { exchange: Exchange; routingKey: string }[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw mismatch(at, "an array", value);
  return value.map((entry: unknown, index) => {
    const here = `${at}[${index}]`;
    if (!isPlainObject(entry)) throw mismatch(here, "an object with exchange and routingKey", entry);
    const members = camelMembers(entry, ["exchange", "exchangeType", "routingKey"], here);
    const read = reader(members, here);
    const exchange = parseExchange(members.get("exchange"), `${here}.exchange`);
    const type = read("exchangeType", exchangeTypes);
    return {
      exchange: type === undefined ? exchange : { ...exchange, type },
      routingKey: read("routingKey", text) ?? "",
    };
  });
}

function parseQueues(value: unknown, at: string): readonly ConfiguredQueue[] {
  const found = Array.isArray(value)
    ? value.map((entry: unknown, index) => parseQueue(entry, `${at}[${index}]`))
    : isPlainObject(value)
      ? Object.entries(value).map(([name, entry]) => parseQueue(entry, `${at}.${name}`, name))
      : null;
  if (found === null) throw mismatch(at, "an array of queues or an object of queue name to options", value);
  const names = new Set<string>();
  for (const { name } of found) {
    if (names.has(name)) throw new ImproperlyConfigured(`${at}: queue ${JSON.stringify(name)} is given twice`);
    names.add(name);
  }
  return Object.freeze(found);
}

export const queues = structured<readonly ConfiguredQueue[], QueuesInput>(
  "an array of queues or an object of queue name to options",
  parseQueues,
);
