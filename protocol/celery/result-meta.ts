/** What a task leaves behind. wire: celery-wire 8.1 to 8.3; celery/backends/base.py `_get_result_meta`. */
import type { RemoteException } from "./exceptions.ts";

/** A result document in our words. `status` may be any custom state. */
export interface ResultMeta {
  status: string;
  /** The return value; for FAILURE, RETRY and REVOKED a `RemoteException` (or null); for others what the task said. */
  result: unknown;
  exception: RemoteException | null;
  traceback: string | null;
  /** `AsyncResult` and `GroupResult` tuples; `[]` when stored by a task, null outside one. */
  children: readonly ResultTuple[] | null;
  /** ISO 8601 text; set for SUCCESS, FAILURE and REVOKED. */
  dateDone: string | null;
  groupId?: string | null;
  parentId?: string | null;
  /** With `result_extended` only. */
  name?: string;
  args?: unknown;
  kwargs?: unknown;
  worker?: string;
  retries?: number;
  queue?: string;
  stampedHeaders?: readonly string[] | null;
  stamps?: Record<string, unknown>;
  taskId: string;
}

/** `[[id, parent | null], null]` for a task, `[[id, parent | null], [child, …]]` for a group. */
export type ResultTuple = readonly [readonly [string, ResultTuple | null], readonly ResultTuple[] | null];
