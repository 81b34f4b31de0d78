/** What can go wrong between us and a broker, ordered by how much was lost (style: families of errors). */
import { LovageError, type LovageErrorOptions } from "../../protocol/errors.ts";

/** The root of what brokers and connections to them give rise to. `retryable` says whether it may pass. */
export class TransportError extends LovageError {}

/** The connection has gone. */
export class ConnectionLost extends TransportError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("CONNECTION_LOST", message, { retryable: true, ...options });
  }
}

/** The broker refused the connection for a reason that a retry does not mend: credentials, virtual host, database. */
export class ConnectionRefused extends TransportError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("CONNECTION_REFUSED", message, options);
  }
}

/** The transport was closed while, or before, the act was asked for. */
export class TransportClosed extends TransportError {
  constructor(message = "the transport is closed", options?: LovageErrorOptions) {
    super("TRANSPORT_CLOSED", message, options);
  }
}

/** The broker closed the channel. */
export class ChannelClosed extends TransportError {
  constructor(message: string, options?: LovageErrorOptions) {
    super("CHANNEL_CLOSED", message, { retryable: true, ...options });
  }
}

/** The broker closed the channel because a message stayed unsettled for longer than it allows (RabbitMQ's `consumer_timeout`). */
export class DeliveryTimeout extends TransportError {
  /** Milliseconds that the broker allows; null when it does not say. */
  readonly timeoutMs: number | null;
  constructor(message: string, timeoutMs: number | null, options?: LovageErrorOptions) {
    super("DELIVERY_TIMEOUT", message, { retryable: true, ...options });
    this.timeoutMs = timeoutMs;
  }
}

/** A message was not taken by the broker: `UNROUTABLE`, `NACKED`, `MESSAGE_TOO_LARGE` or `PUBLISH`. */
export class PublishError extends TransportError {
  readonly exchange: string;
  readonly routingKey: string;
  /** An earlier attempt ended without an answer: the broker may hold the message nevertheless. */
  inDoubt = false;
  constructor(
    message: string,
    to: { exchange: string; routingKey: string },
    options?: LovageErrorOptions & { code?: string },
  ) {
    super(options?.code ?? "PUBLISH", message, options);
    this.exchange = to.exchange;
    this.routingKey = to.routingKey;
  }
}

/** A queue that should be there is not: one that is only looked for (`lovage_declare`), consumed, purged or asked about. */
export class QueueNotFound extends TransportError {
  readonly queue: string;
  constructor(queue: string, options?: LovageErrorOptions) {
    super("QUEUE_NOT_FOUND", `no queue ${JSON.stringify(queue)} on the broker`, options);
    this.queue = queue;
  }
}

/** A queue or exchange exists with other attributes. `ours` is what was asked for, `theirs` what the broker says it has. */
export class QueueClash extends TransportError {
  readonly queue: string;
  readonly ours: unknown;
  readonly theirs: unknown;
  /** `exchange`: it is not the queue that clashes but an exchange that it is bound to. */
  constructor(
    queue: string,
    ours: unknown,
    theirs: unknown,
    { exchange, ...options }: LovageErrorOptions & { exchange?: string } = {},
  ) {
    const what = exchange === undefined ? `queue ${JSON.stringify(queue)}` : `exchange ${JSON.stringify(exchange)}`;
    super(
      "QUEUE_CLASH",
      `${what} exists with other attributes: we ask for ${JSON.stringify(ours)}, the broker has ${
        typeof theirs === "string" ? theirs : JSON.stringify(theirs)
      }`,
      options,
    );
    this.queue = queue;
    this.ours = ours;
    this.theirs = theirs;
  }
}

/** A delivery was settled twice. */
export class MessageStateError extends TransportError {
  constructor(message = "this delivery was settled before", options?: LovageErrorOptions) {
    super("MESSAGE_STATE", message, options);
  }
}
