/**
 * Kombu's process mailbox: broadcast requests, who is addressed by one, and replies.
 * wire: kombu/pidbox.py `Mailbox._publish`, `Node.handle_message`, `_publish_reply`; celery-wire 5.1, behaviour 3.1 and 3.2.
 */
import { isRecord } from "../records.ts";
import type { Exchange, Queue } from "../routing.ts";
import { queueArguments } from "../routing.ts";

/** The exchange that reaches every node of a namespace (`control_exchange`). */
export function requestExchange(namespace: string): Exchange {
  return { name: `${namespace}.pidbox`, type: "fanout", durable: false };
}

/** Where answers go. wire: kombu/pidbox.py `Mailbox.reply_exchange`. */
export function replyExchange(namespace: string): Exchange {
  return { name: `reply.${namespace}.pidbox`, type: "direct", durable: false };
}

/** How the queues of a mailbox are declared. Settings: `control_queue_*`. */
export interface MailboxQueueOptions {
  /** Seconds that a message may wait. */
  readonly ttl: number | null;
  /** Seconds without use after which a queue goes. */
  readonly expires: number | null;
  readonly exclusive: boolean;
  readonly durable: boolean;
}

/** The queue of a node's mailbox: `celery@host.celery.pidbox`. */
export function nodeQueue(namespace: string, node: string, options: MailboxQueueOptions): Queue {
  return {
    name: `${node}.${namespace}.pidbox`,
    exchange: requestExchange(namespace),
    routingKey: "",
    ...queueAttributes(options),
  };
}

/** The queue that a client has its replies sent to; `oid` is the client's own id. */
export function replyQueue(namespace: string, oid: string, options: MailboxQueueOptions): Queue {
  const exchange = replyExchange(namespace);
  return { name: `${oid}.${exchange.name}`, exchange, routingKey: oid, ...queueAttributes(options) };
}

function queueAttributes({ ttl, expires, exclusive, durable }: MailboxQueueOptions) {
  return {
    durable,
    exclusive,
    autoDelete: !durable,
    own: true,
    arguments: queueArguments({ expires, messageTtl: ttl }),
  };
}

/** Where an answer is wanted. */
export interface ReplyTo {
  readonly exchange: string;
  readonly routingKey: string;
}

/** A command as it stands in a mailbox message. wire: kombu/pidbox.py `Mailbox._publish`. */
export interface PidboxRequest {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly destination: readonly string[] | null;
  readonly pattern: string | null;
  readonly matcher: string | null;
  readonly ticket: string | null;
  /** Null: no reply is wanted. */
  readonly replyTo: ReplyTo | null;
}

/** The body of a request; `ticket` and `reply_to` only where a reply is wanted. */
export function requestBody(request: PidboxRequest): Record<string, unknown> {
  const { method, arguments: given, destination, pattern, matcher, ticket, replyTo } = request;
  const body: Record<string, unknown> = { method, arguments: given, destination, pattern, matcher };
  if (replyTo === null) return body;
  return { ...body, ticket, reply_to: { exchange: replyTo.exchange, routing_key: replyTo.routingKey } };
}

/** Nobody has commands of longer names. */
const LONGEST_METHOD = 255;

/** A request as it came, or the complaint about a body that is none. */
export function readRequest(body: unknown): PidboxRequest | string {
  if (!isRecord(body)) return "the body is no map";
  const { method, destination, pattern, matcher, ticket } = body;
  if (typeof method !== "string") return "it names no method";
  if (method.length > LONGEST_METHOD) return `its method's name has ${method.length} characters`;
  const given = body.arguments ?? {};
  if (!isRecord(given)) return "its arguments are no map";
  const replyTo = readReplyTo(body.reply_to);
  if (typeof replyTo === "string") return replyTo;
  return {
    method,
    arguments: given,
    destination: readDestination(destination),
    pattern: typeof pattern === "string" && pattern !== "" ? pattern : null,
    matcher: typeof matcher === "string" && matcher !== "" ? matcher : null,
    ticket: typeof ticket === "string" ? ticket : null,
    replyTo,
  };
}

/** A text counts as the list of its one name (Python asks whether the name is part of it); what is empty addresses everyone. */
function readDestination(value: unknown): string[] | null {
  if (typeof value === "string") return value === "" ? null : [value];
  if (!Array.isArray(value) || value.length === 0) return null;
  return value.filter((name): name is string => typeof name === "string");
}

function readReplyTo(value: unknown): ReplyTo | null | string {
  if (value === undefined || value === null) return null;
  if (!isRecord(value)) return "its reply_to is no map";
  const { exchange, routing_key: routingKey } = value;
  if (typeof exchange !== "string" || typeof routingKey !== "string")
    return "its reply_to names no exchange and routing key";
  return { exchange, routingKey };
}

/** A reply: one map of the node's name to what it says. Null: the body is none. */
export function readReply(body: unknown): Record<string, unknown> | null {
  return isRecord(body) ? body : null;
}
