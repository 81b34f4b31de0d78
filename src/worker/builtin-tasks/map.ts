/**
 * `celery.map` and `celery.starmap`: one message, and the body of a task that is registered here called for each item; no message,
 * result or retry of its own for any of them. wire: celery-behaviour 2.7; celery/app/builtins.py `add_map_task`.
 */
import { iterated } from "../../../protocol/celery/canvas/chunks.ts";
import { readSignature } from "../../../protocol/celery/signature.ts";
import type { TaskContext } from "../../tasks/context.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { NotRegistered, TaskArgumentError, TaskError } from "../../tasks/errors.ts";
import { Replace, Retry } from "../../tasks/signals.ts";
import type { StandardSchema } from "../../tasks/standard-schema.ts";
import { callTask } from "../executor.ts";

/** What they need of a worker, or of a child of its pool. */
export interface MapHost {
  readonly plans: { get(name: string): { readonly task: AnyTask } | undefined };
  readonly settings: { readonly lovage_validate_params: boolean };
}

export function mapTask(host: MapHost): AnyTask {
  return task("celery.map", { params: CALL }, (call, context) => callEach(host, call, (item) => [item], context));
}

export function starmapTask(host: MapHost): AnyTask {
  const argsOf = (item: unknown) => {
    const args = iterated(item);
    if (args === null) throw new TaskArgumentError("argument after * must be an iterable");
    return args;
  };
  return task("celery.starmap", { params: CALL }, (call, context) => callEach(host, call, argsOf, context));
}

/** One may be an item of the other: what it is called with is not what its message says. */
const given: StandardSchema<unknown> = {
  "~standard": {
    version: 1,
    vendor: "lovage",
    validate: (value) => (value === undefined ? { issues: [{ message: "Required" }] } : { value }),
  },
};
const CALL = { task: given, it: given };

async function callEach(
  { plans, settings }: MapHost,
  call: { readonly task: unknown; readonly it: unknown },
  argsOf: (item: unknown) => readonly unknown[],
  context: TaskContext,
): Promise<unknown[]> {
  const name = typeof call.task === "string" ? call.task : readSignature(call.task).task;
  const inner = plans.get(name)?.task;
  if (inner === undefined) throw new NotRegistered(name);
  const items = iterated(call.it);
  if (items === null) throw new TaskArgumentError("the items to map over cannot be iterated");
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
