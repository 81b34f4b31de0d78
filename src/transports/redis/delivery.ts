/** One message from Redis in the hands of a consumer. */
import type { Message } from "../../../protocol/message.ts";
import { MessageStateError } from "../errors.ts";
import type { Delivery, DeliveryInfo } from "../transport.ts";

/** The consumer that a delivery belongs to. */
export interface DeliveryOwner {
  settled(delivery: RedisDelivery, how: "done" | "requeue"): void;
  lost(delivery: RedisDelivery): void;
}

/**
 * `lost` stays false when the connection goes: the record under our tag outlives it, and an ack after the reconnect still
 * counts. It turns true when a peer restored the message (we were away for longer than the visibility timeout) or on close.
 */
export class RedisDelivery implements Delivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
  /** Its name in `unacked`; empty when it needs no settling (noAck, fanout). */
  readonly tag: string;
  lost = false;
  #settled: boolean;
  readonly #owner: DeliveryOwner;

  constructor(owner: DeliveryOwner, message: Message, info: DeliveryInfo, tag: string, settled: boolean) {
    this.#owner = owner;
    this.message = message;
    this.info = info;
    this.tag = tag;
    this.#settled = settled;
  }

  ack(): void {
    this.#settle("done");
  }

  reject(options: { requeue: boolean }): void {
    this.#settle(options.requeue ? "requeue" : "done");
  }

  lose(): void {
    this.lost = true;
    if (!this.#settled) this.#owner.lost(this);
  }

  #settle(how: "done" | "requeue"): void {
    if (this.#settled) throw new MessageStateError();
    this.#settled = true;
    if (!this.lost) this.#owner.settled(this, how);
  }
}
