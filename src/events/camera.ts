/** Snapshots of a cluster: calls back with the state every so often, not more often than a rate. wire: celery/events/snapshot.py. */
import { parseRate } from "../../protocol/celery/rate.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Log } from "../runtime/log.ts";
import { LONGEST_TIMER_MS } from "../runtime/timer-heap.ts";
import type { State } from "./state.ts";

/** Of what, how often, and what is done with it. A rate that is none is an `ImproperlyConfigured`. */
export interface CameraOptions {
  readonly state: State;
  /** Called with the state. What it returns is waited for; no snapshot is taken meanwhile. */
  readonly onShutter: (state: State) => unknown;
  /** Seconds between snapshots. @default 1 */
  readonly freq?: number;
  /** Not more snapshots than this: `10/m`. @default as many as `freq` allows */
  readonly maxRate?: string | number | null;
  /** Forget workers and tasks after each snapshot. @default false */
  readonly clearAfter?: boolean;
  /** Called every `cleanupFreq` seconds. */
  readonly onCleanup?: () => unknown;
  /** Seconds. @default 3600 */
  readonly cleanupFreq?: number;
  readonly log: Log;
}

/** Takes snapshots of a `State` at intervals. Celery: `celery.events.snapshot.Polaroid`. */
export class Camera {
  readonly #options: CameraOptions;
  readonly #leastMs: number;
  #timers: NodeJS.Timeout[] = [];
  #lastMs = Number.NEGATIVE_INFINITY;
  #busy = false;

  constructor(options: CameraOptions) {
    const perSecond = parseRate(options.maxRate ?? null);
    if (typeof perSecond !== "number") throw new ImproperlyConfigured("maxRate is a rate such as 10/m, or a number");
    for (const name of ["freq", "cleanupFreq"] as const) {
      const value = options[name] ?? 1;
      if (!(value > 0)) throw new ImproperlyConfigured(`${name} is a number of seconds, above 0`);
    }
    this.#options = options;
    this.#leastMs = perSecond === 0 ? 0 : 1000 / perSecond;
  }

  /** Takes snapshots until `cancel`. */
  install(): this {
    const { freq = 1, cleanupFreq = 3_600, onCleanup } = this.#options;
    const every = (seconds: number, act: () => unknown) => {
      this.#timers.push(setInterval(act, Math.min(LONGEST_TIMER_MS, seconds * 1000)));
    };
    every(freq, () => void this.capture());
    if (onCleanup !== undefined) every(cleanupFreq, () => this.#guarded(onCleanup));
    return this;
  }

  /** One snapshot now, unless the rate forbids it or one is being taken. */
  async capture(): Promise<void> {
    const { state, onShutter, clearAfter = false } = this.#options;
    const now = performance.now();
    if (this.#busy || now - this.#lastMs < this.#leastMs) return;
    this.#lastMs = now;
    this.#busy = true;
    await this.#guarded(() => onShutter(state));
    this.#busy = false;
    if (clearAfter) state.clear();
  }

  /** One last snapshot, and no more. */
  async cancel(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.capture();
  }

  async #guarded(act: () => unknown): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#options.log.error({ err: error }, "the camera's function threw");
    }
  }
}
