/**
 * A call to be made later, as a value: a task with arguments and options, or tasks composed to a chain, group or chord. It never
 * changes; every method gives a new one. Its JSON is Celery's own. wire: celery-wire 2.1; celery/canvas.py `Signature`.
 */
import { cloned, piped } from "../../protocol/celery/canvas/compose.ts";
import { errorLinked, linked, madeImmutable } from "../../protocol/celery/canvas/link.ts";
import { type Stamps, stamped, type WireVisitor } from "../../protocol/celery/canvas/stamp.ts";
import { encodeSignature, type WireSignature } from "../../protocol/celery/signature.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { bool, dict, mismatch, structured } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import { type ApplyAsyncOptions, checkOptions } from "./call-options.ts";
import { ownData, ownRecord } from "./own-data.ts";
import { wireOptionsOf } from "./signature-options.ts";
import type { AnySignature, Beginnings, Ending, MustFollow, PassedOn, Piped, Shape } from "./signature-types.ts";
import { checkStampNames } from "./stamp-names.ts";

/** Options of a signature: those of a call, and whether it refuses results of what comes before it. */
export interface SignatureOptions extends ApplyAsyncOptions {
  immutable?: boolean;
}

/** What `clone` puts on top: arguments in front, keywords and options over its own. */
export interface CloneParts {
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
  options?: ApplyAsyncOptions;
}

/**
 * Gives each part of a workflow stamps of its own, on the way from the outside in. `stamps` are those that the part has already;
 * an answer is added to them. Only names in `stamped_headers` become stamps, if the answer has that; others are mere options.
 */
export interface StampingVisitor {
  onSignature?(signature: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onGroupStart?(group: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onGroupEnd?(group: AnySignature, stamps: Stamps): void;
  onChainStart?(chain: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onChainEnd?(chain: AnySignature, stamps: Stamps): void;
  /** Without it a chord's header is visited as a group. */
  onChordHeaderStart?(chord: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onChordHeaderEnd?(chord: AnySignature, stamps: Stamps): void;
  /** A chord's body is stamped by visitors only. */
  onChordBody?(chord: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onCallback?(callback: AnySignature, stamps: Stamps): Stamps | null | undefined;
  onErrback?(errback: AnySignature, stamps: Stamps): Stamps | null | undefined;
}

/** For `stamp()`. Celery: `Signature.stamp`. */
export interface StampOptions {
  /** Values of one name are gathered in a list; otherwise the first stands. @default false */
  append?: boolean;
}

/** The data itself, where nobody changes it. */
let wireIn: (signature: AnySignature) => WireSignature;

/**
 * `Takes`: the arguments that may be put in front (`[]`: it is complete), as a union of tuples. `Result`: what it gives.
 * `Of`: whether that is one result or a group's.
 */
export class Signature<Takes extends readonly unknown[] = never, Result = unknown, Of extends Shape = "task">
  implements WireSignature
{
  /** Types only; never present. */
  declare readonly types?: { readonly takes: (takes: Takes) => void; readonly result: Result; readonly of: Of };
  readonly #wire: WireSignature;

  static {
    wireIn = (signature) => signature.#wire;
  }

  /** Of data that is a signature already; `signatureFrom` checks first. */
  constructor(wire: WireSignature) {
    this.#wire = wire;
  }

  /** Name of the task, such as `celery.chain` for a chain. */
  get task(): string {
    return this.#wire.task;
  }
  get args(): readonly unknown[] {
    return ownArray(this.#wire.args);
  }
  get kwargs(): Record<string, unknown> {
    return ownRecord(this.#wire.kwargs);
  }
  /** Under their names on the wire (`task_id`, `link_error`, …). */
  get options(): Record<string, unknown> {
    return ownRecord(this.#wire.options);
  }
  get subtask_type(): string | null {
    return this.#wire.subtask_type;
  }
  /** It takes no results of what comes before it. */
  get immutable(): boolean {
    return this.#wire.immutable;
  }
  /** The task id, once it has one. */
  get id(): string | null {
    const id = this.#wire.options.task_id;
    return typeof id === "string" ? id : null;
  }

  /** `a | b` in Python: `next` follows when this has ended and gets its result in front of its own arguments. */
  pipe<Next extends AnySignature>(next: Next & MustFollow<PassedOn<Result, Of>, Next>): Piped<this, Next> {
    return new Signature(piped(this.#wire, wireOf(next, "pipe(): the next step")));
  }

  /** Puts arguments in front of those it has; a complete signature takes none. */
  partial<const Given extends Ending<Takes>>(...args: Given): Signature<Beginnings<Takes, Given>, Result, Of> {
    return new Signature(cloned(this.#wire, args.map(plain)));
  }

  /** A copy with more: arguments in front, keywords and options over its own. */
  clone(parts: CloneParts = {}): this {
    checkOptionObject(parts, CLONE_PARTS, "clone()");
    const { args = [], kwargs = {}, options } = parts;
    const wireOptions = options === undefined ? {} : this.#checked(options);
    return this.#like(cloned(this.#wire, args.map(plain), plainMembers(kwargs), wireOptions));
  }

  /** Sets options; those named replace what was set before. Throws `ImproperlyConfigured` for options that cannot be. */
  set(options: SignatureOptions): this {
    dict.parse(options, "set(): the options");
    if (options.immutable !== undefined) bool.parse(options.immutable, "set(): immutable");
    const { immutable, ...rest } = options;
    const wire = immutable === undefined ? this.#wire : madeImmutable(this.#wire, immutable);
    return this.#like({ ...wire, options: { ...wire.options, ...this.#checked(rest) } });
  }

  /** Sends `callback` with the result when this succeeds. In a group it is linked to the first member, without a result. */
  link<Callback extends AnySignature>(callback: Callback & MustFollow<PassedOn<Result, Of>, Callback>): this {
    return this.#like(linked(this.#wire, wireOf(callback, "link(): the callback")));
  }

  /**
   * Sends `errback` when this fails. A task of any worker gets the id of what failed as its only argument; one of the failing
   * worker's own that takes three gets request, error and traceback. `onHeader` links it to a chord's header too (Celery's
   * `task_allow_error_cb_on_chord_header`).
   */
  linkError(errback: AnySignature, { onHeader = false }: { onHeader?: boolean } = {}): this {
    return this.#like(errorLinked(this.#wire, wireOf(errback, "linkError(): the errback"), onHeader));
  }

  /** The same as `linkError`, under Celery's chaining name. */
  onError(errback: AnySignature): this {
    return this.linkError(errback);
  }

  /** Stamps every task in it, and their callbacks and errbacks, with these values. */
  stamp(stamps: Stamps, { append = false }: StampOptions = {}): this {
    checkStampNames(dict.parse(stamps, "stamp(): the stamps"), "stamp()");
    return this.#like(stamped(this.#wire, ownRecord(stamps), { visitor: null, append }));
  }

  /** Stamps every part with what the visitor answers, beside `stamps`. */
  stampWith(visitor: StampingVisitor, { stamps = {}, append = false }: StampOptions & { stamps?: Stamps } = {}): this {
    checkStampNames(dict.parse(stamps, "stampWith(): the stamps"), "stampWith()");
    return this.#like(stamped(this.#wire, ownRecord(stamps), { visitor: wireVisitor(visitor), append }));
  }

  /** As it travels, in a copy of your own. */
  toJSON(): WireSignature {
    return { ...this.#wire, args: this.args, kwargs: this.kwargs, options: this.options };
  }

  #checked(options: ApplyAsyncOptions): Record<string, unknown> {
    checkOptions(options, { task: this.#wire.task });
    return ownRecord(wireOptionsOf(options));
  }

  #like(wire: WireSignature): this {
    return new Signature(wire) as this;
  }
}

/** Only what the visitor has: what it lacks has a meaning. */
function wireVisitor(visitor: StampingVisitor): WireVisitor {
  const at = "stampWith(): the visitor";
  if (typeof visitor !== "object" || visitor === null) throw mismatch(at, "an object", visitor);
  const wire: Record<string, unknown> = {};
  for (const name of VISITS) {
    const visit: unknown = visitor[name];
    if (visit === undefined) continue;
    if (typeof visit !== "function") throw mismatch(`${at}: ${name}`, "a function", visit);
    wire[name] = (part: WireSignature, stamps: Stamps) => {
      const answer: unknown = visitor[name]?.(new Signature(part), stamps);
      if (answer === undefined || answer === null) return answer;
      const at = `stampWith(): what ${name} answers`;
      const own = ownRecord(dict.parse(answer, at));
      checkStampNames(own, at);
      return own;
    };
  }
  return wire;
}

const VISITS = [
  "onSignature",
  "onGroupStart",
  "onGroupEnd",
  "onChainStart",
  "onChainEnd",
  "onChordHeaderStart",
  "onChordHeaderEnd",
  "onChordBody",
  "onCallback",
  "onErrback",
] as const;

const array = structured("an array", (value, at) => {
  if (!Array.isArray(value)) throw mismatch(at, "an array", value);
});

/** What `signature()` and `clone()` take. */
const CLONE_PARTS: OptionKinds = { args: array, kwargs: dict, options: dict };
export const SIGNATURE_PARTS: OptionKinds = { ...CLONE_PARTS, immutable: bool };

/** A signature's JSON. Throws `ImproperlyConfigured` for what is none: of a task, `s()` makes one. */
export function wireOf(value: unknown, at: string): WireSignature {
  if (value instanceof Signature) return wireIn(value);
  const isTask = typeof value === "object" && value !== null && "handler" in value && "name" in value;
  const hint = isTask ? `; ${String(value.name)} is a task: its method s(…) makes one of it` : "";
  throw new ImproperlyConfigured(`${mismatch(at, "a signature", value).message}${hint}`);
}

/** Arguments may be signatures, and contain some: they travel as data. */
function plain(value: unknown): unknown {
  return ownData(value, wireOrSelf);
}

function plainMembers(kwargs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return ownRecord(kwargs, wireOrSelf);
}

function wireOrSelf(value: object): unknown {
  return value instanceof Signature ? wireIn(value) : value;
}

function ownArray(values: readonly unknown[]): readonly unknown[] {
  return values.map((value) => ownData(value));
}

/** Signatures given one by one, or as iterables of signatures. What is neither is left for `wireOf` to refuse. */
export function flattened(given: readonly unknown[]): unknown[] {
  return given.flatMap((one) => (isIterable(one) && !(one instanceof Signature) ? Array.from(one) : [one]));
}

export function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}

/** Items of anything that can be walked through once. Throws `ImproperlyConfigured` for a text, and for what cannot. */
export function itemsOf<Item>(items: Iterable<Item>, at: string): Item[] {
  if (!isIterable(items)) throw mismatch(`${at}: the items`, "an array or another iterable", items);
  return Array.from(items);
}

/** The same for arguments of a map, in a copy of our own. */
export function ownItems(items: Iterable<unknown>, at: string): unknown[] {
  return itemsOf(items, at).map(plain);
}

/** A signature of a task by its name. */
export function taskSignature(
  task: string,
  args: readonly unknown[] = [],
  kwargs: Readonly<Record<string, unknown>> = {},
  immutable = false,
): WireSignature {
  return encodeSignature({ task, args: args.map(plain), kwargs: plainMembers(kwargs), immutable });
}
