/**
 * The transport of `memory://`: queues inside this process, for tests and for programs that need no broker. Keeps every
 * clause of the contract, so that what is tested over it means something.
 */
import type { Address, Message } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { MessageStateError, PublishError, QueueNotFound, TransportClosed } from "./errors.ts";
import { mandatoryByDefault } from "./mandatory.ts";
import { MemoryHub, memoryHub } from "./memory/hub.ts";
import type { Entry, MemoryQueue, Taker } from "./memory/queue.ts";
import type { ConsumeOptions, Consumer, Delivery, DeliveryInfo, Transport } from "./transport.ts";

export { MemoryHub } from "./memory/hub.ts";

export interface MemoryOptions {
  /** A hub, or the name of one: all transports of this process that name it share its queues. @default "" */
  hub?: string | MemoryHub;
  log?: Log;
}

export function createMemoryTransport(options: MemoryOptions = {}): Transport {
  const hub = options.hub instanceof MemoryHub ? options.hub : memoryHub(options.hub ?? "");
  return new MemoryTransport(hub, options.log ?? silentLog);
}

class MemoryTransport implements Transport {
  readonly name = "memory";
  readonly can = {
    confirms: true,
    priorities: true,
    nativeTopic: false,
    urgent: "lowest",
    redelivery: true,
  } as const;
  readonly #hub: MemoryHub;
  readonly #log: Log;
  readonly #consumers = new Set<MemoryConsumer>();
  readonly #waiting = new Set<{ resolve: () => void; reject: (reason: unknown) => void }>();
  #state: "new" | "connected" | "closed" = "new";

  constructor(hub: MemoryHub, log: Log) {
    this.#hub = hub;
    this.#log = log;
  }

  get connected(): boolean {
    return this.#state === "connected";
  }

  async connect(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#state === "closed") throw new TransportClosed();
    this.#state = "connected";
    for (const waiter of this.#waiting) waiter.resolve();
    this.#waiting.clear();
  }

  async declare(queues: readonly Queue[]): Promise<void> {
    await this.#ready();
    for (const queue of queues) this.#hub.declare(queue, this);
  }

  async declareExchange(exchange: Exchange): Promise<void> {
    await this.#ready();
    this.#hub.declareExchange(exchange);
  }

  async publish(
    message: Message,
    to: Address,
    options: { mandatory?: boolean; signal?: AbortSignal } = {},
  ): Promise<void> {
    await this.#ready(options.signal);
    const taken = this.#hub.publish(message, to.exchange, to.routingKey);
    if (taken || !(options.mandatory ?? mandatoryByDefault(to.exchange, this.#hub.exchangeType(to.exchange)))) return;
    throw new PublishError(
      `no queue takes messages of exchange ${JSON.stringify(to.exchange)} with routing key ${JSON.stringify(to.routingKey)}`,
      to,
      { code: "UNROUTABLE" },
    );
  }

  async consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    await this.#ready();
    const found = queues.map((name) => this.#queue(name));
    const consumer = new MemoryConsumer(this.#hub, options, onDelivery, this.#log, () =>
      this.#consumers.delete(consumer),
    );
    this.#consumers.add(consumer);
    for (const queue of found) consumer.add(queue);
    return consumer;
  }

  async purge(queue: string): Promise<number> {
    await this.#ready();
    return this.#queue(queue).purge();
  }

  async inspectQueue(queue: string): Promise<{ messages: number; consumers: number } | null> {
    await this.#ready();
    const found = this.#hub.queues.get(queue);
    return found ? { messages: found.ready, consumers: found.consumers } : null;
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.#ready();
    this.#hub.delete(queue);
  }

  async flush(): Promise<void> {}

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const waiter of this.#waiting) waiter.reject(new TransportClosed());
    this.#waiting.clear();
    for (const consumer of [...this.#consumers]) consumer.abandon();
    this.#hub.forget(this);
  }

  #queue(name: string): MemoryQueue {
    const queue = this.#hub.queues.get(name);
    if (!queue) throw new QueueNotFound(name);
    return queue;
  }

  #ready(signal?: AbortSignal): Promise<void> | undefined {
    signal?.throwIfAborted();
    if (this.#state === "connected") return undefined;
    if (this.#state === "closed") throw new TransportClosed();
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(waiter);
        reject(signal?.reason);
      };
      const settle = (end: () => void) => {
        signal?.removeEventListener("abort", onAbort);
        end();
      };
      const waiter = {
        resolve: () => settle(resolve),
        reject: (reason: unknown) => settle(() => reject(reason)),
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(waiter);
    });
  }
}

class MemoryConsumer implements Consumer, Taker {
  readonly canChangePrefetch = true;
  readonly #hub: MemoryHub;
  readonly #noAck: boolean;
  readonly #onDelivery: (delivery: Delivery) => void;
  readonly #log: Log;
  readonly #onEnd: () => void;
  readonly #queues = new Map<string, MemoryQueue>();
  readonly #held = new Set<MemoryDelivery>();
  #prefetch: number;
  #abandoned = false;
  #cancelled = false;

  constructor(
    hub: MemoryHub,
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
    log: Log,
    onEnd: () => void,
  ) {
    this.#hub = hub;
    this.#prefetch = options.prefetch;
    this.#noAck = options.noAck ?? false;
    this.#onDelivery = onDelivery;
    this.#log = log;
    this.#onEnd = onEnd;
  }

  get queues(): readonly string[] {
    return [...this.#queues.keys()];
  }

  get abandoned(): boolean {
    return this.#abandoned;
  }

  get hasRoom(): boolean {
    return this.#prefetch === 0 || this.#held.size < this.#prefetch;
  }

  add(queue: MemoryQueue): void {
    if (this.#queues.has(queue.name)) return;
    this.#queues.set(queue.name, queue);
    queue.add(this);
  }

  take(entry: Entry, queue: MemoryQueue): void {
    const delivery = new MemoryDelivery(this, entry, queue, this.#noAck);
    if (!this.#noAck) this.#held.add(delivery);
    try {
      this.#onDelivery(delivery);
    } catch (error) {
      this.#log.error({ err: error, queue: queue.name }, "the handler of a delivery threw");
    }
  }

  /** False: its consumer has gone, and the message was given back long ago. */
  settled(delivery: MemoryDelivery): boolean {
    if (!this.#held.delete(delivery)) return false;
    for (const queue of this.#queues.values()) queue.wake();
    if (this.#cancelled && this.#held.size === 0) this.#onEnd();
    return true;
  }

  setPrefetch(prefetch: number): void {
    this.#prefetch = prefetch;
    for (const queue of this.#queues.values()) queue.wake();
  }

  async addQueue(queue: string): Promise<void> {
    const found = this.#hub.queues.get(queue);
    if (!found) throw new QueueNotFound(queue);
    if (!this.#cancelled) this.add(found);
  }

  async cancelQueue(queue: string): Promise<void> {
    const found = this.#queues.get(queue);
    this.#queues.delete(queue);
    found?.leave(this);
  }

  async cancel(): Promise<void> {
    this.#cancelled = true;
    for (const name of this.queues) await this.cancelQueue(name);
    if (this.#held.size === 0) this.#onEnd();
  }

  /** Its transport closes: what is held goes back. */
  abandon(): void {
    this.#abandoned = true;
    const held = [...this.#held];
    this.#held.clear();
    for (const queue of this.#queues.values()) queue.leave(this);
    this.#queues.clear();
    for (const delivery of held) delivery.giveBack();
    this.#onEnd();
  }
}

class MemoryDelivery implements Delivery {
  readonly message: Message;
  readonly info: DeliveryInfo;
  readonly #consumer: MemoryConsumer;
  readonly #entry: Entry;
  readonly #queue: MemoryQueue;
  #settled: boolean;

  constructor(consumer: MemoryConsumer, entry: Entry, queue: MemoryQueue, noAck: boolean) {
    this.message = entry.message;
    this.info = {
      exchange: entry.exchange,
      routingKey: entry.routingKey,
      redelivered: entry.redelivered,
      queue: queue.name,
    };
    this.#consumer = consumer;
    this.#entry = entry;
    this.#queue = queue;
    this.#settled = noAck;
  }

  get lost(): boolean {
    return this.#consumer.abandoned;
  }

  ack(): void {
    this.#settle();
  }

  reject(options: { requeue: boolean }): void {
    if (this.#settle() && options.requeue) this.giveBack();
  }

  giveBack(): void {
    this.#queue.giveBack(this.#entry);
  }

  #settle(): boolean {
    if (this.#settled) throw new MessageStateError();
    this.#settled = true;
    return this.#consumer.settled(this);
  }
}
