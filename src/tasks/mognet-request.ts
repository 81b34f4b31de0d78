/** A request of Mognet's as the caller makes it, and as a submitting hook may still change it. wire: mognet/primitives/request.py. */
import { ImproperlyConfigured, ProtocolError } from "../../protocol/errors.ts";
import {
  decodeMognetDeadline,
  type MognetDeadline,
  mognetDeadlineAfter,
  mognetDeadlineAt,
} from "../../protocol/mognet/deadline.ts";
import { mognetIdOrNull } from "../../protocol/mognet/names.ts";
import { MOGNET_DEFAULT_PRIORITY, type MognetRequest } from "../../protocol/mognet/request.ts";
import { newId } from "../runtime/ids.ts";
import { count, dict, isPlainObject, mismatch, nullable, structured, text } from "../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../settings/option-object.ts";
import type { AnySchema } from "./standard-schema.ts";

/**
 * How long a run may take (a number of seconds, or ISO 8601: `"PT5S"`, `"P1DT2H"`), or the instant by which it must have ended (a
 * `Date`, or ISO 8601: `"2030-01-02T03:04:05Z"`). A duration counts anew from the start of each run.
 */
export type DeadlineInput = number | string | Date | MognetDeadline;

/** What a request says besides its task and arguments. */
export interface RequestOptions {
  /** A UUID. @default version 4 */
  id?: string;
  /** Stored beside the result, for whoever looks at it. */
  metadata?: Readonly<Record<string, unknown>>;
  /** @default none */
  deadline?: DeadlineInput | null;
  /** Overrides the route; without the app's prefix. */
  queueName?: string | null;
  /** How the arguments are shown; preset it when they hold secrets. @default Python's `repr` of each, shortened */
  kwargsRepr?: string | null;
  /** 0 to 10, higher is sooner. @default the task's `priority`, else 5 */
  priority?: number;
}

export const REQUEST_OPTIONS = {
  id: structured("a UUID", (value, at) => {
    if (typeof value !== "string" || mognetIdOrNull(value) === null) throw mismatch(at, "a UUID", value);
  }),
  metadata: dict,
  deadline: structured("a deadline", (value, at) => void (value === null || readDeadline(value, at))),
  queueName: nullable(text),
  kwargsRepr: nullable(
    structured("a text", (value, at) => {
      if (typeof value !== "string") throw mismatch(at, "a text", value);
    }),
  ),
  priority: count({ max: 10 }),
} satisfies OptionKinds;

/** For `new Request()`: a task by name, its arguments, and how it is submitted. */
export interface RequestParts extends RequestOptions {
  /** Name of the task. */
  name: string;
  args?: readonly unknown[];
  kwargs?: Readonly<Record<string, unknown>>;
}

const REQUEST_PARTS: OptionKinds = {
  ...REQUEST_OPTIONS,
  name: text,
  args: structured("an array", (value, at) => {
    if (!Array.isArray(value)) throw mismatch(at, "an array", value);
  }),
  kwargs: dict,
};

/** A call of a task, by name or made from a definition with `app.createRequest`. Submitted once: its id is that of its result. */
export class Request<R = unknown> implements MognetRequest {
  readonly id: string;
  readonly name: string;
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
  /** Ids of the tasks above, root first; set when a task submits it. */
  stack: readonly string[] = [];
  metadata: Readonly<Record<string, unknown>>;
  deadline: MognetDeadline | null;
  queueName: string | null;
  kwargsRepr: string | null;
  priority: number;
  /** What the value is checked against. */
  readonly returns: AnySchema | null;
  /** Types only; never present. */
  readonly types?: { readonly result: R };

  /**
   * Throws `ImproperlyConfigured` for parts that cannot be. `returns` is what the value is checked against; `checked`: the parts were
   * looked at before.
   */
  constructor(parts: RequestParts, returns: AnySchema | null = null, checked = false) {
    if (!checked) checkOptionObject(parts, REQUEST_PARTS, "new Request()");
    if (typeof parts.name !== "string") throw mismatch("new Request(): name", "the name of a task", parts.name);
    this.id = parts.id === undefined ? newId() : (mognetIdOrNull(parts.id) ?? parts.id);
    this.name = parts.name;
    this.args = parts.args ?? [];
    this.kwargs = parts.kwargs ?? {};
    this.metadata = parts.metadata ?? {};
    this.deadline = parts.deadline == null ? null : readDeadline(parts.deadline, "new Request(): option deadline");
    this.queueName = parts.queueName ?? null;
    this.kwargsRepr = parts.kwargsRepr ?? null;
    this.priority = parts.priority ?? MOGNET_DEFAULT_PRIORITY;
    this.returns = returns;
  }
}

/** Throws `ImproperlyConfigured`: also for a text of digits, which Python reads as seconds since 1970 and hardly anyone means. */
export function readDeadline(value: unknown, at: string): MognetDeadline {
  if (typeof value === "string" && /^\s*[+-]?\d+(\.\d*)?\s*$/.test(value)) {
    throw new ImproperlyConfigured(
      `${at}: ${JSON.stringify(value)} would be seconds since 1970 to Python; write the number ${Number(value)} for a duration`,
    );
  }
  try {
    if (typeof value === "number") return mognetDeadlineAfter(value);
    if (value instanceof Date) return mognetDeadlineAt(value);
    if (typeof value === "string") return decodeMognetDeadline(value);
    if (isDeadline(value)) {
      return value.kind === "duration" ? mognetDeadlineAfter(value.seconds) : decodeMognetDeadline(value.iso);
    }
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
  }
  throw mismatch(at, 'seconds, a Date, or ISO 8601 such as "PT5S" or "2030-01-02T03:04:05Z"', value);
}

function isDeadline(value: unknown): value is MognetDeadline {
  if (!isPlainObject(value)) return false;
  if (value.kind === "duration") return typeof value.seconds === "number";
  return value.kind === "instant" && typeof value.iso === "string";
}
