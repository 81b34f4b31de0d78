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
import { readdirSync, unlinkSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { encodeEnvelope } from "../../protocol/kombu/envelope.ts";
import { messageFileName, queueOfFileName } from "../../protocol/kombu/filesystem-names.ts";
import type { Address, Message } from "../../protocol/message.ts";
import { type Binding, bindingOf, type ExchangeType, matchesTopic, type Queue } from "../../protocol/routing.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import { FolderWatch } from "../runtime/folder-watch.ts";
import { newId } from "../runtime/ids.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { ConnectionRefused, PublishError, QueueClash, QueueNotFound, TransportClosed } from "./errors.ts";
import { type ConsumerOwner, FileConsumer, FileDelivery } from "./filesystem/consumer.ts";
import { ExchangeTables } from "./filesystem/exchange-tables.ts";
import { errorCode, type FolderOptions, Folders } from "./filesystem/folders.ts";
import { MessageFiles, type ReadOutcome } from "./filesystem/message-files.ts";
import { heartbeatMs } from "./filesystem/owner.ts";
import { PendingNames } from "./filesystem/pending-names.ts";
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

/** Between looks at a folder that tells of new files by itself, and at what dead processes left. */
const safetyMs = 5_000;
/** Claims of one turn of the event loop, successful or not, and its longest time. */
const claimsPerTurn = 200;
const turnMs = 8;
/** Between looks at a claimed file that Python has not finished. */
const unfinishedMs = 3;

export function createFilesystemTransport(options: FilesystemOptions): Transport {
  return new FilesystemTransport(options);
}

interface Waiter {
  resolve(): void;
  reject(reason: unknown): void;
}

class FilesystemTransport implements Transport, ConsumerOwner {
  readonly name = "filesystem";
  readonly can = { confirms: true, priorities: false, nativeTopic: false, urgent: "lowest", redelivery: true } as const;
  readonly #folders: Folders;
  readonly #files: MessageFiles;
  readonly #tables: ExchangeTables;
  readonly #log: Log;
  readonly #events: TransportEvents;
  readonly #maxBytes: number;
  readonly #pollMs: number;
  readonly #declareMode: DeclareMode;
  readonly #watch: FolderWatch;
  readonly #pending = new PendingNames();
  /** Names that we took: the folder tells of their going too. */
  readonly #gone = new Set<string>();
  readonly #consumers = new Set<FileConsumer>();
  readonly #types = new Map<string, ExchangeType>();
  readonly #declared = new Map<string, Queue>();
  readonly #bindings = new Map<string, Binding[]>();
  readonly #settlements: { file: string; how: "done" | "requeue" }[] = [];
  readonly #unfinished: { consumer: FileConsumer; name: string }[] = [];
  readonly #waiting = new Set<Waiter>();
  readonly #ending = new AbortController();
  #state: "new" | "connected" | "closed" = "new";
  #connecting: Promise<void> | null = null;
  #closing: Promise<void> | null = null;
  #turn: NodeJS.Immediate | null = null;
  #settleTurn: NodeJS.Immediate | null = null;
  #unfinishedTimer: NodeJS.Timeout | null = null;
  #timer: NodeJS.Timeout | null = null;
  #listing: Promise<void> | null = null;
  /** Files were found that the folder did not tell of: look often. */
  #distrusted = false;
  #lastHeartbeat = 0;
  #lastRecovery = 0;

  constructor(options: FilesystemOptions) {
    this.#folders = new Folders(options);
    this.#log = options.log ?? silentLog;
    this.#events = options.events ?? {};
    this.#maxBytes = options.maxMessageBytes ?? 64 * 1024 * 1024;
    this.#pollMs = Math.max(5, (options.pollingInterval ?? 1) * 1000);
    this.#declareMode = options.declareMode ?? "create";
    this.#files = new MessageFiles(this.#folders, this.#maxBytes, this.#log);
    this.#tables = new ExchangeTables(this.#folders.control, this.#log);
    for (const exchange of options.exchanges ?? []) this.#types.set(exchange.name, exchange.type);
    this.#watch = new FolderWatch(this.#folders.dataIn, {
      onChange: (name) => this.#onChange(name),
      onTrouble: (error) => this.#log.debug({ err: error }, "the message folder is not watched; looking at it instead"),
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
    this.#tend();
    await this.#recover();
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
    this.#watch.close();
    for (const timer of [this.#timer, this.#unfinishedTimer]) if (timer !== null) clearTimeout(timer);
    if (this.#turn !== null) clearImmediate(this.#turn);
    for (const waiter of [...this.#waiting]) waiter.reject(new TransportClosed());
    if (!wasConnected) return;
    this.#settleNow();
    for (const consumer of this.#consumers) {
      consumer.lost = true;
      for (const delivery of consumer.held) this.#files.giveBack(delivery.file, false);
      consumer.held.clear();
    }
    for (const { name } of this.#unfinished.splice(0)) this.#files.giveBack(name, false);
    const ended = [...this.#consumers].flatMap((consumer) => [...consumer.queues]);
    this.#consumers.clear();
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

  async declare(queues: readonly Queue[]): Promise<void> {
    await this.#ready();
    const bindings = queues.flatMap((queue) => this.#bindingsOf(queue));
    for (const queue of queues) this.#declared.set(queue.name, queue);
    if (this.#declareMode === "never") return;
    for (const { exchange, binding } of bindings) {
      if (this.#declareMode === "passive") {
        const table = await this.#tables.read(exchange);
        if (!table.some((row) => row.routingKey === binding.routingKey && row.queue === binding.queue)) {
          throw new QueueNotFound(binding.queue);
        }
        continue;
      }
      const ours = this.#bindings.get(exchange) ?? [];
      const known = ours.some((row) => row.routingKey === binding.routingKey && row.queue === binding.queue);
      if (!known) this.#bindings.set(exchange, [binding, ...ours]);
    }
    if (this.#declareMode !== "create") return;
    await this.#ensureBindings(new Set(bindings.map(({ exchange }) => exchange)));
    this.#rememberEnding();
    this.#tend(200); // another first binder may have wiped ours out in this instant
  }

  #bindingsOf(queue: Queue): { exchange: string; binding: Binding }[] {
    messageFileName(0, "name", queue.name); // throws for names that are no file names
    const found: { exchange: string; binding: Binding }[] = [];
    for (const { exchange, routingKey } of [queue, ...(queue.bindings ?? [])]) {
      if (exchange.name === "") continue;
      if (exchange.type === "headers") {
        throw new ImproperlyConfigured("exchanges of type headers exist only on AMQP brokers");
      }
      const known = this.#types.get(exchange.name);
      if (known !== undefined && known !== exchange.type) {
        throw new QueueClash(
          queue.name,
          { exchange: exchange.name, type: exchange.type },
          { exchange: exchange.name, type: known },
        );
      }
      this.#types.set(exchange.name, exchange.type);
      found.push({ exchange: exchange.name, binding: bindingOf(exchange.type, routingKey, queue.name) });
    }
    return found;
  }

  async #ensureBindings(exchanges: Iterable<string> = this.#bindings.keys()): Promise<void> {
    for (const exchange of exchanges) {
      const bindings = this.#bindings.get(exchange);
      if (bindings !== undefined) await this.#tables.ensure(exchange, bindings);
    }
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.#ready();
    await this.#removeQueue(queue);
  }

  async #removeQueue(queue: string): Promise<void> {
    this.#declared.delete(queue);
    for (const [exchange, bindings] of this.#bindings) {
      const others = bindings.filter((binding) => binding.queue !== queue);
      if (others.length > 0) this.#bindings.set(exchange, others);
      else this.#bindings.delete(exchange);
    }
    if (this.#declareMode !== "never") await this.#tables.removeQueue(queue);
    this.#removeFiles(queue);
  }

  #removeFiles(queue: string): number {
    let removed = 0;
    for (const name of readdirSync(this.#folders.dataIn)) {
      if (queueOfFileName(name) !== queue) continue;
      try {
        unlinkSync(join(this.#folders.dataIn, name));
        removed++;
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error; // taken meanwhile
      }
    }
    return removed;
  }

  async purge(queue: string): Promise<number> {
    await this.#ready();
    return this.#removeFiles(queue);
  }

  async inspectQueue(queue: string): Promise<{ messages: number; consumers: number | null } | null> {
    await this.#ready();
    const names = await readdir(this.#folders.dataIn);
    let messages = 0;
    for (const name of names) if (queueOfFileName(name) === queue) messages++;
    return { messages, consumers: null };
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
    if (to.exchange === "") {
      this.#put(to.routingKey, text, to);
      return;
    }
    const table = await this.#tables.read(to.exchange);
    if (this.#state === "closed") throw new TransportClosed();
    const queues = this.#route(to, table);
    for (const queue of queues) this.#put(queue, text, to);
    if (queues.size > 0) return;
    const optional = this.#isFanout(to.exchange) || to.exchange === "celeryev";
    if (!(options.mandatory ?? !optional)) return;
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

  #isFanout(exchange: string): boolean {
    const type = this.#types.get(exchange);
    return type === undefined ? exchange.endsWith(".pidbox") && !exchange.startsWith("reply.") : type === "fanout";
  }

  #route({ exchange, routingKey }: Address, table: readonly Binding[]): Set<string> {
    const type = this.#types.get(exchange);
    const fanout = this.#isFanout(exchange);
    const queues = new Set<string>();
    for (const binding of table) {
      // an exchange that we never declared: a pattern tells a topic binding
      const topic = type === "topic" || (type === undefined && binding.pattern !== "");
      const taken =
        fanout || (topic ? matchesTopic(binding.routingKey, routingKey) : binding.routingKey === routingKey);
      if (taken && binding.queue !== "") queues.add(binding.queue);
    }
    return queues;
  }

  // --------------------------------------------------------------------------------------------------------- consuming

  async consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    await this.#ready();
    const consumer = new FileConsumer(this, options, onDelivery);
    this.#consumers.add(consumer);
    for (const queue of queues) messageFileName(0, "name", queue);
    await Promise.all(queues.map((queue) => consumer.addQueue(queue)));
    return consumer;
  }

  async addQueues(_consumer: FileConsumer, queues: readonly string[]): Promise<void> {
    for (const queue of queues) this.#pending.track(queue);
    this.#watch.start(); // before the listing, so that no file falls between
    this.#rememberEnding();
    // a listing that runs may have begun before these were looked for
    while (this.#listing !== null) await this.#listing;
    await this.#list();
    this.#tend();
  }

  async leftQueues(queues: readonly string[]): Promise<void> {
    const others = new Set([...this.#consumers].flatMap((consumer) => [...consumer.queues]));
    const left = queues.filter((queue) => !others.has(queue));
    for (const queue of left) this.#pending.untrack(queue);
    if (this.#state === "connected") await this.#removeEnded(left);
  }

  ended(consumer: FileConsumer): void {
    this.#consumers.delete(consumer);
    this.#tend();
  }

  wake(): void {
    if (this.#state === "connected") this.#turn ??= setImmediate(this.#pump);
  }

  settle(delivery: FileDelivery, how: "done" | "requeue"): void {
    this.#settlements.push({ file: delivery.file, how });
    this.#settleTurn ??= setImmediate(this.#settleNow);
    this.wake();
  }

  readonly #settleNow = (): void => {
    if (this.#settleTurn !== null) clearImmediate(this.#settleTurn);
    this.#settleTurn = null;
    for (const { file, how } of this.#settlements.splice(0)) {
      if (how === "done") this.#files.settle(file);
      else this.#files.giveBack(file, true);
    }
  };

  async flush(): Promise<void> {
    if (this.#state === "connected") this.#settleNow();
  }

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
        if (this.#state !== "connected") return;
        if (--left === 0 || performance.now() > end) {
          this.wake();
          return;
        }
      }
    }
    if (this.#pending.incomplete) void this.#list();
  };

  #take(consumer: FileConsumer, name: string): void {
    try {
      if (!this.#files.claim(name)) return;
    } catch (error) {
      this.#log.warn({ err: error, file: name }, "a message file cannot be taken");
      return;
    }
    this.#gone.add(name);
    this.#read(consumer, name);
  }

  /** False: the file is not finished yet. */
  #read(consumer: FileConsumer, name: string, again = false): boolean {
    let outcome: ReadOutcome;
    try {
      outcome = this.#files.read(name);
    } catch (error) {
      outcome = { refused: error instanceof Error ? error.message : String(error) };
    }
    if (outcome !== "later") {
      this.#deliver(consumer, name, outcome);
    } else if (!again) {
      consumer.reserved++;
      this.#unfinished.push({ consumer, name });
      this.#unfinishedTimer ??= setTimeout(this.#readUnfinished, unfinishedMs);
    }
    return outcome !== "later";
  }

  readonly #readUnfinished = (): void => {
    this.#unfinishedTimer = null;
    for (const file of this.#unfinished.splice(0)) {
      file.consumer.reserved--;
      if (file.consumer.cancelled) this.#files.giveBack(file.name, false);
      else if (!this.#read(file.consumer, file.name, true)) {
        file.consumer.reserved++;
        this.#unfinished.push(file);
      }
      file.consumer.endIfIdle();
    }
    if (this.#unfinished.length > 0 && this.#state === "connected") {
      this.#unfinishedTimer ??= setTimeout(this.#readUnfinished, unfinishedMs);
    }
    this.wake();
  };

  #deliver(consumer: FileConsumer, name: string, outcome: Exclude<ReadOutcome, "later">): void {
    const queue = queueOfFileName(name) ?? "";
    const delivery =
      "refused" in outcome
        ? new FileDelivery(consumer, name, refusedMessage(outcome.refused), {
            exchange: "",
            routingKey: queue,
            redelivered: false,
            queue,
          })
        : new FileDelivery(consumer, name, outcome.envelope.message, {
            exchange: outcome.envelope.exchange,
            routingKey: outcome.envelope.routingKey,
            redelivered: outcome.envelope.redelivered,
            queue,
          });
    if (consumer.noAck) this.settle(delivery, "done");
    else consumer.held.add(delivery);
    try {
      consumer.onDelivery(delivery);
    } catch (error) {
      this.#log.error({ err: error, queue }, "the handler of a delivery threw");
    }
  }

  // ---------------------------------------------------------------------------------------- the folder, and the others

  #onChange(name: string | null): void {
    if (name === null) {
      this.#tend(0);
    } else if (!this.#gone.delete(name) && this.#pending.add(name)) {
      this.wake();
    }
  }

  /** Lists the folder; what events tell meanwhile is kept. */
  #list(): Promise<void> {
    this.#listing ??= this.#listNow().finally(() => {
      this.#listing = null;
    });
    return this.#listing;
  }

  async #listNow(): Promise<void> {
    this.#pending.beginListing();
    this.#gone.clear();
    let names: string[] = [];
    try {
      names = await readdir(this.#folders.dataIn);
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || this.#state !== "connected") throw error;
      this.#folders.make();
      this.#files.makeOwner();
    }
    // events of files in the listing may be on their way: let them come in first
    await nextTurn();
    await nextTurn();
    const known = !this.#pending.incomplete;
    const unknown = this.#pending.endListing(names);
    if (known && unknown > 0 && this.#watch.watching && !this.#distrusted) {
      this.#distrusted = true;
      this.#log.debug({ unknown }, "files appeared without an event (a network file system?); looking often");
    }
    this.wake();
  }

  /** Plans the next look at the folder. While something is consumed it keeps the process alive. */
  #tend(soonMs?: number): void {
    if (this.#state !== "connected") return;
    const looking = this.#consumers.size > 0;
    const quick = looking && (!this.#watch.watching || this.#distrusted);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), soonMs ?? (quick ? Math.min(this.#pollMs, safetyMs) : safetyMs));
    if (!looking) this.#timer.unref();
  }

  async #look(): Promise<void> {
    try {
      const now = performance.now();
      if (now - this.#lastHeartbeat > heartbeatMs) {
        this.#lastHeartbeat = now;
        this.#files.heartbeat();
      }
      if (this.#consumers.size > 0) await this.#list();
      if (this.#declareMode === "create") await this.#ensureBindings();
      if (performance.now() - this.#lastRecovery >= safetyMs) await this.#recover();
    } catch (error) {
      if (this.#state === "connected")
        this.#log.warn({ err: error }, "the folders of the filesystem broker cannot be looked at");
    }
    this.#tend();
  }

  async #recover(): Promise<void> {
    this.#lastRecovery = performance.now();
    try {
      const { messages, queues } = this.#files.recover();
      if (messages > 0) this.#log.info({ messages }, "messages that a dead process held are back in their queues");
      for (const queue of queues) await this.#removeQueue(queue);
    } catch (error) {
      this.#log.warn({ err: error }, "what dead processes held cannot be given back yet");
    }
  }

  /** Queues that end with their only consumer, which Celery makes one of for each process (pidbox, replies, events). */
  #endsWithUs(queue: string): boolean {
    const declared = this.#declared.get(queue);
    if (declared?.autoDelete !== true) return false;
    return declared.exclusive === true || declared.arguments?.["x-expires"] !== undefined;
  }

  #rememberEnding(): void {
    const consumed = new Set(this.#pending.queues);
    this.#files.rememberQueues(
      [...this.#declared.keys()].filter((queue) => consumed.has(queue) && this.#endsWithUs(queue)),
    );
  }

  async #removeEnded(queues: readonly string[]): Promise<void> {
    for (const queue of queues) if (this.#endsWithUs(queue)) await this.#removeQueue(queue);
  }
}

function refusedMessage(refused: string): Message {
  return { body: new Uint8Array(0), headers: null, properties: {}, refused };
}
