/**
 * From a signature to what must be sent, as data: flattening, freezing (ids), merging of options, expansion of groups and chords,
 * in the order in which Celery sends. Client and worker carry the plan out; nothing here sends.
 * wire: celery-wire 2.1 to 2.3, celery-behaviour 2.1, 2.5, 2.6; celery/canvas.py.
 */
import type { ResultTuple } from "../result-tuple.ts";
import type { WireSignature } from "../signature.ts";

/** What a plan takes from the process that makes it. */
export interface PlanContext {
  /** A fresh id for each task, group and chord that has none. */
  newId(): string;
  /** `reply_to` of signatures that have none. */
  replyTo: string;
  /** The task that is sending, when one is: messages without `parent_id` or `root_id` get its ids. */
  parent?: { readonly id: string; readonly rootId?: string | null } | null;
  /**
   * True: the signature is the caller's own object, not one read from a message, so at the top a map, starmap or chunks is what its
   * Python class makes of it (celery-behaviour 2.1). @default false
   */
  own?: boolean;
  /**
   * True: whatever group a replacement ends in is collected under the id of the replaced task. Celery collects one that stands alone or
   * last in a chain, and never answers for the id when a chord's body is a group. @default false
   */
  collectsGroups?: boolean;
  /** `task_allow_error_cb_on_chord_header`. @default false */
  errbacksOnChordHeader?: boolean;
}

/** What `apply_async` is given besides the signature. `options` are wire-style; null values count as in Celery. */
export interface Given {
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  options?: Readonly<Record<string, unknown>>;
}

/** One message. `options` are those of a signature (`task_id`, `root_id`, `chain`, `chord`, `group_index`, …), every id settled. */
export interface PlannedTask {
  readonly kind: "task";
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Tasks of one group share the very same `chord` object, so its text can be made once. */
  readonly options: Readonly<Record<string, unknown>>;
  /** An earlier task that has the same options but for `task_id`, `root_id` and `group_index`, where that is known. */
  readonly like?: PlannedTask | null;
}

/**
 * A chord becomes countable. A counting backend is told the size at this point, which the plan puts just before the last member
 * of the chord's header; a backend that cannot count has `celery.chord_unlock` sent instead (`planChordUnlock`).
 */
export interface PlannedChord {
  readonly kind: "chord";
  readonly groupId: string;
  /** Parts that will be returned. */
  readonly size: number;
  /** Frozen, with the options that its start needs. */
  readonly body: WireSignature;
  /** Results of the header's members, as nested tuples. */
  readonly header: readonly ResultTuple[];
  /** Some member of the header ends in a group: its results are joined from the store, not from the counter. */
  readonly complex: boolean;
  /** For `celery.chord_unlock`: seconds between its tries (null: `result_chord_retry_interval`). */
  readonly interval: unknown;
  /** For `celery.chord_unlock`: null is for ever. */
  readonly maxRetries: unknown;
}

/**
 * Celery tells a counting backend this size although the group is no chord's header of its own: a group with a `chord` option, whose
 * parts count for an outer group. Backends that cannot count ignore it.
 */
export interface PlannedSize {
  readonly kind: "size";
  readonly groupId: string;
  readonly size: number;
}

/** One act of a plan. */
export type PlannedStep = PlannedTask | PlannedChord | PlannedSize;

/** All that `apply_async` of a signature does, as data: messages in Celery's order, chords to be counted, and the result. */
export interface CanvasPlan {
  /** In the order of sending. Empty for an empty group. */
  readonly steps: readonly PlannedStep[];
  /** What the sender gets back, parents included (`Signature.apply_async(…).as_tuple()`). Null for an empty chain: Celery gives None. */
  readonly result: ResultTuple | null;
  /**
   * What becomes a child of the sending task, in order (`Task.add_trail`): the tasks and groups without `add_to_parent` false. Each
   * `celery.chord_unlock` that is sent is one more, in front of its header.
   */
  readonly children: readonly ResultTuple[];
  /** There is a chord, here or in a later step of a chain: a backend that refuses chords refuses the whole plan. */
  readonly needsChords: boolean;
}
