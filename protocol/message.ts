/**
 * What every transport carries: an opaque body and what stands around it. Transports move a `Message` and never look
 * inside the body; the codecs of `celery/` and `mognet/` give it meaning.
 */

/** Application headers. `null` when the peer sent none at all, which Celery answers as an unknown message. */
export type Headers = Record<string, unknown>;

/** AMQP basic properties under their camelCase names; absent means absent on the wire. */
export interface MessageProperties {
  correlationId?: string;
  replyTo?: string;
  /** 1 transient, 2 persistent. */
  deliveryMode?: number;
  /** 0 to 255 on AMQP (higher is more urgent), 0 to 9 on Redis (lower is more urgent). */
  priority?: number;
  /** Milliseconds as decimal text. */
  expiration?: string;
  messageId?: string;
  type?: string;
  userId?: string;
  appId?: string;
  clusterId?: string;
  /** Unix seconds. */
  timestamp?: number;
  /** Names that AMQP does not know: virtual transports keep them in the envelope, AMQP drops them (wire 1.2). */
  extra?: Record<string, unknown>;
}

/** All that a transport sees of a message: opaque bytes, and what stands around them. wire: kombu/message.py `Message`. */
export interface Message {
  body: Uint8Array;
  contentType?: string;
  contentEncoding?: string;
  headers: Headers | null;
  properties: MessageProperties;
  /**
   * Set by a transport that could not, or by its limits would not, decode what it received. The reader must not look at
   * the other fields; the worker logs the reason and rejects the message without requeue.
   */
  refused?: string;
}

/** Where a message goes. The empty exchange routes to the queue named by `routingKey`. */
export interface Address {
  exchange: string;
  routingKey: string;
}
