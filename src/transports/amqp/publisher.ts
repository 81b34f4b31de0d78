/**
 * Publishing on one confirm channel. A window of messages is on its way at a time, the rest waits; a message is settled when
 * the broker confirms it. After a loss exactly those without a confirm are sent again, in their order.
 *
 * A returned message (`basic.return`) comes before its own confirm, in the order of publishing, and carries no number: it is
 * the first on its way with the same address, ids and body that has not come back yet.
 *
 * When the broker closes the channel because of one message, that message is found by the reason's words, or else by sending
 * what is left one by one.
 */
import { Buffer } from "node:buffer";
import { EncodeError } from "../../../protocol/errors.ts";
import type { Address, Message } from "../../../protocol/message.ts";
import { type Abortable, AbortGroups } from "../../runtime/abort-groups.ts";
import type { Log } from "../../runtime/log.ts";
import { PublishError, TransportClosed, TransportError } from "../errors.ts";
import type { PublishFailure } from "../transport.ts";
import { REPLY, replyCode, replyText } from "./broker-errors.ts";
import { closeChannel } from "./calls.ts";
import { type AmqpConnection, channelNumber } from "./connection.ts";
import type { ChannelInput } from "./frame-reader.ts";
import { BatchPublish, type Outgoing, SinglePublish, type Watch } from "./outgoing.ts";

const STRIKES = 2;

export interface PublisherOptions {
  /** Messages on their way at a time. */
  window: number;
  /** Delivery mode of messages that name none. */
  deliveryMode: number | undefined;
  log: Log;
  /** A message to this queue came back: the queue may have been deleted. */
  onUnroutable(queue: string): void;
}

export class Publisher implements ChannelInput, Watch {
  readonly #aborts = new AbortGroups();
  readonly #options: PublisherOptions;
  /** Not sent, or to be sent again. Read from `#next`. */
  #waiting: Outgoing[] = [];
  #next = 0;
  #abandoned = 0;
  /** Sent on the present channel and not confirmed; the first has the number `#firstTag`. */
  #sent: Outgoing[] = [];
  #head = 0;
  #firstTag = 1;
  #connection: AmqpConnection | null = null;
  #channel = 0;
  /** So many messages are sent one by one, to find the one that closes the channel. */
  #singly = 0;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Messages on their way. */
  get inFlight(): number {
    return this.#sent.length - this.#head;
  }

  publish(message: Message, to: Address, mandatory: boolean, signal?: AbortSignal): Promise<void> {
    if (this.#closed) return Promise.reject(new TransportClosed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    const single = new SinglePublish(message, { ...to, mandatory }, this, signal);
    if (signal) this.#aborts.join(signal, single);
    this.#take(single.outgoing);
    return single.promise;
  }

  /** One promise for all. Resolves when each is settled, with those that the broker did not take. */
  publishAll(
    messages: readonly Message[],
    to: Address,
    mandatory: boolean,
    signal?: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    if (this.#closed) return Promise.reject(new TransportClosed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (messages.length === 0) return Promise.resolve([]);
    const batch = new BatchPublish(messages, { ...to, mandatory }, this, signal);
    if (signal) this.#aborts.join(signal, batch);
    for (const outgoing of batch.outgoing) this.#take(outgoing);
    return batch.promise;
  }

  /** Begins, or begins again, on this connection. Rejects when the connection is lost meanwhile. */
  async attach(connection: AmqpConnection): Promise<void> {
    const channel = await connection.openConfirmChannel(this, (error) => {
      if (this.#connection !== connection) return;
      const unconfirmed = this.#detach();
      if (error) this.#onChannelClosed(error, connection, unconfirmed);
      else if (connection.refusal) this.#onConnectionClosed(connection.refusal, unconfirmed);
    });
    if (this.#closed) {
      await closeChannel(channel);
      return;
    }
    this.#connection = connection;
    this.#channel = channelNumber(channel);
    this.#firstTag = 1;
    connection.outbox.onDrain = () => this.pump();
    this.pump();
  }

  /** Sends what waits, as far as window, socket and broker allow. */
  pump(): void {
    const waiting = this.#waiting;
    while (this.#next < waiting.length && this.#mayWrite()) {
      const outgoing = waiting[this.#next++]!;
      if (outgoing.over) this.#abandoned = Math.max(0, this.#abandoned - 1);
      else this.#write(outgoing);
    }
    if (this.#next === waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    } else if (this.#next > 1024 && this.#next * 2 > waiting.length) {
      this.#waiting = waiting.slice(this.#next);
      this.#next = 0;
    }
  }

  /** Resolves when every message so far is settled. */
  async settled(): Promise<void> {
    const open = [...this.#sent.slice(this.#head), ...this.#waiting.slice(this.#next)];
    const owners = new Set(open.filter((outgoing) => !outgoing.over).map((outgoing) => outgoing.owner.promise));
    await Promise.allSettled(owners);
  }

  /** Rejects what waits; with `all`, also what is on its way. */
  fail(error: Error, all: boolean): void {
    const waiting = this.#waiting.slice(this.#next);
    this.#waiting = [];
    this.#next = 0;
    this.#abandoned = 0;
    for (const outgoing of waiting) outgoing.reject(error);
    if (all) for (const outgoing of this.#sent.slice(this.#head)) outgoing.reject(error);
  }

  /** Takes no more messages. */
  close(): void {
    this.#closed = true;
  }

  onConfirm(tag: number, multiple: boolean, ok: boolean): void {
    const index = this.#head + tag - this.#firstTag;
    if (multiple) {
      for (let i = this.#head; i <= index; i++) this.#confirm(this.#sent[i], ok);
    } else {
      this.#confirm(this.#sent[index], ok);
    }
    const sent = this.#sent;
    let head = this.#head;
    while (head < sent.length && sent[head]!.confirmed) head++;
    this.#firstTag += head - this.#head;
    this.#head = head;
    if (head === sent.length) {
      this.#sent = [];
      this.#head = 0;
    } else if (head > 1024) {
      this.#sent = sent.slice(head);
      this.#head = 0;
    }
    if (this.#next < this.#waiting.length) this.pump();
  }

  onReturn(reason: string, exchange: string, routingKey: string, message: Message): void {
    for (let i = this.#head; i < this.#sent.length; i++) {
      const outgoing = this.#sent[i]!;
      if (outgoing.confirmed || outgoing.returned !== null || !outgoing.to.mandatory) continue;
      if (outgoing.to.exchange !== exchange || outgoing.to.routingKey !== routingKey) continue;
      if (!sameMessage(outgoing.message, message)) continue;
      outgoing.returned = reason;
      if (exchange === "") this.#options.onUnroutable(routingKey);
      return;
    }
    this.#options.log.warn({ exchange, routingKey, reason }, "a message came back that was not on its way");
  }

  onDelivery(): void {
    // Nothing is consumed on the publishing channel.
  }

  #mayWrite(): boolean {
    const connection = this.#connection;
    if (!connection || connection.blocked || connection.outbox.congested) return false;
    return this.inFlight < (this.#singly > 0 ? 1 : this.#options.window);
  }

  #write(outgoing: Outgoing): void {
    try {
      this.#connection?.outbox.publish(this.#channel, outgoing.message, outgoing.to, this.#options.deliveryMode);
    } catch (error) {
      outgoing.reject(
        error instanceof EncodeError || error instanceof PublishError ? error : notWritable(outgoing, error),
      );
      return;
    }
    this.#sent.push(outgoing);
  }

  #confirm(outgoing: Outgoing | undefined, ok: boolean): void {
    if (!outgoing || outgoing.confirmed) return;
    outgoing.confirmed = true;
    if (this.#singly > 0) this.#singly--;
    if (outgoing.returned !== null) {
      const { exchange, routingKey } = outgoing.to;
      const why = `no queue takes messages of exchange ${JSON.stringify(exchange)} with routing key ${JSON.stringify(routingKey)} (${outgoing.returned})`;
      outgoing.reject(new PublishError(why, outgoing.to, { code: "UNROUTABLE" }));
    } else if (ok) {
      outgoing.resolve();
    } else {
      const why = "the broker did not take the message (a full queue refuses, or a queue has failed)";
      outgoing.reject(new PublishError(why, outgoing.to, { code: "NACKED", retryable: true }));
    }
  }

  /** The channel is gone: what it did not confirm waits again, in front. Says what was unconfirmed, given up or not. */
  #detach(): Outgoing[] {
    this.#connection = null;
    const unconfirmed = this.#sent.slice(this.#head).filter((outgoing) => !outgoing.confirmed);
    const again = unconfirmed.filter((outgoing) => !outgoing.over);
    for (const outgoing of again) outgoing.returned = null;
    this.#sent = [];
    this.#head = 0;
    this.#waiting = [...again, ...this.#waiting.slice(this.#next)];
    this.#next = 0;
    return unconfirmed;
  }

  #onChannelClosed(error: Error, connection: AmqpConnection, suspects: readonly Outgoing[]): void {
    const guilty = blame(error, suspects);
    for (const outgoing of guilty) outgoing.reject(refusalOf(error, outgoing));
    this.#singly = guilty.length === 0 ? suspects.filter((outgoing) => !outgoing.over).length : 0;
    this.#options.log.warn({ err: error, messages: guilty.length }, "the broker refused a message");
    this.attach(connection).catch((cause: unknown) => {
      if (connection.over) return;
      connection.kill(cause instanceof Error ? cause : new TransportError("PUBLISH", String(cause)));
    });
  }

  /**
   * The broker ended the whole connection and blames us: a message may have done it (RabbitMQ dies of a header that it cannot
   * parse). One that is alone on its way each time is rejected, so that it does not end every connection from now on.
   */
  #onConnectionClosed(refusal: Error, suspects: readonly Outgoing[]): void {
    const [alone] = suspects;
    this.#singly = suspects.filter((outgoing) => !outgoing.over).length;
    if (suspects.length !== 1 || !alone || ++alone.strikes < STRIKES) return;
    alone.reject(refusalOf(refusal, alone));
  }

  #take(outgoing: Outgoing): void {
    if (this.#next === this.#waiting.length && this.#mayWrite()) this.#write(outgoing);
    else this.#waiting.push(outgoing);
  }

  ended(signal: AbortSignal, member: Abortable): void {
    this.#aborts.leave(signal, member);
  }

  abandoned(): void {
    this.#abandoned++;
    if (this.#abandoned < 256 || this.#abandoned * 2 < this.#waiting.length - this.#next) return;
    this.#waiting = this.#waiting.slice(this.#next).filter((outgoing) => !outgoing.over);
    this.#next = 0;
    this.#abandoned = 0;
  }
}

/** Those of the unconfirmed messages that the reason speaks of; none when that cannot be told. */
function blame(error: Error, suspects: readonly Outgoing[]): Outgoing[] {
  if (suspects.length <= 1) return [...suspects];
  const text = replyText(error);
  const code = replyCode(error);
  if (code === REPLY.notFound || code === REPLY.accessRefused) {
    const exchange = /exchange '([\s\S]*?)' in vhost/.exec(text)?.[1];
    return suspects.filter((outgoing) => outgoing.to.exchange === exchange);
  }
  const limit = Number(/larger than configured max size (\d+)/.exec(text)?.[1] ?? Number.NaN);
  return suspects.filter((outgoing) => outgoing.message.body.length > limit);
}

function refusalOf(error: Error, outgoing: Outgoing): PublishError {
  const text = replyText(error);
  const code = text.includes("larger than") ? "MESSAGE_TOO_LARGE" : "PUBLISH";
  return new PublishError(`the broker refused the message: ${text}`, outgoing.to, { code, cause: error });
}

function notWritable(outgoing: Outgoing, cause: unknown): PublishError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PublishError(`the message cannot be written: ${why}`, outgoing.to, { cause });
}

function sameMessage(ours: Message, theirs: Message): boolean {
  const a = ours.properties;
  const b = theirs.properties;
  return (
    a.correlationId === b.correlationId &&
    a.messageId === b.messageId &&
    ours.body.length === theirs.body.length &&
    Buffer.compare(ours.body, theirs.body) === 0
  );
}
