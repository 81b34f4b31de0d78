/**
 * The contract between Lovage and a store of results: one record per task id, written and announced together. Backends
 * know nothing of what a record means; a `RecordCodec` tells them. Clauses are tests in `result-backend.contract.ts`.
 */

import type { Cancellation } from "../runtime/cancellation.ts";
import type { ChordCounter, GroupCodec, GroupStore } from "./chord-counter.ts";

/** How records of type `R` are named, written and judged. Celery's is `protocol/celery/result-meta.ts`. */
export interface RecordCodec<R> {
  /** Key, channel and file name of a task's record, such as `celery-task-meta-<id>`. */
  key(id: string): string;
  encode(id: string, record: R): EncodedRecord;
  /**
   * Throws `DecodeError`, or `ContentDisallowed` for a content type it does not accept. `exactly` keeps `1.0` and `1` apart, for
   * what is sent on.
   */
  decode(id: string, bytes: Uint8Array, contentType?: string, exactly?: boolean): R;
  /** The task has ended: `watch` resolves. */
  isReady(record: R): boolean;
  /** Once stored it is never overwritten (Celery: SUCCESS, celery/backends/base.py `_store_result`). */
  isFinal(record: R): boolean;
  /** Text with which every encoded final record of Python and of ours begins, so that a store can judge it unread. */
  readonly finalPrefix: string;
  /** Seconds to keep this record; null: for ever. */
  ttl(record: R): number | null;
  /** How groups and chords are kept; without it a backend keeps none. */
  readonly group?: GroupCodec;
}

export interface EncodedRecord {
  body: string | Uint8Array;
  contentType: string;
  contentEncoding: string;
}

/** What the request said about where its answer goes. Only `rpc` looks at it. */
export interface ResultRoute {
  replyTo?: string | null;
  correlationId?: string | null;
}

export interface ResultBackend<R> {
  /** `redis`, `rpc`, `file` or `memory`. */
  readonly name: string;
  readonly can: {
    /** Records can be read by id from any process (rpc: no, a reply goes to one client). */
    sharedReads: boolean;
    /** Records outlive the process. */
    persistent: boolean;
  };
  /** Counts the parts of chords; absent: `celery.chord_unlock` has to, or chords are refused (`requireChords`). */
  readonly chords?: ChordCounter;
  /** Keeps groups by id; absent: it cannot. */
  readonly groups?: GroupStore;
  /** What a request must carry as `reply_to`. For rpc the queue exists, and is consumed, when this resolves. */
  replyTo(): Promise<string>;
  /**
   * Writes and announces together; batched per tick. A stored final record is left as it is. While the store is away this
   * waits and retries for ever (capped backoff with jitter) until done or `close`; it rejects only when the store refuses
   * the record itself (`BackendStoreError`).
   */
  store(id: string, record: R, route?: ResultRoute): Promise<void>;
  /** Null: nothing is stored, which Celery reads as PENDING. Rejects with `BackendGetMetaError` when the store is away. */
  get(id: string, options?: { exactly?: boolean }): Promise<R | null>;
  /**
   * Resolves with the first ready record, also when it was ready before the call; `onUpdate` sees the others (STARTED,
   * RETRY, PROGRESS, …). Subscribe, read once, wait: no polling where the store pushes. Rejects with the signal's reason,
   * with `ResultLost` when the backend is closed, and, if the store stays away for `lostAfter`, with `BackendGetMetaError`.
   */
  watch(id: string, options: WatchOptions<R>): Promise<R>;
  forget(id: string): Promise<void>;
  /** Why the store cannot be heard just now, for the error of a wait that gives up; null while it can. Absent where it is always there. */
  outage?(): Error | null;
  /** Removes records older than `expires` seconds and says how many; absent where the store does so by itself. */
  cleanup?(expires: number): Promise<number>;
  close(): Promise<void>;
}

export interface WatchOptions<R> {
  signal?: Cancellation;
  onUpdate?: (record: R) => void;
  /** Milliseconds that the store may be away before the wait fails; null: wait for it. @default null */
  lostAfter?: number | null;
  /** Asked once the backend listens: the task has not been sent by then, so nothing can have been stored before. */
  unsent?: () => boolean;
}
