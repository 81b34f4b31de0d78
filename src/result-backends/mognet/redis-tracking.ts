/**
 * How waits hear of results that anybody wrote, Python too, which announces nothing: the server remembers what a connection of
 * ours has read and tells another one when it is changed (`CLIENT TRACKING … REDIRECT`, Redis 6). So a result is read once when
 * the wait begins and once for each change, however long it takes, and nothing is polled. Where the server or its access
 * rules refuse that, all waits together are read ten times a second, as Mognet does for each.
 *
 * What is to be remembered is named by itself, before it is read (`OPTIN`, `EXISTS`): for each command of a script that reads, a
 * server before 7.2 remembers all keys of the script, which for 100 results is 30,000 entries where 100 are wanted.
 *
 * The server tells of a key that expires when it removes it, which among very many may be much later; so what is awaited is looked at
 * now and then all the same, a part of it each time.
 */
import { backoffMs } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  connectionError,
  connectRedis,
  endRedis,
  inOneWrite,
  noAttempt,
  type Redis,
  type RedisConnectionError,
  type RedisTarget,
} from "../../runtime/redis-connection.ts";

export const INVALIDATIONS = "__redis__:invalidate";

export interface RedisTrackingOptions {
  target: RedisTarget;
  connection: Omit<ConnectRedisOptions, "purpose" | "onConnected" | "onLost" | "onRetry">;
  log: Log;
  /** Reads these keys on `client`, which remembers them; rejects only when the connection fails. Keys are no more than 500. */
  read(client: Redis, keys: readonly string[]): Promise<void>;
  onAway(error: RedisConnectionError): void;
  onBack(): void;
  /** Wrong credentials and the like: nobody is to be left waiting. */
  onRefused(error: RedisConnectionError): void;
  /** How often waits are read where nothing can be pushed. @default 100 */
  pollMs?: number;
  /** How often some of what is awaited is looked at untold. @default 5000 */
  lookMs?: number;
}

const keysPerRead = 500;
/** When so many are awaited at once, a look waits a moment for more to change: a start and an end are often one look then. */
const MANY = 32;
const KEYS_PER_MS = 50;
const MOST_PACE_MS = 5;
const LOOK_MS = 5_000;
/** So many looks, or fewer, and everything that is awaited was looked at once. */
const LOOKS_FOR_ALL = 12;

export class RedisTracking {
  readonly #options: RedisTrackingOptions;
  /** Keys that are waited for. */
  readonly #keys = new Set<string>();
  /** Of these, what is to be read. */
  #dirty = new Set<string>();
  /** Reads; what it reads is tracked. */
  #reader: Redis | null = null;
  /** Hears of changes; always at the endpoint that the reader stands on. */
  #listener: Redis | null = null;
  #endpoint = "";
  #mode: "starting" | "tracking" | "polling" = "starting";
  #listenerId: string | null = null;
  #reading = false;
  #turn: NodeJS.Immediate | null = null;
  #pace: NodeJS.Timeout | null = null;
  #poll: NodeJS.Timeout | null = null;
  #look: NodeJS.Timeout | null = null;
  #again: NodeJS.Timeout | null = null;
  #attempt = 0;
  #closed = false;
  #reads = 0;

  constructor(options: RedisTrackingOptions) {
    this.#options = options;
  }

  /** How waits learn of results at present; for logs and tests. */
  get mode(): "starting" | "tracking" | "polling" {
    return this.#mode;
  }

  /** Keys read so far, for tests: nothing is read while nothing changes. */
  get reads(): number {
    return this.#reads;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** From now on `key` is read whenever it changes, and once in any case. */
  want(key: string): void {
    this.#keys.add(key);
    this.#mark(key);
    this.#connect();
    if (!this.#keys.has(key)) return; // refused
    if (this.#mode !== "tracking") this.#pollOn();
    this.#look ??= setInterval(() => this.#lookAtSome(), this.#options.lookMs ?? LOOK_MS).unref();
  }

  /** The server forgets a key with its next change. */
  drop(key: string): void {
    this.#keys.delete(key);
    this.#dirty.delete(key);
    if (this.#keys.size === 0) this.#pollOff();
  }

  close(): void {
    this.#closed = true;
    this.#keys.clear();
    this.#dirty.clear();
    this.#pollOff();
    this.#lookOff();
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#again !== null) clearTimeout(this.#again);
    if (this.#pace !== null) clearTimeout(this.#pace);
    this.#turn = null;
    this.#pace = null;
    this.#again = null;
    if (this.#reader !== null) endRedis(this.#reader);
    this.#dropListener();
  }

  // ------------------------------------------------------------------------------------------------------- connections

  #connect(): void {
    if (this.#reader !== null || this.#closed) return;
    try {
      this.#reader = connectRedis(this.#options.target, this.#readerOptions());
    } catch (error) {
      // No attempt can be made, as when a certificate file has gone.
      this.#options.onRefused(noAttempt(error));
    }
  }

  #readerOptions(): ConnectRedisOptions {
    const { connection, onAway, onBack, onRefused } = this.#options;
    return {
      ...connection,
      purpose: "mognet-waits",
      onConnected: (name) => {
        onBack();
        // Whatever was read on the last connection is forgotten.
        this.#markAll();
        if (this.#mode !== "polling") this.#listenAt(name);
      },
      onLost: (error) => {
        this.#deaf();
        onAway(error);
      },
      onRetry: (error) => {
        onAway(error);
        if (error.refused) onRefused(error);
      },
    };
  }

  #listenAt(name: string): void {
    if (this.#listener !== null && this.#endpoint === name) {
      if (this.#listenerId !== null) void this.#track(this.#listenerId);
      return;
    }
    this.#dropListener();
    this.#endpoint = name;
    const { target, connection } = this.#options;
    const endpoint = target.endpoints.find((each) => each.name === name);
    const beside = { endpoints: endpoint === undefined ? target.endpoints : [endpoint], sentinel: target.sentinel };
    try {
      const client = connectRedis(beside, {
        ...connection,
        purpose: "mognet-waits-listener",
        onConnected: () => void this.#listen(client),
        onLost: () => {
          this.#listenerId = null;
          this.#deaf();
        },
      });
      this.#listener = client;
      client.on("messageBuffer", this.#onMessage);
    } catch (error) {
      this.#refuse(error); // no attempt can be made
    }
  }

  async #listen(client: Redis): Promise<void> {
    try {
      const id = String(await client.client("ID"));
      await client.subscribe(INVALIDATIONS);
      if (client !== this.#listener) return;
      this.#listenerId = id;
      await this.#track(id);
    } catch (error) {
      if (client !== this.#listener || client.status !== "ready") return;
      this.#refuse(error);
    }
  }

  async #track(id: string): Promise<void> {
    const reader = this.#reader;
    if (reader === null || reader.status !== "ready") return; // `onConnected` follows
    try {
      await reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", id, "OPTIN");
      // Access rules may forbid it alone.
      await reader.call("CLIENT", "CACHING", "YES");
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "ReplyError") return; // the connection has gone
      // The listening connection has gone as well; its successor brings a new id.
      if (this.#listenerId === id && !/does not exist/.test(error.message)) this.#refuse(error);
      return;
    }
    if (this.#listenerId !== id || reader.status !== "ready") return;
    this.#mode = "tracking";
    this.#pollOff();
    this.#markAll();
  }

  /** Until we are told of changes again, the waits are read. */
  #deaf(): void {
    if (this.#mode === "tracking") this.#mode = "starting";
    this.#pollOn();
  }

  #refuse(error: unknown): void {
    if (this.#mode === "polling" || this.#closed) return;
    this.#mode = "polling";
    const reason = connectionError(error).message;
    this.#options.log.info({ reason }, "waiting for Mognet results by reading them: CLIENT TRACKING is not available");
    this.#dropListener();
    this.#markAll();
    this.#pollOn();
  }

  #dropListener(): void {
    const client = this.#listener;
    this.#listener = null;
    this.#listenerId = null;
    if (client === null) return;
    client.removeAllListeners("messageBuffer");
    endRedis(client);
  }

  // ------------------------------------------------------------------------------------------------------------ reading

  readonly #onMessage = (channel: Buffer | string, changed: unknown): void => {
    if (String(channel) !== INVALIDATIONS) return;
    // Null: the server has thrown everything away (FLUSHALL).
    if (!Array.isArray(changed)) return this.#markAll();
    for (const key of changed) this.#mark(String(key));
  };

  #markAll(): void {
    for (const key of this.#keys) this.#mark(key);
  }

  #mark(key: string): void {
    if (!this.#keys.has(key)) return;
    this.#dirty.add(key);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#reading || this.#again !== null || this.#pace !== null || this.#closed) return;
    const size = this.#keys.size;
    if (size >= MANY) {
      this.#pace = setTimeout(
        () => {
          this.#pace = null;
          void this.#readDirty();
        },
        Math.min(MOST_PACE_MS, size / KEYS_PER_MS),
      );
      return;
    }
    this.#turn ??= setImmediate(() => {
      this.#turn = null;
      void this.#readDirty();
    });
  }

  async #readDirty(): Promise<void> {
    const client = this.#reader;
    // Before the first answer about tracking a read is made as well: the result may be there already.
    if (this.#reading || client === null || client.status !== "ready") return;
    this.#reading = true;
    try {
      if (this.#dirty.size > 0 && !this.#closed) {
        const keys = this.#takeDirty();
        this.#reads += keys.length;
        try {
          await Promise.all([this.#remember(client, keys), this.#options.read(client, keys)]);
          this.#attempt = 0;
        } catch (error) {
          for (const key of keys) if (this.#keys.has(key)) this.#dirty.add(key);
          if (client.status === "ready") this.#readLater(error);
          return;
        }
      }
    } finally {
      this.#reading = false;
    }
    if (this.#dirty.size > 0) this.#schedule();
  }

  /** The server tells of the next change of each. Both commands go out at once, and what reads the keys behind them. */
  async #remember(client: Redis, keys: readonly string[]): Promise<void> {
    if (this.#mode !== "tracking") return;
    inOneWrite(client);
    try {
      await Promise.all([client.call("CLIENT", "CACHING", "YES"), client.exists(...keys)]);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith("NOPERM")) throw error;
      this.#refuse(error);
    }
  }

  #takeDirty(): string[] {
    const keys: string[] = [];
    for (const key of this.#dirty) {
      keys.push(key);
      this.#dirty.delete(key);
      if (keys.length >= keysPerRead) break;
    }
    return keys;
  }

  /** A server that starts, fails over or is busy. */
  #readLater(error: unknown): void {
    if (this.#closed || this.#again !== null) return;
    this.#options.log.warn({ err: connectionError(error) }, "awaited results cannot be read yet; trying again");
    this.#again = setTimeout(
      () => {
        this.#again = null;
        this.#schedule();
      },
      backoffMs(this.#attempt++),
    );
  }

  /** Those that were looked at longest ago. */
  #lookAtSome(): void {
    if (this.#keys.size === 0) return this.#lookOff();
    let left = Math.min(this.#keys.size, Math.max(keysPerRead, Math.ceil(this.#keys.size / LOOKS_FOR_ALL)));
    for (const key of this.#keys) {
      // What is put behind the others comes up again after them.
      if (left-- === 0) return;
      this.#keys.delete(key);
      this.#keys.add(key);
      this.#mark(key);
    }
  }

  #lookOff(): void {
    if (this.#look !== null) clearInterval(this.#look);
    this.#look = null;
  }

  #pollOn(): void {
    if (this.#poll !== null || this.#keys.size === 0 || this.#closed) return;
    this.#poll = setInterval(() => this.#markAll(), this.#options.pollMs ?? 100);
  }

  #pollOff(): void {
    if (this.#poll !== null) clearInterval(this.#poll);
    this.#poll = null;
  }
}
