/**
 * Kombu's filesystem transport: a broker that is a few folders, shared with Python. wire: celery-wire 7.1;
 * kombu/transport/filesystem.py, kombu/transport/virtual/base.py.
 *
 * Kombu polls, and forgets a message once it is read. Here the folder tells of new files (with a slow look in case an event was
 * lost, and a quick one where there are no events), and a message that is not settled stays a file: of a live process until it
 * closes, of a dead one until another Lovage process on the machine sees it, within seconds. A Python consumer still loses what
 * it holds when it is killed.
 *
 * File operations on messages are synchronous: each takes some ten microseconds on a local disk, less than a turn through the
 * thread pool, and a turn of the event loop does a bounded number of them.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { encodeEnvelope } from "../../protocol/kombu/envelope.ts";
import type { Address, Message } from "../../protocol/message.ts";
import type { Exchange, ExchangeType, Queue } from "../../protocol/routing.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import { newId } from "../runtime/ids.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { ConnectionRefused, PublishError, TransportClosed } from "./errors.ts";
import { ExchangeTables } from "./filesystem/exchange-tables.ts";
import { errorCode, type FolderOptions, Folders } from "./filesystem/folders.ts";
import { Intake } from "./filesystem/intake.ts";
import { Lookout } from "./filesystem/lookout.ts";
import { MessageFiles } from "./filesystem/message-files.ts";
import { PendingNames } from "./filesystem/pending-names.ts";
import { checkQueueName, Routes } from "./filesystem/routes.ts";
import type { ConsumeOptions, Consumer, DeclareMode, Delivery, Transport, TransportEvents } from "./transport.ts";

export interface FilesystemOptions extends FolderOptions {
  log?: Log;
  events?: TransportEvents;
  /** Longest envelope written or read, in bytes. A longer one that arrives is delivered as `refused`. @default 64 MiB */
  maxMessageBytes?: number;
  /** Kombu's `polling_interval`: seconds between looks where the folder does not tell of new files. @default 1 */
  pollingInterval?: number;
  /** What `declare` does to exchange files. @default "create" */
  declareMode?: DeclareMode;
  /** Exchanges that are published to and not declared; `fanout` cannot be told from an exchange file. */
  exchanges?: readonly { name: string; type: ExchangeType }[];
}

export function createFilesystemTransport(options: FilesystemOptions): Transport {
  return new FilesystemTransport(options);
}

interface Waiter {
  resolve(): void;
  reject(reason: unknown): void;
}

class FilesystemTransport implements Transport {
  readonly name = "filesystem";
  readonly can = { confirms: true, priorities: false, nativeTopic: false, urgent: "lowest", redelivery: true } as const;
  readonly #folders: Folders;
  readonly #files: MessageFiles;
  readonly #routes: Routes;
  readonly #log: Log;
  readonly #events: TransportEvents;
  readonly #maxBytes: number;
  readonly #pending = new PendingNames();
  readonly #intake: Intake;
  readonly #lookout: Lookout;
  readonly #waiting = new Set<Waiter>();
  readonly #ending = new AbortController();
  #state: "new" | "connected" | "closed" = "new";
  #connecting: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: FilesystemOptions) {
    this.#folders = new Folders(options);
    this.#log = options.log ?? silentLog;
    this.#events = options.events ?? {};
    this.#maxBytes = options.maxMessageBytes ?? 64 * 1024 * 1024;
    this.#files = new MessageFiles(this.#folders, this.#maxBytes, this.#log);
    const tables = new ExchangeTables(this.#folders.control, this.#log);
    this.#routes = new Routes(tables, options.declareMode ?? "create", options.exchanges);
    this.#intake = new Intake(this.#files, this.#pending, this.#log, {
      addQueue: (queue) => this.#addQueue(queue),
      leftQueues: (queues) => this.#leftQueues(queues),
      ended: () => this.#lookout.tend(),
      listAgain: () => this.#lookout.tend(0),
    });
    this.#lookout = new Lookout({
      folders: this.#folders,
      files: this.#files,
      pending: this.#pending,
      intake: this.#intake,
      routes: this.#routes,
      pollMs: Math.max(5, (options.pollingInterval ?? 1) * 1000),
      isConnected: () => this.#state === "connected",
      removeQueue: (queue) => this.#removeQueue(queue),
      log: this.#log,
    });
  }

  get connected(): boolean {
    return this.#state === "connected";
  }

  // ---------------------------------------------------------------------------------------------------- life and death

  async connect(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#state === "closed") throw new TransportClosed();
    this.#connecting ??= this.#connect();
    const ready = this.#ready(signal);
    await Promise.all([ready, this.#connecting]);
  }

  async #connect(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        this.#folders.make();
        this.#folders.removeAbandoned();
        this.#files.makeOwner();
        break;
      } catch (error) {
        const known = error instanceof Error ? error : new ConnectionRefused(String(error));
        if (["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(errorCode(error) ?? "")) {
          this.#connecting = null;
          const refused = new ConnectionRefused(
            `the folders of the filesystem broker cannot be used: ${known.message}`,
            { cause: error },
          );
          for (const waiter of [...this.#waiting]) waiter.reject(refused);
          throw refused;
        }
        const delayMs = backoffMs(attempt);
        this.#events.onRetry?.(known, delayMs);
        await pause(delayMs, this.#ending.signal);
        if (this.#state === "closed") throw new TransportClosed();
      }
    }
    this.#state = "connected";
    this.#lookout.tend();
    await this.#lookout.recover();
    if (this.#closing !== null) return;
    this.#events.onConnected?.(`filesystem://${this.#folders.dataIn}`);
    for (const waiter of [...this.#waiting]) waiter.resolve();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const wasConnected = this.#state === "connected";
    this.#state = "closed";
    this.#ending.abort();
    this.#lookout.close();
    for (const waiter of [...this.#waiting]) waiter.reject(new TransportClosed());
    if (!wasConnected) return;
    const ended = this.#intake.consumed();
    this.#intake.close();
    await this.#removeEnded(ended);
    this.#files.rememberQueues([]);
    this.#files.removeOwner();
  }

  /** Undefined when connected. */
  #ready(signal?: AbortSignal): Promise<void> | undefined {
    signal?.throwIfAborted();
    if (this.#state === "connected") return undefined;
    if (this.#state === "closed") throw new TransportClosed();
    return new Promise((resolve, reject) => {
      const onAbort = () => waiter.reject(signal?.reason);
      const settle = (end: () => void) => {
        this.#waiting.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
        end();
      };
      const waiter: Waiter = { resolve: () => settle(resolve), reject: (reason) => settle(() => reject(reason)) };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.add(waiter);
    });
  }

  // ------------------------------------------------------------------------------------------------------- declaration

  async declare(queues: readonly Queue[], exchanges: readonly Exchange[] = []): Promise<void> {
    await this.#ready();
    await this.#routes.declare(queues, exchanges);
    this.#rememberEnding();
    this.#lookout.tend(200); // another first binder may have wiped ours out in this instant
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.#ready();
    await this.#removeQueue(queue);
  }

  async #removeQueue(queue: string): Promise<void> {
    await this.#routes.remove(queue);
    this.#files.removeAll(queue);
  }

  async purge(queue: string): Promise<number> {
    await this.#ready();
    return this.#files.removeAll(queue);
  }

  async inspectQueue(queue: string): Promise<{ messages: number; consumers: number | null } | null> {
    await this.#ready();
    return { messages: await this.#files.count(queue), consumers: null };
  }

  // -------------------------------------------------------------------------------------------------------- publishing

  async publish(
    message: Message,
    to: Address,
    options: { mandatory?: boolean; signal?: AbortSignal } = {},
  ): Promise<void> {
    const ready = this.#ready(options.signal);
    if (ready !== undefined) await ready;
    const text = encodeEnvelope(message, { exchange: to.exchange, routingKey: to.routingKey, deliveryTag: newId() });
    if (text.length > this.#maxBytes) {
      const long = `a message of ${text.length} bytes; at most ${this.#maxBytes} are taken`;
      throw new PublishError(long, to, { code: "MESSAGE_TOO_LARGE" });
    }
    const queues = await this.#routes.queuesFor(to);
    if (this.#state !== "connected") throw new TransportClosed();
    for (const queue of queues) this.#put(queue, text, to);
    if (queues.size > 0 || !(options.mandatory ?? !this.#routes.isOptional(to.exchange))) return;
    const where = `exchange ${JSON.stringify(to.exchange)} with routing key ${JSON.stringify(to.routingKey)}`;
    throw new PublishError(`no queue is bound to ${where}`, to, { code: "UNROUTABLE" });
  }

  #put(queue: string, text: string, to: Address): void {
    try {
      this.#files.put(queue, text);
    } catch (error) {
      if (errorCode(error) === undefined || error instanceof ImproperlyConfigured) throw error;
      const retryable = errorCode(error) !== "ENAMETOOLONG";
      const reason = error instanceof Error ? error.message : String(error);
      throw new PublishError(`cannot write the message: ${reason}`, to, { cause: error, retryable });
    }
  }

  // --------------------------------------------------------------------------------------------------------- consuming

  async consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    await this.#ready();
    for (const queue of queues) checkQueueName(queue);
    const consumer = this.#intake.consumer(options, onDelivery);
    await Promise.all(queues.map((queue) => consumer.addQueue(queue)));
    return consumer;
  }

  /** A consumer takes one more queue. */
  async #addQueue(queue: string): Promise<void> {
    checkQueueName(queue);
    this.#pending.track(queue);
    this.#rememberEnding();
    await this.#lookout.begin();
  }

  /** Consumers have left these queues. */
  async #leftQueues(queues: readonly string[]): Promise<void> {
    const others = new Set(this.#intake.consumed());
    const left = queues.filter((queue) => !others.has(queue));
    for (const queue of left) this.#pending.untrack(queue);
    if (this.#state === "connected") await this.#removeEnded(left);
  }

  async flush(): Promise<void> {
    if (this.#state === "connected") this.#intake.settleNow();
  }

  #rememberEnding(): void {
    this.#files.rememberQueues(this.#routes.ending(this.#pending.queues));
  }

  async #removeEnded(queues: readonly string[]): Promise<void> {
    for (const queue of this.#routes.ending(queues)) await this.#removeQueue(queue);
  }
}
