/**
 * A consumer: one channel, one prefetch, any number of queues. It outlives connections, channels and queues: `#heal` brings
 * it back to consuming all it wants, as often as needed.
 *
 * Prefetch: for the whole channel on classic queues. Where RabbitMQ knows it only per queue (quorum queues, RabbitMQ 4), each
 * queue sends up to `prefetch` and the surplus waits here, unsettled and not handed over; a `growing` consumer takes more through
 * further consumers on its channel. wire: celery-wire 4.2.
 */
import { backoffMs, pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost, QueueNotFound, TransportError } from "../errors.ts";
import type { ConsumeOptions, Consumer, Delivery } from "../transport.ts";
import { interruption, REPLY, replyCode } from "./broker-errors.ts";
import { closeChannel, setQos } from "./calls.ts";
import type { AmqpConnection } from "./connection.ts";
import { Session } from "./consumer-session.ts";
import type { AmqpDelivery } from "./delivery.ts";

/** What a consumer needs from its transport. */
export interface ConsumerHost {
  readonly log: Log;
  /** The connection that stands, or null. */
  readonly connection: AmqpConnection | null;
  /** This queue takes `basic.qos` per consumer only. */
  needsOwnQos(queue: string): boolean;
  /** Makes a queue exist that we declared before; rejects with `QueueNotFound` when it does not exist. */
  assureQueue(queue: string): Promise<void>;
  forget(consumer: AmqpConsumer): void;
}

export class AmqpConsumer implements Consumer {
  readonly host: ConsumerHost;
  readonly noAck: boolean;
  readonly #exclusive: boolean;
  readonly #growing: boolean;
  readonly #onDelivery: (delivery: Delivery) => void;
  readonly #onInterrupted: ((error: TransportError) => void) | undefined;
  readonly #wanted: Set<string>;
  #prefetch: number;
  #session: Session | null = null;
  #healing = false;
  #passes: Promise<unknown> = Promise.resolve();
  #qosTurn: NodeJS.Immediate | null = null;
  #cancelled = false;
  readonly #stopped = new AbortController();

  constructor(
    host: ConsumerHost,
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ) {
    this.host = host;
    this.#wanted = new Set(queues);
    this.#prefetch = options.prefetch;
    this.noAck = options.noAck ?? false;
    this.#exclusive = options.exclusive ?? false;
    this.#growing = options.growing ?? false;
    this.#onDelivery = onDelivery;
    this.#onInterrupted = options.onInterrupted?.bind(options);
  }

  get queues(): readonly string[] {
    return [...this.#wanted];
  }

  get prefetch(): number {
    return this.#prefetch;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  get canChangePrefetch(): boolean {
    return this.#growing || !this.#session?.ownQos;
  }

  get exclusive(): boolean {
    return this.#exclusive;
  }

  /** Starts on this connection, or fails: a missing queue is `QueueNotFound`. */
  async start(connection: AmqpConnection): Promise<void> {
    const { prefetch } = this;
    const session = await this.#open(connection);
    for (const queue of this.#wanted) await this.#consume(session, queue);
    this.#session = session;
    if (prefetch !== this.prefetch) this.setPrefetch(this.prefetch);
  }

  /** Whether it holds a channel that works. */
  get running(): boolean {
    return this.#session !== null && !this.#session.closed;
  }

  /** On a new connection: consumes again what exists; goes on looking for what does not. */
  async resume(): Promise<void> {
    if (this.#cancelled || (await this.#pass())) return;
    this.#heal();
  }

  setPrefetch(prefetch: number): void {
    this.#prefetch = prefetch;
    this.#session?.handOver();
    this.#qosTurn ??= setImmediate(() => {
      this.#qosTurn = null;
      const session = this.#session;
      if (!session || session.closed || this.#cancelled || (session.ownQos && !this.#growing)) return;
      const changed = session.ownQos ? session.resize(this.#prefetch) : setQos(session.channel, this.#prefetch, true);
      changed.catch((error: unknown) => {
        this.host.log.debug({ err: error }, "prefetch was not changed: its channel is gone");
      });
    });
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#cancelled || this.#wanted.has(queue)) return;
    await this.host.assureQueue(queue);
    if (this.#cancelled || this.#wanted.has(queue)) return;
    this.#wanted.add(queue);
    const session = this.#session;
    try {
      if (session && !session.closed) await this.#consume(session, queue);
    } catch (error) {
      if (error instanceof ConnectionLost) return; // it starts with the others when the connection is back
      this.#wanted.delete(queue);
      throw error;
    }
  }

  async cancelQueue(queue: string): Promise<void> {
    if (!this.#wanted.delete(queue)) return;
    await this.#session?.stop(queue);
  }

  async cancel(): Promise<void> {
    if (this.#cancelled) return this.#session?.emptied;
    this.#cancelled = true;
    this.#stopped.abort();
    this.#wanted.clear();
    const session = this.#session;
    if (session && !session.closed) await session.stopAll();
    this.release();
  }

  /** After `cancel`: the channel goes with the last delivery that is settled. */
  release(): void {
    const session = this.#session;
    if (!this.#cancelled || (session && !session.closed && session.ledger.held > 0)) return;
    this.host.forget(this);
    if (!session || session.closed) return;
    session.closed = true;
    session.connection.outbox.flush();
    closeChannel(session.channel).catch((error: unknown) => {
      this.host.log.debug({ err: error }, "the channel of a cancelled consumer was gone before it was closed");
    });
  }

  /** Its transport closes. */
  abandon(): void {
    this.#cancelled = true;
    this.#stopped.abort();
    if (this.#qosTurn) clearImmediate(this.#qosTurn);
    this.#session?.lose();
  }

  /** Resolves when the broker has taken every ack and reject so far. */
  async sync(): Promise<void> {
    const session = this.#session;
    if (!session || session.closed || !session.ledger.takeUnsynced()) return;
    session.connection.outbox.flush();
    try {
      // A channel handles what it receives in order: when this is answered, the acks before it are done.
      await setQos(session.channel, this.#prefetch, !session.ownQos);
    } catch (error) {
      this.host.log.debug({ err: error }, "the connection was lost while acks were on their way");
    }
  }

  hand(delivery: AmqpDelivery): void {
    try {
      this.#onDelivery(delivery);
    } catch (error) {
      this.host.log.error({ err: error, queue: delivery.info.queue }, "the handler of a delivery threw");
    }
  }

  /** The broker has cancelled a queue, which it does when the queue was deleted. */
  queueGone(queue: string): void {
    if (this.#cancelled) return;
    this.host.log.warn({ queue }, "the broker ended the consuming of a queue, which may have been deleted; resuming");
    this.#heal();
  }

  sessionClosed(session: Session, error: Error | null): void {
    if (this.#session !== session || this.#cancelled) return this.release();
    if (error) {
      this.host.log.error({ err: error, queues: this.queues }, "the broker closed the channel of a consumer; resuming");
      this.#onInterrupted?.(interruption(error));
      this.#heal();
    }
  }

  /** Looks again and again, until it consumes all that it wants or the connection is gone. */
  #heal(): void {
    if (this.#healing) return;
    this.#healing = true;
    this.#healLoop().then(
      () => {
        this.#healing = false;
      },
      (error: unknown) => {
        this.#healing = false;
        this.host.log.error({ err: error, queues: this.queues }, "a consumer could not be resumed");
      },
    );
  }

  async #healLoop(): Promise<void> {
    for (let attempt = 0; !this.#cancelled && this.host.connection; attempt++) {
      await pause(backoffMs(attempt, HEAL), this.#stopped.signal, true);
      if (await this.#pass(attempt % 10 === 0)) return;
    }
  }

  /** One attempt; one at a time. True: nothing is missing, or there is no connection, whose return starts another. */
  #pass(loud = true): Promise<boolean> {
    const turn = this.#passes.then(() => this.#tryPass(loud));
    this.#passes = turn.catch(() => undefined);
    return turn;
  }

  async #tryPass(loud: boolean): Promise<boolean> {
    const { connection } = this.host;
    if (this.#cancelled || !connection || connection.over) return true;
    try {
      if (!this.#session || this.#session.closed || this.#session.connection !== connection) {
        this.#session = await this.#open(connection);
      }
      const missing = await this.#consumeAll(this.#session);
      if (missing.length === 0) return true;
      const words = "queues to consume from do not exist; looking again";
      if (loud) this.host.log.warn({ queues: missing }, words);
      else this.host.log.debug({ queues: missing }, words);
    } catch (error) {
      if (connection.over) return true;
      if (!(error instanceof TransportError)) throw error;
      this.host.log.warn({ err: error, queues: this.queues }, "could not resume a consumer; trying again");
    }
    return false;
  }

  /** The queues that do not exist. */
  async #consumeAll(session: Session): Promise<string[]> {
    const missing: string[] = [];
    for (const queue of [...this.#wanted]) {
      if (session.consumes(queue)) continue;
      try {
        await this.host.assureQueue(queue);
        if (this.#wanted.has(queue)) await this.#consume(session, queue);
      } catch (error) {
        if (!(error instanceof QueueNotFound)) throw error;
        missing.push(queue);
      }
    }
    return missing;
  }

  async #open(connection: AmqpConnection): Promise<Session> {
    const ownQos = connection.perConsumerQos || [...this.#wanted].some((queue) => this.host.needsOwnQos(queue));
    const session = new Session(this, connection, ownQos);
    await session.open();
    return session;
  }

  async #consume(session: Session, queue: string): Promise<void> {
    if (!session.ownQos && this.host.needsOwnQos(queue)) await session.switchToOwnQos();
    try {
      await session.consume(queue);
    } catch (error) {
      const cause: unknown = error instanceof TransportError ? error.cause : null;
      if (replyCode(cause) === REPLY.notFound) throw new QueueNotFound(queue, { cause });
      throw error;
    }
  }
}

const HEAL = { initialMs: 100, maxMs: 5_000 };
