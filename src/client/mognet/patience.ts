/**
 * How long a submit bears a store that is away. A write to the store waits for its connection; whoever asked for it does not wait for
 * ever. One timer looks after all writes under way, and it is there only while there are any.
 */
const LOOK_MS = 250;

interface Waiting {
  readonly untilMs: number;
  readonly late: () => void;
}

export class Patience {
  readonly #limitMs: number;
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | null = null;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** As the promise, or the error that `late` makes when that takes too long; the promise goes on without its caller. */
  async bear<T>(promise: Promise<T>, late: (limitMs: number) => Error): Promise<T> {
    let entry: Waiting | undefined;
    const over = new Promise<never>((_resolve, reject) => {
      entry = { untilMs: performance.now() + this.#limitMs, late: () => reject(late(this.#limitMs)) };
      this.#waiting.add(entry);
    });
    this.#timer ??= setInterval(() => this.#look(), Math.min(LOOK_MS, this.#limitMs)).unref();
    try {
      return await Promise.race([promise, over]);
    } finally {
      if (entry !== undefined) this.#waiting.delete(entry);
    }
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    if (this.#waiting.size === 0) return this.close();
    const now = performance.now();
    for (const entry of this.#waiting) {
      if (entry.untilMs > now) return;
      this.#waiting.delete(entry);
      entry.late();
    }
  }
}
