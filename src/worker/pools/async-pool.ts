/** Bodies on the event loop of the worker itself: a slot is a number. Nothing can be killed there; it is settled and forgotten. */
import { run } from "../executor.ts";
import type { Request } from "../request.ts";
import type { RunningContext } from "../running-context.ts";
import { PoolError } from "./errors.ts";
import { mostSlots, type Pool, type PoolEvents } from "./pool.ts";

export class AsyncPool implements Pool {
  readonly name = "async";
  readonly most = mostSlots("async");
  readonly #validate: boolean;
  #size: number;
  #events: PoolEvents | null = null;

  constructor(size: number, validate: boolean) {
    this.#size = size;
    this.#validate = validate;
  }

  get size(): number {
    return this.#size;
  }

  async start(events: PoolEvents): Promise<void> {
    this.#events = events;
  }

  hasRoom(active: number): boolean {
    return active < this.#size;
  }

  accept(): number {
    return process.pid;
  }

  run(request: Request, context: RunningContext): void {
    run(request, context, this.#validate, this.#events!.ended);
  }

  abort(request: Request, reason: Error): void {
    request.context?.abort(reason);
  }

  kill(request: Request, reason: Error): void {
    request.context?.abort(reason);
  }

  resize(size: number): void {
    this.#size = size;
    this.#events?.room();
  }

  restart(): void {
    throw new PoolError("POOL_RESTART", "the async pool has no children to restart: its tasks are loaded once");
  }

  stats(): Record<string, unknown> {
    return {
      "max-concurrency": this.#size,
      processes: [process.pid],
      "max-tasks-per-child": "N/A",
      "put-guarded-by-semaphore": true,
      writes: "N/A",
    };
  }

  async close(): Promise<void> {
    this.#events = null;
  }
}
