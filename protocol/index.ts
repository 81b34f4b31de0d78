/**
 * `lovage/protocol`: the codecs of Celery and Kombu as pure functions over text and bytes. Nothing here opens a socket, reads
 * a clock or draws a random number.
 */
export * from "./binding.ts";
export * from "./bytes.ts";
export { planApply } from "./celery/canvas/apply.ts";
export { chainOf, chordOf, chunksOf, cloned, foldedChain, groupOf, mapOf, piped } from "./celery/canvas/compose.ts";
export { type FreezePlace, planFreeze } from "./celery/canvas/freeze-plan.ts";
export { errorLinked, linked, madeImmutable } from "./celery/canvas/link.ts";
export type * from "./celery/canvas/plan.ts";
export {
  type ChordAddition,
  planAddToChord,
  planReplace,
  type Replaced,
  type Replacement,
} from "./celery/canvas/replace.ts";
export { type StampHow, type Stamps, stamped, type WireVisitor } from "./celery/canvas/stamp.ts";
export { planChordUnlock, type UnlockRoute } from "./celery/canvas/unlock.ts";
export type { ChainRest } from "./celery/chain-tail.ts";
export * from "./celery/events.ts";
export * from "./celery/exceptions.ts";
export * from "./celery/result-codec.ts";
export * from "./celery/result-keys.ts";
export * from "./celery/result-meta.ts";
export * from "./celery/result-tuple.ts";
export * from "./celery/signature.ts";
export * from "./celery/states.ts";
export * from "./celery/task-message.ts";
export * from "./errors.ts";
export * from "./iso-time.ts";
export * from "./json.ts";
export type { JsonText } from "./json-text.ts";
export * from "./kombu/envelope.ts";
export * from "./kombu/filesystem-names.ts";
export * from "./kombu/lamport-clock.ts";
export * from "./kombu/pidbox.ts";
export * from "./kombu/redis-keys.ts";
export * from "./message.ts";
export * from "./mognet/index.ts";
export type { PythonClock, PythonDate } from "./python-isoformat.ts";
export * from "./routing.ts";
export * from "./saferepr.ts";
export * from "./serialization.ts";
export * from "./values.ts";
