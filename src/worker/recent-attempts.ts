/** A bounded memory of attempts and the number of connection losses at the time. */
import { RecentMap } from "../runtime/recent-map.ts";

export class RecentAttempts {
  readonly #losses: RecentMap<number>;

  /** Remembers at least the latest `limit` attempts, at most twice as many. */
  constructor(limit: number) {
    this.#losses = new RecentMap(limit);
  }

  get size(): number {
    return this.#losses.size;
  }

  add(key: string, losses: number): void {
    this.#losses.set(key, losses);
  }

  /** Whether the attempt was remembered before the latest loss; it is forgotten then. */
  takeOlder(key: string, losses: number): boolean {
    const then = this.#losses.get(key);
    if (then === undefined || then >= losses) return false;
    this.#losses.delete(key);
    return true;
  }
}
