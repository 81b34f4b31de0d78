/**
 * Whoever is told of a failure. An errback that is registered here and takes more than one argument is called here with
 * `(request, error, traceback)` and leaves no message; any other is sent with the failed id, all of them as one group.
 * wire: celery-behaviour 2.4; celery/backends/base.py `_call_task_errbacks`.
 */
import type { ResultTuple } from "../../../protocol/celery/result-tuple.ts";
import type { WireSignature } from "../../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../../protocol/celery/task-message.ts";
import type { Log } from "../../runtime/log.ts";
import { runInTask, type TaskContext } from "../../tasks/context.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import { tracebackText } from "../../tasks/python-errors.ts";
import { callTask } from "../executor.ts";
import type { Outbox } from "../outbox.ts";
import type { TaskPlan } from "../request.ts";

/** The failed task as errbacks see it; of a chord's body only what its signature says. */
export type FailedTask = Pick<TaskRequest, "id" | "task" | "args" | "kwargs" | "parentId" | "group" | "groupIndex"> & {
  readonly rootId: string | null;
};

export interface ErrbackOptions {
  outbox: Outbox;
  plans: ReadonlyMap<string, TaskPlan>;
  validate: boolean;
  /** `lovage_fail_unreachable`: an errback that is a chain is told; Celery calls it with what no message can hold. */
  thorough: boolean;
  log: Log;
}

export class Errbacks {
  readonly #options: ErrbackOptions;

  constructor(options: ErrbackOptions) {
    this.#options = options;
  }

  /** Gives what becomes a child of the running task. Rejects when a message could not be sent; what is called here only logs. */
  async call(
    failed: FailedTask,
    errbacks: readonly WireSignature[],
    error: unknown,
    context: TaskContext | null,
  ): Promise<readonly ResultTuple[]> {
    const others: WireSignature[] = [];
    for (const errback of errbacks) {
      const task = this.#options.plans.get(errback.task)?.task;
      if (task !== undefined && errback.subtask_type === null && freeArguments(task, errback) > 1) {
        await this.#callHere(task, errback, failed, error, context);
      } else if (errback.subtask_type === "chain" && !this.#options.thorough) this.#sayUnsendable(errback, failed);
      else others.push(errback);
    }
    if (others.length === 0) return [];
    const group: WireSignature = {
      task: "celery.group",
      args: [],
      kwargs: { tasks: others },
      options: {},
      subtask_type: "group",
      immutable: false,
    };
    const options = { parent_id: failed.id, root_id: failed.rootId ?? failed.id };
    return (await this.#options.outbox.apply(group, { args: [failed.id], options })).children;
  }

  #sayUnsendable(errback: WireSignature, { task, id }: FailedTask): void {
    this.#options.log.error(
      { errback: errback.task, task, id },
      "an errback that is a chain is not sent, as in Celery",
    );
  }

  async #callHere(
    task: AnyTask,
    errback: WireSignature,
    failed: FailedTask,
    error: unknown,
    context: TaskContext | null,
  ): Promise<void> {
    const { log, validate } = this.#options;
    const given = errback.immutable ? [] : [failed, error, tracebackText(error)];
    const args = [...given, ...errback.args];
    const call = () => callTask(task, args, errback.kwargs, context, validate);
    try {
      await (context === null ? call() : runInTask(context, call));
    } catch (trouble) {
      log.error({ err: trouble, errback: errback.task, task: failed.task, id: failed.id }, "an errback threw");
    }
  }
}

/**
 * Positional arguments that the failure may still supply, by the definition: declared parameters, or the handler's own when
 * none are declared (`function.length`, which does not see rest parameters).
 */
function freeArguments(task: AnyTask, errback: WireSignature): number {
  const declared = task.parameters?.params;
  if (declared === undefined) return (task.handler?.length ?? 0) - (errback.immutable ? 0 : errback.args.length);
  if (declared.some(({ kind }) => kind === "varPositional")) return Number.POSITIVE_INFINITY;
  const positional = declared.filter(({ kind }) => kind === "positionalOrKeyword");
  if (errback.immutable) return positional.length;
  const free = positional.filter(({ name }) => !Object.hasOwn(errback.kwargs, name));
  return free.length - errback.args.length;
}
