/** What a child of a pool does with the messages of its worker, whichever protocol its tasks speak. */
import type { FromChild, ToChild } from "./messages.ts";

/** The child's end of the line to its worker. */
export interface WorkerLine {
  post(message: FromChild): void;
}

export interface InnerLife {
  onMessage(message: ToChild): void;
  /** Resolves when the worker has sent it away. */
  gone(): Promise<void>;
  /** Something of the task `id` was thrown that nobody caught. False: it may be the body's own, which must not wait for ever. */
  outlives(id: string | undefined): boolean;
}
