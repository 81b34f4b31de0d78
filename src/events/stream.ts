/** Events as an async iterable. A reader that is slower than the fleet loses the oldest, and is told how many. */
import type { ReceivedEvent } from "./receiver.ts";

/** What a stream reads from, and how much may wait for its reader. */
export interface StreamOptions {
  readonly maxWaiting: number;
  readonly signal: AbortSignal | null;
  /** Begins to receive, unless it is `ended` before; what it resolves with ends it. */
  readonly open: (onEvent: (event: ReceivedEvent) => void, ended: AbortSignal) => Promise<() => Promise<void>>;
}

/** Events one after the other, for `for await`. Leaving the loop, or its signal, ends it. */
export class EventStream implements AsyncIterableIterator<ReceivedEvent> {
  readonly #options: StreamOptions;
  #waiting: ReceivedEvent[] = [];
  #head = 0;
  #dropped = 0;
  #wake: () => void = () => undefined;
  #opening: Promise<() => Promise<void>> | null = null;
  #ended = false;
  #closing: Promise<void> | null = null;
  readonly #ending = new AbortController();
  readonly #onAbort = () => {
    this.#end();
    // Whoever reads on hears of an error.
    this.#close().catch(() => undefined);
  };

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /** Events that were let go because the reader was too slow. */
  get dropped(): number {
    return this.#dropped;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Resolves when events arrive from now on; `next` does so by itself. */
  async start(): Promise<this> {
    await this.#open();
    return this;
  }

  async next(): Promise<IteratorResult<ReceivedEvent, undefined>> {
    await this.#open();
    for (;;) {
      const event = this.#waiting[this.#head];
      if (event !== undefined) {
        this.#skip();
        return { done: false, value: event };
      }
      this.#waiting = [];
      this.#head = 0;
      if (this.#ended) {
        await this.#close();
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<ReceivedEvent, undefined>> {
    this.#end();
    this.#waiting = [];
    this.#head = 0;
    await this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.return().then(() => undefined);
  }

  async #open(): Promise<void> {
    const { signal, open } = this.#options;
    if (signal?.aborted === true) this.#end();
    if (this.#ended) return;
    if (this.#opening === null) {
      signal?.addEventListener("abort", this.#onAbort, { once: true });
      this.#opening = open((event) => this.#put(event), this.#ending.signal);
    }
    try {
      await this.#opening;
    } catch (error) {
      // Told to end before it had begun.
      if (!this.#ended) throw error;
    }
  }

  #put(event: ReceivedEvent): void {
    if (this.#ended) return;
    this.#waiting.push(event);
    if (this.#waiting.length - this.#head > this.#options.maxWaiting) {
      this.#skip();
      this.#dropped++;
    }
    this.#wake();
  }

  #skip(): void {
    this.#head++;
    if (this.#head <= 1024 || this.#head * 2 <= this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#head);
    this.#head = 0;
  }

  #end(): void {
    this.#ended = true;
    this.#ending.abort();
    this.#wake();
  }

  #close(): Promise<void> {
    this.#closing ??= this.#stop();
    return this.#closing;
  }

  async #stop(): Promise<void> {
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    if (this.#opening === null) return;
    const stop = await this.#opening.catch(() => null);
    await stop?.();
  }
}
