/** What built-in tasks are given: arguments, which Python passes by position or by name, and their context. */
import { currentTask } from "../../tasks/context.ts";
import { TaskArgumentError } from "../../tasks/errors.ts";
import { RunningContext } from "../running-context.ts";

/** Throws as Python does when it is missing and there is no `fallback`. */
export function argument(
  name: string,
  index: number,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  fallback?: unknown,
): unknown {
  if (index < args.length) return args[index];
  if (Object.hasOwn(kwargs, name)) return kwargs[name];
  if (fallback !== undefined) return fallback;
  throw new TaskArgumentError(`missing 1 required positional argument: '${name}'`);
}

/** The context of a built-in task, which always runs in a worker. */
export function workerContext(): RunningContext {
  const context = currentTask();
  if (context instanceof RunningContext) return context;
  throw new TaskArgumentError("a built-in task runs in a worker only");
}
