/**
 * How many parts come back for a chord.
 * wire: celery-wire 8.5; celery/canvas.py `_chord._descend`.
 */
import type { WireSignature } from "../signature.ts";
import { type Draft, readDraft } from "./draft.ts";

/** The same for a signature as it travels. */
export function partCount(signature: WireSignature): number {
  return partsOf(readDraft(signature, true));
}

/** Completions that one member of a header gives: a group those of its tasks, a chain those of its last task, a chord those of its body. */
export function partsOf(draft: Draft): number {
  switch (draft.kind) {
    case "task":
      return 1;
    case "group":
      return draft.members.tasks.reduce((sum, task) => sum + partsOf(task), 0);
    case "chain": {
      const last = draft.members.tasks.findLast((task) => partsOf(task) > 0);
      return last === undefined ? 0 : partsOf(last);
    }
    case "chord":
      return draft.members.body === null ? 0 : partsOf(draft.members.body);
  }
}
