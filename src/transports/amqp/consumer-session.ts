/**
 * What a consumer holds of one channel: its tags, its unsettled deliveries, and, where the broker knows prefetch only per
 * queue, the surplus that is not handed over yet. It ends with the channel; the consumer then opens another.
 */
import type { Message } from "../../../protocol/message.ts";
import { setQos, startConsuming, stopConsuming } from "./calls.ts";
import { type AmqpConnection, type AnyChannel, channelNumber } from "./connection.ts";
import type { AmqpConsumer } from "./consumer.ts";
import { AmqpDelivery, Ledger } from "./delivery.ts";
import type { ChannelInput } from "./frame-reader.ts";

let tags = 0;

/** A consumer's life on one channel of one connection. */
export class Session implements ChannelInput {
  readonly connection: AmqpConnection;
  readonly #consumer: AmqpConsumer;
  readonly #queueOfTag = new Map<string, string>();
  readonly #tagOfQueue = new Map<string, string>();
  #backlog: AmqpDelivery[] = [];
  /** What the first consumers of the queues may hold, and what further ones were started for; where prefetch is per consumer. */
  #base = 0;
  readonly #extras: { readonly by: number; readonly tags: Map<string, string> }[] = [];
  #resizing: Promise<unknown> = Promise.resolve();
  #number = 0;
  ownQos: boolean;
  closed = false;
  channel!: AnyChannel;
  ledger!: Ledger;
  emptied: Promise<void> = Promise.resolve();

  constructor(consumer: AmqpConsumer, connection: AmqpConnection, ownQos: boolean) {
    this.#consumer = consumer;
    this.connection = connection;
    this.ownQos = ownQos;
  }

  async open(): Promise<void> {
    this.channel = await this.connection.openChannel(this, (error) => {
      const known = this.closed;
      this.lose();
      if (!known) this.#consumer.sessionClosed(this, error);
    });
    this.#number = channelNumber(this.channel);
    this.ledger = new Ledger(this.connection.outbox, this.#number, () => this.#onSettled());
    this.#base = this.#consumer.prefetch;
    await setQos(this.channel, this.#base, !this.ownQos);
  }

  consumes(queue: string): boolean {
    return this.#tagOfQueue.has(queue);
  }

  async consume(queue: string): Promise<void> {
    if (this.consumes(queue)) return;
    if (this.#extras.length > 0) await setQos(this.channel, this.#base, false);
    await this.#startConsumer(queue, this.#tagOfQueue);
  }

  /** Where prefetch is per consumer: further consumers take the difference, and go again. One change after the other. */
  resize(prefetch: number): Promise<void> {
    const turn = this.#resizing.then(() => this.#resize(prefetch));
    this.#resizing = turn.catch(() => undefined);
    return turn;
  }

  async #resize(prefetch: number): Promise<void> {
    let granted = this.#extras.reduce((sum, { by }) => sum + by, this.#base);
    for (let last = this.#extras.at(-1); last && granted - last.by >= prefetch; last = this.#extras.at(-1)) {
      this.#extras.pop();
      granted -= last.by;
      for (const tag of last.tags.values()) {
        this.#queueOfTag.delete(tag);
        if (!this.closed) await stopConsuming(this.channel, tag);
      }
    }
    if (prefetch <= granted || this.closed || this.#consumer.cancelled) return;
    const extra = { by: prefetch - granted, tags: new Map<string, string>() };
    this.#extras.push(extra);
    await setQos(this.channel, extra.by, false);
    for (const queue of this.#tagOfQueue.keys()) await this.#startConsumer(queue, extra.tags);
  }

  async #startConsumer(queue: string, into: Map<string, string>): Promise<void> {
    const consumerTag = `lovage.${++tags}`;
    this.#queueOfTag.set(consumerTag, queue);
    into.set(queue, consumerTag);
    const onCancelled = () => {
      this.#forgetTag(queue, consumerTag, into);
      this.#consumer.queueGone(queue);
    };
    try {
      await startConsuming(
        this.channel,
        queue,
        { consumerTag, noAck: this.#consumer.noAck, exclusive: this.#consumer.exclusive },
        onCancelled,
      );
    } catch (error) {
      this.#forgetTag(queue, consumerTag, into);
      throw error;
    }
  }

  async stop(queue: string): Promise<void> {
    const tag = this.#tagOfQueue.get(queue);
    if (tag === undefined || this.closed) return;
    this.#forgetTag(queue, tag, this.#tagOfQueue);
    const all = [tag];
    for (const { tags: extra } of this.#extras) {
      const more = extra.get(queue);
      if (more === undefined) continue;
      this.#forgetTag(queue, more, extra);
      all.push(more);
    }
    const kept = this.#backlog.filter((delivery) => delivery.info.queue !== queue);
    const back = this.#backlog.filter((delivery) => delivery.info.queue === queue);
    this.#backlog = kept;
    for (const delivery of back) delivery.reject({ requeue: true });
    try {
      await Promise.all(all.map((one) => stopConsuming(this.channel, one)));
    } catch (error) {
      this.#consumer.host.log.debug({ err: error, queue }, "the channel was gone before its consumer was cancelled");
    }
  }

  async stopAll(): Promise<void> {
    const all = [...this.#tagOfQueue.keys()].map((queue) => this.stop(queue));
    this.emptied = Promise.all(all).then(() => undefined);
    await this.emptied;
  }

  /** A queue without whole-channel prefetch joins: from now on each queue has its own, also those consumed already. */
  async switchToOwnQos(): Promise<void> {
    this.ownQos = true;
    const queues = [...this.#tagOfQueue.keys()];
    for (const queue of queues) await this.stop(queue);
    await setQos(this.channel, 0, true);
    await setQos(this.channel, this.#consumer.prefetch, false);
    for (const queue of queues) await this.consume(queue);
  }

  lose(): void {
    this.closed = true;
    this.ledger?.lose();
    this.#backlog = [];
  }

  onDelivery(
    consumerTag: string,
    deliveryTag: number,
    redelivered: boolean,
    exchange: string,
    routingKey: string,
    message: Message,
  ): void {
    if (this.closed) return;
    const queue = this.#queueOfTag.get(consumerTag);
    const consumer = this.#consumer;
    if (queue === undefined || consumer.cancelled) {
      // It was on its way when the consuming stopped.
      if (!consumer.noAck) this.connection.outbox.reject(this.#number, deliveryTag, true);
      return;
    }
    const info = { exchange, routingKey, redelivered, queue };
    const delivery = new AmqpDelivery(message, info, deliveryTag, this.ledger);
    if (consumer.noAck) {
      delivery.settled = true;
    } else {
      this.ledger.enter(delivery);
      if (this.ownQos && consumer.prefetch > 0 && this.#handed > consumer.prefetch) {
        this.#backlog.push(delivery);
        return;
      }
    }
    consumer.hand(delivery);
  }

  /** Hands over what waits here, as far as the prefetch allows. */
  handOver(): void {
    const consumer = this.#consumer;
    while (this.#backlog.length > 0 && !consumer.cancelled) {
      if (consumer.prefetch > 0 && this.#handed >= consumer.prefetch) return;
      const next = this.#backlog.shift();
      if (next) consumer.hand(next);
    }
  }

  /** Unsettled deliveries that the handler has seen. */
  get #handed(): number {
    return this.ledger.held - this.#backlog.length;
  }

  onReturn(): void {
    // Nothing is published on a consumer's channel.
  }

  onConfirm(): void {
    // Likewise.
  }

  #onSettled(): void {
    if (this.#backlog.length > 0) this.handOver();
    if (this.#consumer.cancelled && this.ledger.held === 0) this.#consumer.release();
  }

  #forgetTag(queue: string, tag: string, from: Map<string, string>): void {
    this.#queueOfTag.delete(tag);
    if (from.get(queue) === tag) from.delete(queue);
  }
}
