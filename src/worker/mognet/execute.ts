/** The one place where a Mognet task's handler is called. */
import { runInTask } from "../../tasks/context.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import { type MognetContext, Pause } from "../../tasks/mognet-context.ts";
import { Ignore, Reject, Replace } from "../../tasks/signals.ts";
import { checkResult } from "../executor.ts";

/** Throws, or rejects with, what the handler does. A result that does not satisfy the task's schema is a `TaskValidationError`. */
export function execute(task: AnyTask, call: readonly unknown[], context: MognetContext, validate: boolean): unknown {
  const handler = task.handler as ((...args: unknown[]) => unknown) | null;
  if (handler === null) throw new TypeError(`task ${task.name} has no handler here`);
  const args = task.style === "params" ? [...call, context] : call;
  return runInTask(context, () => checkResult(task, handler(...args), validate));
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/** The task goes back to its queue. */
export function isPause(error: unknown): boolean {
  return error instanceof Pause || (error instanceof Reject && error.requeue);
}

/** Celery's way to end without a result: here every task has one. */
export function isIgnore(error: unknown): boolean {
  return error instanceof Ignore && !(error instanceof Replace);
}
