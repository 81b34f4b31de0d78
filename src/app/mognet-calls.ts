/** What calls of a Mognet app say: arguments and options as a request, the task that submits, ids. */
import { mognetIdOrNull } from "../../protocol/mognet/names.ts";
import { isPlainObject, mismatch } from "../settings/kinds.ts";
import { callArguments } from "../tasks/call-arguments.ts";
import type { AnyTask } from "../tasks/definition.ts";
import { type MognetContext, mognetContext } from "../tasks/mognet-context.ts";
import { Request, type RequestOptions } from "../tasks/mognet-request.ts";

/** Throws `TaskValidationError` and `TaskArgumentError` for arguments. */
export async function requestByDefinition(
  task: AnyTask,
  given: unknown,
  options: RequestOptions,
  validate: boolean,
): Promise<Request> {
  const { name, behaviour, returns } = task;
  const call = callArguments(task, given, validate);
  const { args, kwargs } = call instanceof Promise ? await call : call;
  const priority =
    options.priority ?? (behaviour.priority === undefined ? undefined : Math.min(10, behaviour.priority));
  return new Request(
    { ...options, name, args, kwargs, ...(priority === undefined ? {} : { priority }) },
    returns,
    true,
  );
}

/** `returns`: of the definition of that name, if the app has one. */
export function requestByName(
  name: string,
  returns: AnyTask["returns"] | null,
  given: unknown,
  options: RequestOptions,
): Request {
  if (given === undefined || given === null) return new Request({ ...options, name }, returns);
  if (Array.isArray(given)) return new Request({ ...options, name, args: given }, returns);
  // A Map or a Date has no keywords, and would travel as none.
  if (!isPlainObject(given)) throw mismatch(`${name}: the arguments`, "a plain object of keywords or an array", given);
  return new Request({ ...options, name, kwargs: { ...given } }, returns);
}

/** Of the task that submits, if it is one. */
export function parentOf(options: unknown) {
  if (options === undefined) return null;
  const context = typeof options === "object" && options !== null && "context" in options ? options.context : undefined;
  if (context === undefined) return null;
  const { request } = mognetContext(context as MognetContext);
  return { id: request.id, stack: request.stack, context };
}

export function idOf(id: unknown, at: string): string {
  const known = typeof id === "string" ? mognetIdOrNull(id) : null;
  if (known === null) throw mismatch(`${at}: the id`, "a UUID", id);
  return known;
}
