/**
 * Runs a handler and names what came of it before anything is stored or acked: it returned, threw, asked for a retry, or
 * steered itself away. A handler that returns no promise never leaves the current tick.
 */
import { bindArguments } from "../../protocol/binding.ts";
import { runInTask, type TaskContext } from "../tasks/context.ts";
import type { AnyTask } from "../tasks/definition.ts";
import { SoftTimeLimitExceeded, TaskArgumentError, TaskValidationError } from "../tasks/errors.ts";
import { issueText } from "../tasks/issues.ts";
import { readableThrown } from "../tasks/python-errors.ts";
import { autoretryOutcome } from "../tasks/retry-policy.ts";
import { Ignore, Reject, Replace, Retry } from "../tasks/signals.ts";
import type { AnySchema, SchemaResult } from "../tasks/standard-schema.ts";
import type { ContextRequest, RunningContext } from "./running-context.ts";

export type OutcomeEvent = "returned" | "threw" | "retryAsked" | "ignored" | "rejected" | "requeueAsked" | "replaced";

/** Called once, possibly before `run` returns. On `returned` the value, else the error. */
export type OnOutcome<R extends ContextRequest> = (request: R, event: OutcomeEvent, result: unknown) => void;

/** Runs the body of `request`; `validate` says whether arguments and result are checked against their schemas. */
export function run<R extends ContextRequest>(
  request: R,
  context: RunningContext,
  validate: boolean,
  done: OnOutcome<R>,
): void {
  let result: unknown;
  let promise: Promise<unknown> | null = null;
  try {
    runInTask(context, () => {
      result = invoke(request, context, validate);
      // Whatever its `then` does, a promise of our own settles once and never throws.
      if (isThenable(result)) promise = Promise.resolve(result);
    });
  } catch (error) {
    settleError(request, context, error, done);
    return;
  }
  const pending = promise as Promise<unknown> | null;
  if (pending === null) done(request, "returned", result);
  else {
    pending.then(
      (value) => done(request, "returned", value),
      (error: unknown) => settleError(request, context, error, done),
    );
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

function settleError<R extends ContextRequest>(
  request: R,
  context: RunningContext,
  given: unknown,
  done: OnOutcome<R>,
): void {
  const thrown = readableThrown(given);
  const reason = context.abortReason;
  // What a library throws for an aborted signal stands for the reason of the abort.
  const aborted = reason instanceof SoftTimeLimitExceeded && thrown instanceof Error && thrown.name === "AbortError";
  let error: unknown;
  try {
    error = autoretryOutcome(request.plan.task, request.message, aborted ? reason : thrown);
  } catch (policyError) {
    error = readableThrown(policyError);
  }
  if (error instanceof Retry) done(request, "retryAsked", error);
  else if (error instanceof Replace) done(request, "replaced", error);
  else if (error instanceof Ignore) done(request, "ignored", error);
  else if (error instanceof Reject) done(request, error.requeue ? "requeueAsked" : "rejected", error);
  else done(request, "threw", error);
}

function invoke(request: ContextRequest, context: RunningContext, validate: boolean): unknown {
  const { args, kwargs } = request.message;
  return callTask(request.plan.task, args, kwargs, context, validate);
}

/**
 * Calls the handler as the definition says: with bound and checked parameters and the context, or with the positional arguments.
 * Throws what the handler throws, and `TaskArgumentError` or `TaskValidationError`.
 */
export function callTask(
  task: AnyTask,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  context: TaskContext | null,
  validate: boolean,
): unknown {
  const handler = task.handler as ((...args: unknown[]) => unknown) | null;
  if (handler === null) throw new TaskArgumentError(`task ${task.name} has no handler here`);
  if (task.style === "positional" || task.parameters === null || task.params === null) {
    return checkResult(task, handler(...args), validate);
  }
  const bound = bindArguments(task.parameters, args, kwargs);
  if (!bound.ok) throw new TaskArgumentError(bound.message);
  const values: Record<string, unknown> = {};
  let pending: Promise<void>[] | null = null;
  for (const [key, schema] of Object.entries(task.params)) {
    const name = key.startsWith("**") ? key.slice(2) : key.startsWith("*") ? key.slice(1) : key;
    const checked = key.startsWith("**")
      ? checkEntries(schema, name, bound.varKwargs ?? {}, validate)
      : key.startsWith("*")
        ? checkList(schema, name, bound.varArgs ?? [], validate)
        : check(schema, name, Object.hasOwn(bound.values, name) ? bound.values[name] : undefined, validate);
    if (checked instanceof Promise) {
      pending ??= [];
      pending.push(
        checked.then((value) => {
          values[name] = value;
        }),
      );
    } else values[name] = checked;
  }
  if (pending === null) return checkResult(task, handler(values, context), validate);
  return Promise.all(pending).then(() => checkResult(task, handler(values, context), validate));
}

function check(schema: AnySchema, name: string, value: unknown, validate: boolean): unknown {
  if (!validate) return value;
  const result: SchemaResult<unknown> | Promise<SchemaResult<unknown>> = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((settled) => valueOf(settled, name)) : valueOf(result, name);
}

function valueOf(result: SchemaResult<unknown>, name: string): unknown {
  if (result.issues === undefined) return result.value;
  throw new TaskValidationError(`${name}: ${issueText(result.issues)}`, result.issues);
}

function checkList(schema: AnySchema, name: string, list: readonly unknown[], validate: boolean): unknown {
  const checked = list.map((value, index) => check(schema, `${name}[${index}]`, value, validate));
  return checked.some((value) => value instanceof Promise) ? Promise.all(checked) : checked;
}

function checkEntries(
  schema: AnySchema,
  name: string,
  entries: Readonly<Record<string, unknown>>,
  validate: boolean,
): unknown {
  const keys = Object.keys(entries);
  const checked = keys.map((key) => check(schema, `${name}.${key}`, entries[key], validate));
  const assemble = (values: readonly unknown[]) => Object.fromEntries(keys.map((key, index) => [key, values[index]]));
  return checked.some((value) => value instanceof Promise) ? Promise.all(checked).then(assemble) : assemble(checked);
}

/** The result against the `returns` schema; what does not satisfy it is a `TaskValidationError`. */
export function checkResult(task: AnyTask, result: unknown, validate: boolean): unknown {
  const { returns } = task;
  if (returns === null || !validate) return result;
  if (isThenable(result)) {
    return Promise.resolve(result).then((value) => check(returns, "return value", value, validate));
  }
  return check(returns, "return value", result, validate);
}
