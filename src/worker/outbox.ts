/** What the worker may send. `app` hands it in, so that the worker never meets the client (style: the arrow points right). */
import type { SentTask } from "../tasks/context.ts";

export interface Outbox {
  /**
   * Sends a task by name with `applyAsync` options in camelCase, those of a signature included (`taskId`, `rootId`,
   * `parentId`, `groupId`, `link`, `chain`, …). Resolves once the broker holds it. Options that came with a message may have
   * names that Lovage does not know.
   */
  applyAsync(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: Record<string, unknown>,
  ): Promise<SentTask>;
  /** The same for the code of a task, whose mistakes in options are errors. */
  sendTask(
    name: string,
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    options: Record<string, unknown>,
  ): Promise<SentTask>;
  /** Sends to a task by its definition: one object of parameters or an array of arguments. */
  send(task: { readonly name: string }, args: unknown, options: Record<string, unknown>): Promise<SentTask>;
  /** Throws `ImproperlyConfigured` for options that `sendTask` would refuse; `at` begins its sentence. */
  checkOptions?(at: string, options: Readonly<Record<string, unknown>>): void;
}
