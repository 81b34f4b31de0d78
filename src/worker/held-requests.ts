/**
 * Requests that wait for their ETA: one timer heap for all, and each above the prefetch window, or later tasks would starve.
 * wire: celery/worker/strategy.py.
 */
import { step } from "../../protocol/celery/request-machine.ts";
import type { TimerHeap } from "../runtime/timer-heap.ts";
import type { Prefetch } from "./prefetch.ts";
import type { Request } from "./request.ts";
import { RequestIndex } from "./request-index.ts";

export interface HeldParts {
  timers: TimerHeap;
  prefetch: Prefetch;
  /** The time of a request has come; it is `reserved`. */
  onDue: (request: Request) => void;
}

export class HeldRequests implements Iterable<Request> {
  readonly #parts: HeldParts;
  readonly #index = new RequestIndex();

  constructor(parts: HeldParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#index.size;
  }

  has(request: Request): boolean {
    return this.#index.has(request);
  }

  find(id: string): Request | null {
    return this.#index.find(id);
  }

  hold(request: Request, etaMs: number): void {
    const { timers, prefetch, onDue } = this.#parts;
    request.state = step(request.state, "heldForEta", request.policy).state;
    this.#index.add(request);
    prefetch.hold();
    request.timer = timers.at(etaMs, () => {
      this.#index.delete(request);
      request.timer = null;
      request.state = step(request.state, "due", request.policy).state;
      onDue(request);
      prefetch.release();
    });
  }

  /** Stops waiting; what becomes of the request is the caller's. */
  drop(request: Request): void {
    this.#index.delete(request);
    if (request.timer !== null) this.#parts.timers.cancel(request.timer);
    request.timer = null;
    this.#parts.prefetch.release();
  }

  [Symbol.iterator](): Iterator<Request> {
    return this.#index[Symbol.iterator]();
  }
}
