/**
 * Hooks into the life of a Mognet app, called in the order of addition; what one throws is logged and stops nothing.
 * wire: mognet/middleware/middleware.py. `App`, `Context` and `Result` are named by who calls.
 */
import type { Request } from "./mognet-request.ts";

export interface MognetMiddleware<App = unknown, Context = unknown, Result = unknown> {
  /** The worker of this app is about to connect. */
  onAppStarting?(app: App): unknown;
  /** The worker consumes. */
  onAppStarted?(app: App): unknown;
  /** The app is about to disconnect; also one that only submits. */
  onAppStopping?(app: App): unknown;
  onAppStopped?(app: App): unknown;
  /** The result and metadata are written and the request is not yet sent: it may still be changed. `context`: the task that submits. */
  onRequestSubmitting?(request: Request, options: { context: Context | null }): unknown;
  /** The number of requests that the worker holds has changed. */
  onRunningTaskCountChanged?(count: number): unknown;
  /** RUNNING is written, the arguments are not yet looked at. */
  onTaskStarting?(context: Context): unknown;
  /** A terminal state is written, the message is not yet acked; may come twice for one task. */
  onTaskCompleted?(result: Result, options: { context: Context | null }): unknown;
}
