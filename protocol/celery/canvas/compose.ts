/**
 * What `a | b` and `chain(…)` make of two or more signatures: flattening, upgrade of a group that something follows to a chord,
 * one-member groups as their member, empty groups as nothing. wire: celery-behaviour 2.1; celery/canvas.py `__or__` of each class,
 * `_fold_chain`, `_merge_chain_step`.
 */
import { isRecord } from "../../records.ts";
import { encodeSignature, readSignature, readSignatureList, type WireSignature } from "../signature.ts";
import { errorLinked, linked } from "./link.ts";
import { canvasType, demandBody, listOption, membersOf, withBody, withMembers } from "./parts.ts";

const NONE: Record<string, unknown> = {};

/** A chain of exactly these. */
export function chainOf(tasks: readonly WireSignature[], options = NONE): WireSignature {
  return encodeSignature({ task: "celery.chain", kwargs: { tasks }, options, subtask_type: "chain" });
}

/** A group of exactly these. */
export function groupOf(tasks: readonly WireSignature[], options = NONE): WireSignature {
  return encodeSignature({ task: "celery.group", kwargs: { tasks }, options, subtask_type: "group" });
}

/** A group's or a chain's members are the header, without its options. */
export function chordOf(
  header: WireSignature | readonly WireSignature[],
  body: WireSignature | null,
  options = NONE,
): WireSignature {
  return encodeSignature({
    task: "celery.chord",
    kwargs: { kwargs: {}, header: isList(header) ? header : headerTasks(header), body },
    options,
    subtask_type: "chord",
  });
}

function isList(header: WireSignature | readonly WireSignature[]): header is readonly WireSignature[] {
  return Array.isArray(header);
}

function headerTasks(header: WireSignature): WireSignature[] {
  const type = canvasType(header);
  return type === "group" || type === "chain" ? membersOf(header) : [header];
}

/** `first | next`. */
export function piped(first: WireSignature, next: WireSignature): WireSignature {
  switch (canvasType(first)) {
    case "chain":
      return chainThen(first, next);
    case "group":
      return isEmptyGroup(next) ? first : chordOf(first, next);
    case "chord":
      return chordThen(first, next);
    default:
      return taskThen(first, next);
  }
}

function taskThen(first: WireSignature, next: WireSignature): WireSignature {
  if (canvasType(next) === "chain") return chainOf([first, ...unchained(next)]);
  return chainOf([first, unrolled(next)]);
}

function chordThen(chord: WireSignature, next: WireSignature): WireSignature {
  const type = canvasType(next);
  if (type === "task" || type === "chord") return withBody(chord, piped(demandBody(chord), next));
  const other = unrolled(next);
  if (other !== next) return withBody(chord, piped(demandBody(chord), other));
  return taskThen(chord, next);
}

function chainThen(chain: WireSignature, next: WireSignature): WireSignature {
  if (isEmptyGroup(next)) return chain;
  switch (canvasType(next)) {
    case "group": {
      // Once only: a group in a group of one stays a group, even an empty one.
      const other = unrolled(next);
      if (canvasType(other) !== "group") return chainThen(chain, other);
      const tasks = unchained(chain);
      const last = tasks.at(-1);
      if (last === undefined) return other;
      return chainOf(
        canvasType(last) === "chord"
          ? [...tasks.slice(0, -1), withBody(last, piped(demandBody(last), other))]
          : [...tasks, other],
      );
    }
    case "chain":
      return unchained(next).reduce(piped, chain);
    default:
      return chainThenTask(chain, next);
  }
}

function chainThenTask(chain: WireSignature, next: WireSignature): WireSignature {
  const tasks = membersOf(chain);
  const last = tasks.at(-1);
  const lastType = last === undefined ? "task" : canvasType(last);
  if (last !== undefined && lastType === "group") {
    const chord = chordOf(last, next);
    const before = tasks.at(-2);
    if (before === undefined || canvasType(before) !== "chord") {
      return withMembers(chain, [...tasks.slice(0, -1), chord]);
    }
    return withMembers(chain, [...tasks.slice(0, -2), withBody(before, piped(demandBody(before), chord))]);
  }
  if (last !== undefined && lastType === "chord" && canvasType(next) !== "chord") {
    return withMembers(chain, [...tasks.slice(0, -1), withBody(last, piped(demandBody(last), next))]);
  }
  return chainOf([...unchained(chain), next]);
}

/** `chain(a, b, …)`: as folding with `|` from an empty chain, in one pass. */
export function foldedChain(signatures: readonly WireSignature[]): WireSignature {
  const steps: WireSignature[] = [];
  for (const [at, signature] of signatures.entries()) {
    const result = mergeStep(steps, signature);
    // No longer a chain: the rest goes by the rules of what it has become.
    if (result !== null) return signatures.slice(at + 1).reduce(piped, result);
  }
  return chainOf(steps);
}

/** Adds to `steps`, or says what the chain has turned into instead. */
function mergeStep(steps: WireSignature[], next: WireSignature): WireSignature | null {
  if (isEmptyGroup(next)) return null;
  const last = steps.at(-1);
  switch (canvasType(next)) {
    case "group": {
      const other = unrolled(next);
      if (canvasType(other) !== "group") return mergeStep(steps, other);
      if (last === undefined) return other;
      if (canvasType(last) === "chord") steps[steps.length - 1] = withBody(last, piped(demandBody(last), other));
      else steps.push(other);
      return null;
    }
    case "chain": {
      const inner = unchained(next);
      for (const [at, task] of inner.entries()) {
        const result = mergeStep(steps, task);
        if (result !== null) return inner.slice(at + 1).reduce(piped, result);
      }
      return null;
    }
    default:
      if (last !== undefined && canvasType(last) === "group") steps[steps.length - 1] = chordOf(last, next);
      else if (last !== undefined && canvasType(last) === "chord" && canvasType(next) !== "chord") {
        steps[steps.length - 1] = withBody(last, piped(demandBody(last), next));
      } else steps.push(next);
      return null;
  }
}

/** A group of one is its member. */
export function unrolled(signature: WireSignature): WireSignature {
  if (canvasType(signature) !== "group") return signature;
  const tasks = signature.kwargs.tasks;
  if (!Array.isArray(tasks) || tasks.length !== 1) return signature;
  return readSignature(tasks[0]);
}

function isEmptyGroup(signature: WireSignature): boolean {
  return canvasType(signature) === "group" && (readSignatureList(signature.kwargs.tasks) ?? []).length === 0;
}

/** A chain's members with the chain's callbacks on the last and its errbacks on all. */
export function unchained(chain: WireSignature): WireSignature[] {
  const tasks = membersOf(chain);
  const last = tasks.length - 1;
  for (const callback of listOption(chain, "link")) {
    const task = tasks[last];
    if (task !== undefined) tasks[last] = linked(task, callback);
  }
  const errbacks = listOption(chain, "link_error");
  return errbacks.length === 0 ? tasks : tasks.map((task) => errbacks.reduce((to, one) => errorLinked(to, one), task));
}

/**
 * A copy with arguments put in front, keywords and options over those it has: Celery's `clone`. An immutable signature takes
 * options only, and its group and stamps stay. Arguments for a chain go to its first member, those for a group to all: Celery
 * forgets them there, unless they are given when the signature is sent.
 */
export function cloned(
  signature: WireSignature,
  args: readonly unknown[] = [],
  kwargs: Readonly<Record<string, unknown>> = NONE,
  options: Readonly<Record<string, unknown>> = NONE,
): WireSignature {
  const fixed = new Set<string>(["group_id", "stamped_headers"]);
  const stamps = signature.options.stamped_headers;
  if (Array.isArray(stamps)) for (const name of stamps) fixed.add(String(name));
  const kept = Object.entries(options).filter(([name]) => !(fixed.has(name) && Object.hasOwn(signature.options, name)));
  const merged = { ...signature.options, ...Object.fromEntries(kept) };
  return { ...withArguments(signature, args, kwargs), options: merged };
}

function withArguments(
  signature: WireSignature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): WireSignature {
  if (signature.immutable || (args.length === 0 && Object.keys(kwargs).length === 0)) return signature;
  switch (canvasType(signature)) {
    case "chain": {
      const [first, ...rest] = membersOf(signature);
      return first === undefined ? signature : withMembers(signature, [withArguments(first, args, kwargs), ...rest]);
    }
    case "group":
      return withMembers(
        signature,
        membersOf(signature).map((member) => withArguments(member, args, kwargs)),
      );
    case "chord": {
      const own = signature.kwargs.kwargs;
      const header = isRecord(own) ? { ...own, ...kwargs } : kwargs;
      return { ...signature, args: [...args, ...signature.args], kwargs: { ...signature.kwargs, kwargs: header } };
    }
    default:
      return { ...signature, args: [...args, ...signature.args], kwargs: { ...signature.kwargs, ...kwargs } };
  }
}

/** The parts in which `celery.chunks` runs: a group of `celery.starmap`. */
export function chunkGroup(task: WireSignature, items: readonly unknown[], size: number): WireSignature {
  const parts: WireSignature[] = [];
  for (let at = 0; at < items.length; at += size) parts.push(mapOf("celery.starmap", task, items.slice(at, at + size)));
  return groupOf(parts);
}

/** `celery.map` or `celery.starmap` over items. */
export function mapOf(
  name: "celery.map" | "celery.starmap",
  task: WireSignature,
  it: readonly unknown[],
): WireSignature {
  return encodeSignature({ task: name, kwargs: { task, it }, immutable: true });
}

/** One task over a list in pieces of `n` calls each. wire: celery/canvas.py `chunks`. */
export function chunksOf(task: WireSignature, it: readonly unknown[], n: number): WireSignature {
  return encodeSignature({ task: "celery.chunks", kwargs: { task, it, n }, immutable: true });
}
