/**
 * What `task-sent` says of a message that was published. wire: celery/app/amqp.py `as_task_v2` (`sent_event`), `send_task_message`;
 * behaviour 4.3. Setting: `task_send_sent_event`.
 */
import type { Message } from "../../protocol/message.ts";
import { numberOr, textOr } from "../../protocol/records.ts";
import type { PublishTarget } from "./publisher.ts";

/** Null: the message is no task. */
export function sentEvent(message: Message, target: PublishTarget): Record<string, unknown> | null {
  const { headers } = message;
  if (headers === null || typeof headers.id !== "string") return null;
  return {
    uuid: headers.id,
    root_id: textOr(headers.root_id, null),
    parent_id: textOr(headers.parent_id, null),
    name: textOr(headers.task, null),
    args: textOr(headers.argsrepr, null),
    kwargs: textOr(headers.kwargsrepr, null),
    retries: numberOr(headers.retries, 0),
    eta: textOr(headers.eta, null),
    expires: textOr(headers.expires, null),
    queue: target.queue?.name ?? null,
    exchange: target.address.exchange,
    routing_key: target.address.routingKey,
  };
}
