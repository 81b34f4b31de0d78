/**
 * Children of a pool, threads or processes alike: each loads the tasks once and runs one body at a time. A child that dies takes
 * its body with it and nothing else, and is replaced; so is one that has run enough tasks or has grown too large. What a body is,
 * how it is posted and what its end means is its protocol's.
 *
 * Life of a slot: starting -> idle <-> busy -> leaving -> gone. A leaving one gets no more jobs and no longer counts. A stale one
 * (it runs its last task, or has loaded what a restart replaces) serves on while its successor loads.
 */
import { availableParallelism } from "node:os";
import { backoffMs } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import type { TimerEntry, TimerHeap } from "../../runtime/timer-heap.ts";
import { WorkerLostError } from "../../tasks/errors.ts";
import type { Child, Spawn } from "./child.ts";
import { PoolError } from "./errors.ts";
import { unpackError } from "./freight.ts";
import type { Answer, Call, ChildInit, Ended, FromChild, Reason, ToChild } from "./messages.ts";
import type { PoolName } from "./pool.ts";

export interface ChildrenOptions {
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
  /** Children that load the tasks at a time; so many more than `size` may be there while they replace others. @default CPUs + 2 */
  loading?: number;
  timers: TimerHeap;
  log: Log;
}

/** What runs in a child. */
export interface Body {
  readonly id: string;
}

/** Told what a child says of its body. */
export interface BodyOwner<B extends Body> {
  /** Not called for a body that was killed. */
  ended(body: B, message: Ended): void;
  /** Its thread or process died under it. */
  lost(body: B, error: WorkerLostError): void;
  answer(body: B, call: Call, tell: (json: string) => void): Promise<Answer>;
  /** There may be room where there was none. */
  room(): void;
}

interface Slot<B> {
  readonly child: Child;
  state: "starting" | "idle" | "busy" | "leaving";
  /** What runs in it; null when its end is of no interest any more. */
  body: B | null;
  job: number;
  done: number;
  /** It is replaced as soon as its successor has loaded. */
  stale: boolean;
  /** What ran in it was killed, and may still be cleaning up. */
  killed: boolean;
  /** Kills it when it does not come up, or does not go. */
  timer: TimerEntry | null;
}

/** All that is left is killed by then. */
const CLOSE_WITHIN_MS = 7_000;
/** What was killed may clean up for so long when the pool closes. */
const CLEAN_UP_MS = 500;
/** A child without a job closes its connections and goes. */
const LEAVE_WITHIN_MS = 5_000;
/** Starting one holds the event loop for milliseconds: so many in one turn of it. */
const STARTS_PER_TURN = 4;

export class Children<B extends Body> {
  readonly #options: ChildrenOptions;
  readonly #slots = new Set<Slot<B>>();
  readonly #idle: Slot<B>[] = [];
  readonly #busy = new Map<B, Slot<B>>();
  #size: number;
  #owner: BodyOwner<B> | null = null;
  #spawnChild: Spawn | null = null;
  #jobs = 0;
  /** Children that died before they could run anything, one after the other. */
  #failures = 0;
  #retry: TimerEntry | null = null;
  /** Goes on filling in the next turn. */
  #filling: NodeJS.Immediate | null = null;
  #onFirst: { resolve: () => void; reject: (error: Error) => void } | null = null;
  #whenGone: (() => void)[] = [];
  #closed = false;

  constructor(options: ChildrenOptions) {
    this.#options = options;
    this.#size = options.size;
  }

  get size(): number {
    return this.#size;
  }

  /** Resolves when one child can run; the others follow. */
  async start(owner: BodyOwner<B>): Promise<void> {
    this.#owner = owner;
    this.#spawnChild = await this.#options.spawner();
    if (this.#closed) return;
    await new Promise<void>((resolve, reject) => {
      this.#onFirst = { resolve, reject };
      // With none to start with, one still has to show that the tasks can be loaded.
      if (this.#size === 0) this.#spawn();
      this.#fill();
    });
  }

  /** Bodies that can begin now. */
  get room(): number {
    return Math.min(this.#idle.length, Math.max(0, this.#size - this.#busy.size));
  }

  has(body: B): boolean {
    return this.#busy.has(body);
  }

  /** Takes a child for the body, and says which process it is. */
  take(body: B): number {
    const fresh = this.#idle.findIndex(({ stale }) => !stale);
    const [slot] = this.#idle.splice(Math.max(0, fresh), 1);
    if (slot === undefined) throw new PoolError("POOL_BUSY", "no child is idle");
    slot.state = "busy";
    slot.body = body;
    slot.job = ++this.#jobs;
    this.#busy.set(body, slot);
    if (this.#worn(slot.done + 1)) {
      slot.stale = true;
      this.#fill();
    }
    return slot.child.pid;
  }

  /** The body needs its child no more, and has said nothing to it that matters. */
  giveBack(body: B): void {
    const slot = this.#busy.get(body);
    if (slot === undefined) return;
    this.#release(slot);
    this.#owner?.room();
  }

  /** Says something to the child of a body. Throws for what cannot be cloned. */
  post(body: B, message: (job: number) => ToChild): void {
    const slot = this.#busy.get(body);
    slot?.child.post(message(slot.job));
  }

  /** Ends a body: with the reason it is asked to, and after `graceMs` its child is killed. Its end is not told any more. */
  kill(body: B, reason: Reason, signal: NodeJS.Signals, graceMs: number): void {
    const slot = this.#busy.get(body);
    if (slot === undefined) return;
    this.#busy.delete(body);
    slot.body = null;
    slot.killed = true;
    this.#leave(slot);
    if (graceMs > 0) {
      slot.child.post({ type: "abort", job: slot.job, reason });
      this.#killAfter(slot, graceMs);
    }
    if (signal !== "SIGKILL" || graceMs === 0) slot.child.kill(signal);
    this.#fill();
  }

  resize(size: number): void {
    this.#size = size;
    this.#trim();
    this.#fill();
    this.#owner?.room();
  }

  /** Each child goes when one that has loaded the tasks anew stands in its place, and its body has ended. */
  restart(): void {
    for (const slot of this.#slots) slot.stale = true;
    this.#fill();
  }

  stats(): Record<string, unknown> {
    const common = { "max-concurrency": this.#size };
    const living = [...this.#slots].filter((slot) => slot.state !== "leaving");
    // Threads are all in one process, which Celery's own thread pool does not name.
    const pids = new Set(living.map((slot) => slot.child.pid));
    return {
      ...common,
      ...(this.#options.name === "threads" ? { threads: living.length } : {}),
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
    if (this.#filling !== null) clearImmediate(this.#filling);
    for (const slot of [...this.#slots]) {
      if (slot.state === "idle") this.#dismiss(slot);
      else if (slot.state !== "leaving") slot.child.kill("SIGKILL");
      else if (slot.killed) this.#killAfter(slot, CLEAN_UP_MS);
    }
    this.#idle.length = 0;
    if (this.#slots.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenGone.push(resolve);
      // A thread in the midst of native code ends when that does; nobody waits for it.
      this.#options.timers.after(CLOSE_WITHIN_MS, () => {
        for (const slot of this.#slots) slot.child.unref();
        resolve();
      });
    });
  }

  /** Slots that have not been sent away: all, those that load, and those that stay. */
  #count(): { living: number; starting: number; fresh: number } {
    let [living, starting, fresh] = [0, 0, 0];
    for (const { state, stale } of this.#slots) {
      if (state === "leaving") continue;
      living++;
      if (state === "starting") starting++;
      if (!stale) fresh++;
    }
    return { living, starting, fresh };
  }

  /** A few in a turn, and a few that load at a time: a large pool must not hold up the worker, nor starve the machine. */
  #fill(): void {
    const { loading = availableParallelism() + 2 } = this.#options;
    for (let started = 0; ; started++) {
      if (this.#closed || this.#retry !== null || this.#spawnChild === null) return;
      const { living, starting, fresh } = this.#count();
      if (fresh >= this.#size || starting >= loading || living >= this.#size + loading) return;
      if (started === STARTS_PER_TURN) break;
      this.#spawn();
    }
    this.#filling ??= setImmediate(() => {
      this.#filling = null;
      this.#fill();
    });
  }

  /** Sends away what is too much: children that load, then idle ones, the stale before the others. Busy ones go when their bodies have ended. */
  #trim(): void {
    let { fresh } = this.#count();
    for (const slot of this.#slots) {
      // The first one still has to show that the tasks can be loaded.
      if (fresh <= this.#size || this.#onFirst !== null) break;
      if (slot.state !== "starting" || slot.stale) continue;
      this.#dismiss(slot);
      fresh--;
    }
    for (const slot of this.#idle.filter(({ stale }) => stale)) {
      if (this.#idle.length + this.#busy.size <= this.#size) break;
      this.#dismiss(slot);
    }
    let staying = 0;
    for (const slot of this.#busy.values()) if (!slot.stale) staying++;
    for (const slot of this.#idle.toReversed()) {
      if (this.#idle.length + staying <= this.#size) break;
      this.#dismiss(slot);
    }
  }

  #worn(done: number): boolean {
    const { maxTasks } = this.#options;
    return maxTasks !== null && done >= maxTasks;
  }

  #spawn(): void {
    const { init, timers, aliveTimeoutMs, log } = this.#options;
    if (this.#spawnChild === null) return;
    const child = this.#spawnChild({
      message: (message) => this.#onMessage(slot, message),
      exit: (how) => this.#onExit(slot, how),
    });
    const slot: Slot<B> = {
      child,
      state: "starting",
      body: null,
      job: 0,
      done: 0,
      stale: false,
      killed: false,
      timer: null,
    };
    this.#slots.add(slot);
    slot.timer = timers.after(aliveTimeoutMs, () => {
      slot.timer = null;
      log.error({ pid: child.pid, seconds: aliveTimeoutMs / 1000 }, "a child of the pool did not come up in time");
      child.kill("SIGKILL");
    });
    child.post({ type: "init", init });
  }

  #onMessage(slot: Slot<B>, message: FromChild): void {
    switch (message.type) {
      case "ready":
        return this.#onReady(slot, message.tasks);
      case "ended": {
        const { body } = slot;
        if (message.job !== slot.job) return;
        slot.done++;
        // Told to end, it has.
        if (slot.state === "leaving") return slot.child.post({ type: "leave" });
        this.#release(slot, message.kib, message.last);
        if (body !== null) this.#owner?.ended(body, message);
        return;
      }
      case "call": {
        const { body } = slot;
        const { job, call } = message;
        if (body === null || job !== slot.job) return;
        const tell = (json: string) => {
          if (slot.body === body) slot.child.post({ type: "note", call, json });
        };
        this.#owner?.answer(body, message, tell).then((answer) => {
          if (this.#slots.has(slot)) slot.child.post({ type: "answer", call, answer });
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

  #onReady(slot: Slot<B>, tasks: readonly string[]): void {
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
    slot.state = "idle";
    this.#idle.push(slot);
    this.#trim();
    this.#fill();
    this.#owner?.room();
  }

  #unfit(error: PoolError): void {
    this.#options.log.error({ err: error }, error.message);
    this.#onFirst?.reject(error);
    this.#onFirst = null;
  }

  /** The body in it has ended, well or not. */
  #release(slot: Slot<B>, kib = 0, last = false): void {
    if (slot.body !== null) this.#busy.delete(slot.body);
    slot.body = null;
    if (slot.state !== "busy") return;
    const { maxKib, log } = this.#options;
    const large = maxKib !== null && kib > maxKib;
    if (large)
      log.info({ pid: slot.child.pid, kib, limit: maxKib }, "a child of the pool has grown too large and is replaced");
    if (last || large || this.#worn(slot.done)) {
      this.#dismiss(slot);
      this.#fill();
      return;
    }
    slot.state = "idle";
    this.#idle.push(slot);
    if (slot.stale || this.#slots.size > this.#size) this.#trim();
  }

  /** Sends a child without a body away. */
  #dismiss(slot: Slot<B>): void {
    this.#leave(slot);
    slot.child.post({ type: "leave" });
    this.#killAfter(slot, LEAVE_WITHIN_MS);
  }

  #leave(slot: Slot<B>): void {
    this.#cancelTimer(slot);
    slot.state = "leaving";
    const at = this.#idle.indexOf(slot);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #killAfter(slot: Slot<B>, ms: number): void {
    this.#cancelTimer(slot);
    slot.timer = this.#options.timers.after(ms, () => slot.child.kill("SIGKILL"));
  }

  #cancelTimer(slot: Slot<B>): void {
    if (slot.timer !== null) this.#options.timers.cancel(slot.timer);
    slot.timer = null;
  }

  #onExit(slot: Slot<B>, how: string): void {
    const { body, state } = slot;
    this.#cancelTimer(slot);
    this.#slots.delete(slot);
    this.#leave(slot);
    if (this.#slots.size === 0) for (const resolve of this.#whenGone.splice(0)) resolve();
    if (state === "starting" && !this.#closed) this.#failedToStart(how);
    else if (state !== "leaving" && !this.#closed) {
      this.#options.log.error({ pid: slot.child.pid, how, id: body?.id }, "a child of the pool has died");
    }
    this.#fill();
    if (body === null) return;
    this.#busy.delete(body);
    this.#owner?.lost(body, new WorkerLostError(`Worker exited prematurely: ${how} Job: ${slot.job}.`));
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
    this.#retry = this.#options.timers.after(delay, () => {
      this.#retry = null;
      this.#fill();
    });
  }
}
