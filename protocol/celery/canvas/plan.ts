/**
 * From a signature to what must be sent, as data: flattening, freezing (ids), merging of options, expansion of groups and chords,
 * in the order in which Celery sends. Client and worker carry the plan out; nothing here sends.
 * wire: celery-wire 2.1 to 2.3, celery-behaviour 2.1, 2.5, 2.6; celery/canvas.py.
 */
import type { ResultTuple } from "../result-meta.ts";
import type { WireSignature } from "../signature.ts";

/** One message. `options` are those of a signature (`task_id`, `root_id`, `chain`, `chord`, `group_index`, …), every id settled. */
export interface PlannedTask {
  readonly kind: "task";
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * A chord becomes countable. A counting backend is told the size at this point, which the plan puts just before the last message
 * of the chord's header; a backend that cannot count has `celery.chord_unlock` sent instead.
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
}

export interface CanvasPlan {
  /** In the order of sending. Empty for an empty group. */
  readonly steps: readonly (PlannedTask | PlannedChord)[];
  /** What the sender gets back, parents included (`Signature.apply_async(…).as_tuple()`). */
  readonly result: ResultTuple;
}
