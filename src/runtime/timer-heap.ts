/**
 * One timer for any number of deadlines: a binary heap of entries and a single `setTimeout` for the earliest one.
 * Adding and taking are O(log n); cancelling marks the entry, and a heap that is mostly cancelled is rebuilt.
 */

export interface TimerEntry {
  readonly dueMs: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** `setTimeout` overflows above this, and fires at once: 24 days. */
export const LONGEST_TIMER_MS = 2_147_000_000;

export class TimerHeap {
  readonly #now: () => number;
  #heap: TimerEntry[] = [];
  #cancelled = 0;
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Number.POSITIVE_INFINITY;
  #closed = false;

  /** `now` is wall-clock milliseconds: an ETA is a wall-clock instant. For spans of time there is `steadyTimers`. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Milliseconds, as `at` takes them. */
  get now(): number {
    return this.#now();
  }

  /** Live entries. */
  get size(): number {
    return this.#heap.length - this.#cancelled;
  }

  /** Calls `run` once when `dueMs` (Unix milliseconds) has come. */
  at(dueMs: number, run: () => void): TimerEntry {
    const entry: TimerEntry = { dueMs, run, cancelled: false };
    this.#push(entry);
    if (dueMs < this.#armedFor) this.#arm();
    return entry;
  }

  /** Calls `run` once when so many milliseconds have gone by. */
  after(ms: number, run: () => void): TimerEntry {
    return this.at(this.#now() + ms, run);
  }

  cancel(entry: TimerEntry): void {
    if (entry.cancelled) return;
    entry.cancelled = true;
    this.#cancelled++;
    if (this.#cancelled > 1024 && this.#cancelled * 2 > this.#heap.length) this.#rebuild();
  }

  /** Forgets everything; no entry fires afterwards. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#heap = [];
    this.#cancelled = 0;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#armedFor = Number.POSITIVE_INFINITY;
    const first = this.#heap[0];
    if (first === undefined || this.#closed) return;
    this.#armedFor = first.dueMs;
    // Farther deadlines are looked at again then.
    const wait = Math.min(LONGEST_TIMER_MS, Math.max(0, first.dueMs - this.#now()));
    this.#timer = setTimeout(() => this.#fire(), wait);
  }

  #fire(): void {
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#now();
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || (first.dueMs > now && !first.cancelled)) break;
      this.#pop();
      if (first.cancelled) this.#cancelled--;
      else {
        // Counted as gone: cancelling an entry that has fired changes nothing.
        first.cancelled = true;
        first.run();
      }
      if (this.#closed) return;
    }
    this.#arm();
  }

  #push(entry: TimerEntry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent]!;
      if (above.dueMs <= entry.dueMs) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueMs < heap[child]!.dueMs) child++;
      if (heap[child]!.dueMs >= last.dueMs) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }

  #rebuild(): void {
    const live = this.#heap.filter((entry) => !entry.cancelled);
    live.sort((a, b) => a.dueMs - b.dueMs);
    this.#heap = live;
    this.#cancelled = 0;
  }
}

/**
 * For limits, heartbeats and whatever else lasts a while: the clock of the machine may be set meanwhile, or the machine have slept,
 * which neither ends a task nor silences a worker.
 */
export function steadyTimers(): TimerHeap {
  return new TimerHeap(() => performance.now());
}
