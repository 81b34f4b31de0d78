/** The result documents that a worker writes, state by state. wire: celery-wire 8.1; celery/backends/base.py `_get_result_meta`. */
import type { RemoteException } from "../../protocol/celery/exceptions.ts";
import type { ResultMeta, ResultTuple } from "../../protocol/celery/result-meta.ts";
import type { TaskHead, TaskRequest } from "../../protocol/celery/task-message.ts";

/** What a record says of the task itself. */
export type RecordHead = Pick<
  TaskHead,
  "id" | "task" | "group" | "parentId" | "retries" | "stampedHeaders" | "stamps"
> &
  Partial<Pick<TaskRequest, "args" | "kwargs">>;

export interface RecordOptions {
  /** `result_extended` */
  extended: boolean;
  /** Null: it is not said (Celery, of links that will not run). */
  hostname: string | null;
  /** Now, as Python's `isoformat` in the app's timezone. */
  isoNow: () => string;
}

const ENDED = new Set(["SUCCESS", "FAILURE", "REVOKED"]);

export interface RecordInput {
  status: string;
  result?: unknown;
  exception?: RemoteException | null;
  traceback?: string | null;
  children?: readonly ResultTuple[] | null;
  queue?: string;
}

/** A document for the task that `head` tells of. */
export function resultRecord(head: RecordHead, input: RecordInput, options: RecordOptions): ResultMeta {
  const record: ResultMeta = {
    status: input.status,
    result: input.result ?? null,
    exception: input.exception ?? null,
    traceback: input.traceback ?? null,
    children: input.children ?? [],
    dateDone: ENDED.has(input.status) ? options.isoNow() : null,
    taskId: head.id,
  };
  if (head.group !== null) record.groupId = head.group;
  if (head.parentId !== null) record.parentId = head.parentId;
  if (options.extended) extend(record, head, input, options);
  return record;
}

function extend(record: ResultMeta, head: RecordHead, input: RecordInput, options: RecordOptions): void {
  record.name = head.task;
  if (head.args !== undefined) {
    record.args = head.args;
    record.kwargs = head.kwargs;
  }
  if (options.hostname !== null) record.worker = options.hostname;
  record.retries = head.retries;
  if (input.queue !== undefined) record.queue = input.queue;
  if (head.stampedHeaders !== null) {
    record.stampedHeaders = head.stampedHeaders;
    record.stamps = head.stamps;
  }
}
