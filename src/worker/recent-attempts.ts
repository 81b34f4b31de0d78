/** A bounded memory of attempts that were acked, the number of connection losses at the time, and the time. */
import { RecentMap } from "../runtime/recent-map.ts";

interface Acked {
  readonly losses: number;
  readonly atMs: number;
}

/**
 * An ack that was sent longer than this before the loss has reached the broker: heartbeats find a dead connection within two minutes,
 * and a broker that crashes forgets seconds.
 */
const IN_DOUBT_MS = 180_000;

export class RecentAttempts {
  readonly #acked: RecentMap<Acked>;
  readonly #nowMs: () => number;

  /** Remembers at least the latest `limit` attempts, at most twice as many. */
  constructor(limit: number, nowMs: () => number = () => performance.now()) {
    this.#acked = new RecentMap(limit);
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#acked.size;
  }

  add(key: string, losses: number): void {
    this.#acked.set(key, { losses, atMs: this.#nowMs() });
  }

  /** The connection was lost: what was acked long before cannot come again. */
  connectionLost(): void {
    const from = this.#nowMs() - IN_DOUBT_MS;
    this.#acked.forgetWhere(({ atMs }) => atMs < from);
  }

  /** Whether the attempt was remembered before the latest loss; it is forgotten then. */
  takeOlder(key: string, losses: number): boolean {
    const then = this.#acked.get(key);
    if (then === undefined || then.losses >= losses) return false;
    this.#acked.delete(key);
    return true;
  }
}
