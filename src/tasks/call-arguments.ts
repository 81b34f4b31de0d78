/** What a typed call passes, as the args and kwargs of a message: validated, so that a caller's mistake is the caller's error. */
import { bindArguments } from "../../protocol/binding.ts";
import type { AnyTask } from "./definition.ts";
import { TaskArgumentError, TaskValidationError } from "./errors.ts";
import { issueText } from "./issues.ts";
import type { AnySchema, SchemaResult } from "./standard-schema.ts";

export interface MessageArguments {
  args: readonly unknown[];
  kwargs: Record<string, unknown>;
}

/**
 * One object of parameters travels as keywords (as positional arguments when the definition says `positional`), an array as
 * positional arguments. The inputs are sent, not what the schema makes of them: the worker's schema does that.
 */
export function callArguments(
  task: AnyTask,
  passed: unknown,
  validate: boolean,
): MessageArguments | Promise<MessageArguments> {
  const call = splitCall(task, passed);
  const checked = validate ? checkArguments(task, call) : undefined;
  return checked === undefined ? call : checked.then(() => call);
}

/** Throws `TaskArgumentError` or `TaskValidationError`; a promise when a schema is asynchronous. */
export function checkArguments(task: AnyTask, { args, kwargs }: MessageArguments): Promise<void> | undefined {
  if (task.parameters === null || task.params === null) return undefined;
  const bound = bindArguments(task.parameters, args, kwargs);
  if (!bound.ok) throw new TaskArgumentError(bound.message);
  const pending: Promise<void>[] = [];
  for (const [key, schema] of Object.entries(task.params)) {
    if (key.startsWith("**")) {
      for (const [name, value] of Object.entries(bound.varKwargs ?? {})) check(schema, name, value, pending);
    } else if (key.startsWith("*")) {
      for (const [index, value] of (bound.varArgs ?? []).entries()) check(schema, `${key}[${index}]`, value, pending);
    } else if (Object.hasOwn(bound.values, key)) check(schema, key, bound.values[key], pending);
  }
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined);
}

/** Without a look at the values: what is missing may still come. */
export function splitCall(task: AnyTask, passed: unknown): MessageArguments {
  if (passed === undefined || passed === null) return { args: [], kwargs: {} };
  if (Array.isArray(passed)) return { args: passed, kwargs: {} };
  if (typeof passed !== "object") {
    throw new TaskArgumentError(`${task.name}: pass an object of parameters or an array of arguments`);
  }
  const given: Record<string, unknown> = Object.fromEntries(
    Object.entries(passed).filter(([, value]) => value !== undefined),
  );
  if (task.parameters === null) {
    if (task.handler !== null) throw new TaskArgumentError(`${task.name} takes positional arguments: pass an array`);
    return { args: [], kwargs: given };
  }
  return byName(task, given);
}

function byName(task: AnyTask, given: Record<string, unknown>): MessageArguments {
  const params = task.parameters?.params ?? [];
  const rest = params.find((param) => param.kind === "varPositional");
  const more = params.find((param) => param.kind === "varKeyword");
  const spread = rest === undefined ? [] : takeList(given, rest.name);
  const kwargs: Record<string, unknown> = { ...given };
  if (rest !== undefined) delete kwargs[rest.name];
  if (more !== undefined && Object.hasOwn(kwargs, more.name)) {
    const extra = kwargs[more.name];
    delete kwargs[more.name];
    Object.assign(kwargs, extra);
  }
  if (!task.behaviour.positional && spread.length === 0) return { args: [], kwargs };
  const args: unknown[] = [];
  for (const param of params) {
    if (param.kind !== "positionalOrKeyword" || !Object.hasOwn(kwargs, param.name)) break;
    args.push(kwargs[param.name]);
    delete kwargs[param.name];
  }
  return { args: [...args, ...spread], kwargs };
}

function takeList(given: Record<string, unknown>, name: string): readonly unknown[] {
  const value = Object.hasOwn(given, name) ? given[name] : undefined;
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new TaskArgumentError(`*${name} is an array of further positional arguments`);
  return value;
}

function check(schema: AnySchema, name: string, value: unknown, pending: Promise<void>[]): void {
  const result: SchemaResult<unknown> | Promise<SchemaResult<unknown>> = schema["~standard"].validate(value);
  if (result instanceof Promise) pending.push(result.then((settled) => demand(settled, name)));
  else demand(result, name);
}

function demand(result: SchemaResult<unknown>, name: string): void {
  if (result.issues !== undefined) throw new TaskValidationError(`${name}: ${issueText(result.issues)}`, result.issues);
}
