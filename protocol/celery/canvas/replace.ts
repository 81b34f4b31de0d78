/**
 * A task replaced by a signature, and a task that adds one to its chord: `Task.replace` and `Task.add_to_chord` as plans.
 * wire: celery-wire 1.9, celery-behaviour 2.9; celery/app/task.py `replace`, `add_to_chord`.
 */
import { ImproperlyConfigured } from "../../errors.ts";
import { encodeSignature, type WireSignature } from "../signature.ts";
import type { TaskRequest } from "../task-message.ts";
import { planPlaced } from "./apply.ts";
import { chainOf, piped } from "./compose.ts";
import { Draft, isEmptyChain, newChord, type Options, readDraft } from "./draft.ts";
import { freeze } from "./freeze.ts";
import { extendOption, link, linkError } from "./link.ts";
import { canvasType, membersOf } from "./parts.ts";
import type { CanvasPlan, PlanContext } from "./plan.ts";
import { toWire } from "./wire.ts";

/** What is read of the task that is replaced, or that adds to its chord. A whole request will do. */
export type Replaced = Pick<TaskRequest, "id" | "rootId" | "group" | "groupIndex" | "replacedTaskNesting"> & {
  embed: TaskRequest["embed"];
};

/** What is sent in place of a running task. */
export interface Replacement {
  plan: CanvasPlan;
  /** What is applied: the replacement with this task's place, callbacks and the rest of its chain. */
  signature: WireSignature;
}

/**
 * What `Task.replace` sends: the last result of the signature gets this task's id, its place in group and chord, its callbacks and what
 * is left of its chain. A group at its end becomes a chord that collects its results. Throws `ImproperlyConfigured` for a signature that is part
 * of a chord already, and for an empty chain.
 */
export function planReplace(signature: WireSignature, request: Replaced, context: PlanContext): Replacement {
  const draft = collected(readDraft(signature, true), context.collectsGroups === true);
  const { callbacks, errbacks, chain } = request.embed;
  for (const callback of callbacks ?? []) link(draft, callback);
  for (const errback of errbacks ?? []) linkError(draft, errback, context);
  if (draft.kind === "chain") moveLinksToLast(draft);
  freeze(draft, { id: request.id }, context);
  const nesting = { replaced_task_nesting: request.replacedTaskNesting + 1 };
  Object.assign(draft.options, placeOf(request), nesting);
  if (draft.kind === "chain") for (const task of draft.members.tasks) Object.assign(task.options, nesting);
  const whole = withRest(toWire(draft, new Map()), chain ?? [], nesting);
  const parent = { id: request.id, rootId: request.rootId };
  return { signature: whole, plan: planPlaced(whole, { ...context, parent: context.parent ?? parent }) };
}

function collected(draft: Draft, thorough: boolean): Draft {
  if ("chord" in draft.options) {
    throw new ImproperlyConfigured("A signature replacing a task must not be part of a chord");
  }
  if (isEmptyChain(draft)) throw new ImproperlyConfigured("Cannot replace with an empty chain");
  if (thorough) return endCollected(draft);
  if (draft.kind === "group") return withAccumulate(draft);
  const tasks = draft.members.tasks;
  const last = tasks.at(-1);
  if (draft.kind === "chain" && last?.kind === "group") tasks[tasks.length - 1] = withAccumulate(last);
  return draft;
}

/** The same for a group in which a chain or a chord ends, however deep. */
function endCollected(draft: Draft): Draft {
  const members = draft.members;
  const last = members.tasks.at(-1);
  if (draft.kind === "group") return withAccumulate(draft);
  if (draft.kind === "chain" && last !== undefined) members.tasks[members.tasks.length - 1] = endCollected(last);
  if (draft.kind === "chord" && members.body !== null) members.body = endCollected(members.body);
  return draft;
}

function withAccumulate(group: Draft): Draft {
  return newChord(group, new Draft("task", "celery.accumulate", { kwargs: { index: 0 } }));
}

/** The chain may become longer; its callbacks are due when the replacement ends. */
function moveLinksToLast(chain: Draft): void {
  const last = chain.members.tasks.at(-1);
  if (last === undefined || !("link" in chain.options)) return;
  extendOption(last.options, "link", chain.options.link);
  delete chain.options.link;
}

function placeOf(request: Replaced): Options {
  return {
    chord: request.embed.chord,
    group_id: request.group,
    group_index: request.groupIndex,
    root_id: request.rootId,
  };
}

/** `signature | a | b | …` for the rest of a chain, which has the next task last. Linear while plain tasks follow one another. */
function withRest(signature: WireSignature, chain: readonly WireSignature[], nesting: Options): WireSignature {
  let whole = signature;
  let steps: WireSignature[] | null = null;
  for (const task of chain.toReversed()) {
    const next = encodeSignature({ ...task, options: { ...task.options, ...nesting } });
    const last = steps?.at(-1);
    if (steps !== null && last !== undefined && canvasType(last) === "task" && canvasType(next) === "task") {
      steps.push(next);
      continue;
    }
    whole = piped(steps === null ? whole : chainOf(steps), next);
    steps = canvasType(whole) === "chain" && Object.keys(whole.options).length === 0 ? membersOf(whole) : null;
  }
  return steps === null ? whole : chainOf(steps);
}

/** What is to be done so that a running part of a chord gets a sibling. wire: celery/app/task.py `Task.add_to_chord`. */
export interface ChordAddition {
  /** The chord that gets one more part (`add_to_chord` of the backend), before anything is sent. */
  groupId: string;
  /** Id of the result that is added. */
  added: string;
  /** Frozen: with `lazy`, the caller sends it. */
  signature: WireSignature;
  plan: CanvasPlan;
}

/** What `Task.add_to_chord` does. Throws `ImproperlyConfigured` outside of a chord. */
export function planAddToChord(signature: WireSignature, request: Replaced, context: PlanContext): ChordAddition {
  const { group } = request;
  if (request.embed.chord === null || group === null) {
    throw new ImproperlyConfigured("Current task is not member of any chord");
  }
  const draft = readDraft(signature, true);
  Object.assign(draft.options, placeOf(request));
  const added = freeze(draft, {}, context).id;
  const frozen = toWire(draft, new Map());
  const parent = { id: request.id, rootId: request.rootId };
  const plan = planPlaced(frozen, { ...context, parent: context.parent ?? parent });
  return { groupId: group, added, signature: frozen, plan };
}
