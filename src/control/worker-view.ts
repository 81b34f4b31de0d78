/**
 * What a control command sees of a worker, and may ask of it. The worker serves it; commands know nothing else of a worker.
 * Names and meanings are those of celery/worker/state.py and celery/worker/control.py; behaviour 1.4 and 3.3.
 */
import type { Queue } from "../../protocol/routing.ts";

/** Which of Celery's sets a request is in. `inspect reserved` lists what is reserved and not active. */
export type TaskStage = "active" | "reserved" | "scheduled" | "ready";

/** One message that is a task of this worker, from its receipt until it is settled. */
export interface RequestView {
  readonly id: string;
  /** The registered name. */
  readonly type: string;
  /** The shadow name when there is one, else the registered one. */
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly argsRepr: string;
  readonly kwargsRepr: string;
  /** Unix seconds; null before it started. */
  readonly timeStart: number | null;
  readonly acknowledged: boolean;
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number | null;
  readonly redelivered: boolean;
  /** The process that runs it; null before it started. */
  readonly workerPid: number | null;
  /** When it is due, as Python's `isoformat`; null without ETA. */
  readonly etaIso: string | null;
}

/** A task that the worker runs. */
export interface TaskView {
  readonly name: string;
  /** One of Celery's own (`celery.*`). */
  readonly builtin: boolean;
  /** The value of a task attribute by its Python name (`rate_limit`, `max_retries`, `exchange`, …); null when it has none. */
  attribute(name: string): unknown;
}

/** Requests that the worker holds, and what it has done. */
export interface RequestsView {
  /** In the order in which they entered the set. What waits for its rate limit counts as reserved (Celery shows it nowhere). */
  list(stage: "active" | "reserved" | "scheduled"): Iterable<RequestView>;
  find(id: string): { readonly stage: TaskStage; readonly request: RequestView } | null;
  readonly activeCount: number;
  /** Accepted requests since the start. */
  readonly processed: number;
  /** Accepted requests by name since the start. */
  readonly totals: ReadonlyMap<string, number>;
}

/** Revoked ids and stamps, and the tasks that they end. */
export interface RevokesView {
  /** Ids flagged as revoked, oldest first. */
  ids(): string[];
  /** Adds ids that were revoked elsewhere (mingle), oldest first; nothing is stored for them. */
  merge(ids: readonly string[]): void;
  /**
   * Flags ids, and stores REVOKED at once for those that do not run here and whose state is PENDING, RECEIVED, RETRY or
   * REJECTED. Resolves when that is stored; a store that fails is logged.
   */
  revoke(ids: readonly string[]): Promise<void>;
  /**
   * Ends requests that this worker knows: active ones now, reserved and scheduled ones in place of their start. `signal` is a
   * name such as SIGTERM. Returns the ids that it knew.
   */
  terminate(ids: readonly string[], signal: string): string[];
  /** Flags stamps: header name to values, added to those flagged before. */
  revokeStamps(stamps: ReadonlyMap<string, readonly unknown[]>): void;
  /** Ends active requests with one of these stamps; returns the values that matched, by header name. */
  terminateStamped(stamps: ReadonlyMap<string, readonly unknown[]>, signal: string): Map<string, unknown[]>;
}

/** Rate and time limits, which commands change while the worker runs. */
export interface LimitsView {
  /** A checked rate (`10/m`, 5, null: none) for a task; false: no such task. */
  setRateLimit(task: string, rate: string | number | null): boolean;
  /** Seconds, null for none, for requests that start from now on; false: no such task. */
  setTimeLimits(task: string, limits: { soft: number | null; hard: number | null }): boolean;
}

/** Bounds within which the pool follows the work. */
export interface AutoscalerView {
  /** What is null stays as it is. */
  update(max: number | null, min: number | null): { max: number; min: number };
  /** `{max, min, current, qty}` of `inspect stats`. */
  stats(): { max: number; min: number; current: number; qty: number };
}

/** The pool of the worker, and its size. */
export interface PoolView {
  /** The `pool` map of `inspect stats`: `implementation`, `max-concurrency`, `processes`, `max-tasks-per-child`, `timeouts`, … */
  stats(): Readonly<Record<string, unknown>>;
  /** Adds `n` slots, and their share of prefetch. */
  grow(n: number): void;
  /** Takes `n` slots away, at least one stays (ValueError as Celery: `Can't shrink pool. All processes busy!`). */
  shrink(n: number): void;
  /** `worker_pool_restarts`. */
  readonly restartable: boolean;
  /** Replaces every child when it has ended what it runs, with task modules loaded anew. */
  restart(): void;
  readonly autoscaler: AutoscalerView | null;
}

/** The queues that the worker consumes. */
export interface QueuesView {
  /** Queues that are consumed now. */
  list(): readonly Queue[];
  /** Begins to consume; a queue of this name that the app knows keeps its own definition. Resolves when the broker agreed. */
  add(queue: Queue): Promise<void>;
  cancel(name: string): Promise<void>;
}

/** A worker as remote control sees it and may steer it. */
export interface WorkerView {
  /** The node name, `celery@host`. */
  readonly hostname: string;
  /** Unix milliseconds. */
  readonly startedMs: number;
  /** Unsettled messages that it may hold now; 0: no limit. */
  readonly prefetchCount: number;
  readonly tasks: { list(): Iterable<TaskView>; get(name: string): TaskView | null };
  readonly requests: RequestsView;
  readonly queues: QueuesView;
  readonly revokes: RevokesView;
  readonly limits: LimitsView;
  readonly pool: PoolView;
}
