/**
 * Results as messages: one reply queue for each client, one consumer for all its waits. wire: celery-wire 4.3,
 * celery/backends/rpc.py.
 *
 * The queue goes when its client does, and with it what was not read; RabbitMQ also removes it while the client's connection
 * is away, so that replies sent in that time are lost, as in Celery. A record is read by the client that it was sent to and
 * by no other, and is kept there in a bounded memory, so that a wait that begins late finds it. What has come and cannot be
 * given any more (no room was left, it was too large or unreadable) is remembered as such: whoever asks for it is told.
 */
import { randomUUID } from "node:crypto";
import { EncodeError } from "../../protocol/errors.ts";
import type { Address, Message } from "../../protocol/message.ts";
import type { Queue } from "../../protocol/routing.ts";
import { backoffMs, pause } from "../runtime/backoff.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import { RecentMap } from "../runtime/recent-map.ts";
import { PublishError, TransportClosed, TransportError } from "../transports/errors.ts";
import type { Consumer, Delivery, Transport } from "../transports/transport.ts";
import { BackendGetMetaError, BackendStoreError, ResultLost } from "./errors.ts";
import type { RecordCodec, ResultBackend, ResultRoute, WatchOptions } from "./result-backend.ts";
import { unreadable } from "./stored-value.ts";
import { Waits } from "./waits.ts";

export interface RpcBackendOptions<R> {
  /** Carries the replies. The backend does not close it. */
  transport: Transport;
  codec: RecordCodec<R>;
  /** Name of the reply queue. @default a new UUID */
  clientId?: string;
  /** Seconds that an unused reply queue stays; null: for ever. Setting: `result_expires`. @default 86400 */
  expires?: number | null;
  /** Replies survive a restart of the broker. Setting: `result_persistent`. @default false */
  persistent?: boolean;
  /** Received records that are kept; the one received longest ago makes room. @default 100_000 */
  maxUnclaimed?: number;
  /** Bytes of received records that are kept. @default 256 MiB */
  maxUnclaimedBytes?: number;
  log?: Log;
}

export interface RpcBackend<R> extends ResultBackend<R> {
  /** To be called when the transport says so (`TransportEvents.onLost`): starts the clock of `lostAfter`. */
  transportLost(reason: Error): void;
  /** Likewise for `onConnected`. */
  transportConnected(): void;
}

/** How long `close` waits for records on their way. */
const LAST_STORES_MS = 5_000;
/** Tasks whose reply is known to be lost that are remembered, at most twice as many. */
const MOST_LOST = 100_000;

export function createRpcBackend<R>(options: RpcBackendOptions<R>): RpcBackend<R> {
  return new RpcResultBackend(options);
}

interface PendingStore {
  id: string;
  resolve(): void;
  reject(reason: unknown): void;
}

interface Received<R> {
  record: R;
  bytes: number;
}

class RpcResultBackend<R> implements RpcBackend<R> {
  readonly name = "rpc";
  readonly can = { sharedReads: false, persistent: false };
  readonly #transport: Transport;
  readonly #codec: RecordCodec<R>;
  readonly #queue: Queue;
  readonly #deliveryMode: number;
  readonly #maxUnclaimed: number;
  readonly #maxUnclaimedBytes: number;
  readonly #log: Log;
  readonly #waits: Waits<R>;
  /** By task id, the latest received last. */
  readonly #received = new Map<string, Received<R>>();
  #receivedBytes = 0;
  /** Why the reply of a task, by its id, can no longer be given. */
  readonly #lost = new RecentMap<string>(MOST_LOST);
  readonly #stores = new Set<PendingStore>();
  #onStored: (() => void) | null = null;
  #warned = false;
  #listening: Promise<Consumer> | null = null;
  #connecting: Promise<void> | null = null;
  readonly #closing = new AbortController();
  #closed: Promise<void> | null = null;

  constructor(options: RpcBackendOptions<R>) {
    const { transport, codec, clientId = randomUUID(), expires = 86_400, persistent = false } = options;
    this.#transport = transport;
    this.#codec = codec;
    this.#deliveryMode = persistent ? 2 : 1;
    this.#maxUnclaimed = options.maxUnclaimed ?? 100_000;
    this.#maxUnclaimedBytes = options.maxUnclaimedBytes ?? 256 * 1024 * 1024;
    this.#log = options.log ?? silentLog;
    this.#waits = new Waits({ isReady: (record) => codec.isReady(record) });
    this.#queue = {
      name: clientId,
      exchange: { name: "", type: "direct" },
      routingKey: clientId,
      durable: true,
      autoDelete: true,
      own: true,
      ...(expires === null ? {} : { arguments: { "x-expires": Math.trunc(expires * 1000) } }),
    };
  }

  async replyTo(): Promise<string> {
    await this.#listen();
    return this.#queue.name;
  }

  /** Nothing is sent when the request named no queue to reply to, as in Celery. */
  store(id: string, record: R, route: ResultRoute = {}): Promise<void> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new BackendStoreError(id, "the result backend is closed"));
    }
    const { replyTo } = route;
    if (!replyTo) return Promise.resolve();
    let message: Message;
    try {
      message = this.#message(id, record, route);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#connect();
    return new Promise((resolve, reject) => {
      const pending: PendingStore = { id, resolve, reject };
      this.#stores.add(pending);
      this.#send(id, message, { exchange: "", routingKey: replyTo }).then(
        () => this.#settle(pending, null),
        (error: unknown) => this.#settle(pending, error),
      );
    });
  }

  /** What was received for this task so far. */
  async get(id: string): Promise<R | null> {
    if (this.#closing.signal.aborted) {
      throw new BackendGetMetaError(id, "the result backend is closed", { retryable: false });
    }
    const there = this.#received.get(id);
    const lost = there === undefined ? this.#lost.get(id) : undefined;
    if (lost !== undefined) throw new ResultLost(id, lost);
    return there?.record ?? null;
  }

  watch(id: string, options: WatchOptions<R>): Promise<R> {
    const wait = this.#waits.add(id, options);
    if (this.#closing.signal.aborted) {
      this.#waits.close();
      return wait;
    }
    const there = this.#received.get(id);
    const lost = there === undefined ? this.#lost.get(id) : undefined;
    if (there) this.#waits.offer(id, there.record);
    if (lost !== undefined) this.#waits.fail(id, new ResultLost(id, lost));
    // The result of a task that was sent names our queue, so we listen already; a wait of its own accord begins it.
    this.#listen().catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#waits.fail(id, error);
    });
    return wait;
  }

  async forget(id: string): Promise<void> {
    this.#drop(id);
  }

  outage(): Error | null {
    return this.#transport.connected ? null : this.#waits.outage;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#waits.close();
    if (this.#transport.connected) {
      const done = new AbortController();
      await Promise.race([this.#stored(), pause(LAST_STORES_MS, done.signal)]);
      done.abort();
    }
    for (const pending of this.#stores) pending.reject(closedBefore(pending.id));
    this.#stores.clear();
    this.#received.clear();
    this.#receivedBytes = 0;
    this.#lost.clear();
    if (!this.#transport.connected || this.#listening === null) return;
    try {
      // The queue deletes itself with its consumer.
      await (await this.#listening).cancel();
    } catch (error) {
      this.#log.debug({ err: error }, "the reply queue could not be left in order");
    }
  }

  transportLost(reason: Error): void {
    this.#waits.storeIsAway(reason);
  }

  transportConnected(): void {
    this.#waits.storeIsBack();
  }

  /** A worker that only answers publishes nothing else: nobody but us would open the connection. */
  #connect(): void {
    this.#connecting ??= this.#transport.connect(this.#closing.signal).catch((error: unknown) => {
      this.#connecting = null;
      if (!this.#closing.signal.aborted) this.#log.warn({ err: error }, "no connection for results yet");
    });
  }

  #listen(): Promise<Consumer> {
    if (this.#closing.signal.aborted) return Promise.reject(new TransportClosed("the result backend is closed"));
    this.#listening ??= this.#startListening().catch((error: unknown) => {
      this.#listening = null;
      throw error;
    });
    return this.#listening;
  }

  async #startListening(): Promise<Consumer> {
    await this.#transport.declare([this.#queue]);
    return this.#transport.consume([this.#queue.name], { prefetch: 0, noAck: true }, (delivery) =>
      this.#onReply(delivery),
    );
  }

  #onReply({ message }: Delivery): void {
    const id = message.properties.correlationId;
    if (id === undefined) {
      this.#log.warn({ reason: message.refused ?? "no correlation id" }, "a reply was dropped");
      return;
    }
    if (message.refused !== undefined) {
      this.#lose(id, new ResultLost(id, `the result of ${id} was refused: ${message.refused}`));
      return;
    }
    let record: R;
    try {
      record = this.#codec.decode(id, message.body, message.contentType);
    } catch (thrown) {
      this.#lose(id, unreadable(thrown, id));
      return;
    }
    const known = this.#received.get(id);
    // A retried store may send an older state once more, after the end.
    if (known && this.#codec.isFinal(known.record)) return;
    this.#keep(id, record, message.body.length);
    this.#waits.offer(id, record);
  }

  #keep(id: string, record: R, bytes: number): void {
    this.#drop(id);
    this.#received.set(id, { record, bytes });
    this.#receivedBytes += bytes;
    for (const oldest of this.#received.keys()) {
      const within = this.#received.size <= this.#maxUnclaimed && this.#receivedBytes <= this.#maxUnclaimedBytes;
      if (within || this.#received.size === 1) return;
      this.#drop(oldest);
      this.#lost.set(
        oldest,
        `the result of ${oldest} was received and let go: more than ${this.#maxUnclaimed} results, or ${this.#maxUnclaimedBytes} bytes of them, were not asked for`,
      );
      this.#warnOfLoss(oldest);
    }
  }

  #lose(id: string, error: unknown): void {
    this.#log.warn({ err: error, id }, "a reply could not be read");
    this.#lost.set(id, error instanceof Error ? error.message : String(error));
    this.#waits.fail(id, error);
  }

  /** Once, not for each of thousands. */
  #warnOfLoss(id: string): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#log.warn({ id, kept: this.#received.size }, "results that nobody asks for are let go, the oldest first");
  }

  #drop(id: string): void {
    this.#receivedBytes -= this.#received.get(id)?.bytes ?? 0;
    this.#received.delete(id);
  }

  #message(id: string, record: R, route: ResultRoute): Message {
    const { body, contentType, contentEncoding } = this.#codec.encode(id, record);
    return {
      body: typeof body === "string" ? Buffer.from(body, "utf8") : body,
      contentType,
      contentEncoding,
      headers: {},
      properties: { correlationId: route.correlationId || id, deliveryMode: this.#deliveryMode, priority: 0 },
    };
  }

  #settle(pending: PendingStore, error: unknown): void {
    if (!this.#stores.delete(pending)) return;
    if (error === null) pending.resolve();
    else pending.reject(error);
    if (this.#stores.size === 0) this.#onStored?.();
  }

  /** Resolves when every store so far is settled; the transport ends them at the latest. */
  #stored(): Promise<void> {
    if (this.#stores.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onStored = resolve;
    });
  }

  async #send(id: string, message: Message, to: Address): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        // Not mandatory: a client that has gone takes its queue with it.
        return await this.#transport.publish(message, to, { mandatory: false });
      } catch (error) {
        if (error instanceof TransportClosed) throw closedBefore(id, error);
        const refused = error instanceof EncodeError || (error instanceof PublishError && !error.retryable);
        if (refused || !(error instanceof TransportError)) {
          const why = error instanceof Error ? error.message : String(error);
          throw new BackendStoreError(id, `the result of ${id} was refused: ${why}`, { cause: error });
        }
        if (this.#closing.signal.aborted) throw closedBefore(id, error);
        await pause(backoffMs(attempt), this.#closing.signal);
      }
    }
  }
}

function closedBefore(id: string, cause?: unknown): BackendStoreError {
  return new BackendStoreError(id, `the result of ${id} was not sent: the result backend was closed`, { cause });
}
