/** What a task's failure is called when not its body but an act around it failed. */
import type { EffectKind } from "../../protocol/celery/request-machine.ts";
import { EncodeError } from "../../protocol/errors.ts";
import { TaskError } from "../tasks/errors.ts";

/** The reason with which a running task's signal aborts on cold shutdown or, if so set, on connection loss. */
export class TaskCancelled extends TaskError {
  static readonly python = "celery.exceptions.Retry";
  constructor(reason: string) {
    super("TASK_CANCELLED", reason);
  }
}

/** The return value has no form on the wire. */
export class ResultNotEncodable extends TaskError {
  static readonly python = "kombu.exceptions.EncodeError";
  constructor(message: string, cause: unknown) {
    super("RESULT_NOT_ENCODABLE", message, { cause });
  }
}

export function effectError(effect: EffectKind, error: unknown): unknown {
  if (error instanceof EncodeError) return new ResultNotEncodable(error.message, error);
  return error instanceof Error ? error : new TaskError("EFFECT_FAILED", `${effect}: ${String(error)}`);
}
