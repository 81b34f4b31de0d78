/**
 * Kombu's entities as data: exchanges, queues and the bindings between them, and how a routing key meets a binding.
 * wire: celery-wire 4.1 (AMQP), 6.1 and 6.2 (virtual transports); kombu/transport/virtual/exchange.py,
 * kombu/transport/base.py `to_rabbitmq_queue_arguments`.
 */
import { ImproperlyConfigured } from "./errors.ts";

/** How an exchange chooses queues, by AMQP's names. */
export type ExchangeType = "direct" | "topic" | "fanout" | "headers";

/** An exchange as it is declared. wire: kombu/entity.py `Exchange`. */
export interface Exchange {
  /** The empty name is the anonymous exchange, which is never declared. */
  name: string;
  type: ExchangeType;
  /** @default true */
  durable?: boolean;
  /** @default false */
  autoDelete?: boolean;
  /** Delivery mode of messages sent through it when the call names none: 1 or 2. */
  deliveryMode?: number;
  arguments?: Record<string, unknown>;
  /** Exchanges that pass messages on to this one; they are declared with it. AMQP only. */
  sources?: readonly { readonly exchange: Exchange; readonly routingKey: string }[];
}

/** A queue as it is declared, with the exchange that it is bound to. wire: kombu/entity.py `Queue`. */
export interface Queue {
  name: string;
  exchange: Exchange;
  routingKey: string;
  /** @default true */
  durable?: boolean;
  /** @default false */
  exclusive?: boolean;
  /** @default false */
  autoDelete?: boolean;
  /** Raw queue arguments: `x-max-priority`, `x-expires` (ms), `x-message-ttl` (ms), `x-queue-type`, … */
  arguments?: Record<string, unknown>;
  /** This client's own, like a reply queue: it is created also where queues are declared by others (`lovage_declare`). */
  own?: boolean;
  /** Further bindings of the same queue. */
  bindings?: readonly { exchange: Exchange; routingKey: string }[];
}

/** One row of an exchange's table on a virtual transport: `[routing_key, pattern, queue]`. */
export interface Binding {
  routingKey: string;
  /** Kombu's regular expression for topic exchanges, else empty. Written for Python; never evaluated here. */
  pattern: string;
  queue: string;
}

/** The row that binds `queue` to an exchange of this type. */
export function bindingOf(type: ExchangeType, routingKey: string, queue: string): Binding {
  return { routingKey, pattern: type === "topic" ? topicPattern(routingKey) : "", queue };
}

/** What Kombu's `str.isalnum` leaves unescaped, with the three characters that carry meaning in a topic key. */
const UNESCAPED = /^[\p{L}\p{N}.#*]$/u;

/** The regular expression that Kombu 5.7 stores for a topic binding, such as `^cap\..*?$` for `cap.#`. */
export function topicPattern(key: string): string {
  let escaped = "";
  for (const char of key) {
    if (UNESCAPED.test(char)) escaped += char;
    else escaped += char === "\0" ? "\\000" : `\\${char}`;
  }
  const words = escaped.split(".").map((word) => (word === "*" ? "[^\\.]+" : word === "#" ? ".*?" : word));
  return `^${words.join("\\.")}$`;
}

/**
 * Whether a topic binding takes a routing key, as Kombu's virtual exchanges decide: `*` is exactly one non-empty word and
 * `#` is **one** or more words, where RabbitMQ also takes none (`a.#` takes `a` there, and not here).
 */
export function matchesTopic(bindingKey: string, routingKey: string): boolean {
  if (bindingKey === "#" || (bindingKey === routingKey && !WILDCARD.test(bindingKey))) return true;
  const pattern = bindingKey.split(".");
  const words = routingKey.split(".");
  let p = 0;
  let w = 0;
  let hash = -1; // where the last `#` stands, and the first word after those it has taken so far
  let resume = 0;
  while (w < words.length) {
    const part = pattern[p];
    if (part === "#") {
      hash = p++;
      resume = ++w;
    } else if (part !== undefined && (part === "*" ? words[w] !== "" : part === words[w])) {
      p++;
      w++;
    } else if (hash >= 0) {
      p = hash + 1;
      w = ++resume;
    } else {
      return false;
    }
  }
  return p === pattern.length;
}

const WILDCARD = /[*#]/;

/** The queues that a message reaches on a virtual transport, each once, in the order of the table. */
export function routesFor(type: ExchangeType, bindings: Iterable<Binding>, routingKey: string): string[] {
  const queues = new Set<string>();
  for (const binding of bindings) {
    if (takes(type, binding, routingKey)) queues.add(binding.queue);
  }
  return [...queues];
}

function takes(type: ExchangeType, binding: Binding, routingKey: string): boolean {
  switch (type) {
    case "fanout":
      return true;
    case "direct":
      return binding.routingKey === routingKey;
    case "topic":
      return matchesTopic(binding.routingKey, routingKey);
    case "headers":
      throw new ImproperlyConfigured("exchanges of type headers exist only on AMQP brokers");
  }
}

/** Kombu's queue options, which become queue arguments. */
export interface QueueOptions {
  /** Seconds without use after which the queue goes. */
  expires?: number | null;
  /** Seconds that a message may wait. */
  messageTtl?: number | null;
  /** Messages. */
  maxLength?: number | null;
  /** Bytes. */
  maxLengthBytes?: number | null;
  /** Number of priorities, at most 255. Setting: `task_queue_max_priority`. */
  maxPriority?: number | null;
}

/** Queue arguments with Kombu's options added (`expires: 60` is `"x-expires": 60000`); options win over `given`. */
export function queueArguments(options: QueueOptions, given: Record<string, unknown> = {}): Record<string, unknown> {
  const result = { ...given };
  put(result, "x-expires", options.expires, 1000);
  put(result, "x-message-ttl", options.messageTtl, 1000);
  put(result, "x-max-length", options.maxLength, 1);
  put(result, "x-max-length-bytes", options.maxLengthBytes, 1);
  put(result, "x-max-priority", options.maxPriority, 1);
  return result;
}

function put(target: Record<string, unknown>, name: string, value: number | null | undefined, factor: number): void {
  if (value === null || value === undefined) return;
  if (!Number.isFinite(value)) throw new ImproperlyConfigured(`queue argument ${name} must be a finite number`);
  target[name] = Math.trunc(value * factor);
}
