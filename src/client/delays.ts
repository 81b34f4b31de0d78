/**
 * Tasks that RabbitMQ holds until their ETA, as Celery's producers have it where quorum queues are in use: a worker that holds them
 * itself could take nothing else, for the prefetch of a quorum queue's consumer does not grow in Python.
 * wire: celery/app/base.py `send_task`. Beyond Celery, what delays the message is declared first, so that none is lost or refused
 * for want of it; where that is not ours to declare (`lovage_declare`), or no queue is known behind the exchange, the worker waits.
 */
import {
  boundToDelayed,
  delayedAddress,
  delayedTo,
  delayQueues,
  hasQuorumQueue,
  wasDelayed,
} from "../../protocol/celery/delayed-delivery.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { Settings } from "../settings/settings.ts";
import type { Queues } from "./queues.ts";
import type { Destination } from "./router.ts";

export class Delays {
  readonly #settings: Settings;
  readonly #queues: Queues;
  readonly #possible: boolean;
  readonly #anyQuorum: boolean;
  #waiting: readonly Queue[] | null = null;

  constructor(settings: Settings, queues: Queues, transport: string) {
    this.#settings = settings;
    this.#queues = queues;
    this.#possible = transport === "amqp" && settings.lovage_declare === "create";
    this.#anyQuorum = hasQuorumQueue(queues.configured);
  }

  /** Where the message is sent to be at its destination in so many seconds. */
  destination(destination: Destination, seconds: number): Destination {
    if (!this.#possible || !(seconds >= 1)) return destination;
    const { address, queue } = destination;
    if (!this.#anyQuorum && (queue === null || !hasQuorumQueue([queue])) && !wasDelayed(address)) return destination;
    const known = queue === null ? this.#queues.configured : [...this.#queues.configured, queue];
    const behind = delayedTo(address, known);
    const delayed = behind.length > 0 || wasDelayed(address) ? delayedAddress(address, seconds) : null;
    if (delayed === null) return destination;
    this.#waiting ??= delayQueues(this.#settings.broker_native_delayed_delivery_queue_type);
    return { ...destination, address: delayed, also: [...this.#waiting, ...behind.map(boundToDelayed)] };
  }
}
