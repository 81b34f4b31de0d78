/**
 * A signature while it is being worked on. Celery's rules change signatures in place and rely on which parts are shared between
 * copies, so this is mutable too; it is made from JSON, and becomes JSON again, at the edges of this folder.
 * wire: celery-wire 2.1, 2.2; celery/canvas.py `Signature`, `from_dict`, `__deepcopy__`.
 */
import { InvalidTaskError } from "../../errors.ts";
import { isRecord, kindOf } from "../../records.ts";
import { readSignature, type WireSignature } from "../signature.ts";

export type Kind = "task" | "chain" | "group" | "chord";
export type Options = Record<string, unknown>;
export type Kwargs = Readonly<Record<string, unknown>>;

/** Where a canvas keeps its members. Python's `kwargs` dict: one object, shared with the snapshots of the signature. */
export interface Members {
  /** Of a chain or group. */
  tasks: Draft[];
  /** Of a chord: a group once frozen. */
  header: Draft | Draft[];
  body: Draft | null;
  /** A chord's other kwargs; `kwargs` of them is passed to the header. */
  rest: Kwargs;
}

export class Draft {
  readonly kind: Kind;
  readonly task: string;
  args: readonly unknown[];
  /** Python holds args in a tuple, which never equals the list of a signature read from JSON. */
  readonly tuple: boolean;
  readonly kwargs: Kwargs;
  readonly members: Members;
  readonly options: Options;
  immutable: boolean;
  /** A plain dict in Python: data inside options, which no rule looks into. */
  readonly plain: boolean;

  constructor(
    kind: Kind,
    task: string,
    parts: { args?: readonly unknown[]; tuple?: boolean; kwargs?: Kwargs; members?: Members; options?: Options },
    immutable = false,
    plain = false,
  ) {
    this.kind = kind;
    this.task = task;
    this.args = parts.args ?? [];
    this.tuple = parts.tuple ?? true;
    this.kwargs = parts.kwargs ?? {};
    this.members = parts.members ?? NO_MEMBERS;
    this.options = parts.options ?? {};
    this.immutable = immutable;
    this.plain = plain;
  }
}

const NO_MEMBERS: Members = Object.freeze({ tasks: [], header: [], body: null, rest: {} });

export function newGroup(tasks: Draft[], options: Options = {}, immutable = false): Draft {
  return new Draft("group", "celery.group", { members: { ...NO_MEMBERS, tasks }, options }, immutable);
}

export function newChain(tasks: Draft[], options: Options = {}, immutable = false): Draft {
  return new Draft("chain", "celery.chain", { members: { ...NO_MEMBERS, tasks }, options }, immutable);
}

/** `chord(header, body, **options)`: of a group or chain given as header only the tasks are kept, in a list of the chord's own. */
export function newChord(
  header: Draft | Draft[],
  body: Draft | null,
  parts: { args?: readonly unknown[]; rest?: Kwargs; options?: Options; immutable?: boolean } = {},
): Draft {
  return new Draft(
    "chord",
    "celery.chord",
    {
      args: parts.args ?? [],
      members: { tasks: [], header: headerTasks(header), body, rest: parts.rest ?? { kwargs: {} } },
      options: parts.options ?? {},
    },
    parts.immutable ?? false,
  );
}

function headerTasks(header: Draft | Draft[]): Draft[] {
  if (Array.isArray(header)) return header;
  return header.kind === "group" || header.kind === "chain" ? [...header.members.tasks] : [header];
}

/** The tasks of a chord's header, whichever form it has. */
export function headerMembers(chord: Draft): Draft[] {
  const header = chord.members.header;
  return Array.isArray(header) ? header : header.members.tasks;
}

export function isEmptyGroup(draft: Draft): boolean {
  return draft.kind === "group" && draft.members.tasks.length === 0;
}

export function isEmptyChain(draft: Draft): boolean {
  return draft.kind === "chain" && draft.members.tasks.length === 0;
}

/** Far beyond what Python's recursion allows. */
const deepest = 1_000;

/** What a signature read as a chain, group, chord or plain task becomes; throws `InvalidTaskError` for what is none. */
export function readDraft(value: unknown, own = false, depth = 0): Draft {
  if (depth > deepest)
    throw new InvalidTaskError(`signatures contain themselves, or are nested deeper than ${deepest} levels`);
  const wire = readSignature(value);
  const options = own ? ownOptions(wire.options, depth) : { ...wire.options };
  switch (wire.subtask_type) {
    case "chain":
      // Read from a message, a chain forgets that it is immutable.
      return newChain(readMembers(wire.kwargs.tasks, own, depth), options, own && wire.immutable);
    case "group":
      return newGroup(readMembers(wire.kwargs.tasks, own, depth), options);
    case "chord":
      return readChord(wire, options, own, depth);
    case null:
    case "":
      return new Draft(
        "task",
        wire.task,
        { args: wire.args, tuple: own, kwargs: wire.kwargs, options },
        wire.immutable,
      );
    case "xmap":
    case "xstarmap":
    case "chunks":
      return new Draft("task", wire.task, { args: [], kwargs: wire.kwargs, options }, true);
    default:
      throw new InvalidTaskError(`a signature of ${wire.task} has the unknown subtask_type ${wire.subtask_type}`);
  }
}

/** The caller's own callbacks are signatures, not data: that decides which are equal. */
export function ownOptions(options: Readonly<Options>, depth = 0): Options {
  const own = { ...options };
  for (const key of ["link", "link_error"] as const) {
    if (!isNothing(own[key])) own[key] = listed(own[key]).map((item) => readDraft(item, true, depth + 1));
  }
  return own;
}

function readChord(wire: WireSignature, options: Options, own: boolean, depth: number): Draft {
  const { header, body, ...rest } = wire.kwargs;
  const tasks = Array.isArray(header)
    ? readMembers(header, own, depth)
    : header === null || header === undefined
      ? []
      : readDraft(header, own, depth + 1);
  return newChord(tasks, body === null || body === undefined ? null : readDraft(body, own, depth + 1), {
    args: wire.args,
    rest: Object.keys(rest).length === 0 ? { kwargs: {} } : rest,
    options,
    immutable: wire.immutable,
  });
}

function readMembers(value: unknown, own: boolean, depth: number): Draft[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new InvalidTaskError(`the tasks of a canvas must be an array, not ${kindOf(value)}`);
  return value.map((member: unknown) => readDraft(member, own, depth + 1));
}

/** `maybe_signature(value)`: a draft as it is, data as a new draft, nothing as null. */
export function asDraft(value: unknown): Draft | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Draft) return value.plain ? revived(value) : value;
  return readDraft(value);
}

function revived(snapshot: Draft): Draft {
  const { args, tuple, kwargs, members, options, immutable } = snapshot;
  switch (snapshot.kind) {
    case "chain":
      return newChain(members.tasks.map(required), { ...options });
    case "group":
      return newGroup(members.tasks.map(required), { ...options });
    case "chord": {
      const header = Array.isArray(members.header) ? members.header.map(required) : required(members.header);
      return newChord(header, asDraft(members.body), { args, rest: members.rest, options: { ...options }, immutable });
    }
    case "task":
      return new Draft("task", snapshot.task, { args, tuple, kwargs, options: { ...options } }, immutable);
  }
}

function required(draft: Draft): Draft {
  return draft.plain ? revived(draft) : draft;
}

/** Python's `maybe_list`: nothing is an empty list, anything but a list is one item. */
export function listed(value: unknown): readonly unknown[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

/** Any number of them: spread arguments have a limit. */
export function pushAll(list: Draft[], more: readonly Draft[]): void {
  for (const draft of more) list.push(draft);
}

/** Null and undefined both: Python's `options.get(key) is None`. */
export function isNothing(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

export function textOption(options: Options, key: string): string | null {
  const value = options[key];
  return typeof value === "string" && value !== "" ? value : null;
}

/** Options without those that are null: Celery's `apply_async` dismisses them. */
export function withoutNulls(options: Readonly<Options>): Readonly<Options> {
  if (!Object.values(options).some(isNothing)) return options;
  return Object.fromEntries(Object.entries(options).filter(([, value]) => !isNothing(value)));
}

/** The options that hold signatures. */
export const SIGNATURE_OPTIONS = ["link", "link_error", "chord", "chain"] as const;

/** Sets an option whose name came from a peer. */
export function setOption(options: Options, name: string, value: unknown): void {
  Object.defineProperty(options, name, { value, writable: true, enumerable: true, configurable: true });
}

export function recordOf(value: unknown): Kwargs {
  return isRecord(value) ? value : {};
}
