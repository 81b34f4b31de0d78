/**
 * What middleware hears of a Mognet app: each hook once in a life, although a worker and the app itself both start and stop (Mognet's
 * command line fires the stopping ones twice). A worker that starts later begins another life. wire: mognet/app/app.py `start`, `_stop`.
 */
import type { Log } from "../runtime/log.ts";
import { callMiddleware, type MognetMiddleware } from "../tasks/mognet-middleware.ts";

export class LifeHooks {
  readonly #app: unknown;
  readonly #middleware: readonly MognetMiddleware[];
  readonly #log: Log;
  #stopping: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;

  constructor(app: unknown, middleware: readonly MognetMiddleware[], log: Log) {
    this.#app = app;
    this.#middleware = middleware;
    this.#log = log;
  }

  starting(): Promise<void> {
    this.#stopping = null;
    this.#stopped = null;
    return this.#call("onAppStarting");
  }

  started(): Promise<void> {
    return this.#call("onAppStarted");
  }

  stopping(): Promise<void> {
    this.#stopping ??= this.#call("onAppStopping");
    return this.#stopping;
  }

  stopped(): Promise<void> {
    this.#stopped ??= this.#call("onAppStopped");
    return this.#stopped;
  }

  #call(name: "onAppStarting" | "onAppStarted" | "onAppStopping" | "onAppStopped"): Promise<void> {
    return callMiddleware(this.#middleware, name, [this.#app], this.#log);
  }
}
