/**
 * Freezing a signature as data: every id settled before it is sent, by whoever will send it.
 * wire: celery-wire 2.2; celery/canvas.py `freeze`.
 */
import { ImproperlyConfigured } from "../../errors.ts";
import type { ResultTuple } from "../result-tuple.ts";
import type { WireSignature } from "../signature.ts";
import { asDraft, type Draft, readDraft } from "./draft.ts";
import { freeze } from "./freeze.ts";
import type { PlanContext } from "./plan.ts";
import { resultTuple } from "./results.ts";
import { toWire } from "./wire.ts";

/** Where a signature stands when it is frozen. wire: the arguments of celery/canvas.py `Signature.freeze`. */
export interface FreezePlace {
  /** Of the last task, or of a chord's body. */
  id?: string | null;
  groupId?: string | null;
  groupIndex?: number | null;
  rootId?: string | null;
  parentId?: string | null;
  /** The body of the chord that the signature is a part of. */
  chord?: WireSignature | null;
}

/** The signature with its ids, and the result that it will have. What already has an id keeps it. Throws `ImproperlyConfigured` for an empty chain. */
export function planFreeze(
  signature: WireSignature,
  place: FreezePlace,
  context: PlanContext,
): { signature: WireSignature; result: ResultTuple } {
  const draft = readDraft(signature, context.own === true);
  if (isVoid(draft)) throw new ImproperlyConfigured("an empty chain has nothing to send and no result");
  const result = freeze(draft, { ...place, chord: asDraft(place.chord) }, context);
  return { signature: toWire(draft), result: resultTuple(result) };
}

function isVoid({ kind, members }: Draft): boolean {
  return kind === "chain" && members.tasks.every(isVoid);
}
