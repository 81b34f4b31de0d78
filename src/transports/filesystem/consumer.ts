/** A consumer of message files and what it holds. */
import type { Message } from "../../../protocol/message.ts";
import { MessageStateError } from "../errors.ts";
import type { ConsumeOptions, Consumer, Delivery, DeliveryInfo } from "../transport.ts";

/** What consumers need of their transport. */
export interface ConsumerOwner {
  /** There may be room or files now. */
  wake(): void;
  addQueue(queue: string): Promise<void>;
  /** The consumer has left these queues. */
  leftQueues(queues: readonly string[]): Promise<void>;
  /** Nothing is consumed and nothing held any more. */
  ended(consumer: FileConsumer): void;
  settle(delivery: FileDelivery, how: "done" | "requeue"): void;
}

export class FileConsumer implements Consumer {
  readonly canChangePrefetch = true;
  readonly noAck: boolean;
  readonly onDelivery: (delivery: Delivery) => void;
  readonly held = new Set<FileDelivery>();
  /** Claimed files that are not yet readable; they count against the prefetch. */
  reserved = 0;
  lost = false;
  readonly #owner: ConsumerOwner;
  readonly #queues: string[] = [];
  #prefetch: number;
  #next = 0;
  #cancelled = false;

  constructor(owner: ConsumerOwner, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void) {
    this.#owner = owner;
    this.#prefetch = options.prefetch;
    this.noAck = options.noAck ?? false;
    this.onDelivery = onDelivery;
  }

  get queues(): readonly string[] {
    return this.#queues;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  get hasRoom(): boolean {
    return this.#prefetch === 0 || this.held.size + this.reserved < this.#prefetch;
  }

  /** The next name of its queues, which take turns. */
  nextOf(take: (queue: string) => string | undefined): string | undefined {
    const { length } = this.#queues;
    for (let tried = 0; tried < length; tried++) {
      const queue = this.#queues[this.#next % length];
      this.#next = (this.#next + 1) % length;
      const name = queue === undefined ? undefined : take(queue);
      if (name !== undefined) return name;
    }
    return undefined;
  }

  setPrefetch(prefetch: number): void {
    this.#prefetch = prefetch;
    this.#owner.wake();
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#cancelled || this.#queues.includes(queue)) return;
    this.#queues.push(queue);
    try {
      await this.#owner.addQueue(queue);
    } catch (error) {
      await this.cancelQueue(queue);
      throw error;
    }
  }

  async cancelQueue(queue: string): Promise<void> {
    const at = this.#queues.indexOf(queue);
    if (at < 0) return;
    this.#queues.splice(at, 1);
    await this.#owner.leftQueues([queue]);
  }

  async cancel(): Promise<void> {
    if (this.#cancelled) return;
    this.#cancelled = true;
    const left = this.#queues.splice(0);
    this.endIfIdle();
    await this.#owner.leftQueues(left);
  }

  endIfIdle(): void {
    if (this.#cancelled && this.held.size === 0 && this.reserved === 0) this.#owner.ended(this);
  }

  settled(delivery: FileDelivery, how: "done" | "requeue"): void {
    if (!this.held.delete(delivery)) return;
    this.#owner.settle(delivery, how);
    this.endIfIdle();
  }
}

export class FileDelivery implements Delivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
  /** Name of the claimed file. */
  readonly file: string;
  readonly #consumer: FileConsumer;
  #settled: boolean;

  constructor(consumer: FileConsumer, file: string, message: Message, info: DeliveryInfo) {
    this.#consumer = consumer;
    this.file = file;
    this.message = message;
    this.info = info;
    this.#settled = consumer.noAck;
  }

  get lost(): boolean {
    return this.#consumer.lost;
  }

  ack(): void {
    this.#settle("done");
  }

  reject(options: { requeue: boolean }): void {
    this.#settle(options.requeue ? "requeue" : "done");
  }

  #settle(how: "done" | "requeue"): void {
    if (this.#settled) throw new MessageStateError();
    this.#settled = true;
    this.#consumer.settled(this, how);
  }
}
