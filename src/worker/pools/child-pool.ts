/**
 * A pool of children, threads or processes alike: each loads the tasks once and runs one body at a time. A child that dies takes
 * its body with it and nothing else, and is replaced; so is one that has run enough tasks or has grown too large. Celery's own
 * tasks, which belong to the worker, run in the worker.
 *
 * Life of a slot: starting -> idle <-> busy -> leaving -> gone. A leaving one gets no more jobs and no longer counts.
 */
import { backoffMs } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import type { TimerEntry, TimerHeap } from "../../runtime/timer-heap.ts";
import { WorkerLostError } from "../../tasks/errors.ts";
import { run } from "../executor.ts";
import type { Request } from "../request.ts";
import type { RunningContext } from "../running-context.ts";
import { adoptChildren, type Calls } from "./calls.ts";
import type { Child, Spawn } from "./child.ts";
import { PoolError } from "./errors.ts";
import { packReason, unpackEnding, unpackError } from "./freight.ts";
import type { ChildInit, FromChild, Job } from "./messages.ts";
import type { Pool, PoolEvents, PoolName } from "./pool.ts";

export interface ChildPoolOptions {
  name: Exclude<PoolName, "async">;
  size: number;
  spawner: () => Promise<Spawn>;
  init: ChildInit;
  /** Names of tasks that every child must know. */
  taskNames: () => readonly string[];
  /** A child is replaced after so many tasks; null: never. */
  maxTasks: number | null;
  /** … and when it uses more KiB after a task; null: never. */
  maxKib: number | null;
  /** Milliseconds a child may take to load the tasks. */
  aliveTimeoutMs: number;
  validate: boolean;
  timers: TimerHeap;
  calls: Calls;
  log: Log;
}

interface Slot {
  readonly child: Child;
  state: "starting" | "idle" | "busy" | "leaving";
  /** What runs in it; null when its end is of no interest any more. */
  request: Request | null;
  job: number;
  done: number;
  /** Kills it when it does not come up, or does not go. */
  timer: TimerEntry | null;
}

/** Between a signal that a child may look at and the one that it cannot. */
const KILL_AFTER_MS = 100;
/** All that is left is killed by then. */
const CLOSE_WITHIN_MS = 7_000;
/** A child without a job closes its connections and goes. */
const LEAVE_WITHIN_MS = 5_000;

export class ChildPool implements Pool {
  readonly name: Exclude<PoolName, "async">;
  readonly #options: ChildPoolOptions;
  readonly #slots = new Set<Slot>();
  readonly #idle: Slot[] = [];
  readonly #busy = new Map<Request, Slot>();
  #size: number;
  #events: PoolEvents | null = null;
  #spawnChild: Spawn | null = null;
  #jobs = 0;
  /** Children that died before they could run anything, one after the other. */
  #failures = 0;
  #retry: TimerEntry | null = null;
  #onFirst: { resolve: () => void; reject: (error: Error) => void } | null = null;
  #whenGone: (() => void)[] = [];
  #closed = false;

  constructor(options: ChildPoolOptions) {
    this.name = options.name;
    this.#options = options;
    this.#size = options.size;
  }

  get size(): number {
    return this.#size;
  }

  /** Resolves when one child can run; the others follow. */
  async start(events: PoolEvents): Promise<void> {
    this.#events = events;
    this.#spawnChild = await this.#options.spawner();
    if (this.#closed) return;
    await new Promise<void>((resolve, reject) => {
      this.#onFirst = { resolve, reject };
      // With none to start with, one still has to show that the tasks can be loaded.
      if (this.#size === 0) this.#spawn();
      this.#fill();
    });
  }

  hasRoom(): boolean {
    return this.#idle.length > 0;
  }

  accept(request: Request): number {
    if (request.plan.local) return process.pid;
    const slot = this.#idle.shift();
    if (slot === undefined) throw new PoolError("POOL_BUSY", "no child is idle");
    slot.state = "busy";
    slot.request = request;
    slot.job = ++this.#jobs;
    this.#busy.set(request, slot);
    return slot.child.pid;
  }

  run(request: Request, context: RunningContext): void {
    const slot = this.#busy.get(request);
    if (slot === undefined) return run(request, context, this.#options.validate, this.#events!.ended);
    try {
      slot.child.post({ type: "job", ...jobOf(request, slot.job) });
    } catch (error) {
      // What came with the message cannot be cloned.
      this.#release(slot);
      this.#events?.ended(request, "threw", error);
    }
  }

  abort(request: Request, reason: Error): void {
    const slot = this.#busy.get(request);
    if (slot === undefined) request.context?.abort(reason);
    else slot.child.post({ type: "abort", job: slot.job, reason: packReason(reason) });
  }

  kill(request: Request, reason: Error, signal: NodeJS.Signals): void {
    const slot = this.#busy.get(request);
    if (slot === undefined) {
      request.context?.abort(reason);
      return;
    }
    this.#busy.delete(request);
    slot.request = null;
    this.#leave(slot);
    if (signal !== "SIGKILL") {
      // A moment to clean up, for what listens to its signal.
      slot.child.post({ type: "abort", job: slot.job, reason: packReason(reason) });
      slot.child.kill(signal);
      slot.timer = this.#options.timers.at(Date.now() + KILL_AFTER_MS, () => slot.child.kill("SIGKILL"));
    } else slot.child.kill("SIGKILL");
    this.#fill();
  }

  resize(size: number): void {
    this.#size = size;
    while (this.#living() > size) {
      const slot = this.#idle.pop() ?? this.#starting();
      // Busy ones go when their bodies have ended.
      if (slot === undefined) break;
      this.#dismiss(slot);
    }
    this.#fill();
  }

  restart(): void {
    for (const slot of [...this.#slots]) {
      if (slot.state === "idle") this.#dismiss(slot);
      // Its count is full: it goes when its body has ended.
      else if (slot.state === "busy") slot.done = Number.POSITIVE_INFINITY;
    }
    this.#idle.length = 0;
    this.#fill();
  }

  stats(): Record<string, unknown> {
    const common = { "max-concurrency": this.#size };
    const living = [...this.#slots].filter((slot) => slot.state !== "leaving");
    // Threads are all in one process, which Celery's own thread pool does not name.
    const pids = new Set(living.map((slot) => slot.child.pid));
    return {
      ...common,
      ...(this.name === "threads" ? { threads: living.length } : {}),
      processes: [...pids],
      "max-tasks-per-child": this.#options.maxTasks ?? "N/A",
      "put-guarded-by-semaphore": true,
      writes: "N/A",
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#size = 0;
    this.#onFirst?.reject(new PoolError("POOL_LOAD", "the pool was closed before a child had loaded the tasks"));
    this.#onFirst = null;
    if (this.#retry !== null) this.#options.timers.cancel(this.#retry);
    for (const slot of [...this.#slots]) {
      if (slot.state === "idle") this.#dismiss(slot);
      else if (slot.state !== "leaving" || slot.request !== null) slot.child.kill("SIGKILL");
    }
    this.#idle.length = 0;
    if (this.#slots.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenGone.push(resolve);
      // A thread in the midst of native code ends when that does; nobody waits for it.
      this.#options.timers.at(Date.now() + CLOSE_WITHIN_MS, () => {
        for (const slot of this.#slots) slot.child.unref();
        resolve();
      });
    });
  }

  /** Slots that may get jobs. */
  #living(): number {
    let count = 0;
    for (const slot of this.#slots) if (slot.state !== "leaving") count++;
    return count;
  }

  #starting(): Slot | undefined {
    for (const slot of this.#slots) if (slot.state === "starting") return slot;
    return undefined;
  }

  #fill(): void {
    if (this.#closed || this.#retry !== null || this.#spawnChild === null) return;
    for (let missing = this.#size - this.#living(); missing > 0; missing--) this.#spawn();
  }

  #spawn(): void {
    const { init, timers, aliveTimeoutMs, log } = this.#options;
    if (this.#spawnChild === null) return;
    const child = this.#spawnChild({
      message: (message) => this.#onMessage(slot, message),
      exit: (how) => this.#onExit(slot, how),
    });
    const slot: Slot = { child, state: "starting", request: null, job: 0, done: 0, timer: null };
    this.#slots.add(slot);
    slot.timer = timers.at(Date.now() + aliveTimeoutMs, () => {
      slot.timer = null;
      log.error({ pid: child.pid, seconds: aliveTimeoutMs / 1000 }, "a child of the pool did not come up in time");
      child.kill("SIGKILL");
    });
    child.post({ type: "init", init });
  }

  #onMessage(slot: Slot, message: FromChild): void {
    switch (message.type) {
      case "ready":
        return this.#onReady(slot, message.tasks);
      case "ended": {
        const { request } = slot;
        if (message.job !== slot.job) return;
        slot.done++;
        this.#release(slot, message.kib, message.last);
        if (request === null) return;
        if (message.children !== null) adoptChildren(request, message.children);
        let result: unknown;
        try {
          result = unpackEnding(message, request.id);
        } catch (error) {
          this.#events?.ended(request, "threw", error);
          return;
        }
        this.#events?.ended(request, message.event, result);
        return;
      }
      case "call": {
        const { request } = slot;
        if (request === null || message.job !== slot.job) return;
        this.#options.calls.answer(request, message).then((answer) => {
          if (this.#slots.has(slot)) slot.child.post({ type: "answer", call: message.call, answer });
        });
        return;
      }
      case "log": {
        const { log } = this.#options;
        if (message.message === undefined) log[message.level](message.fields);
        else log[message.level](message.fields, message.message);
        return;
      }
      case "unfit": {
        const error = unpackError(message.error, "");
        const wrapped = new PoolError("POOL_LOAD", `a child of the pool cannot load the tasks: ${String(error)}`, {
          cause: error,
        });
        this.#unfit(wrapped);
        return;
      }
      case "stray": {
        const { id, task, ends } = message;
        const whose = id === null ? {} : { id, task };
        this.#options.log.error(
          { err: unpackError(message.error, id ?? ""), pid: slot.child.pid, ...whose },
          ends
            ? "an error that no task caught ends a child of the pool"
            : "a promise was rejected that nobody waits for",
        );
        return;
      }
    }
  }

  #onReady(slot: Slot, tasks: readonly string[]): void {
    if (slot.state !== "starting") return;
    const { init, taskNames } = this.#options;
    const there = new Set(tasks);
    const missing = taskNames().filter((name) => !there.has(name));
    if (missing.length > 0) {
      const words = `${init.module} does not have the tasks ${missing.slice(0, 5).join(", ")} of this worker with a handler`;
      this.#unfit(new PoolError("POOL_LOAD", words));
      slot.child.kill("SIGKILL");
      return;
    }
    this.#cancelTimer(slot);
    this.#failures = 0;
    this.#onFirst?.resolve();
    this.#onFirst = null;
    if (this.#living() > this.#size && this.#size > 0) return this.#dismiss(slot);
    slot.state = "idle";
    this.#idle.push(slot);
    if (this.#size === 0) {
      this.#idle.pop();
      this.#dismiss(slot);
      return;
    }
    this.#events?.room();
  }

  #unfit(error: PoolError): void {
    this.#options.log.error({ err: error }, error.message);
    this.#onFirst?.reject(error);
    this.#onFirst = null;
  }

  /** The body in it has ended, well or not. */
  #release(slot: Slot, kib = 0, last = false): void {
    if (slot.request !== null) this.#busy.delete(slot.request);
    slot.request = null;
    if (slot.state !== "busy") return;
    const { maxTasks, maxKib, log } = this.#options;
    const worn = maxTasks !== null && slot.done >= maxTasks;
    const large = maxKib !== null && kib > maxKib;
    if (large)
      log.info({ pid: slot.child.pid, kib, limit: maxKib }, "a child of the pool has grown too large and is replaced");
    if (last || worn || large || slot.done === Number.POSITIVE_INFINITY || this.#living() > this.#size) {
      this.#dismiss(slot);
      this.#fill();
      return;
    }
    slot.state = "idle";
    this.#idle.push(slot);
  }

  /** Sends a child without a body away. */
  #dismiss(slot: Slot): void {
    this.#leave(slot);
    slot.child.post({ type: "leave" });
    slot.timer = this.#options.timers.at(Date.now() + LEAVE_WITHIN_MS, () => slot.child.kill("SIGKILL"));
  }

  #leave(slot: Slot): void {
    this.#cancelTimer(slot);
    slot.state = "leaving";
    const at = this.#idle.indexOf(slot);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #cancelTimer(slot: Slot): void {
    if (slot.timer !== null) this.#options.timers.cancel(slot.timer);
    slot.timer = null;
  }

  #onExit(slot: Slot, how: string): void {
    const { request, state } = slot;
    this.#cancelTimer(slot);
    this.#slots.delete(slot);
    this.#leave(slot);
    if (this.#slots.size === 0) for (const resolve of this.#whenGone.splice(0)) resolve();
    if (state === "starting" && !this.#closed) this.#failedToStart(how);
    else if (state !== "leaving" && !this.#closed) {
      this.#options.log.error({ pid: slot.child.pid, how, id: request?.id }, "a child of the pool has died");
    }
    this.#fill();
    if (request === null) return;
    this.#busy.delete(request);
    const error = new WorkerLostError(`Worker exited prematurely: ${how} Job: ${slot.job}.`);
    this.#events?.ended(request, "workerLost", error);
  }

  /** Tries again later, ever later: a module that cannot be loaded now may be whole again soon. */
  #failedToStart(how: string): void {
    this.#onFirst?.reject(
      new PoolError("POOL_LOAD", `a child of the pool ended before it had loaded the tasks: ${how}`),
    );
    this.#onFirst = null;
    if (this.#retry !== null) return;
    const delay = backoffMs(this.#failures++);
    this.#options.log.error({ how, delay }, "a child of the pool cannot start");
    this.#retry = this.#options.timers.at(Date.now() + delay, () => {
      this.#retry = null;
      this.#fill();
    });
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
