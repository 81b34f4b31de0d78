/**
 * Celery's event messages: the envelope that every event has, the exchange and queues they travel by, and how a body is read.
 * wire: celery/events/event.py, dispatcher.py, receiver.py; celery-wire 5.2, behaviour 4.1 to 4.3.
 */
import { encodeJson } from "../json.ts";
import { isRecord } from "../records.ts";
import { type Exchange, type Queue, queueArguments } from "../routing.ts";
import { PyFloat } from "../values.ts";

/** Fields of one event beside the envelope's. */
export type EventFields = Readonly<Record<string, unknown>>;

/** An event as it was received: the envelope's fields checked, all others as they came. */
export interface CeleryEvent {
  readonly type: string;
  readonly hostname: string;
  /** Process id; null when the sender did not say. */
  readonly pid: number | null;
  /** Lamport clock of the sender; null when it did not say. */
  readonly clock: number | null;
  /** Unix seconds by the sender's clock. */
  readonly timestamp: number;
  /** Hours west of UTC where the sender is. */
  readonly utcoffset: number;
  readonly fields: EventFields;
}

/** The exchange of events: a topic exchange, and on Redis a fanout (celery/events/event.py `get_exchange`). */
export function eventExchange(name: string, transport: string): Exchange {
  return { name, type: transport === "redis" ? "fanout" : "topic" };
}

/** The queue of one who receives events. wire: celery/events/receiver.py `EventReceiver`. */
export interface EventQueueOptions {
  /** `event_queue_prefix`. */
  readonly prefix: string;
  readonly nodeId: string;
  readonly exchange: Exchange;
  /** `#` for all, `worker.#` for gossip. */
  readonly routingKey: string;
  /** Seconds that an event may wait. */
  readonly ttl: number | null;
  /** Seconds without use after which the queue goes. */
  readonly expires: number | null;
  readonly exclusive: boolean;
  readonly durable: boolean;
}

/** The queue of one receiver. */
export function eventQueue(options: EventQueueOptions): Queue {
  const { prefix, nodeId, exchange, routingKey, ttl, expires, exclusive, durable } = options;
  return {
    name: `${prefix}.${nodeId}`,
    exchange,
    routingKey,
    durable,
    exclusive,
    autoDelete: !durable,
    own: true,
    arguments: queueArguments({ expires, messageTtl: ttl }),
  };
}

/** `worker-heartbeat` travels with the key `worker.heartbeat`. */
export function eventRoutingKey(type: string): string {
  return type.replaceAll("-", ".");
}

/** `task` of `task-sent`. */
export function eventGroup(type: string): string {
  const dash = type.indexOf("-");
  return dash < 0 ? type : type.slice(0, dash);
}

/** What is the same in all events of a sender. */
export interface EventSender {
  readonly hostname: string;
  readonly pid: number;
  /** Hours west of UTC, as Python's `utcoffset()`: Berlin in winter is -1. */
  readonly utcoffset: number;
}

/** How the texts of a sender's events begin. Written once: of a worker's every task three events are told. */
export function eventHead({ hostname, pid, utcoffset }: EventSender): string {
  const head = encodeJson({ hostname, utcoffset: new PyFloat(utcoffset), pid });
  return head.slice(0, -1);
}

/** Seconds as Python writes a float. */
export function timestampText(seconds: number): string {
  return Number.isInteger(seconds) ? `${seconds}.0` : `${seconds}`;
}

/** The members of an event beside the envelope's, without their braces. Throws `EncodeError`. */
export function fieldsText(fields: EventFields): string {
  return encodeJson(fields).slice(1, -1);
}

/** An event as JSON, `own` from `fieldsText` and `when` from `timestampText`; the order of the members is Celery's. */
export function eventText(head: string, type: string, own: string, clock: number, when: string): string {
  const middle = own === "" ? "" : `, ${own}`;
  return `${head}, "clock": ${clock}${middle}, "timestamp": ${when}, "type": "${type}"}`;
}

/** Most events that one message may hold; a worker's batches hold dozens. */
const MOST_EVENTS = 10_000;

/** The events of a message body, which is one map or a list of maps. What is no event is left out and counted. */
export function readEvents(body: unknown, headers: unknown): { events: CeleryEvent[]; refused: number } {
  const list: readonly unknown[] = Array.isArray(body) ? body.slice(0, MOST_EVENTS) : [body];
  const events: CeleryEvent[] = [];
  for (const item of list) {
    const event = readEvent(item, headers);
    if (event !== null) events.push(event);
  }
  return { events, refused: (Array.isArray(body) ? body.length : 1) - events.length };
}

/** Characters of a node's name or an event's type: workers have a queue of their name, and names of queues are not longer. */
const LONGEST_NAME = 255;
const ENVELOPE: ReadonlySet<string> = new Set(["type", "hostname", "pid", "clock", "timestamp", "utcoffset"]);

function readEvent(item: unknown, headers: unknown): CeleryEvent | null {
  if (!isRecord(item) || typeof item.type !== "string" || item.type.length > LONGEST_NAME) return null;
  const ofHeader = isRecord(headers) ? headers.hostname : undefined;
  const hostname = typeof item.hostname === "string" ? item.hostname : ofHeader;
  if (typeof hostname !== "string" || hostname.length > LONGEST_NAME) return null;
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(item)) {
    if (ENVELOPE.has(name) || name === "__proto__") continue;
    fields[name] = value;
  }
  return {
    type: item.type,
    hostname,
    pid: finite(item.pid),
    clock: finite(item.clock),
    timestamp: finite(item.timestamp) ?? 0,
    utcoffset: hoursOf(item.utcoffset),
    fields,
  };
}

/** No zone is further from UTC. */
function hoursOf(value: unknown): number {
  const hours = finite(value) ?? 0;
  return Math.abs(hours) <= 24 ? hours : 0;
}

function finite(value: unknown): number | null {
  const number = value instanceof PyFloat ? value.value : value;
  return typeof number === "number" && Number.isFinite(number) ? number : null;
}
