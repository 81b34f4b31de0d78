/**
 * The command connection of the Redis transport, and the tick: everything that was asked for in one turn of the event
 * loop leaves in one write. Life: idle -> connecting -> up <-> down -> closed.
 *
 * A command of a connection that has gone is rejected with `ConnectionLost` at once. `retrying` repeats acts that may be
 * repeated; everything the transport sends is of that kind or says in its docstring what a repeat means.
 */
import type { Log } from "../../runtime/log.ts";
import {
  type ConnectRedisOptions,
  connectionError,
  connectRedis,
  endRedis,
  inOneWrite,
  isRedisLoaded,
  loadRedis,
  type Redis,
  type RedisConnectionError,
  type RedisEndpoint,
  type RedisTarget,
} from "../../runtime/redis-connection.ts";
import { ConnectionLost, ConnectionRefused, TransportClosed, TransportError } from "../errors.ts";
import type { TransportEvents } from "../transport.ts";
import { SCRIPTS, type Script } from "./scripts.ts";

export type Argument = string | number | Buffer;

export interface LinkOptions {
  target: RedisTarget;
  connection: Omit<ConnectRedisOptions, "purpose" | "onConnected" | "onLost" | "onRetry">;
  clientName: string;
  events: TransportEvents;
  log: Log;
}

/** What hangs on the connection. Called in this order at each connect: `whenUp` of all members, then the waiting acts. */
export interface LinkMember {
  /** The connection stands, first or again. May reject when it is lost meanwhile. */
  whenUp?(): Promise<void> | void;
  whenDown?(): void;
  /** The end of a tick in which `schedule` was called; the connection stands. */
  flush?(): void;
}

type State = "idle" | "connecting" | "up" | "down" | "closed";

// Replies that tell of the server's state, not of the command: a failover, a restart, a replica.
const PASSING = /^(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|UNBLOCKED|NOAUTH)/;

export class RedisLink {
  readonly #options: LinkOptions;
  readonly #members: LinkMember[] = [];
  readonly #waiting = new Set<{ resolve: () => void; reject: (error: unknown) => void }>();
  #state: State = "idle";
  #client: Redis | null = null;
  #endpointName = "";
  #scheduled: NodeJS.Immediate | null = null;
  #wasUp = false;
  /** Counts connections: a set-up that outlived its connection stops. */
  #epoch = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get up(): boolean {
    return this.#state === "up";
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** The endpoint that the connection stands on, for a second connection to the same server. */
  get endpoint(): RedisEndpoint | undefined {
    const { endpoints } = this.#options.target;
    return endpoints.find((endpoint) => endpoint.name === this.#endpointName) ?? endpoints[0];
  }

  addMember(member: LinkMember): void {
    this.#members.push(member);
  }

  /** Resolves when the connection stands and all members are set up. Rejects as `Transport.connect` does. */
  async connect(signal?: AbortSignal): Promise<void> {
    if (this.#state === "closed") throw new TransportClosed();
    if (!isRedisLoaded()) await loadRedis();
    if (this.closed) throw new TransportClosed();
    if (signal?.aborted) throw signal.reason;
    if (this.#state === "idle") this.#start();
    try {
      await this.whenUp(signal);
    } catch (error) {
      // Nobody else asked for this connection: it must not go on trying behind their back.
      if (this.#state === "connecting" && this.#waiting.size === 0) this.#stop("idle");
      throw error;
    }
  }

  /** Waits for the connection; before `connect` was called that may be for ever. */
  whenUp(signal?: AbortSignal): Promise<void> {
    if (this.#state === "up") return Promise.resolve();
    if (this.#state === "closed") return Promise.reject(new TransportClosed());
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const aborted = () => waiter.reject(signal?.reason);
      const settle = (act: () => void) => {
        this.#waiting.delete(waiter);
        signal?.removeEventListener("abort", aborted);
        act();
      };
      const waiter = { resolve: () => settle(resolve), reject: (error: unknown) => settle(() => reject(error)) };
      this.#waiting.add(waiter);
      signal?.addEventListener("abort", aborted, { once: true });
    });
  }

  /** Ends everything; waiting acts are rejected. */
  close(): void {
    if (this.#state === "closed") return;
    this.#stop("closed");
    for (const waiter of [...this.#waiting]) waiter.reject(new TransportClosed());
  }

  /** Drops the connection, so that a new one is made: the server's state makes this one useless. */
  reconnect(): void {
    this.#client?.stream?.destroy();
  }

  /** Makes every member flush at the end of this turn of the event loop, if the connection stands then. */
  schedule(): void {
    if (this.#scheduled !== null || this.#state === "closed") return;
    this.#scheduled = setImmediate(() => {
      this.#scheduled = null;
      this.flushNow();
    });
  }

  flushNow(): void {
    if (this.#state !== "up") return;
    for (const member of this.#members) member.flush?.();
  }

  /** One command. Rejects with `ConnectionLost` when its answer will not come, else with the server's error. */
  call(name: string, args: Argument[]): Promise<unknown> {
    const client = this.#client;
    if (client === null || client.status !== "ready") {
      return Promise.reject(this.closed ? new TransportClosed() : new ConnectionLost("not connected to Redis"));
    }
    inOneWrite(client);
    return client.call(name, args).catch((error: unknown) => {
      throw this.#commandError(error, name);
    });
  }

  /** Runs a script by its digest, or by its text where the server has lost it. */
  async run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.call("EVALSHA", [script.sha, keys.length, ...keys, ...args]);
    } catch (error) {
      if (!(error instanceof TransportError && error.message.startsWith("NOSCRIPT"))) throw error;
    }
    return this.call("EVAL", [script.text, keys.length, ...keys, ...args]);
  }

  /** Does an act that may be repeated, again after each loss of the connection, until it is answered. */
  async retrying<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    for (;;) {
      await this.whenUp(signal);
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        // The state follows in the same turn or the next one.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  #start(): void {
    const { target, connection, clientName, events, log } = this.#options;
    this.#client = connectRedis(target, {
      ...connection,
      purpose: clientName,
      onConnected: (name) => {
        this.#endpointName = name;
        void this.#setUp(name);
      },
      onLost: (error) => this.#lost(toTransportError(error)),
      onRetry: (error, delayMs) => {
        const failure = toTransportError(error);
        log.warn({ err: failure, delayMs }, "could not connect to Redis");
        events.onRetry?.(failure, delayMs);
        if (error.refused && !this.#wasUp && target.endpoints.length === 1) this.#refused(failure);
      },
    });
    this.#state = "connecting";
  }

  async #setUp(name: string): Promise<void> {
    const epoch = ++this.#epoch;
    try {
      await Promise.all(SCRIPTS.map((script) => this.call("SCRIPT", ["LOAD", script.text])));
      for (const member of this.#members) {
        if (epoch !== this.#epoch) return;
        await member.whenUp?.();
      }
    } catch (error) {
      if (epoch !== this.#epoch) return;
      const failure = error instanceof Error ? error : new TransportError("REDIS", String(error));
      this.#options.log.error({ err: failure }, "the Redis connection could not be set up");
      if (error instanceof ConnectionLost) return;
      if (!this.#wasUp && /^(?:NOPERM|ERR)/.test(failure.message)) this.#refused(toRefused(failure));
      else this.reconnect();
      return;
    }
    if (epoch !== this.#epoch) return;
    this.#state = "up";
    this.#wasUp = true;
    for (const waiter of [...this.#waiting]) waiter.resolve();
    this.flushNow();
    this.#options.log.info({ url: name }, "connected to Redis");
    this.#options.events.onConnected?.(name);
  }

  #lost(error: TransportError): void {
    if (this.#state === "closed" || this.#state === "idle") return;
    this.#epoch += 1;
    const wasUp = this.#state === "up";
    this.#state = this.#wasUp ? "down" : "connecting";
    for (const member of this.#members) member.whenDown?.();
    if (!wasUp) return;
    this.#options.log.warn({ err: error }, "the connection to Redis was lost");
    this.#options.events.onLost?.(error);
  }

  #refused(error: TransportError): void {
    this.#stop("idle");
    for (const waiter of [...this.#waiting]) waiter.reject(error);
  }

  #stop(state: "idle" | "closed"): void {
    this.#state = state;
    this.#epoch += 1;
    if (this.#scheduled !== null) clearImmediate(this.#scheduled);
    this.#scheduled = null;
    const client = this.#client;
    this.#client = null;
    if (client !== null) endRedis(client);
    for (const member of this.#members) member.whenDown?.();
  }

  #commandError(error: unknown, name: string): TransportError {
    if (error instanceof TransportError) return error;
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (!isReply) {
      const lost = connectionError(error, { name: this.#endpointName });
      return new ConnectionLost(lost.message, lost.cause === undefined ? {} : { cause: lost.cause });
    }
    if (PASSING.test(error.message)) {
      this.reconnect();
      return new ConnectionLost(`${error.message} (${this.#endpointName})`);
    }
    const retryable = /^(?:OOM|MISCONF|BUSY)/.test(error.message);
    return new TransportError("REDIS", `${error.message} (${name})`, { retryable });
  }
}

function toTransportError(error: RedisConnectionError): TransportError {
  const cause = error.cause === undefined ? {} : { cause: error.cause };
  return error.refused ? new ConnectionRefused(error.message, cause) : new ConnectionLost(error.message, cause);
}

function toRefused(error: Error): TransportError {
  return error instanceof ConnectionRefused ? error : new ConnectionRefused(error.message, { cause: error });
}
