/** Services: what tasks share, found by function or class. wire: Mognet 2.0.0 service/class_service.py, `Context.get_service`. */
import type { MognetContext } from "./mognet-context.ts";

/** One instance for each app, made with the app's configuration when first asked for. Its `call` gives tasks what they need. */
export abstract class ClassService<Given = unknown> {
  /** The app's configuration, by Mognet's keys (`services_settings` is for services). */
  readonly config: Readonly<Record<string, unknown>>;
  constructor(config: Readonly<Record<string, unknown>>) {
    this.config = config;
  }
  abstract call(context: MognetContext, ...args: readonly unknown[]): Given;
  /** When the worker has stopped. Python's Mognet forgets to call it. */
  close(): void | Promise<void> {}
}

/** A service with a life of its own, made once per app. Mognet: `ClassService`. */
export type ServiceClass<Given = unknown> = new (config: Readonly<Record<string, unknown>>) => ClassService<Given>;
/** A service that is called anew for each use, with the context of the task that asks. */
export type ServiceFunction<Given = unknown> = (context: MognetContext, ...args: never[]) => Given;
/** What a task asks `ctx.getService()` for. */
export type ServiceKey = ServiceClass | ServiceFunction;
export type ServiceOf<Key> =
  Key extends ServiceClass<infer Given> ? Given : Key extends ServiceFunction<infer Given> ? Given : never;
