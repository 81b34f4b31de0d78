/**
 * What a result backend may do beyond records: keep groups, and count the parts of a chord such that exactly one of many workers
 * sends its body. Redis counts as Celery 5.7 does; a backend without `chords` but with shared reads has `celery.chord_unlock`
 * sent instead; one without shared reads (rpc) refuses chords. Clauses are tests in `chord-counter.contract.ts`.
 * wire: celery-wire 8.4 to 8.6; celery/backends/redis.py `apply_chord`, `set_chord_size`, `on_chord_part_return`.
 */
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import { BackendError } from "./errors.ts";

/** What a member of the header has come to. */
export interface ChordPart {
  readonly taskId: string;
  /** Place among the results that the body gets; parts without one come last. */
  readonly groupIndex: number | null;
  /** SUCCESS, FAILURE or REVOKED. */
  readonly state: string;
  /** The return value, or the exception as a result document holds it (`exc_type`, `exc_message`, `exc_module`). */
  readonly result: unknown;
}

export interface ChordStart {
  /** Parts that will be returned. */
  readonly size: number;
  /** Results of the header's members when one of them ends in a group; they are joined then. Null: parts are enough. */
  readonly header: ResultTuple | null;
}

export interface ChordCounter {
  /**
   * Makes a chord countable, just before the last message of its header is sent. A group id that is started again is a new run.
   * Waits and retries while the store is away, until `stop` aborts; rejects then, when the backend is closed, or the store refuses.
   */
  start(groupId: string, chord: ChordStart, stop?: AbortSignal): Promise<void>;
  /**
   * Records one part. The same task and index counts once, with its first result. Resolves with a claim for exactly one of those
   * who return a part while all are in, else with null. Waits and retries as `start` does; `EncodeError` when the result has no
   * form.
   */
  returned(groupId: string, part: ChordPart): Promise<ChordClaim | null>;
  /** So many more parts will be returned (`add_to_chord`); less than 0: they will not. */
  addParts(groupId: string, count: number): Promise<void>;
  /** Whatever returns from now on, nobody is given the claim. False: the body was sent. Waits and retries as `start` does. */
  end(groupId: string): Promise<boolean>;
}

/** The right, for a few seconds, to finish a chord. */
export interface ChordClaim {
  readonly groupId: string;
  /** Lifetime in seconds that it was given. */
  readonly seconds: number;
  /** Saved results to be joined, or all parts in the order of their index. */
  collect(): Promise<{ readonly header: ResultTuple } | { readonly parts: readonly CollectedPart[] }>;
  /** Keeps the claim for as long as publishing may take. False: another has it, and nothing may be sent. */
  extend(seconds: number): Promise<boolean>;
  /** The body was sent, or could not be: nobody shall send it again. False: the claim was lost meanwhile. */
  done(): Promise<boolean>;
  /** The chord failed: a part that comes once more does not fail it again. */
  failed(): Promise<void>;
}

/** A part as it was recorded. */
export type CollectedPart = Omit<ChordPart, "groupIndex">;

/** Groups kept by id (`GroupResult.save`, `restore`, `delete`). */
export interface GroupStore {
  save(group: ResultTuple): Promise<void>;
  /** Null: nothing is stored. Rejects with `BackendGetMetaError` when the store is away. */
  restore(groupId: string): Promise<ResultTuple | null>;
  forget(groupId: string): Promise<void>;
}

/** How groups and parts of chords are named and written; beside `RecordCodec`, which does the same for records. */
export interface GroupCodec {
  /** Key of a group's record, such as `celery-taskset-meta-<id>`; those of its chord are this and a suffix. */
  key(groupId: string): string;
  /** Throws `EncodeError`. */
  encode(value: unknown): { body: string | Uint8Array };
  /** Throws `DecodeError`. */
  decode(bytes: Uint8Array): unknown;
}

/** This result backend can neither count the parts of a chord nor be read by `celery.chord_unlock`. */
export class ChordsNotSupported extends BackendError {
  static readonly python = "builtins.NotImplementedError";
  constructor(message: string) {
    super("CHORDS_NOT_SUPPORTED", message);
  }
}

/** Throws `ChordsNotSupported` where Celery's backend raises NotImplementedError (celery/backends/base.py `ensure_chords_allowed`). */
export function requireChords(backend: { readonly name: string; readonly can: { sharedReads: boolean } } | null): void {
  if (backend === null) {
    throw new ChordsNotSupported(
      "Starting chords requires a result backend to be configured.\n\n" +
        "Note that a group chained with a task is also upgraded to be a chord,\nas this pattern requires synchronization.\n\n" +
        "Result backends that supports chords: Redis, Database, Memcached, and more.",
    );
  }
  if (backend.can.sharedReads) return;
  throw new ChordsNotSupported(
    `The "${backend.name}" result backend does not support chords!\n\n` +
      "Note that a group chained with a task is also upgraded to be a chord,\nas this pattern requires synchronization.\n\n" +
      "Result backends that supports chords: Redis, Database, Memcached, and more.",
  );
}
