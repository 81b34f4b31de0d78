/**
 * SIGTERM, SIGINT and SIGQUIT of the worker command. They are listened for before the app is loaded: as process 1 of a
 * container a signal without a listener does nothing at all. wire: celery-behaviour 1.15.
 */
import type { StopMode } from "../worker/worker.ts";

/** npm hands a terminal's ^C on to its child, which has it already: what comes again so soon is the same one. */
const ECHO_MS = 50;

export interface Stoppable {
  stop(mode: StopMode, signal: NodeJS.Signals): void;
}

export class StopSignals {
  /** What asked first; it decides the exit code. */
  first: NodeJS.Signals | null = null;
  #worker: Stoppable | null = null;
  #mode: StopMode | null = null;
  #last = { signal: "", at: 0 };
  readonly #exit: (code: number) => void;
  readonly #now: () => number;
  readonly #listener = (signal: NodeJS.Signals) => this.on(signal);

  constructor(exit: (code: number) => void = process.exit, now: () => number = () => performance.now()) {
    this.#exit = exit;
    this.#now = now;
  }

  /** Twice is fine. */
  listen(): this {
    this.close();
    process.on("SIGTERM", this.#listener).on("SIGINT", this.#listener).on("SIGQUIT", this.#listener);
    return this;
  }

  close(): void {
    process.off("SIGTERM", this.#listener).off("SIGINT", this.#listener).off("SIGQUIT", this.#listener);
  }

  /** Until here a signal ends the process at once. */
  attach(worker: Stoppable): void {
    this.#worker = worker;
  }

  /** Celery's: 1 when ^C came first, else 0. */
  get exitCode(): number {
    return this.first === "SIGINT" ? 1 : 0;
  }

  /** First warm, again cold, once more at once; SIGQUIT is cold from the start. */
  on(signal: NodeJS.Signals): void {
    const at = this.#now();
    const echo = signal === this.#last.signal && at - this.#last.at < ECHO_MS;
    this.#last = { signal, at };
    if (echo) return;
    this.first ??= signal;
    if (this.#worker === null || this.#mode === "cold") return this.#exit(this.exitCode);
    const remapped = signal === "SIGTERM" && process.env.REMAP_SIGTERM === "SIGQUIT";
    this.#mode = signal === "SIGQUIT" || remapped || this.#mode === "warm" ? "cold" : "warm";
    this.#worker.stop(this.#mode, signal);
  }
}

/** Those of this process. */
export const stopSignals = new StopSignals();
