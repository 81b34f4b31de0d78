/** Tells middleware how many requests are in hand: each change in turn; a hook that is slow is not told of all. wire: mognet 5.9. */

/** Changes that wait for a slow hook. */
const MOST_WAITING = 1_000;

export class Counts {
  readonly #tell: (count: number) => Promise<void>;
  #waiting: number[] = [];
  #telling: Promise<void> | null = null;

  constructor(tell: (count: number) => Promise<void>) {
    this.#tell = tell;
  }

  changed(count: number): void {
    if (this.#waiting.length >= MOST_WAITING) this.#waiting.pop();
    this.#waiting.push(count);
    this.#telling ??= this.#run();
  }

  /** Resolves when all was told. */
  told(): Promise<void> {
    return this.#telling ?? Promise.resolve();
  }

  async #run(): Promise<void> {
    for (let count = this.#waiting.shift(); count !== undefined; count = this.#waiting.shift()) await this.#tell(count);
    this.#telling = null;
  }
}
