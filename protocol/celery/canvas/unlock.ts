/**
 * The message that stands in for counting: `celery.chord_unlock` polls the header and then sends the body.
 * wire: celery-wire 8.6; celery/backends/base.py `fallback_chord_unlock`.
 */
import { isNothing } from "./draft.ts";
import type { PlanContext, PlannedChord, PlannedTask } from "./plan.ts";

/** What the sender knows about the body's task and queues. */
export interface UnlockRoute {
  /** Where the body would go: its own queue, its task's, or what routing says. */
  queue?: string | null;
  /** Of the body's task; 0 when the sender does not know the task. */
  priority?: number | null;
  /** Type of the queue's exchange, null when unknown. @default null */
  exchangeType?: string | null;
}

/** Seconds before the first try (`result_chord_retry_interval` is between the later ones). */
const FIRST_TRY = 1;

const ROUTING = ["exchange", "exchange_type", "routing_key", "headers"] as const;

/** For backends that cannot count: sent in place of telling them the chord's size. */
export function planChordUnlock(chord: PlannedChord, route: UnlockRoute, context: PlanContext): PlannedTask {
  const { options } = chord.body;
  const stamped = Array.isArray(options.stamped_headers) ? options.stamped_headers : [];
  const parent = context.parent ?? null;
  const id = context.newId();
  const said = ROUTING.filter((key) => !stamped.includes(key) && !isNothing(options[key])).map((key) => [
    key,
    options[key],
  ]);
  const routing: Record<string, unknown> = Object.fromEntries(said);
  if (isNothing(routing.exchange_type) && !isNothing(route.exchangeType)) routing.exchange_type = route.exchangeType;
  const kwargs: Record<string, unknown> = {
    interval: chord.interval,
    max_retries: chord.maxRetries,
    result: chord.header,
  };
  if (!isNothing(routing.exchange_type)) kwargs._chord_unlock_exchange_type = routing.exchange_type;
  return {
    kind: "task",
    name: "celery.chord_unlock",
    args: [chord.groupId, chord.body],
    kwargs,
    options: {
      countdown: FIRST_TRY,
      queue: isNothing(options.queue) ? (route.queue ?? null) : options.queue,
      priority: Object.hasOwn(options, "priority") ? options.priority : (route.priority ?? null),
      ...routing,
      ignore_result: true,
      task_id: id,
      root_id: parent === null ? id : parent.rootId || parent.id,
      parent_id: parent?.id ?? null,
      reply_to: context.replyTo,
    },
  };
}
