/**
 * Ids of revoked tasks, bounded in number and age: the oldest go first, and every id is forgotten after a while.
 * wire: celery/worker/state.py `REVOKES_MAX`, `REVOKE_EXPIRES`; celery/utils/collections.py `LimitedSet`.
 */
export interface RevokedLimits {
  /** @default 50_000 (environment `CELERY_WORKER_REVOKES_MAX`) */
  max: number;
  /** Milliseconds. @default 3 hours (environment `CELERY_WORKER_REVOKE_EXPIRES`, in seconds) */
  maxAgeMs: number;
}

/** Characters of an id: no message could carry a longer one as its correlation id over AMQP. Longer ones are not kept. */
const LONGEST_ID = 1_000;

export class RevokedIds {
  readonly #limits: RevokedLimits;
  readonly #now: () => number;
  /** Id to when it was revoked, oldest first. */
  readonly #ids = new Map<string, number>();
  /** Told of every id that is added. */
  onChange: (() => void) | null = null;

  /** `now` is Unix milliseconds. */
  constructor(limits: RevokedLimits, now: () => number = Date.now) {
    this.#limits = limits;
    this.#now = now;
  }

  get size(): number {
    return this.#ids.size;
  }

  /** An id that is added again counts as new. */
  add(id: string, atMs: number = this.#now()): void {
    if (id.length > LONGEST_ID) return;
    this.#ids.delete(id);
    this.#ids.set(id, atMs);
    if (this.#ids.size > this.#limits.max) this.#forgetOldest();
    this.onChange?.();
  }

  /** Adds ids revoked elsewhere, oldest first. They count from now: another host's clock is not ours. */
  merge(ids: Iterable<string>): void {
    for (const id of ids) this.add(id);
  }

  has(id: string): boolean {
    const at = this.#ids.get(id);
    return at !== undefined && at > this.#now() - this.#limits.maxAgeMs;
  }

  /** All that are not too old, oldest first, with the time of their revocation. */
  entries(): [id: string, atMs: number][] {
    this.purge();
    return [...this.#ids];
  }

  ids(): string[] {
    this.purge();
    return [...this.#ids.keys()];
  }

  purge(): void {
    const from = this.#now() - this.#limits.maxAgeMs;
    for (const [id, at] of this.#ids) {
      if (at > from) break;
      this.#ids.delete(id);
    }
  }

  #forgetOldest(): void {
    const { value } = this.#ids.keys().next();
    if (value !== undefined) this.#ids.delete(value);
  }
}
