/**
 * Celery's Redis result backend: one string per record, written and published under the same name in one step, so that whoever
 * waits is told and whoever comes late reads. wire: celery-wire 8.4; celery/backends/redis.py.
 *
 * Two connections, made on first use: one for commands, one that only listens. Waiting for a result is: subscribe, read once,
 * wait. Stores, reads and subscriptions of one turn of the event loop travel together. Both connections come back by themselves;
 * after that everything awaited is subscribed and read again, and stores that were not answered are sent again (writing a record
 * twice does no harm).
 */
import { ImproperlyConfigured, ProtocolError } from "../../protocol/errors.ts";
import { pause } from "../runtime/backoff.ts";
import { type Log, silentLog } from "../runtime/log.ts";
import {
  checkRedisTls,
  connectionError,
  parseRedisUrl,
  type Redis,
  type RedisConnectionError,
} from "../runtime/redis-connection.ts";
import type { ChordCounter, GroupStore } from "./chord-counter.ts";
import { BackendGetMetaError, BackendStoreError } from "./errors.ts";
import { Awaited, AwaitedRead, type AwaitedReads } from "./redis/awaited.ts";
import { type RedisChordOptions, RedisChords } from "./redis/chords.ts";
import { Connections } from "./redis/connections.ts";
import { RedisGroups } from "./redis/groups.ts";
import { ReadQueue } from "./redis/reads.ts";
import { type RedisScript, runScript, type ScriptArgument } from "./redis/script.ts";
import { StoreQueue } from "./redis/store-queue.ts";
import { Subscriptions } from "./redis/subscriptions.ts";
import type { RecordCodec, ResultBackend, WatchOptions } from "./result-backend.ts";
import { ValueCodec, type ValueCompression } from "./stored-value.ts";
import { Waits } from "./waits.ts";

export interface RedisBackendOptions<R> {
  /** Names keys too: `global_keyprefix` is the codec's business. */
  codec: RecordCodec<R>;
  /** `redis://`, `rediss://`, `redis+socket://` or `sentinel://`, several joined with `;` or as a list. */
  urls: string | readonly string[];
  /** Celery's `result_backend_transport_options`: `master_name` and `sentinel_kwargs` are used here. */
  transportOptions?: Readonly<Record<string, unknown>>;
  /** Celery's `redis_backend_use_ssl`, or Node's TLS options. */
  tls?: boolean | Readonly<Record<string, unknown>>;
  log?: Log;
  /** Celery's `result_compression`, and how compressed values of peers are read. */
  compression?: ValueCompression;
  /** Lifetimes of chords and groups, which are kept when the codec can name them. */
  chords?: RedisChordOptions;
  /** Celery's `redis_socket_connect_timeout`. @default 10_000 */
  connectTimeoutMs?: number;
  /** How long Redis may be silent while an answer is due: Celery's `redis_socket_timeout`. @default 15_000 */
  answerTimeoutMs?: number;
  /**
   * How long `get` waits for a connection that has just gone, or could not be made. For the first attempt to make one it waits longer:
   * up to five seconds. @default 1_000
   */
  graceMs?: number;
  /** How long `close` waits for stores on their way. @default 5_000 */
  drainMs?: number;
}

export interface RedisBackend<R> extends ResultBackend<R> {
  /** Records not yet written. */
  readonly pending: number;
  readonly pendingBytes: number;
  /** Task ids that are waited for, and channels that the server sends to us. */
  readonly waiting: number;
  readonly subscribed: number;
  /** Runs a script on the command connection, for what else lives beside the records (chords). Waits for it as `get` does. */
  evaluate(script: RedisScript, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
  /** The command connection; rejects with `BackendError` as `get` does. */
  connection(): Promise<Redis>;
}

const lateReadMs = 20;

class RedisResultBackend<R> implements RedisBackend<R>, AwaitedReads {
  readonly name = "redis";
  readonly can = { sharedReads: true, persistent: true };
  readonly chords?: ChordCounter;
  readonly groups?: GroupStore;
  readonly #options: RedisBackendOptions<R>;
  readonly #log: Log;
  readonly #values: ValueCodec<R>;
  readonly #stores: StoreQueue<R>;
  readonly #reads: ReadQueue;
  readonly #waits: Waits<R>;
  readonly #subscriptions: Subscriptions;
  readonly #connections: Connections;
  /** By channel, which is the key. */
  readonly #awaited = new Map<string, Awaited>();
  /** Of channels not yet subscribed whose task may not have been sent: whether it still has not. */
  readonly #unsent = new Map<string, () => boolean>();
  /** Channels to read once, if nothing has been pushed by then. */
  readonly #late: string[] = [];
  #lateTimer: NodeJS.Timeout | null = null;
  #closing: Promise<void> | null = null;
  readonly #closed = new AbortController();

  constructor(options: RedisBackendOptions<R>) {
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#values = new ValueCodec(options.codec, options.compression);
    if (options.codec.group !== undefined) {
      const host = {
        codec: options.codec.group,
        compression: options.compression,
        log: this.#log,
        connection: () => this.connection(),
        closing: this.#closed.signal,
      };
      this.chords = new RedisChords(host, options.chords);
      this.groups = new RedisGroups(host, options.chords);
    }
    const commands = () => this.#connections.commands;
    this.#stores = new StoreQueue({
      values: this.#values,
      client: commands,
      onRetry: (error, records) =>
        this.#log.warn({ err: connectionError(error), records }, "results cannot be stored yet; trying again"),
    });
    this.#reads = new ReadQueue(commands);
    this.#waits = new Waits({
      isReady: (record) => options.codec.isReady(record),
      onIdle: (id) => this.#stopAwaiting(options.codec.key(id)),
    });
    this.#subscriptions = new Subscriptions({
      client: () => this.#connections.listener,
      onSubscribed: (channels) => {
        for (const channel of channels) {
          const unsent = this.#unsent.get(channel);
          this.#unsent.delete(channel);
          if (unsent === undefined) this.#readAwaited(channel);
          else if (!unsent()) this.#readSoon(channel);
        }
      },
    });
    this.#connections = new Connections({
      ...connectionOptions(options),
      log: this.#log,
      onMessage: (channel, message) => this.#onMessage(channel, message),
      isListening: () => this.#awaited.size > 0,
      onCommandsUp: () => {
        this.#stores.wake();
        this.#reads.wake();
      },
      onListenerUp: () => this.#subscriptions.onConnected(),
      onCommandsLost: (error) => this.#reads.rejectAll(error, (reader) => reader instanceof AwaitedRead),
      onListenerLost: () => this.#subscriptions.onLost(),
      onAway: (error) => this.#waits.storeIsAway(error),
      onBack: () => this.#waits.storeIsBack(),
      onRefused: (error) => this.#onRefused(error),
    });
  }

  get pending(): number {
    return this.#stores.pending;
  }

  get pendingBytes(): number {
    return this.#stores.pendingBytes;
  }

  get waiting(): number {
    return this.#waits.size;
  }

  get subscribed(): number {
    return this.#subscriptions.size;
  }

  async replyTo(): Promise<string> {
    return "";
  }

  store(id: string, record: R): Promise<void> {
    if (this.#closing !== null) return Promise.reject(new BackendStoreError(id, "the result backend is closed"));
    let stored: Promise<void>;
    try {
      stored = this.#stores.push(id, record);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#connections.connectCommands(); // a refusal is for all that waits
    return stored;
  }

  async get(id: string, { exactly }: { exactly?: boolean } = {}): Promise<R | null> {
    const key = this.#values.codec.key(id);
    await this.#connections.up(id);
    const value = await new Promise<Buffer | null>((resolve, reject) => {
      this.#reads.push({
        key,
        onValue: resolve,
        onError: (cause) => reject(unreadableKey(id, key, cause)),
      });
    });
    return value === null ? null : this.#values.decode(id, value, exactly);
  }

  watch(id: string, options: WatchOptions<R>): Promise<R> {
    let channel: string;
    try {
      channel = this.#values.codec.key(id);
    } catch (error) {
      return Promise.reject(error);
    }
    const wait = this.#waits.add(id, options);
    if (!this.#waits.has(id)) return wait;
    if (this.#closing !== null) {
      this.#waits.close();
      return wait;
    }
    this.#connections.connectCommands();
    this.#connections.connectListener();
    if (!this.#waits.has(id)) return wait; // refused
    if (!this.#awaited.has(channel)) this.#awaited.set(channel, new Awaited(id, channel));
    if (options.unsent) this.#unsent.set(channel, options.unsent);
    // a wait that joins others on a subscribed channel reads for itself
    if (this.#subscriptions.want(channel)) this.#readAwaited(channel);
    return wait;
  }

  async forget(id: string): Promise<void> {
    const key = this.#values.codec.key(id);
    const client = await this.#connections.up(id);
    try {
      await client.del(key);
    } catch (cause) {
      throw new BackendGetMetaError(id, `cannot forget the result of ${id}: ${text(cause)}`, { cause });
    }
  }

  outage(): Error | null {
    return this.#connections.isAway ? this.#connections.outage() : null;
  }

  async evaluate(script: RedisScript, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return runScript(await this.connection(), script, keys, args);
  }

  connection(): Promise<Redis> {
    return this.#connections.up("");
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed.abort();
    this.#connections.close();
    this.#waits.close();
    this.#subscriptions.close();
    if (this.#lateTimer !== null) clearTimeout(this.#lateTimer);
    if (this.#stores.pending > 0 && !this.#connections.isRefused) {
      const late = new AbortController();
      await Promise.race([this.#stores.drained(), pause(this.#options.drainMs ?? 5_000, late.signal)]);
      late.abort();
    }
    this.#stores.close();
    this.#reads.close(new BackendGetMetaError("", "the result backend is closed", { retryable: false }));
    this.#connections.end();
  }

  /** Wrong credentials and the like: nobody is left waiting for what cannot come, though attempts go on. */
  #onRefused(error: RedisConnectionError): void {
    this.#stores.rejectAll(error.message, false);
    for (const id of [...this.#waits.ids()]) {
      this.#waits.fail(id, new BackendGetMetaError(id, error.message, { cause: error, retryable: false }));
    }
  }

  // ----------------------------------------------------------------------------------------------------------- waiting

  #stopAwaiting(channel: string): void {
    this.#awaited.delete(channel);
    this.#unsent.delete(channel);
    this.#subscriptions.drop(channel);
  }

  #onMessage(channel: Buffer, message: Buffer): void {
    const key = channel.toString();
    const awaited = this.#awaited.get(key);
    if (awaited === undefined) return; // unsubscribed a moment ago
    awaited.pushes++;
    this.#offer(awaited, message);
  }

  /**
   * A task sent while its channel was being subscribed has hardly ended before that: most results are pushed within the delay,
   * and only for the others is the read made.
   */
  #readSoon(channel: string): void {
    this.#late.push(channel);
    this.#lateTimer ??= setTimeout(() => {
      this.#lateTimer = null;
      for (const late of this.#late.splice(0)) this.#readAwaited(late);
    }, lateReadMs);
  }

  #readAwaited(channel: string): void {
    const awaited = this.#awaited.get(channel);
    if (awaited !== undefined) this.#reads.push(new AwaitedRead(awaited, this));
  }

  onRead(read: AwaitedRead, value: Buffer | null): void {
    const { awaited } = read;
    if (value === null || this.#awaited.get(awaited.channel) !== awaited) return;
    // overtaken: what it says of a task that is not ready, a push has said already or will say
    this.#offer(awaited, value, read.overtaken);
  }

  onReadFailed(read: AwaitedRead, error: unknown): void {
    const { awaited } = read;
    if (this.#awaited.get(awaited.channel) !== awaited) return;
    if (isWrongType(error)) this.#waits.fail(awaited.id, unreadableKey(awaited.id, awaited.channel, error));
    else this.#reads.push(new AwaitedRead(awaited, this));
  }

  #offer(awaited: Awaited, value: Buffer, onlyIfReady = false): void {
    const { id } = awaited;
    let record: R;
    try {
      record = this.#values.decode(id, value);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof ImproperlyConfigured)) throw error;
      this.#waits.fail(id, error);
      return;
    }
    if (onlyIfReady && !this.#values.codec.isReady(record)) return;
    this.#waits.offer(id, record, value);
  }
}

/** A backend that connects on first use. Throws `ImproperlyConfigured` for URLs or TLS options that cannot be used. */
export function createRedisBackend<R>(options: RedisBackendOptions<R>): RedisBackend<R> {
  return new RedisResultBackend(options);
}

function connectionOptions<R>(options: RedisBackendOptions<R>) {
  const { urls, transportOptions = {}, tls, connectTimeoutMs, answerTimeoutMs, graceMs } = options;
  const { master_name: masterName, sentinel_kwargs: sentinelKwargs } = transportOptions;
  const target = parseRedisUrl(urls, {
    ...(typeof masterName === "string" ? { masterName } : {}),
    ...(isRecord(sentinelKwargs) ? { sentinelKwargs } : {}),
  });
  checkRedisTls(target, tls);
  return {
    target,
    ...(tls === undefined ? {} : { tls }),
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
    ...(graceMs === undefined ? {} : { graceMs }),
  };
}

/** Another program keeps something else under the key of a result. */
function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("WRONGTYPE");
}

function unreadableKey(id: string, key: string, error: unknown): BackendGetMetaError {
  const message = `cannot read the result of task ${id} (key ${JSON.stringify(key)}): ${text(error)}`;
  return new BackendGetMetaError(id, message, { cause: connectionError(error), retryable: !isWrongType(error) });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
