/**
 * Kombu's entities as data: exchanges, queues and the bindings between them, and how a routing key meets a binding.
 * wire: celery-wire 4.1 (AMQP), 6.1 and 6.2 (virtual transports).
 */

export type ExchangeType = "direct" | "topic" | "fanout" | "headers";

export interface Exchange {
  /** The empty name is the anonymous exchange, which is never declared. */
  name: string;
  type: ExchangeType;
  /** @default true */
  durable?: boolean;
  /** @default false */
  autoDelete?: boolean;
  /** Delivery mode of messages sent through it when the call names none: 1 or 2. */
  deliveryMode?: number;
  arguments?: Record<string, unknown>;
}

export interface Queue {
  name: string;
  exchange: Exchange;
  routingKey: string;
  /** @default true */
  durable?: boolean;
  /** @default false */
  exclusive?: boolean;
  /** @default false */
  autoDelete?: boolean;
  /** Raw queue arguments: `x-max-priority`, `x-expires` (ms), `x-message-ttl` (ms), `x-queue-type`, … */
  arguments?: Record<string, unknown>;
  /** Further bindings of the same queue. */
  bindings?: readonly { exchange: Exchange; routingKey: string }[];
}
