/** Commands about the queues that a worker consumes. wire: celery/worker/control.py; kombu/entity.py `as_dict`; behaviour 3.6. */
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { isRecord } from "../../../protocol/records.ts";
import { type Exchange, type ExchangeType, type Queue, queueArguments } from "../../../protocol/routing.ts";
import { command } from "../command.ts";
import { CommandError } from "../errors.ts";
import { ok } from "../state.ts";

export const activeQueues = command(
  {
    name: "active_queues",
    kind: "inspect",
    help: "List the task queues a worker is currently consuming from.",
    parameters: "",
  },
  ({ worker }) => worker.queues.list().map(queueInfo),
);

/** Every attribute that a Kombu queue has; what Lovage keeps among the queue's arguments is not shown twice. */
export function queueInfo(queue: Queue): Record<string, unknown> {
  return {
    name: queue.name,
    exchange: exchangeInfo(queue.exchange),
    routing_key: queue.routingKey,
    queue_arguments: filled(queue.arguments),
    binding_arguments: null,
    consumer_arguments: null,
    durable: queue.durable ?? true,
    exclusive: queue.exclusive ?? false,
    auto_delete: queue.autoDelete ?? false,
    no_ack: false,
    alias: null,
    bindings: (queue.bindings ?? []).map(({ exchange, routingKey }) => ({
      exchange: exchangeInfo(exchange),
      routing_key: routingKey,
      arguments: null,
      unbind_arguments: null,
    })),
    no_declare: null,
    expires: null,
    message_ttl: null,
    max_length: null,
    max_length_bytes: null,
    max_priority: null,
  };
}

function exchangeInfo(exchange: Exchange): Record<string, unknown> {
  return {
    name: exchange.name,
    type: exchange.type,
    arguments: filled(exchange.arguments),
    durable: exchange.durable ?? true,
    passive: false,
    auto_delete: exchange.autoDelete ?? false,
    delivery_mode: exchange.deliveryMode ?? null,
    no_declare: false,
  };
}

function filled(map: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, unknown>> | null {
  return map === undefined || Object.keys(map).length === 0 ? null : map;
}

export const addConsumer = command(
  {
    name: "add_consumer",
    kind: "control",
    help: "Tell worker(s) to consume from task queue by name.",
    parameters: "queue, exchange=None, exchange_type=None, routing_key=None, **options",
    args: [
      ["queue", "str"],
      ["exchange", "str"],
      ["exchange_type", "str"],
      ["routing_key", "str"],
    ],
    signature: "<queue> [exchange [type [routing_key]]]",
  },
  ({ worker, configuredQueue, log }, given) => {
    const queue = configuredQueue(text("queue", given.queue)) ?? queueOf(given);
    const failed = (error: unknown) => log.error({ err: error, queue: queue.name }, "the queue cannot be consumed");
    // Answered before the broker has agreed, as in Celery.
    worker.queues.add(queue).then(() => log.info({ queue: queue.name }, "started consuming"), failed);
    return ok(`add consumer ${queue.name}`);
  },
);

export const cancelConsumer = command(
  {
    name: "cancel_consumer",
    kind: "control",
    help: "Tell worker(s) to stop consuming from task queue by name.",
    parameters: "queue, **_",
    args: [["queue", "str"]],
    signature: "<queue>",
  },
  ({ worker, log }, { queue: given }) => {
    const name = text("queue", given);
    const failed = (error: unknown) => log.error({ err: error, queue: name }, "the queue is still consumed");
    worker.queues.cancel(name).then(() => log.info({ queue: name }, "no longer consuming"), failed);
    return ok(`no longer consuming from ${name}`);
  },
);

const TYPES: readonly string[] = ["direct", "topic", "fanout", "headers"];

function isType(value: unknown): value is ExchangeType {
  return typeof value === "string" && TYPES.includes(value);
}

/** What Kombu's `Queue.from_dict` makes of it: exchange and key default to the queue's name. */
function queueOf(given: Readonly<Record<string, unknown>>): Queue {
  const name = text("queue", given.queue);
  const type = given.exchange_type ?? "direct";
  if (!isType(type)) throw new CommandError("ValueError", [`exchange_type is one of ${TYPES.join(", ")}`]);
  const durable = flag("durable", given.durable, true);
  const autoDelete = flag("auto_delete", given.auto_delete, false);
  const raw = isRecord(given.queue_arguments) ? given.queue_arguments : {};
  try {
    const all = queueArguments(
      {
        expires: numberOr("expires", given.expires),
        messageTtl: numberOr("message_ttl", given.message_ttl),
        maxLength: numberOr("max_length", given.max_length),
        maxLengthBytes: numberOr("max_length_bytes", given.max_length_bytes),
        maxPriority: numberOr("max_priority", given.max_priority),
      },
      raw,
    );
    return {
      name,
      exchange: { name: textOr("exchange", given.exchange, name), type, durable, autoDelete },
      routingKey: textOr("routing_key", given.routing_key, name),
      durable,
      exclusive: flag("exclusive", given.exclusive, false),
      autoDelete,
      ...(Object.keys(all).length === 0 ? {} : { arguments: all }),
    };
  } catch (error) {
    if (error instanceof ImproperlyConfigured) throw new CommandError("ValueError", [error.message], { cause: error });
    throw error;
  }
}

function text(name: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new CommandError("ValueError", [`${name} is a text`]);
}

function textOr(name: string, value: unknown, fallback: string): string {
  return value === null || value === undefined || value === "" ? fallback : text(name, value);
}

function numberOr(name: string, value: unknown): number | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new CommandError("ValueError", [`${name} is a number`]);
}

function flag(name: string, value: unknown, fallback: boolean): boolean {
  if (value === null || value === undefined) return fallback;
  if (typeof value === "boolean") return value;
  throw new CommandError("ValueError", [`${name} is true or false`]);
}
