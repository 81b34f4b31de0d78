/**
 * The two connections of the backend, made on first use: one for commands, one that only listens. Both come back by themselves; the
 * client library is loaded with the first of them.
 */
import { pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import {
  connectRedis,
  endRedis,
  isRedisLoaded,
  loadRedis,
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
  /** How long `up` waits. @default 1_000 */
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

export class Connections {
  readonly #options: ConnectionsOptions;
  #commands: Redis | null = null;
  #listener: Redis | null = null;
  #loading: Promise<void> | null = null;
  /** Resolvers of those who wait for the command connection. */
  #whenUp: (() => void)[] = [];
  #refusal: RedisConnectionError | null = null;
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
    this.#listener.on("messageBuffer", (channel: Buffer, message: Buffer) => this.#options.onMessage(channel, message));
  }

  /** The command connection, or `BackendGetMetaError` when it does not come up within the grace time. */
  async up(id: string): Promise<Redis> {
    if (this.#closed) throw new BackendGetMetaError(id, "the result backend is closed", { retryable: false });
    this.connectCommands();
    if (this.commands === null) {
      const late = new AbortController();
      await Promise.race([
        new Promise<void>((resolve) => this.#whenUp.push(resolve)),
        pause(this.#options.graceMs ?? 1_000, late.signal),
      ]);
      late.abort();
    }
    const client = this.commands;
    if (client !== null) return client;
    const refusal = this.#refusal;
    throw new BackendGetMetaError(id, refusal?.message ?? "the result store is away", {
      cause: refusal ?? undefined,
      retryable: refusal === null,
    });
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
        const reason = error instanceof Error ? error.message : String(error);
        this.#onRefused(new RedisConnectionError(reason, true, { cause: error }));
      },
    );
  }

  #connect(purpose: string, onConnected: () => void): Redis {
    const { target, tls, connectTimeoutMs, answerTimeoutMs, log } = this.#options;
    return connectRedis(target, {
      purpose,
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
      ...(tls === undefined ? {} : { tls }),
      onConnected: () => {
        this.#refusal = null;
        onConnected();
        if (this.commands !== null && (this.#listener === null || this.listener !== null)) this.#options.onBack();
      },
      onLost: (error) => {
        log.warn({ err: error, purpose }, "the connection to the result store has gone; reconnecting");
        if (purpose === "results") this.#options.onCommandsLost(error);
        else this.#options.onListenerLost();
        this.#options.onAway(error);
      },
      onRetry: (error, delayMs) => {
        log.warn({ err: error, purpose, delayMs }, "the result store cannot be reached; trying again");
        this.#options.onAway(error);
        if (error.refused) this.#onRefused(error);
      },
    });
  }

  #onRefused(error: RedisConnectionError): void {
    this.#refusal = error;
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
