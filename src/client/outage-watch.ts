/**
 * How long publishes wait for a broker that is away: `broker_connection_timeout`, counted from when it went and not per publish. One
 * timer serves all publishes under way; when the time is over, every attempt that waits is told so through their one signal.
 */
import { setMaxListeners } from "node:events";
import { ConnectionLost } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";

/** What is known of the broker's connection, for the error of a publish that it did not take. Its owner keeps it up to date. */
export interface BrokerState {
  /** Without credentials. */
  readonly url: string;
  /** Why it is away; null while it is there, and before the first attempt has failed. */
  lastError: Error | null;
}

const WATCH_MS = 250;

export class OutageWatch {
  readonly #transport: Transport;
  readonly #broker: BrokerState;
  readonly #limitMs: number | null;
  readonly #errors = new WeakSet<object>();
  #controller = sharedController();
  #underWay = 0;
  #awaySinceMs: number | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(transport: Transport, broker: BrokerState, limitMs: number | null) {
    this.#transport = transport;
    this.#broker = broker;
    this.#limitMs = limitMs;
  }

  enter(): AbortSignal {
    this.#underWay++;
    if (this.#timer === null && this.#limitMs !== null) {
      const everyMs = Math.max(1, Math.min(WATCH_MS, this.#limitMs));
      this.#timer = setInterval(() => this.#look(), everyMs);
      if (!this.#transport.connected) this.#awaySinceMs = performance.now();
    }
    if (this.#underWay === 1) this.#timer?.ref();
    return this.#controller.signal;
  }

  leave(): void {
    this.#underWay--;
    // The process may end now; the timer itself stops when it next looks.
    if (this.#underWay === 0) this.#timer?.unref();
  }

  /** The error is one with which this watch ended an attempt. */
  hasCaused(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#errors.has(error);
  }

  /** Where the broker should have been, for how long it was missed, and why as far as is known. */
  error(sinceMs: number, attempts: number): ConnectionLost {
    const { url, lastError } = this.#broker;
    const seconds = Number(((performance.now() - sinceMs) / 1000).toPrecision(3));
    const tried = attempts > 1 ? `, in ${attempts} attempts` : "";
    const why = lastError === null ? "" : `: ${lastError.message}`;
    const cause = lastError === null ? {} : { cause: lastError };
    const error = new ConnectionLost(`no connection to ${url} within ${seconds} s${tried}${why}`, cause);
    this.#errors.add(error);
    return error;
  }

  stop(reason: Error): void {
    this.#stopTimer();
    this.#controller.abort(reason);
  }

  #look(): void {
    if (this.#underWay === 0) {
      this.#stopTimer();
      return;
    }
    if (this.#transport.connected) {
      this.#awaySinceMs = null;
      return;
    }
    const now = performance.now();
    this.#awaySinceMs ??= now;
    if (this.#limitMs === null || now - this.#awaySinceMs < this.#limitMs) return;
    const told = this.#controller;
    const error = this.error(this.#awaySinceMs, 1);
    this.#controller = sharedController();
    this.#awaySinceMs = now;
    told.abort(error);
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#awaySinceMs = null;
  }
}

/** Every publish under way listens to it, and that is no leak. */
function sharedController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
