/**
 * Where the bodies of tasks run, behind one contract: on the event loop (`async`), in threads, or in child processes. A pool knows
 * bodies and slots; what a message is due before and after its body is the runner's. `signal`, results and errors look the same
 * from all three; what differs is what can be ended for real.
 */
import type { TimerHeap } from "../../runtime/timer-heap.ts";
import type { OutcomeEvent } from "../executor.ts";
import type { Request } from "../request.ts";
import type { RunningContext } from "../running-context.ts";
import type { Calls } from "./calls.ts";

/** Where bodies run: on the event loop, in worker threads, or in processes. Celery: `--pool`, whose `prefork` is `processes`. */
export type PoolName = "async" | "threads" | "processes";

/** Slots of one pool: a thread or process takes tens of megabytes before it has run anything, a slot of the event loop nothing. */
const MOST_SLOTS: Readonly<Record<PoolName, number>> = { async: 100_000, threads: 1_024, processes: 1_024 };

export function mostSlots(name: PoolName): number {
  return MOST_SLOTS[name];
}

/** How a body ended; `workerLost`: its thread or process died under it. */
export type BodyEnd = OutcomeEvent | "workerLost";

export interface PoolEvents {
  /** Called once for every body that ran, except one that was killed. On `returned` with the value, else with the error. */
  readonly ended: (request: Request, event: BodyEnd, result: unknown) => void;
  /** There may be room where there was none. */
  readonly room: () => void;
}

export interface Pool {
  readonly name: PoolName;
  /** Bodies that may run at once; the slots it has or is making. */
  readonly size: number;
  /** More slots than this it does not make. */
  readonly most: number;
  /** Resolves when it can run. Rejects when the tasks cannot be loaded where they shall run. */
  start(events: PoolEvents): Promise<void>;
  /** Whether one more body can start now. `active`: those that the runner counts as running. */
  hasRoom(active: number): boolean;
  /** Takes a slot for the request and says which process it is. */
  accept(request: Request): number;
  /** Runs the body in the slot that was taken for it. */
  run(request: Request, context: RunningContext): void;
  /** Aborts the `signal` of a running body. */
  abort(request: Request, reason: Error): void;
  /**
   * Ends a running body with that signal (`SIGTERM`, …): for real in threads and processes. On the event loop nothing can, and its
   * signal aborts. The body's end is not told any more, and its slot is given to another.
   */
  kill(request: Request, reason: Error, signal: NodeJS.Signals): void;
  /** Makes or gives up slots until there are so many, free ones first; a busy one goes when its body has ended. */
  resize(size: number): void;
  /** Replaces every slot when its body has ended, with tasks loaded anew. Throws `PoolError` where nothing can be replaced. */
  restart(): void;
  /** The `pool` part of `inspect stats`. */
  stats(): Record<string, unknown>;
  /** Ends all slots; bodies that still run are killed. */
  close(): Promise<void>;
}

/** What a pool needs of its worker. */
export interface PoolHost {
  readonly timers: TimerHeap;
  readonly calls: Calls;
  /** Names of the tasks that run in the pool. */
  readonly taskNames: () => readonly string[];
}

export type MakePool = (host: PoolHost) => Pool;
