/**
 * What a running Mognet task knows and may do besides what every task's `ctx` can: its state over pauses, its children, services.
 * One definition serves both protocols: its handler gets a `TaskContext`, and `mognetContext(ctx)` is this. wire: Mognet 2.0.0
 * context/context.py.
 */
import type { MognetRequest } from "../../protocol/mognet/request.ts";
import type { MognetResult } from "../../protocol/mognet/result.ts";
import { currentTask, type TaskContext } from "./context.ts";
import type { AnyTask, TaskType } from "./definition.ts";
import { TaskError } from "./errors.ts";
import type { Request, RequestOptions } from "./mognet-request.ts";
import type { ServiceKey, ServiceOf } from "./mognet-services.ts";

/** A handle on a submitted request. */
export interface MognetSubmitted<Result = unknown> {
  readonly id: string;
  /** Resolves with the value when it has ended well, else rejects with its error. Does not suspend the task that waits. */
  get(options?: { timeout?: number; signal?: AbortSignal }): Promise<Result>;
}

/** Arguments of a typed call: one object of parameters or an array. */
export type MognetCall<Call> =
  Record<never, never> extends Call
    ? [args?: Call | readonly unknown[], options?: RequestOptions]
    : [args: Call | readonly unknown[], options?: RequestOptions];

/** What the task remembers over pauses, crashes and moves to another worker; deleted when it has ended. */
export interface MognetTaskState {
  /** What is stored under the key, else `byDefault`. `T` is the caller's word for it: nobody checks it. */
  get<T = unknown>(key: string): Promise<T | undefined>;
  get<T>(key: string, byDefault: T): Promise<T>;
  /** Any JSON value. */
  set(key: string, value: unknown): Promise<void>;
  /** As `get`, and removes it. */
  pop<T = unknown>(key: string): Promise<T | undefined>;
  pop<T>(key: string, byDefault: T): Promise<T>;
  clear(): Promise<void>;
}

/**
 * What a running Mognet task knows and may do besides what every task's `ctx` can. Got by `mognetContext(ctx)`; Mognet:
 * `Context`.
 */
export interface MognetContext extends TaskContext {
  readonly request: MognetRequest;
  /** The Mognet app. */
  readonly app: unknown;
  /** Name of this worker among the app's nodes. */
  readonly nodeId: string;
  readonly state: MognetTaskState;
  /** Submits a child: revoking this task revokes it. Does not wait for it. */
  submit<Call, Result>(
    task: TaskType<Call, Result>,
    ...call: MognetCall<NoInfer<Call>>
  ): Promise<MognetSubmitted<Result>>;
  submit<Result = unknown>(
    name: string,
    args?: readonly unknown[] | Readonly<Record<string, unknown>>,
    options?: RequestOptions,
  ): Promise<MognetSubmitted<Result>>;
  /** Submits a request made by `app.createRequest`, as a child. */
  submit<Result = unknown>(request: Request<Result>): Promise<MognetSubmitted<Result>>;
  /**
   * Submits a child and waits for its value. While it waits this task is SUSPENDED and its place in the worker is free for others.
   * Rejects with the child's error; and with the reason of `signal` when this task is cancelled.
   */
  run<Call, Result>(task: TaskType<Call, Result>, ...call: MognetCall<NoInfer<Call>>): Promise<Result>;
  run<Result = unknown>(
    name: string,
    args?: readonly unknown[] | Readonly<Record<string, unknown>>,
    options?: RequestOptions,
  ): Promise<Result>;
  run<Result = unknown>(request: Request<Result>): Promise<Result>;
  /** Waits for submitted requests, as `run` does; values in the order given. With `returnErrors`, errors stand in their places. */
  gather<const Of extends readonly (MognetSubmitted<unknown> | string)[]>(
    of: Of,
    options?: { returnErrors?: boolean },
  ): Promise<{ -readonly [K in keyof Of]: Of[K] extends MognetSubmitted<infer Value> ? Value : unknown }>;
  /** The stored result of this task. Waiting for its end would wait for ever. */
  getResult(): Promise<MognetResult>;
  getMetadata(): Promise<Record<string, unknown>>;
  /** Merges into the metadata stored beside the result. */
  setMetadata(metadata: Readonly<Record<string, unknown>>): Promise<void>;
  /** A service: a function called with this context, or the app's one instance of a class service, likewise. */
  getService<Key extends ServiceKey>(key: Key, ...args: unknown[]): ServiceOf<Key>;
  /** Ends this run: the message goes back to its queue and the task begins again later, here or elsewhere, with its state. */
  pause(): never;
}

/** What `ctx.pause()` throws; thrown by hand it does the same. wire: mognet/exceptions/task_exceptions.py `Pause`. */
export class Pause extends Error {
  static readonly python = "mognet.exceptions.task_exceptions.Pause";
  constructor(message = "the task asked to be paused") {
    super(message);
    this.name = "Pause";
  }
}

/** What one protocol cannot do for a task that the other can. */
export class NotWithThisProtocol extends TaskError {
  constructor(what: string, hint: string) {
    super("NOT_WITH_THIS_PROTOCOL", `${what}; ${hint}`);
  }
}

/** Marks contexts of Mognet workers, also of another copy of this package. */
export const mognetMark = Symbol.for("lovage.mognetContext");

/** Whether a Mognet request started the task whose context this is. */
export function isMognetContext(context: TaskContext | null | undefined): context is MognetContext {
  return typeof context === "object" && context !== null && mognetMark in context;
}

/** The context of a Mognet task, with Mognet's members. Throws `NotWithThisProtocol` in a task that Celery's protocol started. */
export function mognetContext(context: TaskContext | undefined = currentTask()): MognetContext {
  if (isMognetContext(context)) return context;
  if (typeof context !== "object" || context === null) {
    throw new NotWithThisProtocol("no task runs here", "mognetContext() is for code below a task's handler");
  }
  throw new NotWithThisProtocol(
    `task ${context.name} was not started by a Mognet request`,
    "ask isMognetContext(ctx) where one definition serves both protocols",
  );
}

/** A definition by name, from a registry. */
export type FindTask = (name: string) => AnyTask | null;
