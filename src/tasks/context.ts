/** What a running task knows and may do. The worker implements it; `currentTask()` finds it from anywhere below the handler. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import type { Log } from "../runtime/log.ts";
import type { ApplyAsyncOptions } from "./call-options.ts";
import type { CallArguments, TaskType } from "./definition.ts";
import type { RequestOptions } from "./mognet-request.ts";
import type { RetryOverrides } from "./signals.ts";

/** How a message reached the worker. */
export interface TaskDeliveryInfo {
  readonly exchange: string;
  readonly routingKey: string;
  readonly priority: number | null;
  readonly redelivered: boolean;
  /** The queue the message was taken from. */
  readonly queue: string;
}

/** For `ctx.retry()`: when and how the task is tried again. Celery: `Task.retry`. */
export interface RetryOptions extends RetryOverrides {
  /** Seconds until the next attempt. @default the task's `defaultRetryDelay` (180) */
  countdown?: number;
  /** The instant of the next attempt, instead of `countdown`. */
  eta?: Date | string | null;
  /** Overrides the task's `maxRetries` for this attempt; null: for ever. */
  maxRetries?: number | null;
  /** Why: stored with the RETRY state, and thrown when no attempt is left. */
  exc?: unknown;
}

/** A handle on what was sent: enough to wait for it or to name it. */
export interface SentTask<Result = unknown> {
  readonly id: string;
  /** Resolves with the value when it has ended well, else rejects with its error. Milliseconds. @default for ever */
  get(options?: { timeout?: number; signal?: AbortSignal; propagate?: boolean }): Promise<Result>;
}

/** A signature as `src/canvas` builds it, or as it travels. */
export type SignatureLike = WireSignature;

/** How the client tells a running task of what was sent below it without `ctx`: Celery's trail of children. */
export const childSent = Symbol("lovage.childSent");

/** The running task, as Celery's `self.request` and the methods of `self`. */
export interface TaskContext {
  readonly id: string;
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** Attempts before this one: 0 on the first. */
  readonly retries: number;
  /** When it was meant to start; null: at once. */
  readonly eta: Date | null;
  /** When it is no longer worth running; null: never. */
  readonly deadline: Date | null;
  readonly deliveryInfo: TaskDeliveryInfo;
  /** Custom headers of the message. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** Stamps by name. */
  readonly stamps: Readonly<Record<string, unknown>>;
  /** How often the task was replaced before it came to run here. */
  readonly replacedTaskNesting: number;
  /** Its result is not stored. */
  readonly ignoreResult: boolean;
  readonly rootId: string;
  readonly parentId: string | null;
  readonly group: string | null;
  readonly groupIndex: number | null;
  readonly origin: string | null;
  readonly correlationId: string | null;
  readonly replyTo: string | null;
  /** The worker's node name. */
  readonly hostname: string;
  /** Seconds. */
  readonly timeLimit: number | null;
  /** Seconds. */
  readonly softTimeLimit: number | null;
  /**
   * Aborts on the soft time limit, on revoke with terminate and on cold shutdown; the reason says which. A body that never asks for it
   * gets `SoftTimeLimitExceeded` from the next `progress`, `updateState`, `send`, `sendTask` or `addToChord`, once.
   */
  readonly signal: AbortSignal;
  /** A logger bound to task name and id. */
  readonly log: Log;
  /** Sends this task again later and ends this attempt. Throws `Retry`, or `exc`, or `MaxRetriesExceededError`. */
  retry(options?: RetryOptions): never;
  /**
   * Ends this task and sends `signature` in its place: under its id, with its callbacks, and as part of its chain and chord. A group
   * becomes a chord that collects its results. Throws `Ignore`, as in Celery.
   */
  replace(signature: SignatureLike): never;
  /**
   * Sends one more member of the chord's header that this task is in; the body waits for it too. Resolves with its result's tuple.
   * Needs a result backend that counts (redis, memory).
   */
  addToChord(signature: SignatureLike): Promise<ResultTuple | null>;
  /** Stores the custom state PROGRESS with `meta`, which a waiting client sees. */
  progress(meta: unknown): Promise<void>;
  /** Stores any custom state (Celery: `self.update_state`). */
  updateState(state: string, meta?: unknown): Promise<void>;
  /**
   * Tells monitors something of this task: `ctx.sendEvent("task-progress", { done: 5 })` (Celery: `self.send_event`). Sent also where
   * task events are off. Throws `InvalidEvent`.
   */
  sendEvent(type: string, fields?: Readonly<Record<string, unknown>>): Promise<void>;
  /** Sends a task by its definition as a child of this one: it gets this task as parent and the same root. */
  send: ContextSend;
  /** As `send`, by name. */
  sendTask: ContextSendTask;
  /** @internal */
  [childSent](child: string | ResultTuple): void;
}

/**
 * Sends a task from within a task, by its definition: as `app.send()`, and with this task as parent. In a Mognet task the options are
 * those of a request.
 */
export type ContextSend = <Call, Result>(
  task: TaskType<Call, Result>,
  ...call: CallArguments<NoInfer<Call>, ApplyAsyncOptions | RequestOptions>
) => Promise<SentTask<Result>>;

/** Sends a task from within a task, by its name: as `app.sendTask()`, and with this task as parent. */
export type ContextSendTask = (
  name: string,
  args?: readonly unknown[],
  kwargs?: Record<string, unknown>,
  options?: Record<string, unknown>,
) => Promise<SentTask>;

const running = new AsyncLocalStorage<TaskContext>();

/** The context of the task that the calling code runs in; undefined outside of one. */
export function currentTask(): TaskContext | undefined {
  return running.getStore();
}

/** Runs `body` such that `currentTask()` finds `context` in it and in all that it awaits. */
export function runInTask<R>(context: TaskContext, body: () => R): R {
  return running.run(context, body);
}
