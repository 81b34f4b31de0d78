/**
 * The contract between Lovage and a broker. A transport moves opaque messages: it knows exchanges, queues and acks, and
 * nothing of tasks or results. Its clauses are tests in `transport.contract.ts`; a transport that passes them may serve.
 *
 * Life of a transport: `connect` once (a second call waits for the first), then it keeps itself connected for ever, with
 * capped and jittered backoff over all its URLs, redeclaring and resuming every consumer, until `close` (twice is fine).
 */
import type { Address, Message } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import type { TransportError } from "./errors.ts";

/** Where brokers differ on purpose. */
export interface TransportCapabilities {
  /** The broker says when it holds a message; `publish` resolves then. */
  confirms: boolean;
  priorities: boolean;
  /** The broker itself matches topic patterns. */
  nativeTopic: boolean;
  /** Which priority number is served first. */
  urgent: "highest" | "lowest";
  /** A consumed message survives the death of its consumer. */
  redelivery: boolean;
}

/** How `declare` treats entities: create them as Celery does, only check that they exist, or leave them alone. */
export type DeclareMode = "create" | "passive" | "never";

/** Told of the connection as it comes and goes. */
export interface TransportEvents {
  /** The connection is up (first time or again) and all is declared and consumed anew. `url` is without credentials. */
  onConnected?(url: string): void;
  /** The connection has gone; the transport is reconnecting. Called once per loss. */
  onLost?(error: Error): void;
  /** One attempt failed; the next one comes in `delayMs`. */
  onRetry?(error: Error, delayMs: number): void;
}

/** A message of `publishAll` that the broker did not take. */
export interface PublishFailure {
  /** Among the messages. */
  readonly index: number;
  readonly error: unknown;
}

/** How queues are consumed. */
export interface ConsumeOptions {
  /** How many unsettled messages this consumer may hold over all its queues. 0: no limit. */
  prefetch: number;
  /** Messages count as settled when delivered. @default false */
  noAck?: boolean;
  exclusive?: boolean;
  /**
   * `setPrefetch` will go above `prefetch`, and must act: where the broker knows prefetch only per consumer, further consumers
   * of the same queues take the difference. @default false
   */
  growing?: boolean;
  /**
   * The broker ended this consumer's channel although the connection stands: what it held is lost, and it resumes by itself.
   * `DeliveryTimeout`: a message was left unsettled for longer than the broker allows.
   */
  onInterrupted?(error: TransportError): void;
}

/** How a message came here. */
export interface DeliveryInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly redelivered: boolean;
  /** The queue it was taken from. */
  readonly queue: string;
}

/** One received message. It is settled exactly once: a second `ack` or `reject` throws `MessageStateError`. */
export interface Delivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
  /** Its connection has gone: the broker will deliver it again, and settling it here changes nothing. */
  readonly lost: boolean;
  /** Takes the message off the broker. Batched: it is on its way by the end of the current tick. */
  ack(): void;
  /** `requeue` gives it back to its queue (marked redelivered), else it is dead-lettered or dropped. */
  reject(options: { requeue: boolean }): void;
}

/** Messages of some queues, as long as they are consumed. */
export interface Consumer {
  readonly queues: readonly string[];
  /** Raises or lowers the number of unsettled messages; calls within one tick are coalesced. */
  setPrefetch(prefetch: number): void;
  /** Whether `setPrefetch` acts on this consumer (false: per-consumer QoS, the number is fixed when it starts). */
  readonly canChangePrefetch: boolean;
  addQueue(queue: string): Promise<void>;
  cancelQueue(queue: string): Promise<void>;
  /**
   * Stops new deliveries; those already handed over may still be settled. With `requeue`, what was taken from the broker and
   * not yet handed to `onDelivery` is given back.
   */
  cancel(): Promise<void>;
}

/** What a broker says of itself. */
export interface ServerInfo {
  product: string;
  version: string;
  /** The server's clock in Unix milliseconds; null where it does not tell. */
  timeMs: number | null;
  /** Settings of the server that endanger messages, one sentence each. */
  warnings: readonly string[];
}

/**
 * Moves opaque messages: knows exchanges, queues and acks, and nothing of tasks or results. `transport.contract.ts` has
 * its promises as tests.
 */
export interface Transport {
  /** `amqp`, `redis`, `filesystem` or `memory`. */
  readonly name: string;
  readonly can: TransportCapabilities;
  /** True while a connection stands. */
  readonly connected: boolean;
  /** Resolves when connected. Rejects only when `signal` aborts, on `close`, or when the broker refuses for good (credentials, vhost). */
  connect(signal?: AbortSignal): Promise<void>;
  /**
   * Makes queues, their exchanges and bindings exist, and exchanges that are only published to. Idempotent; replayed after a
   * reconnect. A clash is a `QueueClash`.
   */
  declare(queues: readonly Queue[], exchanges?: readonly Exchange[]): Promise<void>;
  /**
   * Resolves once the broker holds the message (without confirms: once written and answered). While disconnected it waits
   * for the connection, at most until `signal` aborts. An unroutable message is a `PublishError` with code `UNROUTABLE`
   * unless `mandatory` is false. @default mandatory true, except for fanout and topic exchanges of events and control
   */
  publish(message: Message, to: Address, options?: { mandatory?: boolean; signal?: AbortSignal }): Promise<void>;
  /**
   * As `publish` of each, in their order, but with one promise: resolves once all are settled, with those that were not taken. Rejects
   * when none was tried. Optional: whoever publishes does it one by one where it is missing.
   */
  publishAll?(
    messages: readonly Message[],
    to: Address,
    options?: { mandatory?: boolean; signal?: AbortSignal },
  ): Promise<readonly PublishFailure[]>;
  consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer>;
  /** Deletes the ready messages of a queue and says how many there were. A missing queue is `QueueNotFound`. */
  purge(queue: string): Promise<number>;
  /** Ready messages and, where the broker knows, consumers. A missing queue is `null` (virtual transports: 0 messages). */
  inspectQueue(queue: string): Promise<{ messages: number; consumers: number | null } | null>;
  deleteQueue(queue: string): Promise<void>;
  /** Where the broker is a server: its name, version and clock, and settings that endanger messages. */
  serverInfo?(): Promise<ServerInfo>;
  /** Waits until every ack, reject and publish so far has been written (and, where the broker answers, answered). */
  flush(): Promise<void>;
  /** Flushes, gives unsettled deliveries back to their queues, and leaves no handle open. */
  close(): Promise<void>;
}
