/**
 * Chords of which parts have come and whose size has not: for a while that is normal, since the size is told just before the last
 * message is sent. Later it means that the sender died, or that the store has evicted the key: the body then never runs, and all
 * that can be done is to say so. One timer for all; the oldest of too many are forgotten.
 */
import type { Log } from "../../runtime/log.ts";

export interface UnsizedOptions {
  /** Whether it still waits for its size. */
  isOpen(groupId: string): Promise<boolean>;
  log: Log;
  closing: AbortSignal;
  /** @default 60 */
  seconds?: number;
}

const most = 1_000;

export class Unsized {
  readonly #options: UnsizedOptions;
  readonly #ms: number;
  /** Since when, in the order of time. */
  readonly #since = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: UnsizedOptions) {
    this.#options = options;
    this.#ms = (options.seconds ?? 60) * 1000;
    options.closing.addEventListener("abort", () => this.#stop(), { once: true });
  }

  note(groupId: string): void {
    if (this.#since.has(groupId) || this.#options.closing.aborted) return;
    this.#since.set(groupId, performance.now());
    for (const oldest of this.#since.keys()) {
      if (this.#since.size <= most) break;
      this.#since.delete(oldest);
    }
    this.#timer ??= setTimeout(() => this.#look(), this.#ms).unref();
  }

  #look(): void {
    this.#timer = null;
    for (const [groupId, since] of this.#since) {
      const left = since + this.#ms - performance.now();
      if (left > 0) {
        this.#timer = setTimeout(() => this.#look(), left).unref();
        return;
      }
      this.#since.delete(groupId);
      this.#options.isOpen(groupId).then(
        (isOpen) => isOpen && this.#warn(groupId),
        (error: unknown) => this.#options.log.debug({ err: error, chord: groupId }, "the size of a chord was not read"),
      );
    }
  }

  #warn(chord: string): void {
    const { log } = this.#options;
    log.warn(
      { chord, seconds: this.#ms / 1000 },
      "parts of a chord have returned, and its size is not there: was its sender killed, or the key evicted?",
    );
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#since.clear();
  }
}
