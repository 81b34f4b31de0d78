/** Celery's token bucket: one token at most, full at first. wire: kombu/utils/limits.py `TokenBucket`, celery/app/task.py `rate_limit`. */
export class TokenBucket {
  /** Tokens a second. */
  readonly rate: number;
  readonly #now: () => number;
  #tokens = 1;
  #lastMs: number;

  /** `now` is milliseconds of a clock that never goes back. */
  constructor(rate: number, now: () => number = () => performance.now()) {
    this.rate = rate;
    this.#now = now;
    this.#lastMs = now();
  }

  /** Takes a token when there is one. */
  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Milliseconds until there is one. */
  waitMs(): number {
    this.#refill();
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) / this.rate) * 1000;
  }

  #refill(): void {
    const now = this.#now();
    // Rounding must not leave a bucket short of its token for ever.
    const gained = ((now - this.#lastMs) / 1000) * this.rate;
    this.#tokens = Math.min(1, this.#tokens + gained + (gained > 0 ? 1e-9 : 0));
    this.#lastMs = now;
  }
}
