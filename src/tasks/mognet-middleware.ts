/**
 * Hooks into the life of a Mognet app, under Mognet's names. Each is awaited, in the order in which the middleware was added; what
 * one throws is logged and changes nothing. wire: Mognet 2.0.0 middleware/middleware.py.
 */
import type { MognetResult } from "../../protocol/mognet/result.ts";
import type { Log } from "../runtime/log.ts";
import type { MognetContext } from "./mognet-context.ts";
import type { Request } from "./mognet-request.ts";

type Hook<Args extends unknown[]> = (...args: Args) => void | Promise<void>;

export interface MognetMiddleware {
  /** A worker starts; nothing is connected yet. */
  onAppStarting?: Hook<[app: unknown]>;
  /** The worker has started. */
  onAppStarted?: Hook<[app: unknown]>;
  /** The worker, or the app, closes. Once. */
  onAppStopping?: Hook<[app: unknown]>;
  onAppStopped?: Hook<[app: unknown]>;
  /** Before a request is published: its result and metadata are stored. The request may be changed. `context`: of the parent. */
  onRequestSubmitting?: Hook<[request: Request, context: MognetContext | null]>;
  /** How many requests this worker holds. */
  onRunningTaskCountChanged?: Hook<[count: number]>;
  /** RUNNING is stored, arguments are not checked yet. */
  onTaskStarting?: Hook<[context: MognetContext]>;
  /** The end is stored; the message is not acked yet. Not after a pause or a revoke of a running task. */
  onTaskCompleted?: Hook<[result: MognetResult, context: MognetContext]>;
}

type Names = keyof MognetMiddleware;
type ArgsOf<Name extends Names> = Parameters<NonNullable<MognetMiddleware[Name]>>;

/** Calls one hook of all, in order. Costs nothing when none has it. */
export async function callMiddleware<Name extends Names>(
  all: readonly MognetMiddleware[],
  name: Name,
  args: ArgsOf<Name>,
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

/** Whether any of them has this hook. */
export function hasHook(all: readonly MognetMiddleware[], name: Names): boolean {
  return all.some((middleware) => typeof middleware[name] === "function");
}
