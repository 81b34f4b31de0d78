/**
 * A group: its tasks are sent one by one, nested groups flattened.
 * wire: celery-wire 2.3, celery-behaviour 2.6; celery/canvas.py `group.apply_async`, `_prepared`, `_apply_tasks`.
 */
import { ImproperlyConfigured } from "../../errors.ts";
import { apply, type Call } from "./apply.ts";
import { partsOf } from "./chord-size.ts";
import { type Draft, isEmptyChain, isNothing, type Options, textOption } from "./draft.ts";
import { freeze, freezeGroup } from "./freeze.ts";
import { type Copies, clone, mergeArguments } from "./merge.ts";
import type { PlannedStep } from "./plan.ts";
import type { Planner } from "./planner.ts";
import { Promised } from "./results.ts";
import type { Written } from "./wire.ts";

/** `counted` makes the step that tells the size of the chord whose header this is. */
export function applyGroup(
  group: Draft,
  call: Call,
  planner: Planner,
  counted?: (groupId: string, size: number) => PlannedStep,
): Promised {
  const { add_to_parent, link, link_error, producer, ...given } = call.options;
  if (!isNothing(link)) throw new ImproperlyConfigured("Cannot add link to group: use a chord");
  if (!isNothing(link_error)) throw new ImproperlyConfigured("Cannot add link to group: do that on individual tasks");
  if (group.members.tasks.length === 0) {
    const { id, results } = freezeGroup(group, {}, planner.context);
    return new Promised(id, results);
  }
  const { options, groupId } = groupOptions(group, given, planner);
  const results = applyMembers(group, groupId, { ...call, options }, planner, counted);
  let result = new Promised(groupId, results);
  // The result of a group whose only task ends in a group is that group's.
  const only = results[0];
  if (results.length === 1 && only !== undefined && only.children !== null) result = only;
  if (add_to_parent !== false) planner.child(result);
  return result;
}

/** The group's id takes the place of `group_id`: the tasks get it unless they have one. */
function groupOptions(group: Draft, given: Readonly<Options>, planner: Planner): { options: Options; groupId: string } {
  const kept = Object.entries(given).filter(
    ([key]) => !((key === "group_id" || key === "stamped_headers") && Object.hasOwn(group.options, key)),
  );
  const { task_id, add_to_parent, group_index, ...options } = { ...group.options, ...Object.fromEntries(kept) };
  const groupId = typeof task_id === "string" && task_id !== "" ? task_id : planner.context.newId();
  options.group_id = groupId;
  return { options, groupId };
}

function applyMembers(
  group: Draft,
  groupId: string,
  call: Call,
  planner: Planner,
  counted?: (groupId: string, size: number) => PlannedStep,
): Promised[] {
  const { chord, ...options } = call.options;
  const written: Written = call.written ?? new Map();
  const prepared = prepare(group, groupId, textOption(options, "root_id"), planner);
  const results: Promised[] = [];
  const { args, kwargs } = call;
  let common: { body: unknown; call: Call } | null = null;
  let size = 0;
  let next = prepared.next();
  while (!next.done) {
    const { task, result, index, twins } = next.value;
    next = prepared.next();
    const body: unknown = isNothing(chord) ? task.options.chord : chord;
    size += partsOf(task) + twins.length;
    const count =
      next.done && !isNothing(body) ? (counted?.(groupId, size) ?? ({ kind: "size", groupId, size } as const)) : null;
    if (count !== null && twins.length === 0) planner.step(count);
    if (common === null || common.body !== body) {
      // The group is its parent's child, not each task.
      common = {
        body,
        call: { args, kwargs, options: { ...options, add_to_parent: false, chord: body ?? null }, written },
      };
    }
    apply(task, common.call, planner);
    results.push(result);
    for (let at = 0; at < twins.length; at++) {
      const { task: twin, result: itsResult } = twins[at] as Twin;
      if (count !== null && at === twins.length - 1) planner.step(count);
      planner.again(twin.task, mergeArguments(twin, args, kwargs), { id: itsResult.id, groupIndex: index + 1 + at });
      results.push(itsResult);
    }
  }
  return results;
}

interface Member {
  readonly task: Draft;
  readonly result: Promised;
  readonly index: number;
  /** Those that follow and are plain tasks with the options of this one, but for id and index: they are neither copied nor frozen. */
  readonly twins: readonly Twin[];
}

interface Twin {
  readonly task: Draft;
  readonly result: Promised;
}

/** Frozen copies of the tasks. Each nested group counts its own indices from 0, as in Celery. */
function* prepare(
  group: Draft,
  groupId: string,
  rootId: string | null,
  planner: Planner,
  copies: Copies = new Map(),
): Generator<Member, undefined> {
  const { tasks } = group.members;
  for (let index = 0, end = 0; index < tasks.length; index = end) {
    const member = tasks[index] as Draft;
    end = index + 1;
    const task = clone(member, undefined, copies);
    if (task.kind === "group") yield* prepare(task, groupId, rootId, planner, copies);
    else if (!isEmptyChain(task)) {
      const result = freeze(task, { groupId, rootId, groupIndex: index }, planner.context);
      const twins: Twin[] = [];
      for (let twin = tasks[end]; twin !== undefined && areTwins(member, twin); twin = tasks[++end]) {
        const id = textOption(twin.options, "task_id") ?? planner.context.newId();
        twins.push({ task: twin, result: new Promised(id) });
      }
      yield { task, result, index, twins };
    }
  }
}

function areTwins(one: Draft, other: Draft): boolean {
  if (one.kind !== "task" || other.kind !== "task") return false;
  let count = 0;
  for (const name in other.options) {
    count++;
    if (one.options[name] === other.options[name]) continue;
    if ((name !== "task_id" && name !== "group_index") || one.options[name] === undefined) return false;
  }
  for (const _name in one.options) count--;
  return count === 0;
}
