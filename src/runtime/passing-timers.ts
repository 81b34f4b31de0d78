/** Timers that go with the last of them, so that what is idle keeps no process alive. */
import { TimerHeap } from "./timer-heap.ts";

export class PassingTimers {
  #heap: TimerHeap | null = null;

  /** Runs something later; returns what cancels it. */
  after(ms: number, run: () => void): () => void {
    this.#heap ??= new TimerHeap(() => performance.now());
    const heap = this.#heap;
    const entry = heap.at(performance.now() + ms, run);
    return () => {
      heap.cancel(entry);
      if (heap.size > 0) return;
      heap.close();
      if (this.#heap === heap) this.#heap = null;
    };
  }

  close(): void {
    this.#heap?.close();
    this.#heap = null;
  }
}
