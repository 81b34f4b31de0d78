/** One delivery, and the book that a consumer's channel keeps of those that are not settled. */
import type { Message } from "../../../protocol/message.ts";
import { MessageStateError } from "../errors.ts";
import type { Delivery, DeliveryInfo } from "../transport.ts";
import type { LateWriter, Outbox } from "./outbox.ts";

export class AmqpDelivery implements Delivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly tag: number;
  readonly #ledger: Ledger;
  /** Neighbours among the unsettled, by age; the ledger's. */
  older: AmqpDelivery | null = null;
  newer: AmqpDelivery | null = null;
  settled = false;

  constructor(message: Message, info: DeliveryInfo, tag: number, ledger: Ledger) {
    this.message = message;
    this.info = info;
    this.tag = tag;
    this.#ledger = ledger;
  }

  get lost(): boolean {
    return this.#ledger.lost;
  }

  ack(): void {
    if (this.settled) throw new MessageStateError();
    this.settled = true;
    this.#ledger.ack(this);
  }

  reject(options: { requeue: boolean }): void {
    if (this.settled) throw new MessageStateError();
    this.settled = true;
    this.#ledger.reject(this, options.requeue);
  }
}

const FEW_REQUEUES = 500;

/**
 * Which deliveries of one channel are unsettled, in their order. Acks are gathered for a turn of the event loop: those below
 * the oldest unsettled delivery go out as one ack with `multiple`, the others one by one, so that nothing is ever acked that
 * was not settled. Rejects are written at once, hence before the acks of their turn.
 *
 * What goes back to its queue is gathered too, since RabbitMQ's classic queue looks through all it holds for each message that
 * is given back alone: of 100,000 one by one it would take half an hour. Those below the oldest unsettled delivery go back at
 * once; a few others one by one; many others wait until the older ones are settled, or the channel closes.
 */
export class Ledger implements LateWriter {
  readonly #outbox: Outbox;
  readonly #channel: number;
  readonly #onSettled: () => void;
  #oldest: AmqpDelivery | null = null;
  #newest: AmqpDelivery | null = null;
  #held = 0;
  #acks: number[] = [];
  #requeues: number[] = [];
  #scheduled = false;
  #unsynced = false;
  #lost = false;

  constructor(outbox: Outbox, channel: number, onSettled: () => void) {
    this.#outbox = outbox;
    this.#channel = channel;
    this.#onSettled = onSettled;
  }

  /** The channel has gone, and the broker will deliver again what was unsettled. */
  get lost(): boolean {
    return this.#lost;
  }

  get held(): number {
    return this.#held;
  }

  /** Something was settled since the last call. */
  takeUnsynced(): boolean {
    const unsynced = this.#unsynced;
    this.#unsynced = false;
    return unsynced;
  }

  lose(): void {
    this.#lost = true;
    this.#oldest = null;
    this.#newest = null;
    this.#acks = [];
    this.#requeues = [];
  }

  enter(delivery: AmqpDelivery): void {
    delivery.older = this.#newest;
    if (this.#newest) this.#newest.newer = delivery;
    else this.#oldest = delivery;
    this.#newest = delivery;
    this.#held++;
  }

  ack(delivery: AmqpDelivery): void {
    if (this.#lost) return;
    this.#leave(delivery);
    this.#acks.push(delivery.tag);
    this.#writeSoon();
  }

  reject(delivery: AmqpDelivery, requeue: boolean): void {
    if (this.#lost) return;
    this.#leave(delivery);
    if (requeue) this.#requeues.push(delivery.tag);
    else this.#outbox.reject(this.#channel, delivery.tag, false);
    this.#writeSoon();
  }

  writeLate(): void {
    this.#scheduled = false;
    const below = this.#oldest ? this.#oldest.tag : Number.POSITIVE_INFINITY;
    this.#writeAcks(below);
    this.#writeRequeues(below);
  }

  #writeSoon(): void {
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#outbox.atEndOfTurn(this);
    }
    this.#onSettled();
  }

  #writeAcks(below: number): void {
    const acks = this.#acks;
    if (acks.length === 0) return;
    this.#acks = [];
    // One ack for many would also cover what is to be given back.
    const coverable = this.#requeues.length === 0;
    let highest = 0;
    let many = 0;
    for (const tag of acks) {
      if (coverable && tag < below) {
        many++;
        if (tag > highest) highest = tag;
      } else {
        this.#outbox.ack(this.#channel, tag, false);
      }
    }
    if (many > 0) this.#outbox.ack(this.#channel, highest, many > 1);
  }

  /** After the acks: whatever is still unsettled up to the highest of the covered ones is one of them. */
  #writeRequeues(below: number): void {
    const requeues = this.#requeues;
    if (requeues.length === 0) return;
    this.#requeues = [];
    const above: number[] = [];
    let highest = 0;
    let many = 0;
    for (const tag of requeues) {
      if (tag < below) {
        many++;
        if (tag > highest) highest = tag;
      } else above.push(tag);
    }
    if (many === 1) this.#outbox.reject(this.#channel, highest, true);
    else if (many > 1) this.#outbox.requeueUpTo(this.#channel, highest);
    if (above.length > FEW_REQUEUES) this.#requeues = above;
    else for (const tag of above) this.#outbox.reject(this.#channel, tag, true);
  }

  #leave(delivery: AmqpDelivery): void {
    const { older, newer } = delivery;
    if (older) older.newer = newer;
    else this.#oldest = newer;
    if (newer) newer.older = older;
    else this.#newest = older;
    delivery.older = null;
    delivery.newer = null;
    this.#held--;
    this.#unsynced = true;
  }
}
