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

/**
 * Which deliveries of one channel are unsettled, in their order. Acks are gathered for a turn of the event loop: those below
 * the oldest unsettled delivery go out as one ack with `multiple`, the others one by one, so that nothing is ever acked that
 * was not settled. Rejects are written at once, hence before the acks of their turn.
 */
export class Ledger implements LateWriter {
  readonly #outbox: Outbox;
  readonly #channel: number;
  readonly #onSettled: () => void;
  #oldest: AmqpDelivery | null = null;
  #newest: AmqpDelivery | null = null;
  #held = 0;
  #acks: number[] = [];
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
    if (this.#acks.push(delivery.tag) === 1) this.#outbox.atEndOfTurn(this);
    this.#onSettled();
  }

  reject(delivery: AmqpDelivery, requeue: boolean): void {
    if (this.#lost) return;
    this.#leave(delivery);
    this.#outbox.reject(this.#channel, delivery.tag, requeue);
    this.#onSettled();
  }

  writeLate(): void {
    const acks = this.#acks;
    if (acks.length === 0) return;
    this.#acks = [];
    const below = this.#oldest ? this.#oldest.tag : Number.POSITIVE_INFINITY;
    let highest = 0;
    let many = 0;
    for (const tag of acks) {
      if (tag < below) {
        many++;
        if (tag > highest) highest = tag;
      } else {
        this.#outbox.ack(this.#channel, tag, false);
      }
    }
    if (many > 0) this.#outbox.ack(this.#channel, highest, many > 1);
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
