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
  bear<T>(promise: Promise<T>, late: (limitMs: number) => Error): Promise<T> {
    this.#timer ??= setInterval(() => this.#look(), Math.min(LOOK_MS, this.#limitMs)).unref();
    return new Promise((resolve, reject) => {
      const entry = { untilMs: performance.now() + this.#limitMs, late: () => reject(late(this.#limitMs)) };
      this.#waiting.add(entry);
      promise.then(
        (value) => {
          this.#waiting.delete(entry);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(entry);
          reject(error);
        },
      );
    });
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
