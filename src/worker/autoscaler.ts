/**
 * The pool follows the work: it grows at once when more tasks are reserved than it has slots, and shrinks when it has been larger than
 * needed for a while. wire: celery/worker/autoscale.py.
 */
import type { Log } from "../runtime/log.ts";
import type { TimerHeap } from "../runtime/timer-heap.ts";
import { PoolError } from "./pools/errors.ts";
import type { Pool } from "./pools/pool.ts";

/** Slots between which the pool follows the work. Celery: `--autoscale MAX,MIN`. */
export interface AutoscaleRange {
  max: number;
  min: number;
}

/** Milliseconds without a task or a growth before slots are given up; environment `AUTOSCALE_KEEPALIVE`, in seconds. */
function keepaliveMs(): number {
  const seconds = Number(process.env.AUTOSCALE_KEEPALIVE ?? Number.NaN);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 30_000;
}

export interface AutoscalerParts {
  pool: Pool;
  range: AutoscaleRange;
  timers: TimerHeap;
  /** Requests that run or wait for a slot. */
  wanted: () => number;
  /** The largest size has changed. */
  onMax: (max: number) => void;
  log: Log;
}

export class Autoscaler {
  readonly #parts: AutoscalerParts;
  readonly #keepaliveMs = keepaliveMs();
  #range: AutoscaleRange;
  #quietSinceMs: number;

  constructor(parts: AutoscalerParts) {
    this.#parts = parts;
    this.#range = parts.range;
    this.#quietSinceMs = parts.timers.now;
    this.#lookLater(this.#quietSinceMs);
  }

  /** A task was handed towards the pool. */
  onTask(): void {
    this.#quietSinceMs = this.#parts.timers.now;
    const wanted = Math.min(this.#parts.wanted(), this.#range.max);
    if (wanted > this.#parts.pool.size) this.#resize(wanted);
  }

  /** What is null stays. Throws `PoolError` for bounds that cannot be. */
  update(max: number | null, min: number | null): AutoscaleRange {
    const next = { max: max ?? this.#range.max, min: min ?? this.#range.min };
    const { most } = this.#parts.pool;
    if (next.max < 1 || next.max > most || next.min < 0 || next.min > next.max) {
      const words = `autoscale max=${next.max} min=${next.min}: max is from 1 to ${most}, min from 0 to max`;
      throw new PoolError("AUTOSCALE", words);
    }
    const grewMax = next.max !== this.#range.max;
    this.#range = next;
    const { size } = this.#parts.pool;
    if (size > next.max) this.#resize(next.max);
    else if (size < next.min) this.#resize(next.min);
    if (grewMax) this.#parts.onMax(next.max);
    return { ...next };
  }

  stats(): { max: number; min: number; current: number; qty: number } {
    return { ...this.#range, current: this.#parts.pool.size, qty: this.#parts.wanted() };
  }

  /** When it will have been quiet for long enough; if it has been, that much later. */
  #lookLater(nowMs: number): void {
    const { timers } = this.#parts;
    const from = this.#isQuiet(nowMs) ? nowMs : this.#quietSinceMs;
    timers.at(from + this.#keepaliveMs, () => {
      const { now } = timers;
      this.#look(now);
      this.#lookLater(now);
    });
  }

  #look(nowMs: number): void {
    const wanted = this.#parts.wanted();
    const { size } = this.#parts.pool;
    if (Math.min(wanted, this.#range.max) > size) return this.#resize(Math.min(wanted, this.#range.max));
    const enough = Math.max(wanted, this.#range.min);
    if (enough < size && this.#isQuiet(nowMs)) this.#resize(enough);
  }

  /** The sum is the time of a look: a difference might be less than it by a rounding. */
  #isQuiet(nowMs: number): boolean {
    return nowMs >= this.#quietSinceMs + this.#keepaliveMs;
  }

  #resize(size: number): void {
    const from = this.#parts.pool.size;
    this.#parts.log.info({ from, to: size }, size > from ? "scaling up" : "scaling down");
    if (size > from) this.#quietSinceMs = this.#parts.timers.now;
    this.#parts.pool.resize(size);
  }
}
