/** Errors and signals of a task across the border of a pool: packed where the body ran, made anew where its end is dealt with. */
import type { RemoteException } from "../../../protocol/celery/exceptions.ts";
import { readSignature } from "../../../protocol/celery/signature.ts";
import { EncodeError } from "../../../protocol/errors.ts";
import { decodeJson, encodeJson } from "../../../protocol/json.ts";
import { isRecord } from "../../../protocol/records.ts";
import { cutText } from "../../runtime/cut-text.ts";
import {
  RemoteTaskError,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  TimeLimitExceeded,
  TimeoutError,
} from "../../tasks/errors.ts";
import { toRemoteException, tracebackText } from "../../tasks/python-errors.ts";
import { Ignore, Reject, Replace, Retry, type RetryOverrides, type RetryTime } from "../../tasks/signals.ts";
import { TaskCancelled } from "../effect-errors.ts";
import type { OutcomeEvent } from "../executor.ts";
import type { AbortReason, Ending, PackedError, PackedRetry, Reason } from "./messages.ts";

/** An error of a task that ran in a child: the exception it stands for, and the stack as it was there. */
export class ChildTaskError extends RemoteTaskError {
  readonly #text: string;
  /** The task's `throws` names its class. */
  readonly expected: boolean;

  constructor(taskId: string, packed: PackedError) {
    super(taskId, exceptionOf(packed.exception), packed.traceback);
    this.#text = packed.text;
    this.expected = packed.expected;
    this.name = this.type;
    this.message = packed.text.startsWith(`${this.type}: `) ? packed.text.slice(this.type.length + 2) : packed.text;
    this.stack = packed.traceback;
  }

  override toString(): string {
    return this.#text;
  }
}

/** A result that has no form on the wire: said when it is to be stored, as if it were there. */
class Unencodable {
  readonly #why: string;
  constructor(why: string) {
    this.#why = why;
  }
  toJSON(): never {
    throw new EncodeError(this.#why);
  }
}

/** Characters of an error's text; its arguments travel beside it. */
const LONGEST_TEXT = 65_536;

const exact = { floats: "keep" } as const;

export function packError(
  error: unknown,
  throws: readonly (abstract new (...args: never[]) => Error)[] = [],
): PackedError {
  const { type, module, args } = toRemoteException(error);
  const kind =
    error instanceof Reject
      ? "reject"
      : error instanceof Ignore
        ? "ignore"
        : error instanceof SoftTimeLimitExceeded
          ? "soft"
          : error instanceof TimeoutError
            ? "timeout"
            : "error";
  return {
    exception: exceptionText({ type, module, args }),
    traceback: tracebackText(error),
    text: cutText(safeString(error), LONGEST_TEXT),
    kind,
    expected: throws.some((one) => error instanceof one),
    ...(error instanceof Reject ? { requeue: error.requeue } : {}),
  };
}

export function unpackError(packed: PackedError, taskId: string): Error {
  const { args } = exceptionOf(packed.exception);
  if (packed.kind === "reject")
    return withStack(new Reject(args[0] ?? null, { requeue: packed.requeue === true }), packed);
  if (packed.kind === "ignore") return withStack(new Ignore(args.map(String).join(", ")), packed);
  return new ChildTaskError(taskId, packed);
}

function withStack<E extends Error>(error: E, { traceback }: { traceback: string }): E {
  error.stack = traceback;
  return error;
}

/** Arguments that have no form on the wire are shown as texts, as when they are stored. */
function exceptionText({ type, module, args }: RemoteException): string {
  try {
    return encodeJson([type, module, args]);
  } catch {
    return encodeJson([type, module, args.map(safeString)]);
  }
}

function exceptionOf(text: string): RemoteException {
  const read = decodeJson(text, exact);
  const [type, module, args]: unknown[] = Array.isArray(read) ? read : [];
  return {
    type: typeof type === "string" ? type : "Exception",
    module: typeof module === "string" ? module : null,
    args: Array.isArray(args) ? args : [],
  };
}

function safeString(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "what was thrown cannot be read";
  }
}

/** How a body ended, as it travels. Of a value that cannot travel it says why. */
export function packEnding(
  event: OutcomeEvent,
  result: unknown,
  throws: readonly (abstract new (...args: never[]) => Error)[] | undefined,
): Ending {
  switch (event) {
    case "returned":
      try {
        return { event, json: encodeJson(result === undefined ? null : result) };
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        // Where it stands is said again when it is to be stored.
        return { event, unencodable: why.replace(/ \(at value[^)]*\)$/, "") };
      }
    case "retryAsked":
      try {
        if (result instanceof Retry) return { event, retry: packRetry(result) };
      } catch (error) {
        return { event: "threw", error: packError(error, throws) };
      }
      return { event: "threw", error: packError(result, throws) };
    case "replaced":
      if (result instanceof Replace) return { event, signature: encodeJson(result.signature) };
      return { event: "threw", error: packError(result, throws) };
    default:
      return { event, error: packError(result, throws) };
  }
}

/** On `returned` the value, else the error. */
export function unpackEnding(ending: Ending, taskId: string): unknown {
  switch (ending.event) {
    case "returned":
      return "json" in ending ? decodeJson(ending.json, exact) : new Unencodable(ending.unencodable);
    case "retryAsked":
      return unpackRetry(ending.retry, taskId);
    case "replaced":
      return new Replace(readSignature(decodeJson(ending.signature, exact)));
    default:
      return unpackError(ending.error, taskId);
  }
}

function packRetry(retry: Retry): PackedRetry {
  const { exc, when, overrides } = retry;
  const json = (value: unknown): string | null => (value === undefined ? null : encodeJson(value));
  return {
    exc: exc === null || exc === undefined ? null : packError(exc),
    when: encodeJson(when),
    args: json(overrides.args),
    kwargs: json(overrides.kwargs),
    options: json(overrides.options),
    stack: tracebackText(retry),
  };
}

function unpackRetry(packed: PackedRetry, taskId: string): Retry {
  const overrides: RetryOverrides = {};
  const args = packed.args === null ? null : decodeJson(packed.args, exact);
  const kwargs = packed.kwargs === null ? null : decodeJson(packed.kwargs, exact);
  const options = packed.options === null ? null : decodeJson(packed.options);
  if (Array.isArray(args)) overrides.args = args;
  if (isRecord(kwargs)) overrides.kwargs = kwargs;
  if (isRecord(options)) overrides.options = options;
  const exc = packed.exc === null ? null : unpackError(packed.exc, taskId);
  const retry = new Retry(exc, timeOf(decodeJson(packed.when)), overrides);
  retry.stack = packed.stack;
  return retry;
}

function timeOf(when: unknown): RetryTime {
  if (isRecord(when)) {
    const { eta, countdown } = when;
    if (eta instanceof Date || typeof eta === "string") return { eta };
    if (typeof countdown === "number") return { countdown };
  }
  return { countdown: 0 };
}

export function packReason(error: Error): AbortReason {
  if (error instanceof SoftTimeLimitExceeded) return { kind: "softTimeLimit", seconds: error.seconds };
  if (error instanceof TimeLimitExceeded) return { kind: "timeLimit", seconds: error.seconds };
  if (error instanceof TaskRevokedError) return { kind: "revoked", id: error.taskId, reason: error.reason };
  return { kind: "cancelled", reason: error.message };
}

export function unpackReason(reason: Reason): Error {
  switch (reason.kind) {
    case "softTimeLimit":
      return new SoftTimeLimitExceeded(reason.seconds);
    case "timeLimit":
      return new TimeLimitExceeded(reason.seconds);
    case "revoked":
      return new TaskRevokedError(reason.id, reason.reason);
    case "cancelled":
      return new TaskCancelled(reason.reason);
    default:
      return new TaskCancelled(reason.kind);
  }
}
