/**
 * How many unsettled requests a worker holds: its concurrency, and one more for each that only waits for its children.
 * wire: mognet 5.4; mognet/worker/worker.py `_adjust_prefetch`.
 */
import type { Log } from "../../runtime/log.ts";
import type { Consumer } from "../../transports/transport.ts";

/** AMQP's field is 16 bits. */
const LARGEST = 65_535;

export class Window {
  readonly #base: number;
  readonly #cap: number;
  readonly #log: Log;
  #suspended = 0;
  #sent: number;
  #capped = false;
  #consumer: Consumer | null = null;

  constructor(base: number, cap: number | null, log: Log) {
    this.#cap = Math.min(cap ?? LARGEST, LARGEST);
    this.#base = base;
    this.#log = log;
    this.#sent = this.value;
  }

  get value(): number {
    return Math.min(this.#base + this.#suspended, this.#cap);
  }

  get suspended(): number {
    return this.#suspended;
  }

  attach(consumer: Consumer): void {
    this.#consumer = consumer;
    this.#apply();
  }

  hold(): void {
    this.#suspended++;
    this.#apply();
  }

  release(): void {
    this.#suspended--;
    this.#apply();
  }

  #apply(): void {
    const { value } = this;
    const capped = this.#suspended > 0 && this.#base + this.#suspended > this.#cap;
    if (capped && !this.#capped) {
      const words =
        "maximum_concurrency is reached: as long as so many tasks wait for others, no more are fetched here";
      this.#log.error({ maximum: this.#cap, suspended: this.#suspended }, words);
    }
    this.#capped = capped;
    if (this.#consumer === null || value === this.#sent) return;
    this.#sent = value;
    this.#consumer.setPrefetch(value);
  }
}
