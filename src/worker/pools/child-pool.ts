/**
 * Celery's bodies in children. Celery's own tasks, which belong to the worker, run in the worker. wire: celery/concurrency/prefork.py.
 */
import { run } from "../executor.ts";
import type { Request } from "../request.ts";
import type { RunningContext } from "../running-context.ts";
import { adoptChildren, type Calls } from "./calls.ts";
import { type BodyOwner, Children, type ChildrenOptions } from "./children.ts";
import { packReason, unpackEnding } from "./freight.ts";
import type { Ended, Job } from "./messages.ts";
import { mostSlots, type Pool, type PoolEvents, type PoolName } from "./pool.ts";

export interface ChildPoolOptions extends ChildrenOptions {
  validate: boolean;
  calls: Calls;
}

/** Between a signal that a child may look at and the one that it cannot. */
const KILL_AFTER_MS = 100;

export class ChildPool implements Pool {
  readonly name: Exclude<PoolName, "async">;
  readonly #validate: boolean;
  readonly #calls: Calls;
  readonly #children: Children<Request>;
  #events: PoolEvents | null = null;

  constructor(options: ChildPoolOptions) {
    this.name = options.name;
    this.#validate = options.validate;
    this.#calls = options.calls;
    this.#children = new Children(options);
  }

  get most(): number {
    return mostSlots(this.name);
  }

  get size(): number {
    return this.#children.size;
  }

  start(events: PoolEvents): Promise<void> {
    this.#events = events;
    const owner: BodyOwner<Request> = {
      ended: (request, message) => this.#onEnded(request, message),
      lost: (request, error) => events.ended(request, "workerLost", error),
      answer: (request, call) => this.#calls.answer(request, call),
      room: events.room,
    };
    return this.#children.start(owner);
  }

  hasRoom(): boolean {
    return this.#children.room > 0;
  }

  accept(request: Request): number {
    return request.plan.local ? process.pid : this.#children.take(request);
  }

  run(request: Request, context: RunningContext): void {
    if (!this.#children.has(request)) return run(request, context, this.#validate, this.#events!.ended);
    try {
      this.#children.post(request, (job) => ({ type: "job", ...jobOf(request, job) }));
    } catch (error) {
      // What came with the message cannot be cloned.
      this.#children.giveBack(request);
      this.#events?.ended(request, "threw", error);
    }
  }

  abort(request: Request, reason: Error): void {
    if (!this.#children.has(request)) return request.context?.abort(reason);
    this.#children.post(request, (job) => ({ type: "abort", job, reason: packReason(reason) }));
  }

  kill(request: Request, reason: Error, signal: NodeJS.Signals): void {
    if (!this.#children.has(request)) return request.context?.abort(reason);
    // A moment to clean up, for what listens to its signal.
    this.#children.kill(request, packReason(reason), signal, signal === "SIGKILL" ? 0 : KILL_AFTER_MS);
  }

  resize(size: number): void {
    this.#children.resize(size);
  }

  restart(): void {
    this.#children.restart();
  }

  stats(): Record<string, unknown> {
    return this.#children.stats();
  }

  close(): Promise<void> {
    return this.#children.close();
  }

  #onEnded(request: Request, message: Ended): void {
    if (!("event" in message)) return;
    if (message.children !== null) adoptChildren(request, message.children);
    let result: unknown;
    try {
      result = unpackEnding(message, request.id);
    } catch (error) {
      this.#events?.ended(request, "threw", error);
      return;
    }
    this.#events?.ended(request, message.event, result);
  }
}

function jobOf(request: Request, job: number): Job {
  const { message, info } = request.delivery;
  return {
    job,
    // A copy: its buffer is given away, and ours is read again for what is sent on.
    message: { ...message, body: new Uint8Array(message.body) },
    info: {
      exchange: info.exchange,
      routingKey: info.routingKey,
      redelivered: info.redelivered,
      queue: info.queue,
    },
    ignoreResult: request.message.ignoreResult ?? request.plan.ignoreResult,
    timeLimit: request.timeLimit,
    softTimeLimit: request.softTimeLimit,
  };
}
