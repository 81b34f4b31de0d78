/**
 * A logical clock: events of one process are numbered, and a number that is received is never older than what follows it.
 * wire: kombu/clocks.py `LamportClock`; celery-wire 5.1.
 */

/** A peer's larger number is not taken over: every whole number that follows must be one that can be told from the next. */
const LARGEST = 2 ** 52;

export class LamportClock {
  #value: number;

  constructor(value = 0) {
    this.#value = value;
  }

  get value(): number {
    return this.#value;
  }

  /** The next number, for something that happens here. */
  forward(): number {
    this.#value += 1;
    return this.#value;
  }

  /** Takes note of a number that a peer sent; what is no whole number counts as 0, as a missing one does in Kombu. */
  adjust(other: unknown): number {
    const seen = typeof other === "number" && Number.isInteger(other) && other >= 0 && other < LARGEST ? other : 0;
    this.#value = Math.max(this.#value, seen) + 1;
    return this.#value;
  }
}

/** An entry of an election: clock and node name with process id, as in `celery@host.4711`. */
export interface ClockEntry {
  readonly clock: number;
  readonly node: string;
}

/**
 * The entry that happened first: the lowest clock; of equal ones the node whose name sorts first. wire: kombu/clocks.py `sort_heap`.
 */
export function earliest<T extends ClockEntry>(entries: readonly T[]): T | undefined {
  let first: T | undefined;
  for (const entry of entries) {
    const sooner =
      first === undefined || entry.clock < first.clock || (entry.clock === first.clock && entry.node < first.node);
    if (sooner) first = entry;
  }
  return first;
}
