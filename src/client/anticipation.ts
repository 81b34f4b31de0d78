/**
 * Listening for a result before anyone asks: a client that awaits what it sends would otherwise subscribe only after the broker
 * has confirmed the message, when the result is often there already. It is a habit, not a rule: it starts when a result is
 * awaited and stops when results that were listened for are not.
 */
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";

/** Results listened for and not yet asked for; the oldest makes room, and the habit ends. */
const MOST = 100;

interface Early {
  readonly record: Promise<ResultMeta>;
  readonly stop: AbortController;
}

export class Anticipation {
  readonly #backend: ResultBackend<ResultMeta>;
  readonly #lostAfter: number | null;
  readonly #early = new Map<string, Early>();
  #habit = false;

  constructor(backend: ResultBackend<ResultMeta>, lostAfter: number | null) {
    this.#backend = backend;
    this.#lostAfter = lostAfter;
  }

  /** Results listened for and not yet asked for. */
  get size(): number {
    return this.#early.size;
  }

  /** A task is about to be sent. Its record, when it is listened for. */
  expect(id: string): Promise<ResultMeta> | null {
    if (!this.#habit) return null;
    if (this.#early.size >= MOST) {
      this.#habit = false;
      for (const oldest of this.#early.keys()) this.forget(oldest);
      return null;
    }
    const stop = new AbortController();
    const record = this.#backend.watch(id, { signal: stop.signal, lostAfter: this.#lostAfter });
    // Nobody may ever ask; who does gets the rejection from `take`.
    record.catch(() => this.#early.delete(id));
    this.#early.set(id, { record, stop });
    return record;
  }

  /** A result is awaited: what was heard of it so far, if it was listened for. The caller ends the listening. */
  take(id: string): Early | null {
    this.#habit = true;
    const early = this.#early.get(id);
    if (early === undefined) return null;
    this.#early.delete(id);
    return early;
  }

  /** The task was not sent, or nobody wants its result. */
  forget(id: string): void {
    const early = this.#early.get(id);
    if (early === undefined) return;
    this.#early.delete(id);
    early.stop.abort();
  }

  close(): void {
    this.#habit = false;
    for (const id of [...this.#early.keys()]) this.forget(id);
  }
}
