/**
 * A chain: its first step is sent, the others travel with it.
 * wire: celery-wire 2.3; celery/canvas.py `_chain.run`, `_prepare_chain_from_options`.
 */
import { apply, type Call } from "./apply.ts";
import { asDraft, type Draft, isNothing, textOption } from "./draft.ts";
import { extendOption } from "./link.ts";
import type { Planner } from "./planner.ts";
import { prepareSteps } from "./prepare-steps.ts";
import type { Promised } from "./results.ts";

/** The result of the last step, or what the only step returned: a group in its place is then the group that was sent. */
export function applyChain(chain: Draft, call: Call, planner: Planner): Promised | null {
  const {
    group_id,
    chord,
    task_id,
    link,
    link_error,
    root_id,
    parent_id,
    group_index,
    producer,
    publisher,
    ...options
  } = {
    ...chain.options,
    ...call.options,
  };
  const place = { task_id, group_id, root_id };
  const { tasks, results, hasChord } = prepareSteps(
    chain,
    {
      args: call.args.length > 0 && !chain.immutable ? [...call.args, ...chain.args] : chain.args,
      kwargs: call.kwargs,
      copy: true,
      rootId: textOption(place, "root_id"),
      linkErrors: link_error,
      lastId: textOption(place, "task_id"),
      groupId: textOption(place, "group_id"),
      groupIndex: typeof group_index === "number" ? group_index : null,
      chord: asDraft(chord),
    },
    planner.context,
  );
  if (hasChord) planner.sawChord();
  const last = tasks[0];
  const first = tasks.pop();
  if (last === undefined || first === undefined) return null;
  if (!isNothing(link) && !(Array.isArray(link) && link.length === 0)) extendOption(last.options, "link", link);
  const rest = Array.isArray(options.chain) ? [...options.chain, ...tasks] : tasks;
  const result = apply(first, { args: [], kwargs: {}, options: { ...options, chain: rest } }, planner);
  return tasks.length === 0 ? result : (results[0] ?? null);
}
