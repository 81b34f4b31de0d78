/**
 * Whether a message must reach a queue when its sender does not say. Broadcasts need not: nobody may be listening to events
 * or control messages, and a fanout exchange promises no receiver. wire: kombu/pidbox.py, celery/events/event.py.
 */
import type { ExchangeType } from "../../protocol/routing.ts";

/** `type` is that of the exchange, if it was declared here. */
export function mandatoryByDefault(exchange: string, type?: ExchangeType): boolean {
  return type !== "fanout" && exchange !== "celeryev" && !exchange.endsWith(".pidbox");
}
