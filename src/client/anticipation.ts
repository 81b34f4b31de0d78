/**
 * Listening for a result before anyone asks: a client that awaits what it sends would otherwise subscribe only after the broker
 * has confirmed the message, when the result is often there already. It is a habit, not a rule: it starts when a result is
 * awaited and stops when results that were listened for are not.
 *
 * A client with the habit also listens ahead, for the ids that it will give to its next tasks: a call then has nothing to do but
 * send, and one subscription serves several. Ids that are not used within a second are given up.
 */
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { Canceller } from "../runtime/cancellation.ts";

/** Results listened for and not yet asked for; the oldest makes room, and the habit ends. */
const MOST = 100;
/** Ids listened for ahead: twice as many each time that all were used, up to this. */
const MOST_AHEAD = 16;
const KEPT_MS = 1_000;

export interface Early {
  readonly record: Promise<ResultMeta>;
  readonly stop: Canceller;
}

export interface AnticipationParts {
  readonly backend: ResultBackend<ResultMeta>;
  /** Milliseconds a wait bears a store that is away; null: for ever. */
  readonly lostAfterMs: number | null;
  /** Task ids. */
  readonly ids: () => string;
}

export class Anticipation {
  readonly #parts: AnticipationParts;
  readonly #early = new Map<string, Early>();
  #habit = false;
  /** Listened for, and of no task yet. */
  readonly #ahead = new Map<string, Early>();
  #aheadNext = 1;
  #unused: NodeJS.Timeout | null = null;

  constructor(parts: AnticipationParts) {
    this.#parts = parts;
  }

  /** Results listened for and not yet asked for, those of tasks to come included. */
  get size(): number {
    return this.#early.size + this.#ahead.size;
  }

  /** The id for a task: one that is listened for already, if there is. */
  newId(): string {
    for (const [id, early] of this.#ahead) {
      this.#ahead.delete(id);
      this.#early.set(id, early);
      return id;
    }
    return this.#parts.ids();
  }

  /** A task is about to be sent. Its record, when it is listened for. */
  expect(id: string): Promise<ResultMeta> | null {
    if (!this.#habit) return null;
    if (this.#early.size >= MOST) {
      this.close();
      return null;
    }
    let early = this.#early.get(id);
    if (early === undefined) {
      early = this.#listen(id, sending);
      this.#early.set(id, early);
    }
    return early.record;
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
    this.#giveUp();
    if (this.#unused !== null) clearTimeout(this.#unused);
    this.#unused = null;
    for (const id of [...this.#early.keys()]) this.forget(id);
  }

  /** Listens for the tasks after the one that has just been sent. */
  listenAhead(): void {
    if (!this.#habit || this.#ahead.size > 0) return;
    for (let count = this.#aheadNext; count > 0; count--) {
      const id = this.#parts.ids();
      this.#ahead.set(
        id,
        this.#listen(id, () => this.#ahead.has(id)),
      );
    }
    this.#aheadNext = Math.min(MOST_AHEAD, this.#aheadNext * 2);
    if (this.#unused !== null) this.#unused.refresh();
    else this.#unused = setTimeout(() => this.#giveUp(), KEPT_MS).unref();
  }

  #giveUp(): void {
    for (const early of this.#ahead.values()) early.stop.abort();
    this.#ahead.clear();
    this.#aheadNext = 1;
  }

  #listen(id: string, unsent: () => boolean): Early {
    const { backend, lostAfterMs } = this.#parts;
    const stop = new Canceller();
    const record = backend.watch(id, { signal: stop, lostAfter: lostAfterMs, unsent });
    // Nobody may ever ask; who does gets the rejection from `take`.
    record.catch(() => {
      this.#early.delete(id);
      this.#ahead.delete(id);
    });
    return { record, stop };
  }
}

function sending(): boolean {
  return false;
}
