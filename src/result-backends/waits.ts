/**
 * The pending `watch` calls of one backend, by task id: who waits, until when, and what they have seen. A backend offers every
 * record it learns of; the first ready one settles the waits of its id. One timer serves all `lostAfter` limits, and only while
 * the store is away, so that thousands of waits cost a map entry each and nothing else.
 */
import { type Abortable, AbortGroups } from "../runtime/abort-groups.ts";
import { LONGEST_TIMER_MS } from "../runtime/timer-heap.ts";
import { BackendGetMetaError, BackendUnavailable, ResultLost } from "./errors.ts";
import type { WatchOptions } from "./result-backend.ts";

class Wait<R> implements Abortable {
  readonly id: string;
  readonly options: WatchOptions<R>;
  readonly resolve: (record: R) => void;
  readonly reject: (reason: unknown) => void;
  readonly startedMs = performance.now();
  /** Encoded form of the last record passed to `onUpdate`: a read and a push of the same write are one update. */
  seen: Uint8Array | null = null;
  readonly #waits: Waits<R>;

  constructor(
    waits: Waits<R>,
    id: string,
    options: WatchOptions<R>,
    resolve: (record: R) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#waits = waits;
    this.id = id;
    this.options = options;
    this.resolve = resolve;
    this.reject = reject;
  }

  onAbort(reason: unknown): void {
    this.#waits.drop(this);
    this.reject(reason);
  }
}

export interface WaitsOptions<R> {
  isReady: (record: R) => boolean;
  /** The last wait for this id has ended: unsubscribe. */
  onIdle?: (id: string) => void;
}

export class Waits<R> {
  readonly #byId = new Map<string, Wait<R>[]>();
  readonly #aborts = new AbortGroups();
  readonly #options: WaitsOptions<R>;
  #awaySinceMs: number | null = null;
  #awayReason: unknown;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: WaitsOptions<R>) {
    this.#options = options;
  }

  /** Why the store is away; null while it is there, and before that is known. */
  get outage(): Error | null {
    if (this.#awaySinceMs === null) return null;
    const reason = this.#awayReason;
    return reason instanceof Error ? reason : new BackendUnavailable(String(reason));
  }

  /** Number of task ids waited for. */
  get size(): number {
    return this.#byId.size;
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  ids(): IterableIterator<string> {
    return this.#byId.keys();
  }

  add(id: string, options: WatchOptions<R>): Promise<R> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise<R>((resolve, reject) => {
      const wait = new Wait(this, id, options, resolve, reject);
      const there = this.#byId.get(id);
      if (there === undefined) this.#byId.set(id, [wait]);
      else there.push(wait);
      if (signal !== undefined) this.#aborts.join(signal, wait);
      if (this.#awaySinceMs !== null && options.lostAfter != null) this.#armTimer();
    });
  }

  /** Tells the waits of `id` of a record; `encoded`, when given, tells a repeated update from a new one. */
  offer(id: string, record: R, encoded: Uint8Array | null = null): void {
    const waits = this.#byId.get(id);
    if (waits === undefined) return;
    if (this.#options.isReady(record)) {
      this.#remove(id);
      for (const wait of waits) {
        this.#unlisten(wait);
        wait.resolve(record);
      }
      return;
    }
    for (const wait of [...waits]) {
      const { onUpdate } = wait.options;
      if (onUpdate === undefined) continue;
      if (encoded !== null) {
        if (wait.seen !== null && Buffer.compare(wait.seen, encoded) === 0) continue;
        wait.seen = Buffer.from(encoded); // a copy: what was received may be a slice of something large
      }
      try {
        onUpdate(record);
      } catch (error) {
        this.drop(wait);
        wait.reject(error);
      }
    }
  }

  /** Rejects the waits of one id. */
  fail(id: string, reason: unknown): void {
    const waits = this.#byId.get(id);
    if (waits === undefined) return;
    this.#remove(id);
    for (const wait of waits) {
      this.#unlisten(wait);
      wait.reject(reason);
    }
  }

  /** The backend is closed: nobody will hear of a result any more. */
  close(): void {
    this.storeIsBack();
    for (const id of [...this.#byId.keys()]) {
      this.fail(id, new ResultLost(id, `the result backend was closed while the result of ${id} was awaited`));
    }
  }

  /** Starts the clock of `lostAfter`; repeated calls keep the first moment. */
  storeIsAway(reason: unknown): void {
    this.#awayReason = reason;
    if (this.#awaySinceMs !== null) return;
    this.#awaySinceMs = performance.now();
    this.#armTimer();
  }

  storeIsBack(): void {
    this.#awaySinceMs = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  drop(wait: Wait<R>): void {
    this.#unlisten(wait);
    const waits = this.#byId.get(wait.id);
    const at = waits?.indexOf(wait) ?? -1;
    if (waits === undefined || at < 0) return;
    if (waits.length === 1) this.#remove(wait.id);
    else waits.splice(at, 1);
  }

  #unlisten(wait: Wait<R>): void {
    const { signal } = wait.options;
    if (signal !== undefined) this.#aborts.leave(signal, wait);
  }

  #remove(id: string): void {
    this.#byId.delete(id);
    this.#options.onIdle?.(id);
  }

  /** Rejects those whose store has been away too long and arms the timer for the next one. */
  #armTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const awaySince = this.#awaySinceMs;
    if (awaySince === null) return;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const waits of [...this.#byId.values()]) {
      for (const wait of [...waits]) {
        const { lostAfter } = wait.options;
        if (lostAfter == null) continue;
        const dueInMs = Math.max(awaySince, wait.startedMs) + lostAfter - now;
        if (dueInMs > 0) {
          next = Math.min(next, dueInMs);
          continue;
        }
        this.drop(wait);
        wait.reject(
          new BackendGetMetaError(
            wait.id,
            `the result store has been away for ${lostAfter} ms: ${this.outage?.message ?? ""}`,
            { cause: this.#awayReason },
          ),
        );
      }
    }
    if (next === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#armTimer(), Math.min(LONGEST_TIMER_MS, Math.ceil(next)));
  }
}
