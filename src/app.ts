/**
 * The app: settings in, wired parts out. It sends tasks, finds results and is what a worker serves. Connections are made when
 * first needed and closed by `close()` (or `await using`); after that the process ends by itself.
 */
import { cloned } from "../protocol/celery/canvas/compose.ts";
import { canvasType } from "../protocol/celery/canvas/parts.ts";
import type { RemoteException } from "../protocol/celery/exceptions.ts";
import type { ResultMeta } from "../protocol/celery/result-meta.ts";
import { readSignature, type WireSignature } from "../protocol/celery/signature.ts";
import { ImproperlyConfigured } from "../protocol/errors.ts";
import { LamportClock } from "../protocol/kombu/lamport-clock.ts";
import type { Message } from "../protocol/message.ts";
import type { Queue } from "../protocol/routing.ts";
import type { Applied, BoundTask, CeleryOptions } from "./app/celery-types.ts";
import { Connections } from "./app/connections.ts";
import { Control } from "./app/control.ts";
import { Events } from "./app/events.ts";
import {
  checkCeleryOptions,
  checkGroupId,
  checkQueueNames,
  checkTaskId,
  definition,
  logLevel,
  notAName,
} from "./app/options.ts";
import { registerTasks } from "./app/register-tasks.ts";
import { type AnyResult, type AsyncResult, type ResultOptions, resultFromTuple } from "./client/async-result.ts";
import { checkCalls } from "./client/check-calls.ts";
import { type Client, createClient } from "./client/client.ts";
import { GroupResult } from "./client/group-result.ts";
import type { PublishTarget } from "./client/publisher.ts";
import { Queues } from "./client/queues.ts";
import { ErrorRegistry } from "./client/remote-errors.ts";
import { returnsOf } from "./client/returns.ts";
import { sentEvent } from "./client/sent-event.ts";
import type { ResultBackend } from "./result-backends/result-backend.ts";
import { type ApplyAsyncOptions, checkOptions } from "./tasks/call-options.ts";
import { childSent, currentTask } from "./tasks/context.ts";
import "./runtime/bytes.ts";
import { consoleLog } from "./runtime/console-log.ts";
import type { Log } from "./runtime/log.ts";
import { inPoolChild } from "./runtime/pool-child.ts";
import { parseSettings, type Settings, type SettingsInput } from "./settings/settings.ts";
import { type Zone, zoneOf } from "./settings/timezone.ts";
import { callArguments } from "./tasks/call-arguments.ts";
import { type AnyTask, type CallArguments, task as defineTask, type TaskType } from "./tasks/definition.ts";
import { Signature, wireOf } from "./tasks/signature.ts";
import { callOptionsOf, wireOptionsOf } from "./tasks/signature-options.ts";
import type { AnySignature, MustBeComplete } from "./tasks/signature-types.ts";
import type { Transport, TransportEvents } from "./transports/transport.ts";

export type { Applied, BoundTask, CeleryOptions };

/** A Celery app, as `Celery("name", broker=…, backend=…)` in Python. */
export class Celery {
  readonly name: string;
  readonly settings: Settings;
  readonly log: Log;
  /** Settings that were passed over because Lovage does not have them, one sentence each. */
  readonly notices: readonly string[];
  readonly #tasks = new Map<string, AnyTask>();
  readonly #errors: ErrorRegistry;
  readonly #connections: Connections;
  /** @internal */
  readonly queues: Queues;
  /** Celery's `timezone`. @internal */
  readonly zone: Zone;
  /** The logical clock of this app: every event and control message moves it. */
  readonly clock = new LamportClock();
  /** Names of the settings that are not left to their defaults. @internal */
  readonly givenSettings: ReadonlySet<string>;
  #control: Control | null = null;
  #events: Events | null = null;
  #client: Client | null = null;
  #closed = false;
  #closing: Promise<void> | null = null;

  constructor(name: string, options: CeleryOptions = {}) {
    if (typeof name !== "string" || name === "") throw new ImproperlyConfigured("an app needs a name");
    checkCeleryOptions(name, options);
    this.name = name;
    const code: SettingsInput = {
      ...options.settings,
      ...(options.broker === undefined ? {} : { broker_url: options.broker }),
      ...(options.backend === undefined ? {} : { result_backend: options.backend }),
    };
    const parsed = parseSettings({
      code,
      ...(options.settingsFile === undefined ? {} : { file: options.settingsFile }),
      ...(options.env === undefined ? {} : { env: options.env }),
      otherEnv: ["LOVAGE_APP", "LOVAGE_LOG_FORMAT", "LOVAGE_LOG_LEVEL"],
    });
    this.settings = parsed.settings;
    this.log = options.log ?? consoleLog({ level: logLevel(options.env ?? process.env) });
    this.notices = parsed.notices;
    this.givenSettings = new Set(parsed.given.keys());
    // A child of a pool has the settings of its worker, which has said it.
    if (!inPoolChild()) for (const notice of parsed.notices) this.log.warn({}, notice);
    this.#errors = new ErrorRegistry(options.errors);
    this.#connections = new Connections({ settings: this.settings, log: this.log, hub: name });
    this.queues = new Queues(this.settings);
    this.zone = zoneOf(this.settings);
    this.register(...(options.tasks ?? []));
    if (options.controlCommands !== undefined) this.control.register(...options.controlCommands);
  }

  /** Every registered task by name. */
  get tasks(): ReadonlyMap<string, AnyTask> {
    return this.#tasks;
  }

  /** Adds tasks. Two different ones of one name are an error. */
  register(...tasks: readonly AnyTask[]): this {
    registerTasks(this.#tasks, tasks, this.name);
    return this;
  }

  /** A task bound to this app, by definition or by name, with `delay` and `applyAsync`. */
  task<Call, Result>(task: TaskType<Call, Result>): BoundTask<Call, Result>;
  task(name: string): BoundTask<unknown[], unknown>;
  task(task: AnyTask | string): BoundTask<unknown[], unknown> {
    const bound =
      typeof task === "string"
        ? (this.#tasks.get(task) ?? defineTask(task))
        : definition(task, "app.task(): the argument");
    return {
      name: bound.name,
      delay: (...args) => this.#send(bound, args, {}, bound.style === "params"),
      applyAsync: (args?: unknown, options?: ApplyAsyncOptions) => this.#send(bound, args, options),
    };
  }

  /**
   * Sends a task by its definition: one object of its parameters, or an array of positional arguments. Resolves once the broker
   * holds it. Throws `PublishError` when no queue takes it, `ConnectionLost` when the broker stays away longer than
   * `task_publish_retry_policy` allows, `ImproperlyConfigured` for options that cannot be, `TaskValidationError` for arguments.
   */
  send<Call, Result>(
    task: TaskType<Call, Result>,
    ...[args, options]: CallArguments<NoInfer<Call>>
  ): Promise<AsyncResult<Result>> {
    return this.#send<Result>(task as AnyTask, args, options);
  }

  /** Sends a task by name alone, to any queue. */
  sendTask<Result = unknown>(
    name: string,
    args: readonly unknown[] = [],
    kwargs: Readonly<Record<string, unknown>> = {},
    options: ApplyAsyncOptions = {},
  ): Promise<AsyncResult<Result>> {
    if (typeof name !== "string") return Promise.reject(notAName(name));
    return this.client.send<Result>({ name, args, kwargs, options, task: this.#tasks.get(name) ?? null, by: "name" });
  }

  /**
   * Sends a signature: a task, chain, group, chord, map or chunks. Resolves once the broker holds all messages that are due now, with
   * the result of its end: an `AsyncResult` with the steps before it as parents, or a `GroupResult`. Throws as `send` does, and
   * `ChordsNotSupported` for a chord when the result backend cannot have any, `BackendUnavailable` for one when the result store is away
   * for 20 s (`lovage_result_lost_after`), `TaskValidationError` for arguments of what would start now; then nothing was sent.
   */
  apply<S extends AnySignature>(signature: S & MustBeComplete<S>, options?: ApplyAsyncOptions): Promise<Applied<S>>;
  async apply(signature: AnySignature, options: ApplyAsyncOptions = {}): Promise<AnyResult> {
    const wire = wireOf(signature, "app.apply(): the first argument");
    checkOptions(options, { task: wire.task });
    const { client } = this;
    const given = wireOptionsOf(options);
    const checked = this.settings.lovage_validate_params ? checkCalls(wire, (name) => this.#taskOf(name)) : undefined;
    if (checked !== undefined) await checked;
    if (isPlainTask(wire)) {
      const { task: name, args, kwargs, options: merged } = cloned(wire, [], {}, given);
      const callOptions = { ...callOptionsOf(merged), ...(options.signal ? { signal: options.signal } : {}) };
      return client.send({ name, args, kwargs, options: callOptions, task: this.#taskOf(name), fromWire: true });
    }
    const context = currentTask();
    const inherits = context !== undefined && this.settings.task_inherit_parent_priority;
    const { result, children } = await client.apply(wire, {
      options: given,
      own: true,
      parent: context ?? null,
      priority: inherits ? context.deliveryInfo.priority : null,
      signal: options.signal ?? null,
      storePatienceMs: (this.settings.lovage_result_lost_after ?? STORE_PATIENCE) * 1000,
    });
    if (result === null) throw new ImproperlyConfigured("an empty chain has nothing to send and no result");
    if (options.addToParent !== false) for (const child of children) context?.[childSent](child);
    const isOneTask = canvasType(wire) === "task" && result[1] === null;
    if (isOneTask && (given.ignore_result ?? wire.options.ignore_result) === true) {
      return client.result(result[0][0], { ignored: true });
    }
    return resultFromTuple(
      result,
      client.results,
      returnsOf(wire, (name) => this.#taskOf(name)),
    );
  }

  /**
   * Gives ids to all parts of a signature, so that its result can be stored or handed on before anything is sent. Applying the
   * frozen signature sends it under these ids, once.
   */
  async freeze<S extends AnySignature>(signature: S): Promise<{ signature: S; result: Applied<S> }> {
    const { client } = this;
    const wire = wireOf(signature, "app.freeze(): the argument");
    const frozen = await client.freeze(wire);
    const returns = returnsOf(wire, (name) => this.#taskOf(name));
    const made: AnySignature = new Signature(frozen.signature);
    const result: AnyResult = resultFromTuple(frozen.result, client.results, returns);
    return { signature: made as S, result: result as Applied<S> };
  }

  /** A group that was kept with `save()`, by any client; null when there is none of that id. */
  async restoreGroup(id: string): Promise<GroupResult | null> {
    checkGroupId(id);
    const { results } = this.client;
    const tuple = await results.groups.restore(id);
    if (tuple === null) return null;
    const group = resultFromTuple(tuple, results);
    return group instanceof GroupResult ? group : new GroupResult(id, [group], { results });
  }

  /** The result of a task that was sent before, here or by anyone else. */
  result<Result>(id: string, task: TaskType<never, Result>): AsyncResult<Result>;
  result(id: string): AsyncResult<unknown>;
  result(id: string, task?: AnyTask): AsyncResult<unknown> {
    checkTaskId(id);
    if (task !== undefined) definition(task, "app.result(): the second argument");
    const options: ResultOptions = task?.returns ? { returns: task.returns } : {};
    return this.client.result(id, options);
  }

  /** What sends and waits; made when first used. @internal */
  get client(): Client {
    if (this.#closed) throw new ImproperlyConfigured(`the app ${this.name} is closed`);
    this.#client ??= createClient({
      settings: this.settings,
      transport: this.transport,
      backend: this.backend,
      log: this.log,
      queues: this.queues,
      errors: this.#errors,
      taskOf: (name) => this.#taskOf(name),
      broker: this.#connections.broker,
      revoke: (ids, { wait = false, ...options }) => this.control.revoke(ids, { ...options, reply: wait }),
      ...(this.settings.task_send_sent_event ? { onSent: (message, target) => this.#tellSent(message, target) } : {}),
    });
    return this.#client;
  }

  /** @internal Why the broker cannot be reached for publishing; null while it can, and before that is known. */
  get brokerOutage(): Error | null {
    return this.#connections.broker.lastError;
  }

  /** Looks into the workers of the fleet and steers them, whatever language they are written in. */
  get control(): Control {
    this.#control ??= new Control(this);
    return this.#control;
  }

  /** What workers tell of themselves and of their tasks. */
  get events(): Events {
    this.#events ??= new Events(this);
    return this.#events;
  }

  /** The connection that tasks are published on. */
  get transport(): Transport {
    return this.#connections.transport;
  }

  /** Where results are stored; null when nowhere. @internal */
  get backend(): ResultBackend<ResultMeta> | null {
    return this.#connections.backend;
  }

  /** The error for an exception that came back from afar: one of `errors`, of Celery's own, or `RemoteTaskError`. @internal */
  remoteError(taskId: string, exception: RemoteException, traceback: string): Error {
    const bare = { status: "FAILURE", result: null, children: null, dateDone: null };
    return this.#errors.errorOf(taskId, { ...bare, exception, traceback, taskId });
  }

  /** Workers of this app that run: it closes after them, or their results would be lost. @internal */
  readonly running = new Set<{ stop(): Promise<void> }>();

  /** A connection of its own for a consumer; the caller closes it. */
  consumerTransport(events: TransportEvents = {}): Transport {
    return this.#connections.consumer(events);
  }

  /** Sends a signature as it travels. @internal */
  applyWire(signature: unknown): Promise<unknown> {
    return this.client.apply(readSignature(signature), { parent: null });
  }

  /** The queues of these names, or all configured ones. @internal */
  selectQueues(names?: readonly string[]): readonly Queue[] {
    if (names !== undefined) checkQueueNames(names);
    return names === undefined || names.length === 0
      ? this.queues.configured
      : names.map((name) => this.queues.get(name));
  }

  /** Flushes and closes every connection; twice is fine. Nothing is left that keeps the process alive. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.running].map((worker) => worker.stop()));
    this.#closed = true;
    await this.#control?.close();
    await this.#events?.close();
    this.#client?.close();
    await this.#connections.close();
  }

  #tellSent(message: Message, target: PublishTarget): void {
    const fields = sentEvent(message, target);
    const sends = typeof fields?.name === "string" && this.#tasks.get(fields.name)?.behaviour.sendEvents !== false;
    if (fields !== null && sends) this.events.dispatcher.send("task-sent", fields);
  }

  #taskOf(name: string): AnyTask | null {
    return this.#tasks.get(name) ?? null;
  }

  async #send<Result = unknown>(
    task: AnyTask,
    args: unknown,
    options: ApplyAsyncOptions = {},
    spread = false,
  ): Promise<AsyncResult<Result>> {
    if (task?.behaviour === undefined) definition(task, "app.send(): the first argument");
    const passed = spread && Array.isArray(args) ? args[0] : args;
    const call = callArguments(task, passed, this.settings.lovage_validate_params);
    const { args: positional, kwargs } = call instanceof Promise ? await call : call;
    return this.client.send<Result>({ name: task.name, args: positional, kwargs, options, task });
  }
}

/** Map, starmap and chunks have a way of their own of being sent. */
function isPlainTask(signature: WireSignature): boolean {
  return canvasType(signature) === "task" && !BUILT_IN_CANVAS.has(signature.task);
}

/** Seconds, as Celery's store bears it by default. wire: celery/backends/base.py `KeyValueStoreBackend.retry_policy`: 20 tries, a second apart. */
const STORE_PATIENCE = 20;

const BUILT_IN_CANVAS: ReadonlySet<string> = new Set(["celery.map", "celery.starmap", "celery.chunks"]);
