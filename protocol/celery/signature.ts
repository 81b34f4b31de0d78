/** Signatures as they travel: tasks to be sent later, as data. wire: celery-wire 2.1; celery/canvas.py `Signature`. */

/** Exactly these keys, in this order, when written; readers tolerate missing optional and additional keys. */
export interface WireSignature {
  task: string;
  args: readonly unknown[];
  kwargs: Record<string, unknown>;
  options: Record<string, unknown>;
  subtask_type: string | null;
  immutable: boolean;
}
