/**
 * Canvas that is started in a worker: `celery.chunks`, and the older forms of group and chord.
 * wire: celery-behaviour 2.7; celery/app/builtins.py.
 */
import { takesResult } from "../../../protocol/celery/canvas/parts.ts";
import { type ResultTuple, readResultTuple } from "../../../protocol/celery/result-tuple.ts";
import { readSignatureList, type WireSignature } from "../../../protocol/celery/signature.ts";
import { isRecord } from "../../../protocol/records.ts";
import { childSent } from "../../tasks/context.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { TaskArgumentError } from "../../tasks/errors.ts";
import { ResultNotEncodable } from "../effect-errors.ts";
import type { RunningContext } from "../running-context.ts";
import { argument, workerContext } from "./arguments.ts";

function signatureOf(name: string, kwargs: Record<string, unknown>, kind: string | null): WireSignature {
  return { task: name, args: [], kwargs, options: {}, subtask_type: kind, immutable: kind === null };
}

/**
 * The result, unless a task would be sent with it: Celery returns a result object, which is stored as a tuple but has no form in a
 * message, so the task fails, although what it has sent runs. wire: celery/app/trace.py `trace_task`, celery/backends/base.py `prepare_value`.
 */
function stored(result: ResultTuple | null, context: RunningContext): ResultTuple | null {
  const { callbacks, chain } = context.exactly().embed;
  const followers = [...(readSignatureList(callbacks) ?? []), ...(readSignatureList(chain) ?? []).slice(-1)];
  if (result === null || !followers.some(takesResult)) return result;
  const type = result[1] === null ? "AsyncResult" : "GroupResult";
  const message = `Object of type ${type} is not JSON serializable`;
  throw new ResultNotEncodable(`TypeError('${message}')`, new TypeError(message));
}

/** `(task, it, n)`: a group of `celery.starmap` tasks; its result is the group's. */
export function chunks(): AnyTask {
  return task("celery.chunks", async () => {
    const context = workerContext();
    const { args, kwargs } = context.exactly();
    const size = argument("n", 2, args, kwargs);
    const parts = { task: argument("task", 0, args, kwargs), it: argument("it", 1, args, kwargs), n: size };
    return stored(await context.apply(signatureOf("celery.chunks", parts, null), { own: true }), context);
  });
}

/** `(tasks, result, group_id, partial_args, add_to_parent=true)`: all members, under the given group id. */
export function legacyGroup(): AnyTask {
  return task("celery.group", async () => {
    const context = workerContext();
    const { args, kwargs } = context.exactly();
    const members = readSignatureList(argument("tasks", 0, args, kwargs)) ?? [];
    const result = readResultTuple(argument("result", 1, args, kwargs));
    const groupId = argument("group_id", 2, args, kwargs);
    const partial = listOf(argument("partial_args", 3, args, kwargs), "partial_args");
    const shared = { group_id: groupId, add_to_parent: false };
    await Promise.all(
      members.map((member) =>
        context.apply({ ...member, options: { ...member.options, ...shared } }, { args: partial }),
      ),
    );
    if (argument("add_to_parent", 4, args, kwargs, true) === true) context[childSent](result[0][0]);
    return stored(result, context);
  });
}

/** `(header, body, partial_args=(), …)`: a chord, started here; its result is the body's. */
export function legacyChord(): AnyTask {
  return task("celery.chord", { ignoreResult: false }, async () => {
    const context = workerContext();
    const { args, kwargs } = context.exactly();
    const header = argument("header", 0, args, kwargs);
    const body = argument("body", 1, args, kwargs);
    if (!isRecord(body)) throw new TaskArgumentError("the body of a chord must be a signature");
    const partial = listOf(argument("partial_args", 2, args, kwargs, []), "partial_args");
    const chord = signatureOf("celery.chord", { kwargs: {}, header, body }, "chord");
    return stored(await context.apply(chord, { args: partial }), context);
  });
}

function listOf(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new TaskArgumentError(`${name} must be a list`);
}
