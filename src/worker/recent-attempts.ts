/** A bounded memory of attempts and the number of connection losses at the time; it forgets its oldest members. */
export class RecentAttempts {
  readonly #losses = new Map<string, number>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#losses.size;
  }

  add(key: string, losses: number): void {
    this.#losses.set(key, losses);
    if (this.#losses.size > this.#limit)
      for (const oldest of this.#losses.keys()) return void this.#losses.delete(oldest);
  }

  /** Whether the attempt was remembered before the latest loss; it is forgotten then. */
  takeOlder(key: string, losses: number): boolean {
    const then = this.#losses.get(key);
    if (then === undefined || then >= losses) return false;
    this.#losses.delete(key);
    return true;
  }
}
