/**
 * Hooks into the life of a Mognet app, called in the order of addition; what one throws is logged and stops nothing.
 * wire: mognet/middleware/middleware.py. `App`, `Context` and `Result` are named by who calls.
 */
import type { Log } from "../runtime/log.ts";
import type { Request } from "./mognet-request.ts";

/** Hooks into the life of an app, its requests and tasks; what they return is waited for. Mognet: `Middleware`. */
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

type Hooks = Required<MognetMiddleware>;

/** Calls one hook of all that have it, each awaited, in order. What one throws is logged and changes nothing. */
export async function callMiddleware<Name extends keyof Hooks>(
  all: readonly MognetMiddleware[],
  name: Name,
  args: Parameters<Hooks[Name]>,
  log: Log,
): Promise<void> {
  for (const middleware of all) {
    const hook: unknown = middleware[name];
    if (typeof hook !== "function") continue;
    try {
      await Reflect.apply(hook, middleware, args);
    } catch (error) {
      log.error({ err: error, hook: name }, "middleware failed");
    }
  }
}

/** Whether any of them has this hook: calling none should cost nothing. */
export function hasHook(all: readonly MognetMiddleware[], name: keyof Hooks): boolean {
  return all.some((middleware) => typeof middleware[name] === "function");
}
