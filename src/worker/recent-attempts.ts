/**
 * A bounded memory of attempts and the number of connection losses at the time. Two generations: when the young one is full
 * it becomes the old one, and the old one is forgotten whole, which costs nothing per member.
 */
export class RecentAttempts {
  readonly #limit: number;
  #young = new Map<string, number>();
  #old = new Map<string, number>();

  /** Remembers at least the latest `limit` attempts, at most twice as many. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  add(key: string, losses: number): void {
    this.#young.set(key, losses);
    if (this.#young.size < this.#limit) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** Whether the attempt was remembered before the latest loss; it is forgotten then. */
  takeOlder(key: string, losses: number): boolean {
    const then = this.#young.get(key) ?? this.#old.get(key);
    if (then === undefined || then >= losses) return false;
    this.#young.delete(key);
    this.#old.delete(key);
    return true;
  }
}
