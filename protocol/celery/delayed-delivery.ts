/**
 * Delayed delivery by the broker: where quorum queues are in use, a task with an ETA waits in RabbitMQ instead of in a worker, whose
 * prefetch it would fill. 28 queues in a row each hold a message for 2^n seconds or pass it on at once, as the bits in front of its
 * routing key say; behind the last one stands the exchange of its queue.
 * wire: behaviour 1.6; kombu/transport/native_delayed_delivery.py; celery/app/base.py `send_task`.
 */
import type { Address } from "../message.ts";
import { type Exchange, matchesTopic, type Queue } from "../routing.ts";

const BITS = 28;
const FIRST = level(BITS - 1);
const DELIVERY = "celery_delayed_delivery";
const DELAY = new RegExp(`^(?:[01]\\.){${BITS}}`);

/** Setting: `broker_native_delayed_delivery_queue_type`. */
export type DelayQueueType = "classic" | "quorum";

/** Celery delays in the broker as soon as one of the queues is a quorum queue. wire: celery/utils/quorum_queues.py */
export function hasQuorumQueue(queues: Iterable<{ readonly arguments?: Readonly<Record<string, unknown>> }>): boolean {
  for (const queue of queues) if (queue.arguments?.["x-queue-type"] === "quorum") return true;
  return false;
}

/** Whether messages reach this queue over the delayed exchange: not through a direct exchange, for the key is not the same there. */
export function canBeDelayed({ exchange }: Queue): boolean {
  return exchange.name !== "" && (exchange.type === "topic" || exchange.type === "fanout");
}

/** The queues in which messages wait, the longest wait first. Declared with their exchanges and the bindings between them. */
export function delayQueues(type: DelayQueueType): Queue[] {
  const queues: Queue[] = [];
  let exchange: Exchange = { name: FIRST, type: "topic" };
  for (let n = BITS - 1; n >= 0; n--) {
    const bits = "*.".repeat(BITS - 1 - n);
    queues.push({
      name: exchange.name,
      exchange,
      routingKey: `${bits}1.#`,
      arguments: {
        "x-queue-type": type,
        "x-overflow": "reject-publish",
        "x-message-ttl": 2 ** n * 1000,
        "x-dead-letter-exchange": n > 0 ? level(n - 1) : DELIVERY,
        ...(type === "quorum" && { "x-dead-letter-strategy": "at-least-once" }),
      },
    });
    exchange = {
      name: n > 0 ? level(n - 1) : DELIVERY,
      type: "topic",
      sources: [{ exchange, routingKey: `${bits}0.#` }],
    };
  }
  return queues;
}

/** The queue with what brings delayed messages to it. */
export function boundToDelayed(queue: Queue): Queue {
  const { exchange } = queue;
  const routingKey = queue.routingKey.startsWith("#") ? queue.routingKey : `#.${queue.routingKey}`;
  return {
    ...queue,
    exchange: { ...exchange, sources: [{ exchange: deliveryExchange(), routingKey }] },
    bindings: [...(queue.bindings ?? []), { exchange, routingKey }],
  };
}

/** The queues among these that a delayed message with this address comes to. */
export function delayedTo(address: Address, queues: Iterable<Queue>): Queue[] {
  const key = address.routingKey.replace(DELAY, "");
  const found = new Map<string, Queue>();
  for (const queue of queues) {
    if (!canBeDelayed(queue) || (queue.exchange.name !== address.exchange && address.exchange !== DELIVERY)) continue;
    const { routingKey, exchange } = queue;
    if (exchange.type === "fanout" ? address.exchange !== DELIVERY : matchesTopic(routingKey, key)) {
      found.set(queue.name, queue);
    }
  }
  return [...found.values()];
}

/** The message of this address was delayed before: the way from the delayed exchange to its queue is there. */
export function wasDelayed({ exchange, routingKey }: Address): boolean {
  return exchange === DELIVERY && DELAY.test(routingKey);
}

/** Where a message is sent to reach `address` in so many seconds, fractions cut. Null: that cannot be said, or is no delay. */
export function delayedAddress(address: Address, seconds: number): Address | null {
  const delay = Math.trunc(seconds);
  const key = address.routingKey.replace(DELAY, "");
  if (!(delay >= 1 && delay < 2 ** BITS) || key === "") return null;
  const bits = delay.toString(2).padStart(BITS, "0");
  return { exchange: FIRST, routingKey: `${[...bits].join(".")}.${key}` };
}

function deliveryExchange(): Exchange {
  const sources = [{ exchange: { name: level(0), type: "topic" as const }, routingKey: `${"*.".repeat(BITS - 1)}0.#` }];
  return { name: DELIVERY, type: "topic", sources };
}

function level(n: number): string {
  return `celery_delayed_${n}`;
}
