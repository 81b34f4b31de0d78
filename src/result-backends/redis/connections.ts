/**
 * The two connections of the backend, made on first use: one for commands, one that only listens. Both come back by themselves; the
 * client library is loaded with the first of them.
 */
import { pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  connectRedis,
  endRedis,
  isRedisLoaded,
  loadRedis,
  noAttempt,
  type Redis,
  RedisConnectionError,
  type RedisTarget,
} from "../../runtime/redis-connection.ts";
import { BackendGetMetaError } from "../errors.ts";

export interface ConnectionsOptions {
  target: RedisTarget;
  tls?: boolean | Readonly<Record<string, unknown>>;
  connectTimeoutMs?: number;
  answerTimeoutMs?: number;
  /** How long `up` waits where an attempt to connect has failed, or the connection has gone. @default 1_000 */
  graceMs?: number;
  log: Log;
  /** A pushed record. */
  onMessage(channel: Buffer, message: Buffer): void;
  /** Somebody waits for pushes. */
  isListening(): boolean;
  onCommandsUp(): void;
  onListenerUp(): void;
  /** What was asked over that connection is not answered any more. */
  onCommandsLost(error: RedisConnectionError): void;
  onListenerLost(): void;
  onAway(error: RedisConnectionError): void;
  /** Every connection that is needed is there. */
  onBack(): void;
  /** Wrong credentials and the like: nobody shall wait for what cannot come, though attempts go on. */
  onRefused(error: RedisConnectionError): void;
}

/** How long `up` waits at first. Only when an attempt has failed is the store known to be away; a busy machine is slow to make any. */
const FIRST_ATTEMPT_MS = 5_000;

export class Connections {
  readonly #options: ConnectionsOptions;
  #commands: Redis | null = null;
  #listener: Redis | null = null;
  #loading: Promise<void> | null = null;
  /** Resolvers of those who wait for the command connection. */
  #whenUp: (() => void)[] = [];
  #refusal: RedisConnectionError | null = null;
  /** By purpose: why that connection went or could not be made, until it is there again. */
  readonly #lastErrors = new Map<string, RedisConnectionError>();
  /** An attempt to make the command connection has ended, well or not. */
  #attempted = false;
  #closed = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** The command connection while it is up. */
  get commands(): Redis | null {
    return readyOf(this.#commands);
  }

  get listener(): Redis | null {
    return readyOf(this.#listener);
  }

  /** A connection that is needed is not there. */
  get isAway(): boolean {
    return this.commands === null || (this.#listener !== null && this.listener === null);
  }

  /** What is known of a store that is away. */
  outage(): RedisConnectionError {
    const names = this.#options.target.endpoints.map(({ name }) => name).join(", ");
    const lastError = this.#lastErrors.get("results") ?? this.#lastErrors.get("results-listener");
    return lastError ?? new RedisConnectionError(`no answer from ${names} yet`, false);
  }

  get isRefused(): boolean {
    return this.#refusal !== null;
  }

  connectCommands(): void {
    if (!isRedisLoaded()) return this.#load();
    this.#commands ??= this.#connect("results", () => {
      this.#options.onCommandsUp();
      this.#wake();
    });
  }

  connectListener(): void {
    if (this.#listener !== null || !isRedisLoaded()) return;
    this.#listener = this.#connect("results-listener", () => this.#options.onListenerUp());
    this.#listener?.on("messageBuffer", (channel: Buffer, message: Buffer) =>
      this.#options.onMessage(channel, message),
    );
  }

  /** The command connection, or `BackendGetMetaError` when it does not come up in time. */
  async up(id: string): Promise<Redis> {
    if (this.#closed) throw new BackendGetMetaError(id, "the result backend is closed", { retryable: false });
    this.connectCommands();
    const { graceMs = 1_000 } = this.#options;
    const isFirst = !this.#attempted;
    if (this.commands === null && isFirst) await this.#news(Math.max(graceMs, FIRST_ATTEMPT_MS));
    const isDecided = isFirst
      ? !this.#attempted || this.#refusal !== null || this.#closed
      : this.#commands === null && isRedisLoaded(); // no attempt could be made
    if (this.commands === null && !isDecided) await this.#news(graceMs);
    const client = this.commands;
    if (client !== null) return client;
    const refusal = this.#refusal;
    const cause = refusal ?? this.outage();
    throw new BackendGetMetaError(id, refusal?.message ?? `the result store is away: ${cause.message}`, {
      cause,
      retryable: refusal === null,
    });
  }

  /** Resolves when the command connection is up, refused or given up, its first attempt has failed, or so much time has gone by. */
  async #news(waitMs: number): Promise<void> {
    const late = new AbortController();
    await Promise.race([new Promise<void>((resolve) => this.#whenUp.push(resolve)), pause(waitMs, late.signal)]);
    late.abort();
  }

  /** From now on `up` rejects; the connections stay until `end`. */
  close(): void {
    this.#closed = true;
  }

  end(): void {
    if (this.#commands !== null) endRedis(this.#commands);
    if (this.#listener !== null) endRedis(this.#listener);
    this.#wake();
  }

  /** What was asked for meanwhile waits as it does for a connection. */
  #load(): void {
    this.#loading ??= loadRedis().then(
      () => {
        if (this.#closed) return;
        this.connectCommands();
        if (this.#options.isListening()) this.connectListener();
      },
      (error: unknown) => {
        this.#loading = null;
        this.#onRefused(noAttempt(error));
      },
    );
  }

  /** Null, and what waits is refused, when no attempt can be made, as when a certificate file has gone. The next call tries again. */
  #connect(purpose: string, onConnected: () => void): Redis | null {
    try {
      return connectRedis(this.#options.target, this.#settings(purpose, onConnected));
    } catch (error) {
      this.#onRefused(noAttempt(error));
      return null;
    }
  }

  #settings(purpose: string, onConnected: () => void): ConnectRedisOptions {
    const { tls, connectTimeoutMs, answerTimeoutMs, log } = this.#options;
    return {
      purpose,
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
      ...(tls === undefined ? {} : { tls }),
      onConnected: () => {
        this.#refusal = null;
        this.#lastErrors.delete(purpose);
        if (purpose === "results") this.#attempted = true;
        onConnected();
        if (this.commands !== null && (this.#listener === null || this.listener !== null)) this.#options.onBack();
      },
      onLost: (error) => {
        this.#lastErrors.set(purpose, error);
        log.warn({ err: error, purpose }, "the connection to the result store has gone; reconnecting");
        if (purpose === "results") this.#options.onCommandsLost(error);
        else this.#options.onListenerLost();
        this.#options.onAway(error);
      },
      onRetry: (error, delayMs) => {
        this.#lastErrors.set(purpose, error);
        log.warn({ err: error, purpose, delayMs }, "the result store cannot be reached; trying again");
        this.#options.onAway(error);
        if (error.refused) this.#onRefused(error);
        if (this.#attempted || purpose !== "results") return;
        this.#attempted = true;
        this.#wake();
      },
    };
  }

  #onRefused(error: RedisConnectionError): void {
    this.#refusal = error;
    this.#attempted = true;
    this.#options.onRefused(error);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#whenUp.splice(0)) resolve();
  }
}

function readyOf(client: Redis | null): Redis | null {
  return client?.status === "ready" ? client : null;
}
