/**
 * Callbacks and errbacks added to signatures of every kind.
 * wire: celery-wire 2.3, celery-behaviour 2.4; celery/canvas.py `link`, `link_error`, `append_to_list_option`, `_add_body_callbacks`.
 */
import { InvalidTaskError } from "../../errors.ts";
import type { WireSignature } from "../signature.ts";
import { asDraft, type Draft, headerMembers, isNothing, listed, type Options, readDraft } from "./draft.ts";
import { clone, cloneWithMembers } from "./merge.ts";
import type { PlanContext } from "./plan.ts";
import { sameSignature, toWire } from "./wire.ts";

type ListOption = "link" | "link_error";

/** Adds to the option of the signature itself, unless an equal signature is there. */
export function appendOnce(draft: Draft, option: ListOption, value: unknown): void {
  const items = listed(draft.options[option]);
  draft.options[option] = items.some((item) => sameSignature(item, value)) ? items : [...items, value];
}

export function extendOption(options: Options, option: ListOption, values: unknown): void {
  options[option] = [...listed(options[option]), ...listed(values)];
}

/** A chord's callback goes to its body; a group's to its first task, immutable, since one task cannot pass on what its siblings return. */
export function link(draft: Draft, callback: unknown): void {
  if (draft.kind === "chord") link(requiredBody(draft), callback);
  else if (draft.kind === "group") {
    const first = draft.members.tasks[0];
    if (first === undefined) throw new InvalidTaskError("an empty group cannot have a callback");
    const copy = clone(required(callback));
    setImmutable(copy, true);
    link(first, copy);
  } else appendOnce(draft, "link", callback);
}

/** A group's errback goes to each of its tasks; a chord's to its body and to the chords in its header. */
export function linkError(
  draft: Draft,
  errback: unknown,
  context: Pick<PlanContext, "errbacksOnChordHeader">,
  told: Told = new Map(),
): void {
  if (draft.kind === "group") {
    const signature = required(errback);
    for (const task of draft.members.tasks) linkError(task, clone(signature), context, told);
  } else if (draft.kind === "chord") linkErrorToChord(draft, required(errback), context, told);
  else appendOnce(draft, "link_error", errback);
}

/** What chords have been given already: a chord in a header is reached twice, one in its header four times, and so on. */
type Told = Map<Draft, Draft[]>;

function linkErrorToChord(
  chord: Draft,
  errback: Draft,
  context: Pick<PlanContext, "errbacksOnChordHeader">,
  told: Told,
): void {
  const before = told.get(chord) ?? [];
  if (before.some((one) => sameSignature(one, errback))) return;
  told.set(chord, [...before, errback]);
  const header = chord.members.header;
  const direct = Array.isArray(header) ? header : [header];
  if (context.errbacksOnChordHeader) {
    for (const task of direct) linkError(task, clone(errback, { options: { immutable: true } }), context, told);
  }
  for (const task of direct) {
    if (task.kind === "chord") linkError(task, errback, context, told);
  }
  linkError(requiredBody(chord), errback, context, told);
}

/** Of a group its tasks, of a chord its header: neither is called with anything itself. */
export function setImmutable(draft: Draft, immutable: boolean): void {
  if (draft.kind === "group") for (const task of draft.members.tasks) setImmutable(task, immutable);
  else if (draft.kind === "chord") for (const task of headerMembers(draft)) setImmutable(task, immutable);
  else draft.immutable = immutable;
}

/**
 * The body with `link` and `link_error` that were given to its chord, which are taken out of `options`: they must not reach the
 * header, as a group refuses them. A copy when there are any.
 */
export function withBodyCallbacks(body: Draft, options: Options, context: PlanContext): Draft {
  const callbacks = listed(options.link);
  const errbacks = listed(options.link_error);
  delete options.link;
  delete options.link_error;
  if (callbacks.length === 0 && errbacks.length === 0) return body;
  const linked = cloneWithMembers(body);
  for (const value of callbacks) {
    const callback = cloneWithMembers(required(value));
    if (linked.kind === "group" && linked.members.tasks.length === 0) appendOnce(linked, "link", callback);
    else link(linked, callback);
  }
  for (const errback of errbacks) {
    if (linked.kind === "group") linkErrorToGroupBody(linked, required(errback), true, context);
    else appendOnce(linked, "link_error", errback);
  }
  return linked;
}

/** A group that runs as one and has errbacks of its own gets it there: when it runs, they replace those of its tasks. */
function linkErrorToGroupBody(draft: Draft, errback: Draft, runsAsGroup: boolean, context: PlanContext): void {
  if (draft.kind === "group") {
    if (runsAsGroup && !isNothing(draft.options.link_error)) appendOnce(draft, "link_error", clone(errback));
    else for (const task of draft.members.tasks) linkErrorToGroupBody(task, errback, false, context);
  } else if (draft.kind === "chord") linkErrorToGroupBody(requiredBody(draft), errback, true, context);
  else linkError(draft, clone(errback), context);
}

function required(value: unknown): Draft {
  const draft = asDraft(value);
  if (draft === null) throw new InvalidTaskError("a callback must be a signature");
  return draft;
}

function requiredBody(chord: Draft): Draft {
  if (chord.members.body === null) throw new InvalidTaskError("a chord needs a body");
  return chord.members.body;
}

/** Sends `callback` when the signature succeeds; of a group when its first member does, and then without its result. */
export function linked(signature: WireSignature, callback: WireSignature): WireSignature {
  return changed(signature, (draft) => link(draft, readDraft(callback, true)));
}

/**
 * Sends `errback` when the signature fails: of a group when any member does, of a chord when its body does. With `onHeader`
 * (Celery's `task_allow_error_cb_on_chord_header`) also when a member of a chord's header does.
 */
export function errorLinked(signature: WireSignature, errback: WireSignature, onHeader = false): WireSignature {
  return changed(signature, (draft) => linkError(draft, readDraft(errback, true), { errbacksOnChordHeader: onHeader }));
}

/** Immutable signatures take no results. */
export function madeImmutable(signature: WireSignature, immutable: boolean): WireSignature {
  return changed(signature, (draft) => setImmutable(draft, immutable));
}

/** A copy in which the change was made. */
function changed(signature: WireSignature, change: (draft: Draft) => void): WireSignature {
  const draft = readDraft(signature, true);
  change(draft);
  return { ...signature, ...toWire(draft) };
}
