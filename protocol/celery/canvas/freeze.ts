/**
 * Freezing: ids and places in groups and chords settled inside a signature, and the result that follows from them.
 * wire: celery-wire 2.2, 2.3; celery/canvas.py `Signature.freeze`, `group.freeze`, `_chord.freeze`, `_chain.freeze`.
 */
import { InvalidTaskError } from "../../errors.ts";
import { type Draft, isEmptyChain, isEmptyGroup, newGroup, pushAll, textOption } from "./draft.ts";
import { clone } from "./merge.ts";
import type { PlanContext } from "./plan.ts";
import { prepareSteps } from "./prepare-steps.ts";
import { Promised } from "./results.ts";

/** The place that a frozen signature takes. Null and absent are the same: nothing to write. */
export interface Place {
  id?: string | null;
  groupId?: string | null;
  chord?: Draft | null;
  rootId?: string | null;
  parentId?: string | null;
  groupIndex?: number | null;
}

/** Writes ids into the signature itself; what already has an id or a group keeps it. An empty group as body is none: false in Python. */
export function freeze(draft: Draft, place: Place, context: PlanContext): Promised {
  switch (draft.kind) {
    case "chain":
      return freezeChain(draft, place, context);
    case "group": {
      const { id, results } = freezeGroup(draft, place, context);
      return new Promised(id, results);
    }
    case "chord":
      return freezeChord(draft, place, context);
    case "task":
      return freezeTask(draft, place, context);
  }
}

function freezeTask(draft: Draft, place: Place, context: PlanContext): Promised {
  const options = draft.options;
  const id = textOption(options, "task_id") ?? place.id ?? context.newId();
  options.task_id = id;
  if (place.rootId) options.root_id = place.rootId;
  if (place.parentId) options.parent_id = place.parentId;
  if (!("reply_to" in options)) options.reply_to = context.replyTo;
  if (place.groupId && !("group_id" in options)) options.group_id = place.groupId;
  if (place.chord && !isEmptyGroup(place.chord)) options.chord = place.chord;
  if (place.groupIndex !== null && place.groupIndex !== undefined) options.group_index = place.groupIndex;
  return new Promised(id);
}

/** The place in an outer group is only noted in the group's options; its tasks are flattened, copied and frozen in it. */
export function freezeGroup(group: Draft, place: Place, context: PlanContext): { id: string; results: Promised[] } {
  const options = group.options;
  const id = textOption(options, "task_id") ?? context.newId();
  options.task_id = id;
  if (place.groupId) options.group_id = place.groupId;
  if (place.chord && !isEmptyGroup(place.chord)) options.chord = place.chord;
  if (place.groupIndex !== null && place.groupIndex !== undefined) options.group_index = place.groupIndex;
  if (!("root_id" in options)) options.root_id = place.rootId ?? null;
  if (!("parent_id" in options)) options.parent_id = place.parentId ?? null;
  const { groupId, chord } = place;
  const rootId = textOption(options, "root_id");
  const parentId = textOption(options, "parent_id");
  const tasks = flattened(group);
  const results = tasks.map((task, groupIndex) =>
    freeze(task, { groupId, chord, rootId, parentId, groupIndex }, context),
  );
  // The array itself is kept: snapshots of this group share it.
  replaceAll(group.members.tasks, tasks);
  return { id, results };
}

/** Copies of all tasks, those of nested groups in reversed order: Celery puts them one by one in front of its queue. */
function flattened(group: Draft): Draft[] {
  const flat: Draft[] = [];
  const waiting = group.members.tasks.toReversed();
  for (let task = waiting.pop(); task !== undefined; task = waiting.pop()) {
    const copy = clone(task);
    if (copy.kind === "group") pushAll(waiting, copy.members.tasks);
    else if (!isEmptyChain(copy)) flat.push(copy);
  }
  return flat;
}

function replaceAll(tasks: Draft[], replacement: readonly Draft[]): void {
  tasks.length = 0;
  pushAll(tasks, replacement);
}

/** The header as a group with the body on each task, then the body, whose first result gets the header as parent. */
function freezeChord(chord: Draft, place: Place, context: PlanContext): Promised {
  const members = chord.members;
  if (Array.isArray(members.header)) members.header = newGroup(members.header);
  const header = members.header;
  const { rootId, parentId } = place;
  const frozen = freezeGroup(header, { parentId, rootId, chord: members.body }, context);
  chord.options.task_id = header.options.task_id;
  if (members.body === null) throw new InvalidTaskError("a chord needs a body");
  const { id, groupId, groupIndex } = place;
  const result = freeze(members.body, { id, rootId, chord: place.chord, groupId, groupIndex }, context);
  setFirstParent(result, new Promised(frozen.id, frozen.results));
  return result;
}

function setFirstParent(result: Promised, parent: Promised): void {
  const seen = new Set<string>();
  let node = result;
  for (;;) {
    if (seen.has(node.id)) throw new InvalidTaskError(`the result ${node.id} is its own parent`);
    seen.add(node.id);
    if (node.parent === null) break;
    node = node.parent;
  }
  node.parent = parent;
}

function freezeChain(chain: Draft, place: Place, context: PlanContext): Promised {
  const { results } = prepareSteps(
    chain,
    {
      args: chain.args,
      copy: false,
      lastId: place.id ?? null,
      groupId: place.groupId ?? null,
      chord: place.chord ?? null,
      rootId: place.rootId ?? null,
      groupIndex: place.groupIndex ?? null,
    },
    context,
  );
  const last = results[0];
  if (last === undefined) throw new InvalidTaskError("an empty chain has no result");
  return last;
}
