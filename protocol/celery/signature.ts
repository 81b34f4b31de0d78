/** Signatures as they travel: tasks to be sent later, as data. wire: celery-wire 2.1; celery/canvas.py `Signature`. */
import { InvalidTaskError } from "../errors.ts";
import { isRecord, kindOf, textOr } from "../records.ts";

/** Exactly these keys, in this order, when written; readers tolerate missing optional and additional keys. */
export interface WireSignature {
  task: string;
  args: readonly unknown[];
  kwargs: Record<string, unknown>;
  options: Record<string, unknown>;
  subtask_type: string | null;
  immutable: boolean;
}

/**
 * Reads what a peer calls a signature. Only `task` is required; args, kwargs and options keep their values as they are, so a
 * nested canvas stays data. Throws `InvalidTaskError` for anything that is not a signature.
 */
export function readSignature(value: unknown): WireSignature {
  if (!isRecord(value)) throw new InvalidTaskError(`a signature must be an object, not ${kindOf(value)}`);
  const task = value.task;
  if (typeof task !== "string" || task === "") throw new InvalidTaskError("a signature must name its task");
  const { args, kwargs, options } = value;
  if (args !== undefined && args !== null && !Array.isArray(args)) throw wrongPart(task, "args", "an array", args);
  return {
    task,
    args: Array.isArray(args) ? args : [],
    kwargs: recordOr(kwargs, task, "kwargs"),
    options: recordOr(options, task, "options"),
    subtask_type: textOr(value.subtask_type, null),
    immutable: isTrue(value.immutable),
  };
}

/**
 * Callbacks, errbacks or the chain of a message: an array, null, or (a bug of Python's `.set(link_error=sig)`, celery-wire 12)
 * one bare signature. Null entries are left out.
 */
export function readSignatureList(value: unknown): WireSignature[] | null {
  if (value === null || value === undefined) return null;
  if (!Array.isArray(value)) return [readSignature(value)];
  const signatures: WireSignature[] = [];
  for (const item of value) {
    if (item !== null) signatures.push(readSignature(item));
  }
  return signatures;
}

/** The six keys in Celery's order, with defaults filled in. */
export function encodeSignature(signature: Partial<WireSignature> & { task: string }): WireSignature {
  return {
    task: signature.task,
    args: signature.args ?? [],
    kwargs: signature.kwargs ?? {},
    options: signature.options ?? {},
    subtask_type: signature.subtask_type ?? null,
    immutable: signature.immutable ?? false,
  };
}

/** Python's truth of data: nothing, zero and what is empty are false. */
export function isTrue(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return Number.isNaN(value) || Boolean(value);
  if (Array.isArray(value)) return value.length > 0;
  return !isRecord(value) || Object.keys(value).length > 0;
}

function recordOr(value: unknown, task: string, part: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (isRecord(value)) return value;
  throw wrongPart(task, part, "an object", value);
}

function wrongPart(task: string, part: string, wanted: string, value: unknown): InvalidTaskError {
  return new InvalidTaskError(`${part} of a signature of ${task} must be ${wanted}, not ${kindOf(value)}`);
}
