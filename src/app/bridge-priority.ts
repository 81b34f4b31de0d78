/**
 * How urgent a task is, in the words of the other protocol, such that what nobody has chosen stays so and the order is kept.
 * Mognet: 0 to 10, more is sooner, 5 unless chosen. Celery on RabbitMQ: more is sooner, and 0 unless chosen, so that nothing is less
 * urgent than the rest; Celery on Redis: 0 to 9, less is sooner, and 0 unless chosen, so that nothing is more urgent.
 */
import { MOGNET_DEFAULT_PRIORITY as USUAL } from "../../protocol/mognet/request.ts";

export type Urgent = "highest" | "lowest";

const MOST = 10;
const LEAST_ON_REDIS = 9;

/** Null: as what nobody has chosen. */
export function celeryPriority(priority: number, urgent: Urgent): number | null {
  if (urgent === "highest") return priority > USUAL ? priority : null;
  return priority < USUAL ? Math.round(((USUAL - priority) * LEAST_ON_REDIS) / USUAL) : null;
}

export function mognetPriority(priority: number | null, urgent: Urgent): number {
  if (priority === null || priority <= 0) return USUAL;
  if (urgent === "highest") return Math.max(USUAL + 1, Math.min(MOST, priority));
  return USUAL - Math.ceil((Math.min(LEAST_ON_REDIS, priority) * USUAL) / LEAST_ON_REDIS);
}
