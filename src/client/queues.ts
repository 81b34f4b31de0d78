/**
 * The queues an app knows: those of `task_queues`, the default queue, and those that are made when first asked for.
 * wire: celery/app/amqp.py `Queues`, `AMQP.Queues`.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import type { ConfiguredQueue } from "../settings/queues-setting.ts";
import type { Settings } from "../settings/settings.ts";
import { didYouMean } from "../settings/suggest.ts";

/** Queues made on demand that are remembered; they are computed anew when there were more. */
const REMEMBERED = 10_000;

export class Queues {
  readonly defaultExchange: Exchange;
  readonly defaultRoutingKey: string;
  readonly #settings: Settings;
  readonly #configured = new Map<string, Queue>();
  readonly #made = new Map<string, Queue>();

  constructor(settings: Settings) {
    this.#settings = settings;
    this.defaultExchange = {
      name: settings.task_default_exchange ?? settings.task_default_queue,
      type: settings.task_default_exchange_type,
    };
    this.defaultRoutingKey = settings.task_default_routing_key ?? settings.task_default_queue;
    for (const queue of settings.task_queues ?? []) this.#configured.set(queue.name, this.complete(queue));
    if (this.#configured.size === 0) this.#configured.set(settings.task_default_queue, this.#defaultQueue());
  }

  /** What a worker consumes when it is told no names: all configured queues. */
  get configured(): readonly Queue[] {
    return [...this.#configured.values()];
  }

  /** The queue of that name, made if `task_create_missing_queues` allows. Throws `ImproperlyConfigured` (Celery: `QueueNotFound`). */
  get(name: string): Queue {
    const known = this.#configured.get(name) ?? this.#made.get(name);
    if (known !== undefined) return known;
    if (!this.#settings.task_create_missing_queues) {
      const names = [...this.#configured.keys()];
      throw new ImproperlyConfigured(
        `queue ${JSON.stringify(name)} is not in task_queues (${names.join(", ")}) and task_create_missing_queues is off${didYouMean(name, names)}`,
      );
    }
    const made = this.#missing(name);
    if (this.#made.size >= REMEMBERED) this.#made.clear();
    this.#made.set(name, made);
    return made;
  }

  /** The queue that tasks without a route go to. */
  get default(): Queue {
    return this.get(this.#settings.task_default_queue);
  }

  /** A configured queue with what it left open taken from the `task_default_…` settings, as when it stands in `task_queues`. */
  complete(queue: ConfiguredQueue): Queue {
    return {
      name: queue.name,
      exchange: queue.exchange ?? this.defaultExchange,
      routingKey: queue.routingKey ?? this.defaultRoutingKey,
      durable: queue.durable,
      exclusive: queue.exclusive,
      autoDelete: queue.autoDelete,
      arguments: this.#withPriority(queue.arguments),
      ...(queue.bindings.length > 0 && { bindings: queue.bindings }),
    };
  }

  #defaultQueue(): Queue {
    const { task_default_queue, task_default_queue_type } = this.#settings;
    return {
      name: task_default_queue,
      exchange: this.defaultExchange,
      routingKey: this.defaultRoutingKey,
      arguments: this.#withPriority(task_default_queue_type === "quorum" ? { "x-queue-type": "quorum" } : {}),
    };
  }

  #missing(name: string): Queue {
    const type = this.#settings.task_create_missing_queue_type;
    return {
      name,
      exchange: { name, type: this.#settings.task_create_missing_queue_exchange_type ?? "direct" },
      routingKey: name,
      arguments: this.#withPriority(type === "quorum" ? { "x-queue-type": type } : {}),
    };
  }

  #withPriority(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const maximum = this.#settings.task_queue_max_priority;
    if (maximum === null || "x-max-priority" in given) return { ...given };
    return { ...given, "x-max-priority": maximum };
  }
}

/** A queue given to one call as an object: Kombu does not complete such a queue, it has the anonymous exchange. */
export function standaloneQueue(queue: ConfiguredQueue): Queue {
  return {
    name: queue.name,
    exchange: queue.exchange ?? { name: "", type: "direct" },
    routingKey: queue.routingKey ?? "",
    durable: queue.durable,
    exclusive: queue.exclusive,
    autoDelete: queue.autoDelete,
    arguments: { ...queue.arguments },
    ...(queue.bindings.length > 0 && { bindings: queue.bindings }),
  };
}
