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
    await setQos(this.channel, this.#consumer.prefetch, !this.ownQos);
  }

  consumes(queue: string): boolean {
    return this.#tagOfQueue.has(queue);
  }

  async consume(queue: string): Promise<void> {
    if (this.consumes(queue)) return;
    const consumerTag = `lovage.${++tags}`;
    this.#queueOfTag.set(consumerTag, queue);
    this.#tagOfQueue.set(queue, consumerTag);
    const onCancelled = () => {
      this.#forgetTag(queue, consumerTag);
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
      this.#forgetTag(queue, consumerTag);
      throw error;
    }
  }

  async stop(queue: string): Promise<void> {
    const tag = this.#tagOfQueue.get(queue);
    if (tag === undefined || this.closed) return;
    this.#forgetTag(queue, tag);
    const kept = this.#backlog.filter((delivery) => delivery.info.queue !== queue);
    const back = this.#backlog.filter((delivery) => delivery.info.queue === queue);
    this.#backlog = kept;
    for (const delivery of back) delivery.reject({ requeue: true });
    try {
      await stopConsuming(this.channel, tag);
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

  #forgetTag(queue: string, tag: string): void {
    this.#queueOfTag.delete(tag);
    if (this.#tagOfQueue.get(queue) === tag) this.#tagOfQueue.delete(queue);
  }
}
