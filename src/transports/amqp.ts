/**
 * The transport of `amqp://` and `amqps://`: RabbitMQ through amqplib. One connection; on it one channel to publish with
 * confirms, one for declaring and asking, and one for each consumer. wire: celery-wire 1.1-1.3, 4.1, 4.2.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Address, Message } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import { type BackoffOptions, pause } from "../runtime/backoff.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { REPLY, replyCode } from "./amqp/broker-errors.ts";
import type { AmqpConnection, AmqpTls } from "./amqp/connection.ts";
import { AmqpConsumer, type ConsumerHost } from "./amqp/consumer.ts";
import { Link, type LinkUser } from "./amqp/link.ts";
import { Publisher } from "./amqp/publisher.ts";
import { Topology } from "./amqp/topology.ts";
import { parseAmqpUrl } from "./amqp/urls.ts";
import { ConnectionLost, TransportClosed } from "./errors.ts";
import { mandatoryByDefault } from "./mandatory.ts";
import type {
  ConsumeOptions,
  Consumer,
  DeclareMode,
  Delivery,
  ServerInfo,
  Transport,
  TransportCapabilities,
  TransportEvents,
} from "./transport.ts";

export type { AmqpTls } from "./amqp/connection.ts";

export interface AmqpOptions {
  /** One or more; after a failure the next is tried. Setting: `broker_url`. */
  urls: readonly string[];
  /** TLS material; its presence asks for TLS also with `amqp://`. Setting: `broker_use_ssl`. */
  tls?: AmqpTls;
  /** Milliseconds. Setting: `broker_connection_timeout` (seconds). @default 4000 */
  connectionTimeoutMs?: number;
  /** Seconds; 0: none. Setting: `broker_heartbeat`. @default 120 */
  heartbeatS?: number;
  /** Milliseconds of silence, while the broker owes an answer, after which the connection is given up. @default 30_000 */
  stallTimeoutMs?: number;
  /** Setting: `broker_failover_strategy`. @default round-robin */
  failover?: "round-robin" | "shuffle";
  /** Setting: `broker_login_method`. @default PLAIN */
  loginMethod?: "PLAIN" | "AMQPLAIN" | "EXTERNAL";
  /** @default create */
  declareMode?: DeclareMode;
  /** 1 or 2, for messages that name none. @default none is sent, which RabbitMQ takes as transient */
  deliveryMode?: number;
  /** Shown by RabbitMQ as the connection's name. @default lovage */
  clientName?: string;
  /** Messages that wait for their confirm at a time; further ones wait for a place. @default 1000 */
  maxInFlightPublishes?: number;
  /** Bytes; a longer body is dropped and its message refused. @default 128 MiB, RabbitMQ's own limit */
  maxBodyBytes?: number;
  /** Milliseconds that `close` gives messages on their way to be confirmed. @default 5000 */
  closeTimeoutMs?: number;
  backoff?: BackoffOptions;
  events?: TransportEvents;
  log?: Log;
}

export function createAmqpTransport(options: AmqpOptions): Transport {
  return new AmqpTransport(options);
}

const GOODBYE_MS = 2_000;

class AmqpTransport implements Transport, LinkUser, ConsumerHost {
  readonly name = "amqp";
  readonly can: TransportCapabilities = {
    confirms: true,
    priorities: true,
    nativeTopic: true,
    urgent: "highest",
    redelivery: true,
  };
  readonly log: Log;
  readonly #closeTimeoutMs: number;
  readonly #topology: Topology;
  readonly #publisher: Publisher;
  readonly #link: Link;
  readonly #consumers = new Set<AmqpConsumer>();
  /** A queue turned out to have no whole-channel prefetch, which its name did not tell. */
  #ownQosOnly = false;
  #closing: Promise<void> | null = null;

  constructor(options: AmqpOptions) {
    if (options.urls.length === 0) throw new ImproperlyConfigured("an AMQP transport needs at least one broker URL");
    this.log = options.log ?? silentLog;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? 5_000;
    this.#topology = new Topology(options.declareMode ?? "create", this.log);
    this.#publisher = new Publisher({
      window: Math.max(1, options.maxInFlightPublishes ?? 1_000),
      deliveryMode: options.deliveryMode,
      log: this.log,
      onUnroutable: (queue) => this.#topology.doubt(queue),
    });
    this.#link = new Link(
      {
        urls: options.urls.map((url) => parseAmqpUrl(url, options.tls !== undefined)),
        tls: options.tls,
        timeoutMs: options.connectionTimeoutMs ?? 4_000,
        heartbeatS: options.heartbeatS ?? 120,
        stallMs: options.stallTimeoutMs ?? 30_000,
        failover: options.failover ?? "round-robin",
        loginMethod: options.loginMethod ?? "PLAIN",
        clientName: options.clientName ?? "lovage",
        maxBodyBytes: options.maxBodyBytes ?? 128 * 1024 * 1024,
        backoff: options.backoff ?? {},
        events: options.events ?? {},
        log: this.log,
      },
      this,
    );
  }

  get connected(): boolean {
    return this.#link.up;
  }

  connect(signal?: AbortSignal): Promise<void> {
    if (this.#closing) return Promise.reject(new TransportClosed());
    return this.#link.connect(signal);
  }

  async declare(queues: readonly Queue[]): Promise<void> {
    for (const queue of queues) await this.#ask(() => this.#topology.declare(queue));
  }

  declareExchange(exchange: Exchange): Promise<void> {
    return this.#ask(() => this.#topology.declareExchange(exchange));
  }

  publish(message: Message, to: Address, options: { mandatory?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    return this.#publisher.publish(message, to, options.mandatory ?? this.#isMandatory(to.exchange), options.signal);
  }

  async consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    const consumer = new AmqpConsumer(this, queues, options, onDelivery);
    await this.#ask(async (connection) => {
      await consumer.start(connection);
      if (!consumer.running) throw new ConnectionLost("the connection was lost while a consumer started");
    });
    this.#consumers.add(consumer);
    return consumer;
  }

  purge(queue: string): Promise<number> {
    return this.#ask(() => this.#topology.purge(queue));
  }

  inspectQueue(queue: string): Promise<{ messages: number; consumers: number } | null> {
    return this.#ask(() => this.#topology.inspect(queue));
  }

  deleteQueue(queue: string): Promise<void> {
    return this.#ask(() => this.#topology.delete(queue));
  }

  /** RabbitMQ does not tell the time. */
  serverInfo(): Promise<ServerInfo> {
    return this.#ask(async ({ product, version }) => ({ product, version, timeMs: null, warnings: [] }));
  }

  async flush(): Promise<void> {
    if (this.#closing) return;
    this.#link.connection?.outbox.flush();
    await Promise.all([this.#publisher.settled(), ...[...this.#consumers].map((consumer) => consumer.sync())]);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  // What the link asks of us.

  async setUp(connection: AmqpConnection): Promise<void> {
    const { onBlocked } = connection;
    connection.onBlocked = (reason) => {
      onBlocked(reason);
      this.#publisher.pump();
    };
    await this.#topology.attach(connection);
    await this.#publisher.attach(connection);
    await Promise.all([...this.#consumers].map((consumer) => consumer.resume()));
  }

  onDown(error: Error): void {
    const cause: unknown = error.cause;
    if (replyCode(cause) === REPLY.notImplemented && /global qos/.test(error.message)) this.#ownQosOnly = true;
  }

  onRefused(error: Error): void {
    this.#publisher.fail(error, false);
  }

  owed(): boolean {
    return this.#publisher.inFlight > 0;
  }

  // What consumers ask of us.

  get connection(): AmqpConnection | null {
    return this.#link.connection;
  }

  needsOwnQos(queue: string): boolean {
    return this.#ownQosOnly || this.#topology.isReplicated(queue);
  }

  assureQueue(queue: string): Promise<void> {
    return this.#topology.assure(queue);
  }

  forget(consumer: AmqpConsumer): void {
    this.#consumers.delete(consumer);
  }

  #isMandatory(exchange: string): boolean {
    return exchange === "" || mandatoryByDefault(exchange, this.#topology.exchangeType(exchange));
  }

  /** Runs `act` on a connection, and again on the next one when that is lost meanwhile. */
  async #ask<T>(act: (connection: AmqpConnection) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.#closing) throw new TransportClosed();
      const connection = await this.#link.ready();
      try {
        return await act(connection);
      } catch (error) {
        if (this.#closing && error instanceof ConnectionLost) throw new TransportClosed();
        if (!(error instanceof ConnectionLost)) throw error;
        // Only its channel may have gone; the connection's own end is awaited, so that the next one is used.
        if (connection.over) await connection.ended;
        else await pause(100);
      }
    }
  }

  async #close(): Promise<void> {
    this.#publisher.close();
    await this.#link.close(async (connection) => {
      connection.outbox.flush();
      await atMost(this.#publisher.settled(), connection, this.#closeTimeoutMs);
    }, GOODBYE_MS);
    for (const consumer of this.#consumers) consumer.abandon();
    this.#consumers.clear();
    this.#publisher.fail(new TransportClosed(), true);
  }
}

/** Waits for `done`, at most `ms`, and no longer than the connection stands. */
async function atMost(done: Promise<void>, connection: AmqpConnection, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, connection.blocked ? 0 : ms);
  });
  await Promise.race([done, late, connection.ended]);
  clearTimeout(timer);
}
