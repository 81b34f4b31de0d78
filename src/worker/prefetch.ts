/**
 * How many unsettled messages the worker may hold: concurrency x multiplier, and one more for each message that only waits
 * for its time, up to a limit. wire: celery/worker/strategy.py, celery/worker/consumer/tasks.py; behaviour 1.5.
 */
import type { Consumer } from "../transports/transport.ts";

/** AMQP's field is 16 bits; above it Celery asks for "no limit". */
const LARGEST = 65_535;

export class Prefetch {
  #base: number;
  readonly #heldLimit: number;
  #held = 0;
  #consumer: Consumer | null = null;
  #sent: number;

  /** `base` 0 means unlimited. */
  constructor(base: number, heldLimit: number | null) {
    this.#base = base;
    this.#heldLimit = heldLimit ?? Number.POSITIVE_INFINITY;
    this.#sent = base;
  }

  get value(): number {
    if (this.#base === 0) return 0;
    const wanted = this.#base + Math.min(this.#held, this.#heldLimit);
    return wanted > LARGEST ? 0 : wanted;
  }

  get held(): number {
    return this.#held;
  }

  attach(consumer: Consumer): void {
    this.#consumer = consumer;
    this.#apply();
  }

  /** Another number of slots. */
  rebase(base: number): void {
    this.#base = base;
    this.#apply();
  }

  /** A message is put aside until later. */
  hold(): void {
    this.#held++;
    this.#apply();
  }

  release(): void {
    this.#held = Math.max(0, this.#held - 1);
    this.#apply();
  }

  #apply(): void {
    if (this.#consumer === null || !this.#consumer.canChangePrefetch) return;
    const { value } = this;
    if (value === this.#sent) return;
    this.#sent = value;
    this.#consumer.setPrefetch(value);
  }
}
