/**
 * A chain made ready: nested chains spliced, empty groups dropped, a group before a task made a chord, everything frozen from the
 * last step to the first.
 * wire: celery-wire 2.3, celery-behaviour 2.5; celery/canvas.py `_chain.prepare_steps`.
 */
import { hasTail, stripHeaderLinks, unrolledBody } from "./chord-tail.ts";
import { type Draft, isEmptyGroup, type Kwargs, listed, newChord, pushAll } from "./draft.ts";
import { freeze, type Place } from "./freeze.ts";
import { linkError } from "./link.ts";
import { clone } from "./merge.ts";
import type { PlanContext } from "./plan.ts";
import type { Promised } from "./results.ts";

export interface ChainCall {
  /** Go before the arguments of the first task. */
  args: readonly unknown[];
  kwargs?: Kwargs;
  /** False freezes the chain's own tasks in place and keeps the chain as written. */
  copy: boolean;
  rootId: string | null;
  linkErrors?: unknown;
  /** Id of the last task, which alone gets the place of the chain in a group or chord. */
  lastId: string | null;
  groupId: string | null;
  groupIndex: number | null;
  chord: Draft | null;
}

/** Steps and their results, both last first: the `chain` of a message is in that order. */
export interface PreparedChain {
  tasks: Draft[];
  results: Promised[];
  hasChord: boolean;
}

export function prepareSteps(chain: Draft, call: ChainCall, context: PlanContext): PreparedChain {
  const steps = chain.members.tasks.toReversed();
  normalizeHead(steps, call.copy);
  const made = new Steps(call, context);
  // The last task is popped first.
  const queue = steps.reverse();
  for (let task = queue.pop(); task !== undefined; task = queue.pop()) {
    const isFirst = queue.length === 0;
    task = unrolledGroup(task);
    if (isEmptyGroup(task) && (!isFirst || made.tasks.length > 0)) continue;
    if (call.copy && hasTail(task)) {
      pushAll(queue, unrolledBody(task, context));
      continue;
    }
    if (call.copy) task = clone(task, isFirst ? { args: call.args, kwargs: call.kwargs } : undefined);
    else if (isFirst && call.args.length > 0) task.args = [...call.args, ...task.args];
    if (task.kind === "chain") pushAll(queue, task.members.tasks);
    else made.add(task);
  }
  const last = made.results[0];
  if (last !== undefined) chain.options.task_id = last.id;
  else if (call.lastId !== null) chain.options.task_id = call.lastId;
  if (call.copy) for (const task of made.tasks) stripHeaderLinks(task);
  return made;
}

/** A group of one is that one. */
function unrolledGroup(task: Draft): Draft {
  return task.kind === "group" && task.members.tasks.length === 1 ? (task.members.tasks[0] as Draft) : task;
}

/**
 * Nested chains at the head are spliced and empty groups before another step dropped, so that the first step that remains is a real
 * one: it gets the arguments. `steps` has the head last.
 */
function normalizeHead(steps: Draft[], copy: boolean): void {
  let dropped: Draft | null = null;
  for (let head = steps.at(-1); head !== undefined; head = steps.at(-1)) {
    if (head.kind === "chain") {
      steps.pop();
      pushAll(steps, (copy ? clone(head) : head).members.tasks.toReversed());
      continue;
    }
    head = unrolledGroup(head);
    steps[steps.length - 1] = head;
    if (steps.length > 1 && isEmptyGroup(head)) {
      dropped = head;
      steps.pop();
      continue;
    }
    break;
  }
  if (dropped !== null && steps.length === 0) steps.push(dropped);
}

class Steps implements PreparedChain {
  readonly tasks: Draft[] = [];
  readonly results: Promised[] = [];
  hasChord = false;
  readonly #call: ChainCall;
  readonly #context: PlanContext;
  readonly #errbacks: readonly unknown[];
  #previous: Draft | null = null;
  /** Where the result of the next step, which comes before, is put as parent. */
  #open: Promised | null = null;
  #count = 0;

  constructor(call: ChainCall, context: PlanContext) {
    this.#call = call;
    this.#context = context;
    this.#errbacks = listed(call.linkErrors);
  }

  /** The step before those that are there. */
  add(step: Draft): void {
    const task = step.kind === "group" && this.#previous !== null ? this.#upgraded(step, this.#previous) : step;
    const result = freeze(task, this.#place(), this.#context);
    this.#count++;
    if (this.#previous !== null && this.#open !== null && this.#open.parent === null) this.#open.parent = result;
    for (const errback of this.#errbacks) {
      linkError(task, errback, this.#context);
      // Errors of a chord are told to its body.
      if (task.kind === "chord" && task.members.body !== null) linkError(task.members.body, errback, this.#context);
    }
    this.tasks.push(task);
    this.results.push(result);
    this.#previous = task;
    this.#open = result;
    if (task.kind === "chord") {
      this.hasChord = true;
      let node = result;
      while (node.parent !== null) node = node.parent;
      this.#open = node;
    }
  }

  #place(): Place {
    const { rootId, lastId, groupId, groupIndex, chord } = this.#call;
    return this.#count === 0 ? { id: lastId, rootId, groupId, groupIndex, chord } : { rootId };
  }

  /** A group and the step after it, as a chord with that step as body; what follows is linked to the chord's result instead. */
  #upgraded(group: Draft, body: Draft): Draft {
    this.tasks.pop();
    const bodyResult = this.results.pop() as Promised;
    const single = this.#open !== null && this.#open.children === null;
    const chord = newChord(group, body, {
      options: { ...(single ? { task_id: this.#open?.id } : {}), root_id: this.#call.rootId },
    });
    this.#previous = this.tasks.at(-1) ?? null;
    let node: Promised | null = this.results.at(-1) ?? null;
    while (node !== null && node.parent !== bodyResult) node = node.parent;
    if (node !== null) {
      node.parent = null;
      this.#open = node;
    }
    return chord;
  }
}
