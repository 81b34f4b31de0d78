/**
 * Keeps one connection up for ever. States: idle until `connect`; then connecting and up in turn, over all URLs, with capped
 * and jittered backoff between rounds; closed for good by `close`. The first connect, and only that, fails when every URL
 * refuses for a reason that a retry does not mend.
 */
import { type BackoffOptions, backoffMs, pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost, ConnectionRefused, TransportClosed } from "../errors.ts";
import type { TransportEvents } from "../transport.ts";
import { type AmqpConnection, type OpenOptions, openConnection } from "./connection.ts";
import type { AmqpUrl } from "./urls.ts";

export interface LinkOptions extends OpenOptions {
  urls: readonly AmqpUrl[];
  /** Which URL a new attempt begins with. */
  failover: "round-robin" | "shuffle";
  backoff: BackoffOptions;
  /** Milliseconds without a byte from the broker, while it owes us something, after which the connection counts as dead. */
  stallMs: number;
  events: TransportEvents;
  log: Log;
}

export interface LinkUser {
  /** Makes a new connection usable: declares, publishes, consumes. */
  setUp(connection: AmqpConnection): Promise<void>;
  onDown(error: Error): void;
  /** The first connect has failed for good. */
  onRefused(error: Error): void;
  /** The broker owes a confirm. */
  owed(): boolean;
}

/** After so long a connection counts as having worked, and the next backoff begins small. */
const STEADY_MS = 5_000;

interface Waiter {
  resolve(connection: AmqpConnection): void;
  reject(error: unknown): void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #user: LinkUser;
  readonly #stop = new AbortController();
  readonly #waiters = new Set<Waiter>();
  /** Given to the user while it sets up, before others see it. */
  #fresh: AmqpConnection | null = null;
  #current: AmqpConnection | null = null;
  #running: Promise<void> | null = null;
  #callers = 0;
  #everUp = false;
  #turn = 0;

  constructor(options: LinkOptions, user: LinkUser) {
    this.#options = options;
    this.#user = user;
  }

  /** The connection that stands or is being set up. */
  get connection(): AmqpConnection | null {
    return this.#current ?? this.#fresh;
  }

  get up(): boolean {
    return this.#current !== null && !this.#current.over;
  }

  get closed(): boolean {
    return this.#stop.signal.aborted;
  }

  async connect(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.closed) throw new TransportClosed();
    if (this.up) return;
    this.#callers++;
    try {
      const up = this.ready(signal);
      this.#running ??= this.#run().finally(() => {
        this.#running = null;
      });
      await up;
    } finally {
      this.#callers--;
    }
  }

  /** The connection, as soon as there is one. Does not begin connecting. */
  ready(signal?: AbortSignal): Promise<AmqpConnection> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.closed) return Promise.reject(new TransportClosed());
    if (this.#current && !this.#current.over) return Promise.resolve(this.#current);
    return new Promise((resolve, reject) => {
      const onAbort = () => settle(() => reject(signal?.reason));
      const settle = (end: () => void) => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
        end();
      };
      const waiter: Waiter = {
        resolve: (connection) => settle(() => resolve(connection)),
        reject: (error) => settle(() => reject(error)),
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Ends for good. `beforeGoodbye` runs while the connection, if there is one, still stands. */
  async close(beforeGoodbye: (connection: AmqpConnection) => Promise<void>, goodbyeMs: number): Promise<void> {
    const connection = this.#current;
    if (connection && !connection.over) await beforeGoodbye(connection);
    this.#stop.abort();
    for (const waiter of [...this.#waiters]) waiter.reject(new TransportClosed());
    const open = this.connection;
    if (open) await open.close(open.blocked || open !== connection ? 0 : goodbyeMs);
    this.#current = null;
    await this.#running;
  }

  /** Whether anybody still wants the first connection. */
  #abandoned(): boolean {
    return !this.#everUp && this.#callers === 0;
  }

  async #run(): Promise<void> {
    const { events, log, backoff } = this.#options;
    let attempt = 0;
    while (!this.closed && !this.#abandoned()) {
      const outcome = await this.#round();
      if (this.closed) return;
      let error: Error;
      if ("connection" in outcome) {
        const { connection } = outcome;
        const since = performance.now();
        error = await this.#stay(connection);
        if (this.closed) return;
        if (performance.now() - since > STEADY_MS) attempt = 0;
      } else {
        error = outcome.error;
        if (outcome.refused && !this.#everUp) return this.#refuse(error);
      }
      const delayMs = backoffMs(attempt++, backoff);
      log.warn({ err: error, delayMs }, "no connection to the broker; trying again");
      events.onRetry?.(error, delayMs);
      await pause(delayMs, this.#stop.signal);
    }
  }

  /** Tries every URL once. */
  async #round(): Promise<{ connection: AmqpConnection } | { error: Error; refused: boolean }> {
    const { urls, failover } = this.#options;
    let last: Error = new ConnectionLost("no broker URL");
    let refused = 0;
    if (failover === "shuffle") this.#turn = Math.floor(Math.random() * urls.length);
    for (let i = 0; i < urls.length && !this.closed; i++) {
      const url = urls[this.#turn % urls.length]!;
      try {
        return { connection: await openConnection(url, this.#options, this.#stop.signal) };
      } catch (error) {
        last = error instanceof Error ? error : new ConnectionLost(String(error));
        if (!(last instanceof ConnectionLost)) refused++;
        if (urls.length > 1) this.#options.log.warn({ err: last }, "one broker URL failed; trying the next");
        this.#turn = (this.#turn + 1) % urls.length;
      }
    }
    return { error: last, refused: refused === urls.length };
  }

  /** Sets up and stays until the connection ends; answers why it did. */
  async #stay(connection: AmqpConnection): Promise<Error> {
    const { events, log } = this.#options;
    const watchdog = this.#watch(connection);
    connection.onBlocked = (reason) => {
      if (reason === null) log.info({ url: connection.url }, "the broker takes messages again");
      else log.warn({ url: connection.url, reason }, "the broker is short of resources and takes no messages");
    };
    this.#fresh = connection;
    try {
      await this.#user.setUp(connection);
    } catch (error) {
      connection.kill(error instanceof Error ? error : new ConnectionLost(String(error)));
    }
    this.#fresh = null;
    if (!connection.over && !this.closed) {
      this.#current = connection;
      this.#everUp = true;
      for (const waiter of [...this.#waiters]) waiter.resolve(connection);
      log.info({ url: connection.url }, "connected to the broker");
      events.onConnected?.(connection.url);
    } else if (this.closed) {
      await connection.close(0);
    }
    const error = await connection.ended;
    clearInterval(watchdog);
    const wasUp = this.#current === connection;
    this.#current = null;
    if (!this.closed) {
      this.#user.onDown(error);
      if (wasUp) events.onLost?.(error);
    }
    return error;
  }

  #refuse(error: Error): void {
    const refusal = error instanceof ConnectionRefused ? error : new ConnectionRefused(error.message, { cause: error });
    for (const waiter of [...this.#waiters]) waiter.reject(refusal);
    this.#user.onRefused(refusal);
  }

  /** Notices a connection that is dead without saying so, sooner than the heartbeat does when something is owed. */
  #watch(connection: AmqpConnection): NodeJS.Timeout {
    const { stallMs } = this.#options;
    let owedSince: number | null = null;
    const look = () => {
      const owed =
        !connection.blocked && (connection.outbox.unsent > 0 || connection.pendingCalls > 0 || this.#user.owed());
      const now = performance.now();
      if (!owed) owedSince = null;
      else owedSince ??= now;
      if (owedSince === null || now - Math.max(owedSince, connection.lastReceived) < stallMs) return;
      connection.kill(new ConnectionLost(`${connection.url} has been silent for ${stallMs} ms and owes an answer`));
    };
    return setInterval(look, Math.max(50, stallMs / 5)).unref();
  }
}
