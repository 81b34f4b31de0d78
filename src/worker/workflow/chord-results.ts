/**
 * The list that a chord's body gets: from the parts that were returned, or, when a member of the header ends in a group, from the
 * stored results. wire: celery-behaviour 2.6; celery/backends/redis.py `_unpack_chord_result`, celery/result.py `join_native`.
 */
import { decodeException } from "../../../protocol/celery/exceptions.ts";
import type { ResultMeta, ResultTuple } from "../../../protocol/celery/result-meta.ts";
import { EXCEPTION_STATES, isReady, PROPAGATE_STATES } from "../../../protocol/celery/states.ts";
import type { CollectedPart } from "../../result-backends/chord-counter.ts";
import type { ResultBackend } from "../../result-backends/result-backend.ts";
import { ChordError, RemoteTaskError, TaskError } from "../../tasks/errors.ts";
import { exceptionRepr } from "./error-text.ts";

/** The results that a join waited for did not come in time. */
export class JoinTimeout extends TaskError {
  static readonly python = "celery.exceptions.TimeoutError";
  constructor() {
    super("JOIN_TIMEOUT", "The operation timed out.");
  }
}

/** Throws `ChordError`, with the member's own error as its cause, for the first that did not succeed. */
export function valuesOf(parts: readonly CollectedPart[]): unknown[] {
  return parts.map(({ taskId, state, result }) => {
    if (!EXCEPTION_STATES.has(state)) return result;
    const exception = decodeException(result);
    if (!PROPAGATE_STATES.has(state)) return result;
    const text = exception === null ? "None" : exceptionRepr(exception);
    const message = `Dependency ${taskId} raised ${text}`;
    if (exception === null) throw new ChordError(message);
    throw new ChordError(message, { cause: new RemoteTaskError(taskId, exception, null) });
  });
}

/** A failed member of a join: its error and whose it is. */
export class JoinFailure extends TaskError {
  readonly taskId: string;
  constructor(taskId: string, cause: RemoteTaskError) {
    super("JOIN_FAILED", cause.message, { cause });
    this.taskId = taskId;
  }
}

/**
 * The values of a group's results, nested as the group is. Throws `JoinFailure` for the first that did not succeed, `JoinTimeout`
 * when some is not there within `timeout` seconds (null: no limit). `followParents`: of the steps before a member that has failed,
 * the first failure counts; Celery looks at them where its backend has no join of its own.
 */
export async function join(
  backend: ResultBackend<ResultMeta>,
  group: ResultTuple,
  timeout: number | null,
  followParents = false,
): Promise<unknown[]> {
  const late = timeout === null || timeout === 0 ? null : AbortSignal.timeout(timeout * 1000);
  const read = async ([[id, parent], children]: ResultTuple): Promise<unknown> => {
    if (children !== null) return Promise.all(children.map(read));
    const record = await ready(backend, id, late);
    if (!PROPAGATE_STATES.has(record.status)) return record.result;
    if (followParents) await throwFirstFailure(backend, parent);
    throw failureOf(id, record);
  };
  try {
    return await Promise.all((group[1] ?? []).map(read));
  } catch (error) {
    if (late?.aborted && !(error instanceof JoinFailure)) throw new JoinTimeout();
    throw error;
  }
}

function failureOf(id: string, record: ResultMeta): JoinFailure {
  const exception = record.exception ?? { type: "Exception", module: "builtins", args: [] };
  return new JoinFailure(id, new RemoteTaskError(id, exception, record.traceback));
}

async function throwFirstFailure(backend: ResultBackend<ResultMeta>, last: ResultTuple | null): Promise<void> {
  const steps: ResultTuple[] = [];
  for (let step = last; step !== null; step = step[0][1]) steps.push(step);
  for (const [[id], members] of steps.reverse()) {
    const ids = members === null ? [id] : members.map((member) => member[0][0]);
    const records = await Promise.all(ids.map((one) => backend.get(one, { exactly: true })));
    for (const [index, record] of records.entries()) {
      if (record !== null && PROPAGATE_STATES.has(record.status)) throw failureOf(ids[index] ?? id, record);
    }
  }
}

async function ready(backend: ResultBackend<ResultMeta>, id: string, late: AbortSignal | null): Promise<ResultMeta> {
  const exactly = { exactly: true };
  const stored = await backend.get(id, exactly);
  if (stored !== null && isReady(stored.status)) return stored;
  const seen = await backend.watch(id, late === null ? {} : { signal: late });
  return (await backend.get(id, exactly)) ?? seen;
}
