/**
 * Partial arguments and options put together with those of a signature, and copies of signatures.
 * wire: celery-wire 2.1, celery-behaviour 2.1; celery/canvas.py `_merge`, `clone`, `__deepcopy__`, `_clone_with_members`.
 */
import {
  Draft,
  type Kwargs,
  listed,
  newChain,
  newChord,
  newGroup,
  type Options,
  SIGNATURE_OPTIONS,
  setOption,
} from "./draft.ts";

const NONE: Kwargs = Object.freeze({});

export interface Partials {
  args?: readonly unknown[];
  kwargs?: Kwargs;
  options?: Readonly<Options>;
}

/** Given options over stored ones, but never over a stored `group_id`, `stamped_headers` or stamp: losing those stalls tasks. */
export function mergeOptions(stored: Readonly<Options>, given: Readonly<Options>): Options {
  const merged = { ...stored, ...given };
  if ("group_id" in stored) merged.group_id = stored.group_id;
  if ("stamped_headers" in stored) {
    for (const name of ["stamped_headers", ...listed(stored.stamped_headers).map(String)]) {
      if (Object.hasOwn(stored, name)) setOption(merged, name, stored[name]);
    }
  }
  return merged;
}

/** Arguments to run with: given ones come first and given kwargs win, unless the signature is immutable. */
export function mergeArguments(
  draft: Draft,
  args: readonly unknown[],
  kwargs: Kwargs,
): { args: readonly unknown[]; kwargs: Kwargs } {
  if (draft.immutable) return { args: draft.args, kwargs: draft.kwargs };
  return {
    args: args.length > 0 ? [...args, ...draft.args] : draft.args,
    kwargs: Object.keys(kwargs).length > 0 ? { ...draft.kwargs, ...kwargs } : draft.kwargs,
  };
}

/** One copy for each draft met: the members of a group then share the copy of their chord's body, as they shared the body. */
export type Copies = Map<Draft, Draft>;

const NO_PARTIALS: Partials = Object.freeze({});
const NO_COPIES: Copies = new Map();

/**
 * A copy whose options can change. A chain's members are copied too, a group's are the same ones, a chord's header is copied unless it
 * is a group. A chain or group forgets partial arguments, as Celery's do.
 */
export function clone(draft: Draft, partials: Partials = NO_PARTIALS, known?: Copies): Draft {
  const given = partials.options ?? NONE;
  const merged = Object.keys(given).length > 0 ? mergeOptions(draft.options, given) : draft.options;
  // Most tasks hold no signatures, and need nothing to remember their copies in.
  const copies = known ?? (draft.kind === "task" && !holdsSignatures(merged) ? NO_COPIES : new Map());
  const options = copiedOptions(merged, copies);
  const members = draft.members;
  switch (draft.kind) {
    case "chain":
    case "group": {
      // An option of that name, if there is one, is the flag.
      const { immutable, ...others } = options;
      if (draft.kind === "group") return newGroup([...members.tasks], others, immutable === true);
      const tasks = members.tasks.map((task) => clone(task, undefined, copies));
      return newChain(tasks, others, immutable === true);
    }
    case "chord":
      return cloneChord(draft, partials, options, copies);
    case "task": {
      const { args, kwargs } = mergeArguments(draft, partials.args ?? [], partials.kwargs ?? NONE);
      return new Draft("task", draft.task, { args, kwargs, options }, draft.immutable);
    }
  }
}

function cloneChord(draft: Draft, partials: Partials, options: Options, copies: Copies): Draft {
  const { header, body, rest } = draft.members;
  const given = partials.kwargs ?? NONE;
  const more = !draft.immutable && Object.keys(given).length > 0;
  return newChord(
    Array.isArray(header) ? header.map((task) => clone(task, undefined, copies)) : header,
    body === null ? null : clone(body, undefined, copies),
    {
      args: mergeArguments(draft, partials.args ?? [], NONE).args,
      rest: more ? { ...rest, ...given } : rest,
      options,
      immutable: draft.immutable,
    },
  );
}

function holdsSignatures(options: Readonly<Options>): boolean {
  for (const key of SIGNATURE_OPTIONS) if (options[key] !== undefined) return true;
  return false;
}

/** A copy of its own; what signatures it holds is under few names. */
function copiedOptions(options: Readonly<Options>, copies: Copies): Options {
  const copy = { ...options };
  for (const key of SIGNATURE_OPTIONS) {
    if (copy[key] !== undefined) copy[key] = copied(copy[key], copies);
  }
  return copy;
}

/** Python's deepcopy of an option: data that nobody changes is shared, signatures become snapshots. */
function copied(value: unknown, copies: Copies): unknown {
  if (value instanceof Draft) return value.plain ? value : snapshot(value, copies);
  if (Array.isArray(value) && value.some((item) => item instanceof Draft))
    return value.map((item) => copied(item, copies));
  return value;
}

/** A plain dict of a signature: its own options, everything else shared with it. */
function snapshot(draft: Draft, copies: Copies): Draft {
  const known = copies.get(draft);
  if (known !== undefined) return known;
  const { args, tuple, kwargs, members } = draft;
  const parts = { args, tuple, kwargs, members, options: copiedOptions(draft.options, copies) };
  const copy = new Draft(draft.kind, draft.task, parts, draft.immutable, true);
  copies.set(draft, copy);
  return copy;
}

/** A copy in which also those members are copies that `link` reaches: the tasks of a group, the body of a chord. */
export function cloneWithMembers(draft: Draft): Draft {
  const copy = clone(draft);
  const members = copy.members;
  if (copy.kind === "group") members.tasks = members.tasks.map(cloneWithMembers);
  else if (copy.kind === "chord" && members.body !== null) members.body = cloneWithMembers(members.body);
  return copy;
}
