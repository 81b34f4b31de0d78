/**
 * A Mognet app: settings in, wired parts out. It submits requests, finds results and is what a worker serves. Connections are made
 * when first needed and closed by `close()` (or `await using`). wire: mognet/app/app.py.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { MognetNodeStatus } from "../../protocol/mognet/control.ts";
import { type MognetNames, mognetNames } from "../../protocol/mognet/names.ts";
import type { StatusOptions } from "../client/mognet/control.ts";
import { Result } from "../client/mognet/result.ts";
import type { ResultStore, Results, RevokeOptions } from "../client/mognet/results.ts";
import { ErrorRegistry, type MappedErrorClass } from "../client/remote-errors.ts";
import { consoleLog } from "../runtime/console-log.ts";
import type { Log } from "../runtime/log.ts";
import { inPoolChild } from "../runtime/pool-child.ts";
import { LimitedWaits } from "../runtime/wait-limits.ts";
import { mismatch } from "../settings/kinds.ts";
import { type MognetConfig, type MognetConfigInput, parseMognetConfig } from "../settings/mognet-config.ts";
import { MognetQueues } from "../settings/mognet-queues.ts";
import type { AnyTask, TaskType } from "../tasks/definition.ts";
import type { MognetCall, MognetContext } from "../tasks/mognet-context.ts";
import type { MognetMiddleware } from "../tasks/mognet-middleware.ts";
import { Request, type RequestOptions } from "../tasks/mognet-request.ts";
import type { ServiceFunction, ServiceKey } from "../tasks/mognet-services.ts";
import { QueueNotFound } from "../transports/errors.ts";
import type { Transport, TransportEvents } from "../transports/transport.ts";
import { idOf, parentOf, requestByDefinition, requestByName } from "./mognet-calls.ts";
import { type MognetClient, makeMognetClient } from "./mognet-client.ts";
import { LifeHooks } from "./mognet-hooks.ts";
import {
  checkMiddleware,
  checkMognetOptions,
  checkQueueStats,
  checkRevoke,
  checkRunLimits,
  checkStatus,
  checkSubmit,
} from "./mognet-options.ts";
import { makeMognetTransport } from "./mognet-parts.ts";
import { definition, logLevel } from "./options.ts";
import { registerTasks } from "./register-tasks.ts";

/** What an app is made of; all of it may be left out. A mistake in it is an `ImproperlyConfigured`. */
export interface MognetOptions {
  /** What this app submits by definition and, those with a handler, what its workers run. */
  tasks?: readonly AnyTask[];
  /** By the keys of Mognet's `AppConfig`. */
  config?: MognetConfigInput;
  /** Path of a JSON file that `AppConfig.from_file` can load too; code and environment (`LOVAGE_MOGNET_…`) win over it. */
  configFile?: string;
  middleware?: readonly MognetMiddleware[];
  /** Error classes that stand for Python's (`static python = "module.Type"`), thrown in place of `RemoteTaskError`. */
  errors?: Iterable<MappedErrorClass>;
  /** @default standard error: readable on a terminal, JSON lines otherwise, from level `LOVAGE_LOG_LEVEL` or `info` */
  log?: Log;
  /** @default process.env */
  env?: NodeJS.ProcessEnv;
}

/** How long `run` waits; the request stays submitted. */
export interface RunLimits {
  /** Milliseconds. @default for ever */
  timeout?: number;
  signal?: AbortSignal;
}

/** What the broker says of a queue. */
export interface QueueStats {
  /** Without the app's prefix. */
  queueName: string;
  /** Messages that no worker holds. */
  messageCount: number;
  consumerCount: number;
}

type Named = readonly unknown[] | Readonly<Record<string, unknown>>;

/** Mognet's `App`. */
export class Mognet {
  readonly name: string;
  readonly config: MognetConfig;
  readonly log: Log;
  /** What the configuration says and Lovage passes over, one sentence each. */
  readonly notices: readonly string[];
  /** Functions that stand for services, by the service that tasks ask for: tests put theirs here. */
  readonly services = new Map<ServiceKey, ServiceFunction>();
  /** @internal */
  readonly names: MognetNames;
  /** @internal */
  readonly queues: MognetQueues;
  /** Workers of this app that run: it closes after them. @internal */
  readonly running = new Set<{ stop(): Promise<void> }>();
  /** What middleware hears of the app. @internal */
  readonly hooks: LifeHooks;
  readonly #tasks = new Map<string, AnyTask>();
  readonly #middleware: MognetMiddleware[] = [];
  readonly #errors: ErrorRegistry;
  readonly #limits = new LimitedWaits();
  #client: MognetClient | null = null;
  #closed = false;
  #closing: Promise<void> | null = null;

  constructor(name: string, options: MognetOptions = {}) {
    if (typeof name !== "string" || name === "") throw new ImproperlyConfigured("an app needs a name");
    checkMognetOptions(name, options);
    const env = options.env ?? process.env;
    this.name = name;
    const { config, notices } = parseMognetConfig({
      env,
      ...(options.config === undefined ? {} : { code: options.config }),
      ...(options.configFile === undefined ? {} : { file: options.configFile }),
    });
    this.config = config;
    this.log = options.log ?? consoleLog({ level: logLevel(env) });
    this.notices = notices;
    // A child of a pool has the configuration of its worker, which has said it.
    if (!inPoolChild()) for (const notice of notices) this.log.warn({}, notice);
    this.hooks = new LifeHooks(this, this.#middleware, this.log);
    this.#errors = new ErrorRegistry(options.errors);
    this.names = mognetNames(name);
    this.queues = new MognetQueues(this.names, config, {
      of: (task) => this.#tasks.get(task)?.behaviour.queue,
      all: () => [...this.#tasks.values()].flatMap(({ behaviour }) => behaviour.queue ?? []),
    });
    this.register(...(options.tasks ?? []));
    for (const middleware of options.middleware ?? []) this.addMiddleware(middleware);
  }

  /** Every registered task by name. */
  get tasks(): ReadonlyMap<string, AnyTask> {
    return this.#tasks;
  }

  /** Adds tasks. Two different ones of one name are an error. */
  register(...tasks: readonly AnyTask[]): this {
    registerTasks(this.#tasks, tasks, this.name);
    this.queues.changed();
    return this;
  }

  /** Middleware is called in the order of addition; adding one twice is adding it once. */
  addMiddleware(middleware: MognetMiddleware): this {
    checkMiddleware(middleware, "app.addMiddleware(): the middleware");
    if (!this.#middleware.includes(middleware)) this.#middleware.push(middleware);
    return this;
  }

  get middleware(): readonly MognetMiddleware[] {
    return this.#middleware;
  }

  /** A request that can be looked at, changed and then submitted. Throws `TaskValidationError` and `TaskArgumentError` for arguments. */
  createRequest<Call, R>(task: TaskType<Call, R>, ...call: MognetCall<NoInfer<Call>>): Promise<Request<R>>;
  createRequest<R = unknown>(name: string, args?: Named, options?: RequestOptions): Promise<Request<R>>;
  async createRequest(task: AnyTask | string, args?: unknown, options: RequestOptions = {}): Promise<Request> {
    checkSubmit(options);
    if (typeof task === "string") return requestByName(task, this.#tasks.get(task)?.returns ?? null, args, options);
    const known = definition(task, "app.createRequest(): the first argument");
    return requestByDefinition(known, args, options, this.config.lovage.validate_params);
  }

  /**
   * Submits a task by its definition, by its name, or a request that was made before. Resolves once the broker holds it. Throws
   * `CouldNotSubmit`, with the cause: no queue takes it, the broker or the store stays away; `TaskValidationError` and
   * `TaskArgumentError` for arguments. `context` makes it a child of the task that submits, as `ctx.submit` does.
   */
  submit<Call, R>(task: TaskType<Call, R>, ...call: MognetCall<NoInfer<Call>>): Promise<Result<R>>;
  submit<R = unknown>(request: Request<R>, options?: { context?: MognetContext }): Promise<Result<R>>;
  submit<R = unknown>(name: string, args?: Named, options?: RequestOptions): Promise<Result<R>>;
  async submit(what: AnyTask | Request | string, args?: unknown, options: RequestOptions = {}): Promise<Result> {
    const { submitter } = this.client;
    if (what instanceof Request) return submitter.submit(what, parentOf(args));
    return submitter.submit(await this.#request(what, args, options));
  }

  /** Submits and waits for the value. Throws as `submit` and `result.get` do. */
  run<Call, R>(task: TaskType<Call, R>, ...call: [...MognetCall<NoInfer<Call>>, limits?: RunLimits]): Promise<R>;
  run<R = unknown>(request: Request<R>, limits?: RunLimits): Promise<R>;
  run<R = unknown>(name: string, args?: Named, options?: RequestOptions, limits?: RunLimits): Promise<R>;
  async run(
    what: AnyTask | Request | string,
    args?: unknown,
    options?: RequestOptions,
    limits?: RunLimits,
  ): Promise<unknown> {
    const waiting = what instanceof Request ? args : limits;
    const checked = checkRunLimits(waiting);
    const { submitter } = this.client;
    const request = what instanceof Request ? what : await this.#request(what, args, options ?? {});
    const result = await submitter.submit(request);
    return result.get(checked);
  }

  /** The result of a request that was submitted before, here or by anyone else; null when there is none. */
  getResult<R>(id: string, task: TaskType<never, R>): Promise<Result<R> | null>;
  getResult(id: string): Promise<Result | null>;
  async getResult(id: string, task?: AnyTask): Promise<Result | null> {
    const returns = task === undefined ? null : definition(task, "app.getResult(): the second argument").returns;
    const record = await this.client.store.get(idOf(id, "app.getResult()"));
    return record === null ? null : new Result(record, this.client.results, returns);
  }

  /** Those of these ids that there are, in their order. */
  async getResults(ids: readonly string[]): Promise<Result[]> {
    if (!Array.isArray(ids)) throw mismatch("app.getResults(): the ids", "an array of UUIDs", ids);
    const { store, results } = this.client;
    const records = await store.getMany(ids.map((id) => idOf(id, "app.getResults()")));
    return records.flatMap((record) => (record === null ? [] : new Result(record, results)));
  }

  /**
   * Revokes a request and all that it has submitted, whether it waits, runs or is suspended. One that is done is left alone, with its
   * children, unless `force`. An id that nobody knows gets a tombstone, so that a request that is on its way does not run.
   */
  async revoke(id: string, options: RevokeOptions = {}): Promise<Result> {
    checkRevoke(options);
    const known = idOf(id, "app.revoke()");
    const { control, store, results } = this.client;
    await control.revoke(known, options.force === true);
    return new Result((await store.get(known)) ?? (await store.getOrCreate(known)), results);
  }

  /** What each node says that it runs. Nobody knows how many there are: it takes the whole timeout, unless `nodes` have answered. */
  async nodeStatus(options: StatusOptions = {}): Promise<MognetNodeStatus[]> {
    const all: MognetNodeStatus[] = [];
    for await (const status of this.getCurrentStatusOfNodes(options)) all.push(status);
    return all;
  }

  /** The same, as the answers come. */
  getCurrentStatusOfNodes(options: StatusOptions = {}): AsyncGenerator<MognetNodeStatus, void, undefined> {
    checkStatus(options);
    return this.client.control.statuses(options);
  }

  /** Of a queue by its name in the routes. Throws `QueueNotFound` when no node has declared it. */
  async queueStats(queue: string): Promise<QueueStats> {
    checkQueueStats(queue);
    const name = this.names.taskQueue(queue);
    const found = await this.#atBroker((transport) => transport.inspectQueue(name));
    if (found === null) throw new QueueNotFound(name);
    return { queueName: queue, messageCount: found.messages, consumerCount: found.consumers ?? 0 };
  }

  /** Deletes what waits in the queues that this app consumes, and says how much that was by queue. Results stay as they are. */
  async purgeTaskQueues(): Promise<Record<string, number>> {
    return this.#atBroker(async (transport) => {
      await transport.declare(this.queues.consumed.map((queue) => this.queues.task(queue)));
      const purged: [string, number][] = [];
      for (const queue of this.queues.consumed)
        purged.push([queue, await transport.purge(this.names.taskQueue(queue))]);
      return Object.fromEntries(purged);
    });
  }

  /** Deletes what waits in the control queue of this node; 0 when no worker of it runs. */
  async purgeControlQueue(): Promise<number> {
    try {
      return await this.#atBroker((transport) => transport.purge(this.names.controlQueue(this.config.node_id)));
    } catch (error) {
      if (error instanceof QueueNotFound) return 0;
      throw error;
    }
  }

  /** Connects and declares, as Mognet does at the start; without it that happens at the first call that needs it. */
  async connect(): Promise<this> {
    const { queues } = this;
    const tasks = queues.consumed.map((queue) => queues.task(queue));
    await this.#atBroker((transport) => transport.declare(tasks, [queues.direct, queues.control]));
    await this.client.store.connect();
    return this;
  }

  /** Rejects with `ConnectionLost` when the broker stays away for longer than the configuration bears. */
  #atBroker<T>(act: (transport: Transport) => Promise<T>): Promise<T> {
    const { publisher, transport } = this.client;
    return publisher.prepare(() => act(transport));
  }

  /** Stops its workers, flushes and closes every connection; twice is fine. Nothing is left that keeps the process alive. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A connection of its own for a consumer; the caller closes it. @internal */
  consumerTransport(events: TransportEvents = {}): Transport {
    return makeMognetTransport({ app: this.name, config: this.config, log: this.log, events });
  }

  /** What submits and waits; made when first used. @internal */
  get client(): MognetClient {
    if (this.#closed) throw new ImproperlyConfigured(`the app ${this.name} is closed`);
    this.#client ??= this.#makeClient();
    return this.#client;
  }

  #makeClient(): MognetClient {
    const { log, config, queues } = this;
    return makeMognetClient({
      app: this.name,
      config,
      log,
      queues,
      middleware: this.#middleware,
      resultsOf: (store, revoke) => this.resultsOf(store, revoke),
    });
  }

  /** Results that a store knows of. @internal */
  resultsOf(store: ResultStore, revoke: Results["revoke"]): Results {
    const { log, config } = this;
    const { validate_params: validate } = config.lovage;
    return { store, errors: this.#errors, limits: this.#limits, log, validate, revoke };
  }

  #request(what: AnyTask | string, args: unknown, options: RequestOptions): Promise<Request> {
    // The overloads tell callers apart; in here there is one form.
    return typeof what === "string"
      ? this.createRequest(what, args as never, options)
      : this.createRequest(what, args as never, options);
  }

  async #close(): Promise<void> {
    const used = this.#client !== null;
    if (used) await this.hooks.stopping();
    await Promise.all([...this.running].map((worker) => worker.stop()));
    this.#closed = true;
    await this.#client?.close();
    this.#limits.close();
    if (used) await this.hooks.stopped();
  }
}
