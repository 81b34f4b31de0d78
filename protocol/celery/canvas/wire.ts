/**
 * Drafts as the signatures that travel, and their equality.
 * wire: celery-wire 2.1, 2.2; celery/canvas.py `Signature.__json__`.
 */
import { isRecord } from "../../records.ts";
import type { WireSignature } from "../signature.ts";
import { Draft, type Options, SIGNATURE_OPTIONS } from "./draft.ts";

/** Remembers what has been written, for drafts that no longer change: many messages carry the same body. */
export type Written = Map<Draft, WireSignature>;

export function toWire(draft: Draft, written?: Written): WireSignature {
  const known = written?.get(draft);
  if (known !== undefined) return known;
  const signature: WireSignature = {
    task: draft.task,
    args: plainValues(draft.args),
    kwargs: wireKwargs(draft, written),
    options: wireOptions(draft.options, written),
    subtask_type: draft.kind === "task" ? null : draft.kind,
    immutable: draft.immutable,
  };
  written?.set(draft, signature);
  return signature;
}

function wireKwargs(draft: Draft, written?: Written): Record<string, unknown> {
  const members = draft.members;
  switch (draft.kind) {
    case "task":
      return draft.kwargs;
    case "chain":
    case "group":
      return { tasks: members.tasks.map((task) => toWire(task, written)) };
    case "chord":
      return {
        ...members.rest,
        header: Array.isArray(members.header)
          ? members.header.map((task) => toWire(task, written))
          : toWire(members.header, written),
        body: members.body === null ? null : toWire(members.body, written),
      };
  }
}

/** Data with every draft in it written out. Arrays without one are the same arrays. */
function plainValue(value: unknown): unknown {
  if (value instanceof Draft) return toWire(value);
  return Array.isArray(value) ? plainValues(value) : value;
}

function plainValues(values: readonly unknown[]): readonly unknown[] {
  return values.some((value) => value instanceof Draft || Array.isArray(value)) ? values.map(plainValue) : values;
}

/** Options as data, in an object of their own. */
function wireOptions(options: Readonly<Options>, written?: Written): Options {
  const plain = { ...options };
  intoWire(plain, written);
  return plain;
}

/** Makes data of what these options hold. `written` is for the body among them. */
export function intoWire(options: Options, written?: Written): void {
  for (const key of SIGNATURE_OPTIONS) {
    const value = options[key];
    if (value instanceof Draft) options[key] = toWire(value, written);
    else if (Array.isArray(value)) options[key] = plainValues(value);
  }
}

/** Python's `==` of two signatures or dicts: args in a tuple never equal those in a list. */
export function sameSignature(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isTuple(a) !== isTuple(b)) return false;
  if (!(a instanceof Draft || b instanceof Draft)) return sameData(a, b);
  if (a instanceof Draft && b instanceof Draft && a.kind === b.kind) {
    return a.task === b.task && a.immutable === b.immutable && sameData(a.args, b.args) && sameInside(a, b);
  }
  return sameData(a instanceof Draft ? toWire(a) : a, b instanceof Draft ? toWire(b) : b);
}

function sameInside(a: Draft, b: Draft): boolean {
  if (!sameData(a.options, b.options)) return false;
  if (a.kind === "task") return sameData(a.kwargs, b.kwargs);
  const { tasks, header, body, rest } = a.members;
  const other = b.members;
  return (
    sameData(tasks, other.tasks) &&
    sameData(header, other.header) &&
    sameSignature(body, other.body) &&
    sameData(rest, other.rest)
  );
}

function isTuple(value: unknown): boolean {
  if (value instanceof Draft) return value.tuple;
  // A chain, group or chord in data becomes one with a tuple only when Celery makes a signature of it.
  return false;
}

function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Draft || b instanceof Draft) return sameSignature(a, b);
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => sameData(item, b[index]));
  if (!isRecord(a) || !isRecord(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameData(a[key], b[key]))
  );
}
