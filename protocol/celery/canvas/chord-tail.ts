/**
 * Chords whose body is a chain: the tail of the body becomes steps after the chord, so that no header task carries it.
 * wire: celery-wire 2.3; celery/canvas.py `_unroll_body`, `_unroll_chords`, `_strip_chord_header_links`, `_is_chain_led_by_task`, `unchain_tasks`.
 */
import { type Draft, listed, type Options, pushAll } from "./draft.ts";
import { link, linkError } from "./link.ts";
import { clone } from "./merge.ts";
import type { PlanContext } from "./plan.ts";

/** What a chain uses up when it runs, instead of passing it on to its first task. */
const CHAIN_OPTIONS = new Set([
  "chord",
  "group_id",
  "group_index",
  "link",
  "link_error",
  "parent_id",
  "root_id",
  "task_id",
]);

/** A chord with a chain as body that does not start with a group: that would run the rest once per member. */
export function hasTail(draft: Draft): boolean {
  const body = draft.members.body;
  return (
    draft.kind === "chord" &&
    body?.kind === "chain" &&
    body.members.tasks.length > 0 &&
    body.members.tasks[0]?.kind !== "group"
  );
}

/** Copies of a chain's tasks: its callbacks on the last, its errbacks on every one. */
export function unchained(chain: Draft, context: PlanContext): Draft[] {
  const tasks = chain.members.tasks.map((task) => clone(task));
  const last = tasks.at(-1);
  if (last !== undefined) for (const callback of listed(chain.options.link)) link(last, callback);
  for (const errback of listed(chain.options.link_error)) for (const task of tasks) linkError(task, errback, context);
  return tasks;
}

/** `chord(header, chain(a, b, c))` as `chord(header, a), b, c`. */
export function unrolledBody(chord: Draft, context: PlanContext): Draft[] {
  const copy = clone(chord);
  const chain = copy.members.body;
  if (chain === null) return [copy];
  const [first, ...rest] = unchained(chain, context);
  if (first === undefined) return [copy];
  const passedOn: Options = Object.fromEntries(
    Object.entries(chain.options).filter(([key]) => !CHAIN_OPTIONS.has(key)),
  );
  copy.members.body = clone(first, { options: passedOn });
  return [copy, ...rest];
}

/** Does so for each chord in a chain, in place. */
export function unrollChords(chain: Draft, context: PlanContext): void {
  const waiting = chain.members.tasks.toReversed();
  const tasks: Draft[] = [];
  for (let task = waiting.pop(); task !== undefined; task = waiting.pop()) {
    if (task.kind === "chain") {
      task = clone(task);
      unrollChords(task, context);
    }
    if (hasTail(task)) pushAll(waiting, unrolledBody(task, context).reverse());
    else tasks.push(task);
  }
  chain.members.tasks = tasks;
}

/** Takes the body off the header tasks of chords that have not started: it is in the chord already, and is put back at the start. */
export function stripHeaderLinks(draft: Draft): void {
  const { tasks, header, body } = draft.members;
  if (draft.kind === "chord") {
    if (Array.isArray(header)) for (const task of header) clearChord(task);
    else clearChord(header);
    if (Array.isArray(header)) for (const task of header) stripHeaderLinks(task);
    else stripHeaderLinks(header);
    if (body !== null) stripHeaderLinks(body);
  } else if (draft.kind !== "task") for (const task of tasks) stripHeaderLinks(task);
}

/** Removes the body from the tasks that end a signature. */
function clearChord(draft: Draft): void {
  delete draft.options.chord;
  const { tasks, body } = draft.members;
  if (draft.kind === "group") for (const task of tasks) clearChord(task);
  else if (draft.kind === "chain") {
    const last = tasks.at(-1);
    if (last !== undefined) clearChord(last);
  } else if (draft.kind === "chord" && body !== null) clearChord(body);
}
