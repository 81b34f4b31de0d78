/** Ending a wait from outside, at less than an `AbortController` costs: one of those is made for every result awaited. */
import type { Abortable } from "./abort-groups.ts";

interface AbortListener {
  handleEvent(): void;
}

/** What a wait needs of an `AbortSignal`; that is one. */
export interface Cancellation {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: AbortListener, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: AbortListener): void;
}

/** One that its owner ends. It tells whoever listens last: one wait. */
export class Canceller implements Cancellation, Abortable {
  aborted = false;
  reason: unknown = undefined;
  #listener: AbortListener | null = null;

  addEventListener(_type: "abort", listener: AbortListener): void {
    this.#listener = listener;
  }

  removeEventListener(_type: "abort", listener: AbortListener): void {
    if (this.#listener === listener) this.#listener = null;
  }

  onAbort(reason: unknown): void {
    this.abort(reason);
  }

  abort(reason?: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason ?? new DOMException("This operation was aborted", "AbortError");
    this.#listener?.handleEvent();
  }
}
