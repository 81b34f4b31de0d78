/** What tasks leave behind and nobody catches. */
import type { Log } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";

/**
 * A promise that a task forgot and that failed is its own affair: it is logged, with the task it belongs to. An error thrown
 * out of a callback leaves no one knows what behind: what runs may end, then the worker does, with 1, to be started anew.
 */
export function catchStrays(log: Log, onThrown: () => void): { close(): void } {
  const about = () => {
    const task = currentTask();
    return task === undefined ? {} : { task: task.name, id: task.id };
  };
  const rejected = (reason: unknown) =>
    log.error(
      { ...about(), err: reason instanceof Error ? reason : { message: String(reason) } },
      "a promise was rejected and nobody waited for it",
    );
  const thrown = (error: Error) => {
    log.fatal({ ...about(), err: error }, "an error was thrown where nobody catches it: the worker stops");
    onThrown();
  };
  process.on("unhandledRejection", rejected).on("uncaughtException", thrown);
  return {
    close() {
      process.off("unhandledRejection", rejected).off("uncaughtException", thrown);
    },
  };
}
