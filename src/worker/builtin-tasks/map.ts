/**
 * `celery.map` and `celery.starmap`: one message, and the body of a task that is registered here called for each item; no message,
 * result or retry of its own for any of them. wire: celery-behaviour 2.7; celery/app/builtins.py `add_map_task`.
 */
import { readSignature } from "../../../protocol/celery/signature.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { NotRegistered, TaskArgumentError, TaskError } from "../../tasks/errors.ts";
import { Replace, Retry } from "../../tasks/signals.ts";
import { callTask } from "../executor.ts";
import { argument, workerContext } from "./arguments.ts";

/** What they need of a worker, or of a child of its pool. */
export interface MapHost {
  readonly plans: { get(name: string): { readonly task: AnyTask } | undefined };
  readonly settings: { readonly lovage_validate_params: boolean };
}

export function mapTask(host: MapHost): AnyTask {
  return task("celery.map", () => callEach(host, (item) => [item]));
}

export function starmapTask(host: MapHost): AnyTask {
  return task("celery.starmap", () =>
    callEach(host, (item) => {
      if (Array.isArray(item)) return item;
      throw new TaskArgumentError("argument after * must be an iterable");
    }),
  );
}

async function callEach({ plans, settings }: MapHost, argsOf: (item: unknown) => unknown[]): Promise<unknown[]> {
  const context = workerContext();
  const { args, kwargs } = context;
  const { task: name } = readSignature(argument("task", 0, args, kwargs));
  const inner = plans.get(name)?.task;
  if (inner === undefined) throw new NotRegistered(name);
  const items = argument("it", 1, args, kwargs);
  if (!Array.isArray(items)) throw new TaskArgumentError("the items to map over must be a list");
  const results: unknown[] = [];
  for (const item of items) {
    try {
      results.push(await callTask(inner, argsOf(item), {}, context, settings.lovage_validate_params));
    } catch (error) {
      throw called(error, name);
    }
  }
  return results;
}

/** One item has no message to be sent again or replaced: Celery's `retry` of a task that was called throws why. */
function called(error: unknown, name: string): unknown {
  if (error instanceof Retry)
    return error.exc ?? new TaskError("RETRY", `${name} can be retried, but not for one item`);
  if (error instanceof Replace) return new TaskError("REPLACE", `${name} cannot be replaced for one item`);
  return error;
}
