/**
 * Makes RabbitMQ's delayed delivery and brings it to the queues of a worker, as Celery's `DelayedDelivery` does at its start: what a
 * Python client sends with an ETA is lost where nobody has. wire: celery/worker/consumer/delayed_delivery.py; behaviour 1.6.
 */
import { boundToDelayed, canBeDelayed, delayQueues, hasQuorumQueue } from "../../protocol/celery/delayed-delivery.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { Log } from "../runtime/log.ts";
import type { Settings } from "../settings/settings.ts";
import { QueueClash } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";

export interface DelayedParts {
  readonly transport: Transport;
  readonly settings: Settings;
  readonly log: Log;
}

/** For those of `queues` that have no direct exchange, where a quorum queue is among them or configured. */
export async function declareDelayed(
  { transport, settings, log }: DelayedParts,
  queues: readonly Queue[],
): Promise<void> {
  if (transport.name !== "amqp" || settings.lovage_declare !== "create") return;
  const reached = queues.filter(canBeDelayed);
  if (reached.length === 0 || !hasQuorumQueue([...queues, ...(settings.task_queues ?? [])])) return;
  try {
    await transport.declare(delayQueues(settings.broker_native_delayed_delivery_queue_type));
  } catch (error) {
    // Somebody has made them of the other type, and they do the same.
    if (!(error instanceof QueueClash)) throw error;
    log.warn({ err: error }, "the queues of delayed delivery are of another broker_native_delayed_delivery_queue_type");
  }
  await transport.declare(reached.map(boundToDelayed));
}
