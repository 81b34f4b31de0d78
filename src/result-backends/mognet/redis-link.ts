/** One command connection to Redis, what waits to be written over it, and reads that outlive a short loss. */
import { ProtocolError } from "../../../protocol/errors.ts";
import { MOGNET_RESULT_FIELDS } from "../../../protocol/mognet/result.ts";
import { pause } from "../../runtime/backoff.ts";
import { type Log, silentLog } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  checkRedisTls,
  connectionError,
  connectRedis,
  endRedis,
  isRedisLoaded,
  loadRedis,
  noAttempt,
  parseRedisUrl,
  type Redis,
  RedisConnectionError,
  type RedisTarget,
} from "../../runtime/redis-connection.ts";
import { BackendError, BackendGetMetaError, BackendStoreError } from "../errors.ts";
import { isOtherType, otherTypeError, type RedisWrite, RedisWrites, type WriteRequest } from "./redis-writes.ts";

export interface RedisLinkOptions {
  urls: string | readonly string[];
  /** Part of the connection's name. */
  purpose: string;
  /** Kombu's `ssl_…` options, Node's TLS options, or both. */
  tls?: boolean | Readonly<Record<string, unknown>>;
  log?: Log;
  /** @default 10_000 */
  connectTimeoutMs?: number;
  /** How long Redis may be silent while an answer is due. @default 15_000 */
  answerTimeoutMs?: number;
  /** How long a read waits for a connection that is being made or has just gone. @default 5_000 */
  graceMs?: number;
  /** How long `close` waits for writes on their way. @default 5_000 */
  drainMs?: number;
  /** Bytes that may wait for Redis before further writes are refused. @default 67_108_864 */
  maxPendingBytes?: number;
}

export class MognetRedisLink {
  readonly target: RedisTarget;
  readonly log: Log;
  readonly connectionOptions: Omit<ConnectRedisOptions, "purpose" | "onConnected" | "onLost" | "onRetry">;
  readonly #options: RedisLinkOptions;
  readonly #writes: RedisWrites;
  #client: Redis | null = null;
  #loading: Promise<void> | null = null;
  #whenUp: (() => void)[] = [];
  #refusal: RedisConnectionError | null = null;
  /** Why there is no connection. */
  #reason: RedisConnectionError | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.target = parseRedisUrl(options.urls);
    this.log = options.log ?? silentLog;
    const { tls, connectTimeoutMs, answerTimeoutMs } = options;
    checkRedisTls(this.target, tls);
    this.connectionOptions = {
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
      ...(tls === undefined ? {} : { tls }),
    };
    this.#writes = new RedisWrites({
      client: () => this.#ready,
      log: this.log,
      readFields: (client, key) => client.hmget(key, ...MOGNET_RESULT_FIELDS),
      maxPendingBytes: options.maxPendingBytes ?? 67_108_864,
    });
  }

  get pending(): number {
    return this.#writes.pending;
  }

  get #ready(): Redis | null {
    return this.#client?.status === "ready" ? this.#client : null;
  }

  /** `request` may throw what encoding throws. While Redis is away this waits. */
  async write(make: () => WriteRequest): Promise<RedisWrite> {
    const request = make();
    if (this.#closing !== null) throw new BackendStoreError(request.id, "the result store is closed");
    const written = this.#writes.push(request);
    this.#connect(); // a refusal is for all that waits
    return written;
  }

  /** An act that may be repeated; a loss of the connection is outlived for `graceMs`. */
  async read<T>(id: string, act: (client: Redis) => Promise<T>): Promise<T> {
    const endMs = performance.now() + (this.#options.graceMs ?? 5_000);
    for (;;) {
      const client = await this.#up(id, endMs);
      try {
        return await act(client);
      } catch (error) {
        if (!this.isLost(client, error)) throw this.unreadable(id, error);
        if (performance.now() >= endMs) throw this.unreadable(id, error);
        // The next round waits for the next connection.
        if (client.status === "ready") await pause(20);
      }
    }
  }

  /** As `read`, but it waits until there is an answer or the store is closed. */
  async insist<T>(id: string, act: (client: Redis) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.read(id, act);
      } catch (error) {
        if (!(error instanceof BackendGetMetaError) || !error.retryable || this.#closing !== null) throw error;
      }
    }
  }

  /** Was the answer lost with the connection, or is the server in a passing state? */
  isLost(client: Redis, error: unknown): boolean {
    if (error instanceof BackendError || error instanceof ProtocolError) return false;
    if (!(error instanceof Error)) return false;
    if (error.name === "ReplyError") return /^(?:LOADING|BUSY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN)\b/.test(error.message);
    return client.status !== "ready" || /clos|max retries|writeable|socket|ECONN|EPIPE/i.test(error.message);
  }

  unreadable(id: string, error: unknown): Error {
    if (error instanceof BackendError || error instanceof ProtocolError) return error;
    const isReply = error instanceof Error && error.name === "ReplyError";
    const message = `cannot read the result of ${id}: ${error instanceof Error ? error.message : String(error)}`;
    const retryable = !isReply && !(error instanceof RedisConnectionError && error.refused);
    const cause = isReply && isOtherType(error.message) ? otherTypeError(id, error) : connectionError(error);
    return new BackendGetMetaError(id, message, { cause, retryable });
  }

  async connect(): Promise<void> {
    await this.read("", (client) => client.ping());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#writes.pending > 0 && this.#refusal === null) {
      const late = new AbortController();
      await Promise.race([this.#writes.drained(), pause(this.#options.drainMs ?? 5_000, late.signal)]);
      late.abort();
    }
    this.#writes.close();
    if (this.#client !== null) endRedis(this.#client);
    for (const resolve of this.#whenUp.splice(0)) resolve();
  }

  #connect(): void {
    if (this.#client !== null) return;
    if (!isRedisLoaded()) {
      this.#loading ??= loadRedis().then(
        () => {
          this.#loading = null;
          if (this.#closing === null || this.#writes.pending > 0) this.#connect();
        },
        (error: unknown) => {
          this.#loading = null;
          this.#onRefused(noAttempt(error));
        },
      );
      return;
    }
    try {
      this.#client = connectRedis(this.target, this.#settings());
    } catch (error) {
      // No attempt can be made, as when a certificate file has gone. The next call tries again.
      this.#onRefused(noAttempt(error));
    }
  }

  #settings(): ConnectRedisOptions {
    const { purpose } = this.#options;
    return {
      ...this.connectionOptions,
      purpose,
      onConnected: () => {
        this.#refusal = null;
        this.#reason = null;
        this.#writes.wake();
        for (const resolve of this.#whenUp.splice(0)) resolve();
      },
      onLost: (error) =>
        this.log.warn({ err: error, purpose }, "the connection to Mognet's results has gone; reconnecting"),
      onRetry: (error, delayMs) => {
        this.#reason = error;
        this.log.warn({ err: error, purpose, delayMs }, "Mognet's results cannot be reached; trying again");
        if (error.refused) this.#onRefused(error);
      },
    };
  }

  /** Wrong credentials and the like: nobody is left waiting for what cannot come, though attempts go on. */
  #onRefused(error: RedisConnectionError): void {
    this.#refusal = error;
    this.#writes.rejectAll(error.message, false);
    for (const resolve of this.#whenUp.splice(0)) resolve();
  }

  async #up(id: string, endMs: number): Promise<Redis> {
    if (this.#closing !== null) throw new BackendGetMetaError(id, "the result store is closed", { retryable: false });
    this.#connect();
    const isComing = this.#client !== null || this.#loading !== null;
    if (this.#ready === null && isComing) {
      const late = new AbortController();
      await Promise.race([
        new Promise<void>((resolve) => this.#whenUp.push(resolve)),
        pause(Math.max(1, endMs - performance.now()), late.signal),
      ]);
      late.abort();
    }
    const client = this.#ready;
    if (client !== null) return client;
    const refusal = this.#refusal;
    const reason = refusal ?? this.#reason;
    const away = reason === null ? "the result store is away" : `the result store is away: ${reason.message}`;
    throw new BackendGetMetaError(id, refusal?.message ?? away, {
      ...(reason === null ? {} : { cause: reason }),
      retryable: refusal === null && this.#closing === null,
    });
  }
}
