/**
 * From file to delivery and back: takes the pending files for the consumers that have room, in turns of the event loop of bounded
 * length, reads them, hands them over and settles them.
 */
import { queueOfFileName } from "../../../protocol/kombu/filesystem-names.ts";
import type { Message } from "../../../protocol/message.ts";
import type { Log } from "../../runtime/log.ts";
import type { ConsumeOptions, Delivery } from "../transport.ts";
import { type ConsumerOwner, FileConsumer, FileDelivery } from "./consumer.ts";
import type { MessageFiles, ReadOutcome } from "./message-files.ts";
import type { PendingNames } from "./pending-names.ts";

/** Claims of one turn of the event loop, successful or not, and its longest time. */
const claimsPerTurn = 200;
const turnMs = 8;
/** Between looks at a claimed file that Python has not finished. */
const unfinishedMs = 3;

/** What the transport does for its consumers. */
export interface IntakeHooks {
  addQueue(queue: string): Promise<void>;
  leftQueues(queues: readonly string[]): Promise<void>;
  /** A consumer has ended. */
  ended(): void;
  /** More files lie there than are known. */
  listAgain(): void;
}

export class Intake implements ConsumerOwner {
  readonly #files: MessageFiles;
  readonly #pending: PendingNames;
  readonly #log: Log;
  readonly #hooks: IntakeHooks;
  readonly #consumers = new Set<FileConsumer>();
  /** Names that we took: the folder tells of their going too. */
  readonly #gone = new Set<string>();
  readonly #settlements: { file: string; how: "done" | "requeue" }[] = [];
  readonly #unfinished: { consumer: FileConsumer; name: string }[] = [];
  #turn: NodeJS.Immediate | null = null;
  #settleTurn: NodeJS.Immediate | null = null;
  #unfinishedTimer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(files: MessageFiles, pending: PendingNames, log: Log, hooks: IntakeHooks) {
    this.#files = files;
    this.#pending = pending;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** Something is consumed or held. */
  get busy(): boolean {
    return this.#consumers.size > 0;
  }

  /** Every queue that is consumed. */
  consumed(): string[] {
    return [...this.#consumers].flatMap((consumer) => [...consumer.queues]);
  }

  consumer(options: ConsumeOptions, onDelivery: (delivery: Delivery) => void): FileConsumer {
    const consumer = new FileConsumer(this, options, onDelivery);
    this.#consumers.add(consumer);
    return consumer;
  }

  /** The folder tells of a name that came or went. */
  appeared(name: string): void {
    if (!this.#gone.delete(name) && this.#pending.add(name)) this.wake();
  }

  /** A new listing will tell what lies there. */
  forgetGone(): void {
    this.#gone.clear();
  }

  /** Settles what was asked for, and gives back all that is held. */
  close(): void {
    this.#closed = true;
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#unfinishedTimer !== null) clearTimeout(this.#unfinishedTimer);
    this.settleNow();
    for (const consumer of this.#consumers) {
      consumer.lost = true;
      for (const delivery of consumer.held) this.#files.giveBack(delivery.file, false);
      consumer.held.clear();
    }
    for (const { name } of this.#unfinished.splice(0)) this.#files.giveBack(name, false);
    this.#consumers.clear();
  }

  // -------------------------------------------------------------------------------------------------- what consumers ask

  addQueue(queue: string): Promise<void> {
    return this.#hooks.addQueue(queue);
  }

  leftQueues(queues: readonly string[]): Promise<void> {
    return this.#hooks.leftQueues(queues);
  }

  ended(consumer: FileConsumer): void {
    this.#consumers.delete(consumer);
    this.#hooks.ended();
  }

  wake(): void {
    if (!this.#closed) this.#turn ??= setImmediate(this.#pump);
  }

  settle(delivery: FileDelivery, how: "done" | "requeue"): void {
    this.#settlements.push({ file: delivery.file, how });
    this.#settleTurn ??= setImmediate(this.settleNow);
    this.wake();
  }

  readonly settleNow = (): void => {
    if (this.#settleTurn !== null) clearImmediate(this.#settleTurn);
    this.#settleTurn = null;
    for (const { file, how } of this.#settlements.splice(0)) {
      if (how === "done") this.#files.settle(file);
      else this.#files.giveBack(file, true);
    }
  };

  // --------------------------------------------------------------------------------------------------------- the pump

  readonly #pump = (): void => {
    this.#turn = null;
    const end = performance.now() + turnMs;
    let left = claimsPerTurn;
    for (let busy = true; busy; ) {
      busy = false;
      for (const consumer of this.#consumers) {
        if (consumer.cancelled || !consumer.hasRoom) continue;
        const name = consumer.nextOf((queue) => this.#pending.take(queue));
        if (name === undefined) continue;
        busy = true;
        this.#take(consumer, name);
        if (this.#closed) return;
        if (--left === 0 || performance.now() > end) {
          this.wake();
          return;
        }
      }
    }
    if (this.#pending.short) this.#hooks.listAgain();
  };

  #take(consumer: FileConsumer, name: string): void {
    try {
      if (!this.#files.claim(name)) return;
    } catch (error) {
      this.#log.warn({ err: error, file: name }, "a message file cannot be taken");
      return;
    }
    this.#gone.add(name);
    if (this.#read(consumer, name)) return;
    consumer.reserved++;
    this.#unfinished.push({ consumer, name });
    this.#unfinishedTimer ??= setTimeout(this.#readUnfinished, unfinishedMs);
  }

  /** False: the file is not finished yet. */
  #read(consumer: FileConsumer, name: string): boolean {
    let outcome: ReadOutcome;
    try {
      outcome = this.#files.read(name);
    } catch (error) {
      outcome = { refused: error instanceof Error ? error.message : String(error) };
    }
    if (outcome === "later") return false;
    this.#deliver(consumer, name, outcome);
    return true;
  }

  readonly #readUnfinished = (): void => {
    this.#unfinishedTimer = null;
    for (const file of this.#unfinished.splice(0)) {
      const { consumer, name } = file;
      if (this.#closed) {
        this.#files.giveBack(name, false); // a handler closed the transport in this very turn
        continue;
      }
      if (!consumer.cancelled && !this.#read(consumer, name)) {
        this.#unfinished.push(file);
        continue;
      }
      if (consumer.cancelled) this.#files.giveBack(name, false);
      consumer.reserved--;
      consumer.endIfIdle();
    }
    if (this.#unfinished.length > 0 && !this.#closed) {
      this.#unfinishedTimer ??= setTimeout(this.#readUnfinished, unfinishedMs);
    }
    this.wake();
  };

  #deliver(consumer: FileConsumer, name: string, outcome: Exclude<ReadOutcome, "later">): void {
    const queue = queueOfFileName(name) ?? "";
    const [message, exchange, routingKey, redelivered] =
      "refused" in outcome
        ? [refusedMessage(outcome.refused), "", queue, false]
        : [
            outcome.envelope.message,
            outcome.envelope.exchange,
            outcome.envelope.routingKey,
            outcome.envelope.redelivered,
          ];
    const delivery = new FileDelivery(consumer, name, message, { exchange, routingKey, redelivered, queue });
    if (consumer.noAck) this.settle(delivery, "done");
    else consumer.held.add(delivery);
    try {
      consumer.onDelivery(delivery);
    } catch (error) {
      this.#log.error({ err: error, queue }, "the handler of a delivery threw");
    }
  }
}

function refusedMessage(refused: string): Message {
  return { body: new Uint8Array(0), headers: null, properties: {}, refused };
}
