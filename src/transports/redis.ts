/**
 * Kombu's Redis transport, key for key: TypeScript and Python share queues, bindings, unacked records and broadcasts.
 * wire: celery-wire 3.3 and 6. Every part is a file of `redis/`; this one wires them and keeps the transport contract.
 *
 * What it promises beyond Kombu: a message is never outside both its queue and `unacked`; held messages are renewed, so a
 * long task is not delivered twice; a delivery stays valid over a reconnect; a late ack never settles somebody else's.
 */
import { RedisKeys } from "../../protocol/kombu/redis-keys.ts";
import type { Address, Message } from "../../protocol/message.ts";
import type { Exchange, Queue } from "../../protocol/routing.ts";
import "../runtime/bytes.ts";
import { silentLog } from "../runtime/log.ts";
import { checkRedisTls, parseRedisUrl } from "../runtime/redis-connection.ts";
import { TransportClosed } from "./errors.ts";
import { Bindings } from "./redis/bindings.ts";
import { BlockingWaits } from "./redis/blocking-waits.ts";
import { RedisConsumer } from "./redis/consumer.ts";
import { Fanout } from "./redis/fanout.ts";
import { RedisLink } from "./redis/link.ts";
import { parseRedisSettings, type RedisSettings, type RedisTransportOptions, unknownOptions } from "./redis/options.ts";
import { Publisher } from "./redis/publisher.ts";
import { Restorer } from "./redis/restorer.ts";
import { PURGE } from "./redis/scripts.ts";
import { readServerInfo } from "./redis/server-info.ts";
import { Subscriber } from "./redis/subscriber.ts";
import { Unacked } from "./redis/unacked.ts";
import { Waiting } from "./redis/waiting.ts";
import type { ConsumeOptions, Consumer, Delivery, ServerInfo, Transport, TransportCapabilities } from "./transport.ts";

export { type RedisTransportOptions, unknownOptions } from "./redis/options.ts";

const DEFAULT_MAX_MESSAGE_BYTES = 256 << 20;
/** How often bindings are kept alive, sleepers are looked after and refused acts are tried again. */
const HOUSEKEEPING_MS = 5_000;
/** How long close may take to write what is outstanding. */
const CLOSE_MS = 10_000;

/** A transport that is not connected yet. Throws `ImproperlyConfigured` for URLs or options that cannot be read. */
export function createRedisTransport(options: RedisTransportOptions): RedisTransport {
  return new RedisTransport(options);
}

export class RedisTransport implements Transport {
  readonly name = "redis";
  readonly can: TransportCapabilities = {
    confirms: true,
    priorities: true,
    nativeTopic: false,
    urgent: "lowest",
    redelivery: true,
  };
  /** Transport options that nobody knows, for the caller to complain about. */
  readonly unknownOptions: readonly string[];
  readonly #settings: RedisSettings;
  readonly #log;
  readonly #maxMessageBytes: number;
  readonly #keys: RedisKeys;
  readonly #link: RedisLink;
  readonly #bindings: Bindings;
  readonly #publisher: Publisher;
  readonly #unacked: Unacked;
  readonly #subscriber: Subscriber;
  readonly #waiting: Waiting;
  readonly #fanout: Fanout;
  readonly #restorer: Restorer;
  readonly #consumers = new Set<RedisConsumer>();
  #timers: NodeJS.Timeout[] = [];
  #closing: Promise<void> | null = null;

  constructor(options: RedisTransportOptions) {
    const transportOptions = options.transportOptions ?? {};
    const settings = parseRedisSettings(transportOptions);
    const { masterName, sentinelKwargs } = settings;
    const target = parseRedisUrl(options.urls, { ...(masterName === undefined ? {} : { masterName }), sentinelKwargs });
    checkRedisTls(target, options.tls);
    const log = options.log ?? silentLog;
    this.unknownOptions = unknownOptions(transportOptions);
    if (this.unknownOptions.length > 0) log.warn({ options: this.unknownOptions }, "unknown transport options");
    this.#settings = settings;
    this.#log = log;
    this.#maxMessageBytes = options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES;
    const db = target.endpoints[0]?.db ?? 0;
    const keys = new RedisKeys({ ...settings, db });
    this.#keys = keys;
    const connectTimeoutMs = settings.connectTimeoutMs ?? options.connectTimeoutMs;
    const connection = {
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(settings.answerTimeoutMs === undefined ? {} : { answerTimeoutMs: settings.answerTimeoutMs }),
      ...(settings.pingIntervalMs === undefined ? {} : { pingIntervalMs: settings.pingIntervalMs }),
    };
    const { clientName } = settings;
    const link = new RedisLink({ target, connection, clientName, events: options.events ?? {}, log });
    this.#link = link;
    this.#bindings = new Bindings(link, keys, options.declareMode ?? "create", options.exchanges ?? []);
    // Kombu before 5.4 left "{db}" as it stands when the server was found by Sentinel.
    const legacyChannel =
      target.sentinel !== null && settings.sentinelFanoutCompat && settings.fanoutPrefix === true
        ? (exchange: string, routingKey: string) =>
            keys.prefixed(`/{db}.${exchange}${routingKey !== "" && settings.fanoutPatterns ? `/${routingKey}` : ""}`)
        : null;
    this.#publisher = new Publisher(link, keys, this.#bindings, {
      deadletterQueue: settings.deadletterQueue,
      legacyChannel,
    });
    this.#unacked = new Unacked(link, keys, log);
    this.#subscriber = new Subscriber(link, target, { connection, clientName, log });
    const blocking = new BlockingWaits(link, target, { connection, clientName, log });
    this.#waiting = new Waiting(link, this.#subscriber, blocking, log);
    this.#fanout = new Fanout(this.#subscriber, this.#bindings, keys, {
      maxMessageBytes: this.#maxMessageBytes,
      legacyChannel,
    });
    this.#restorer = new Restorer(link, keys, this.#unacked, this.#bindings, log, {
      visibilityTimeoutMs: settings.visibilityTimeoutMs,
      mutexExpireMs: settings.unackedMutexExpireMs,
      limit: settings.unackedRestoreLimit,
      deadletterQueue: settings.deadletterQueue,
    });
    // Order of the tick: what was published goes before what was settled, and both before the next take.
    for (const member of [this.#bindings, this.#subscriber, this.#waiting, blocking, this.#publisher, this.#unacked]) {
      link.addMember(member);
    }
    link.addMember({
      whenUp: () => this.#consumersUp(),
      whenDown: () => this.#consumersDown(),
      flush: () => {
        for (const consumer of this.#consumers) consumer.pump();
      },
    });
  }

  get connected(): boolean {
    return this.#link.up;
  }

  /** How idle consumers learn of messages: `tracking`, or `blocking` where the server does not offer that. */
  get waitingMode(): "tracking" | "blocking" {
    return this.#waiting.mode;
  }

  /** Unsettled messages in this process. */
  get heldCount(): number {
    return this.#unacked.heldCount;
  }

  connect(signal?: AbortSignal): Promise<void> {
    return this.#link.connect(signal);
  }

  declare(queues: readonly Queue[], exchanges: readonly Exchange[] = []): Promise<void> {
    return this.#link.closed || this.#closing !== null
      ? Promise.reject(new TransportClosed())
      : this.#bindings.declare(queues, exchanges);
  }

  /** At least once: a push whose answer was lost with the connection is sent again, and may then arrive twice. */
  publish(message: Message, to: Address, options?: { mandatory?: boolean; signal?: AbortSignal }): Promise<void> {
    if (this.#closing !== null) return Promise.reject(new TransportClosed());
    return this.#publisher.publish(message, to, options);
  }

  /**
   * Queues bound to fanout exchanges are pub/sub subscriptions: their messages are not counted by the prefetch and do not come
   * back. All others are lists; an unknown name is an empty queue. Resolves at once for lists, also while disconnected.
   */
  async consume(
    queues: readonly string[],
    options: ConsumeOptions,
    onDelivery: (delivery: Delivery) => void,
  ): Promise<Consumer> {
    if (this.#link.closed || this.#closing !== null) throw new TransportClosed();
    const consumer = new RedisConsumer(
      {
        link: this.#link,
        keys: this.#keys,
        unacked: this.#unacked,
        waiting: this.#waiting,
        fanout: this.#fanout,
        log: this.#log,
        strategy: this.#settings.queueOrderStrategy,
        maxMessageBytes: this.#maxMessageBytes,
        ended: (ended) => this.#consumers.delete(ended),
      },
      options,
      onDelivery,
    );
    this.#consumers.add(consumer);
    this.#startTimers();
    try {
      for (const queue of queues) await consumer.addQueue(queue);
    } catch (error) {
      await consumer.cancel();
      throw error;
    }
    this.#background(this.#maintainBindings());
    return consumer;
  }

  async purge(queue: string): Promise<number> {
    const lists = this.#keys.lists(queue);
    return Number(await this.#link.retrying(() => this.#link.run(PURGE, lists, [])));
  }

  /** A queue that does not exist is one without messages: Redis knows no difference. Consumers are not known. */
  async inspectQueue(queue: string): Promise<{ messages: number; consumers: null }> {
    const lists = this.#keys.lists(queue);
    const lengths = await this.#link.retrying(() => Promise.all(lists.map((list) => this.#link.call("LLEN", [list]))));
    return { messages: lengths.reduce<number>((sum, length) => sum + Number(length), 0), consumers: null };
  }

  async deleteQueue(queue: string): Promise<void> {
    await this.#link.retrying(async () => {
      await this.#bindings.remove(queue);
      await this.#link.call("DEL", this.#keys.lists(queue));
    });
  }

  async flush(): Promise<void> {
    if (this.#link.closed) return;
    await Promise.all([this.#publisher.drained(), this.#unacked.drained()]);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  serverInfo(): Promise<ServerInfo> {
    return this.#link.retrying(() => readServerInfo((name, args) => this.#link.call(name, args)));
  }

  /** Looks for messages that outlived their visibility timeout, now. Answers how many went back to their queues. */
  restoreOverdue(): Promise<number> {
    return this.#restorer.restore();
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    if (this.#link.up) {
      const giveUp = new AbortController();
      const deadline = setTimeout(() => giveUp.abort(new TransportClosed("close took too long")), CLOSE_MS);
      // A connection that goes now is not waited for: what is unacked comes back after the visibility timeout.
      this.#link.addMember({ whenDown: () => giveUp.abort(new TransportClosed()) });
      try {
        await Promise.all([...this.#consumers].map((consumer) => consumer.cancel()));
        await Promise.all([this.#publisher.drained(giveUp.signal), this.#unacked.drained(giveUp.signal)]);
        await this.#unacked.giveBackAll();
        await this.#bindings.removeListeners();
      } catch (error) {
        this.#log.warn({ err: error }, "the transport closed before all was written");
      } finally {
        clearTimeout(deadline);
      }
    }
    this.#link.close();
    this.#unacked.loseAll();
  }

  #consumersDown(): void {
    for (const consumer of this.#consumers) consumer.whenDown();
  }

  async #consumersUp(): Promise<void> {
    for (const consumer of [...this.#consumers]) await consumer.whenUp();
    if (this.#consumers.size > 0) this.#background(this.#restorer.restore());
  }

  /** Once there are consumers: renewal, restoring and housekeeping run on their own. */
  #startTimers(): void {
    if (this.#timers.length > 0) return;
    const { visibilityTimeoutMs, unackedRestoreIntervalMs } = this.#settings;
    const every = (ms: number, act: () => Promise<unknown>) => {
      const timer = setInterval(() => {
        if (this.#link.up) this.#background(act());
      }, ms);
      timer.unref();
      this.#timers.push(timer);
    };
    every(Math.min(visibilityTimeoutMs / 3, 2 ** 31 - 1), () => this.#unacked.renew());
    every(unackedRestoreIntervalMs, () => this.#restorer.restore());
    every(HOUSEKEEPING_MS, () => {
      this.#unacked.retryRefused();
      // Waiting never depends on this; it is for notes that a proxy or a server swallowed.
      for (const consumer of this.#consumers) consumer.wake();
      return this.#maintainBindings();
    });
    if (this.#link.up) this.#background(this.#restorer.restore());
  }

  #maintainBindings(): Promise<void> {
    if (!this.#link.up) return Promise.resolve();
    const consumed = new Set<string>();
    for (const consumer of this.#consumers) for (const queue of consumer.queues) consumed.add(queue);
    return this.#bindings.maintain(consumed, performance.now());
  }

  /** Work nobody waits for: its failure is logged, and its next turn comes. */
  #background(act: Promise<unknown>): void {
    act.catch((error: unknown) => {
      if (!this.#link.closed) this.#log.warn({ err: error }, "will be tried again");
    });
  }
}
