/** `ctx` of a running Mognet task. Everything costly is made when first asked for. */
import { mognetIdOrNull } from "../../../protocol/mognet/names.ts";
import type { MognetRequest } from "../../../protocol/mognet/request.ts";
import { type MognetResult, unexpectedRetries } from "../../../protocol/mognet/result.ts";
import { ResultLost } from "../../result-backends/errors.ts";
import type { MognetStore } from "../../result-backends/mognet/mognet-store.ts";
import type { Log } from "../../runtime/log.ts";
import { isPlainObject, mismatch } from "../../settings/kinds.ts";
import { childSent, runInTask, type SentTask, type TaskDeliveryInfo } from "../../tasks/context.ts";
import type { TaskType } from "../../tasks/definition.ts";
import {
  type MognetContext,
  type MognetSubmitted,
  type MognetTaskState,
  mognetMark,
  NotWithThisProtocol,
  Pause,
} from "../../tasks/mognet-context.ts";
import { Request, type RequestOptions } from "../../tasks/mognet-request.ts";
import type { ServiceKey, ServiceOf } from "../../tasks/mognet-services.ts";
import type { DeliveryInfo } from "../../transports/transport.ts";
import { instantMs } from "./deadlines.ts";
import type { MognetOutbox, MognetWorkerParts } from "./parts.ts";

/** What a context needs of its run: in a child of a pool it is not the worker's own. */
export interface ContextRun {
  readonly request: MognetRequest;
  readonly delivery: {
    readonly info: DeliveryInfo;
    readonly message: { readonly headers: Readonly<Record<string, unknown>> | null };
  };
  readonly record: MognetResult | null;
  /** Requests that it waits for. */
  dependencies: number;
}

/** What a context needs of its worker. */
export interface MognetContextHost {
  readonly parts: Pick<MognetWorkerParts, "app" | "nodeId" | "log" | "services"> & {
    readonly store: Pick<MognetStore, "get" | "getMetadata" | "setMetadata" | "state">;
    readonly outbox: Pick<MognetOutbox, "createRequest" | "submit" | "result">;
  };
  /** Suspends or resumes `run` as its `dependencies` demand; resolves when that is done. */
  adjust(run: ContextRun): Promise<void>;
}

type Call = [task: unknown, args?: unknown, options?: RequestOptions];

export class RunningMognetContext implements MognetContext {
  readonly [mognetMark] = true;
  readonly #run: ContextRun;
  readonly #host: MognetContextHost;
  #controller: AbortController | null = null;
  #over: { reason: unknown } | null = null;
  #log: Log | null = null;
  #state: MognetTaskState | null = null;

  constructor(run: ContextRun, host: MognetContextHost) {
    this.#run = run;
    this.#host = host;
  }

  get request(): MognetRequest {
    return this.#run.request;
  }
  get app(): unknown {
    return this.#host.parts.app;
  }
  get nodeId(): string {
    return this.#host.parts.nodeId;
  }
  get id(): string {
    return this.request.id;
  }
  get name(): string {
    return this.request.name;
  }
  get args(): readonly unknown[] {
    return this.request.args;
  }
  get kwargs(): Readonly<Record<string, unknown>> {
    return this.request.kwargs;
  }
  /** Runs before this one that ended in a crash. */
  get retries(): number {
    const { record } = this.#run;
    return record === null ? 0 : Math.max(0, unexpectedRetries(record) - 1);
  }
  get eta(): null {
    return null;
  }
  get deadline(): Date | null {
    const ms = instantMs(this.request.deadline);
    return ms === null ? null : new Date(ms);
  }
  get deliveryInfo(): TaskDeliveryInfo {
    const { info } = this.#run.delivery;
    const { exchange, routingKey, queue, redelivered } = info;
    return { exchange, routingKey, queue, redelivered, priority: this.request.priority };
  }
  get headers(): Readonly<Record<string, unknown>> {
    return this.#run.delivery.message.headers ?? {};
  }
  get stamps(): Readonly<Record<string, unknown>> {
    return {};
  }
  get replacedTaskNesting(): number {
    return 0;
  }
  get ignoreResult(): boolean {
    return false;
  }
  get rootId(): string {
    return this.request.stack[0] ?? this.id;
  }
  get parentId(): string | null {
    return this.request.stack.at(-1) ?? null;
  }
  get group(): null {
    return null;
  }
  get groupIndex(): null {
    return null;
  }
  get origin(): null {
    return null;
  }
  get correlationId(): string {
    return this.id;
  }
  get replyTo(): null {
    return null;
  }
  get hostname(): string {
    return this.nodeId;
  }
  /** Seconds that each run may take. */
  get timeLimit(): number | null {
    const { deadline } = this.request;
    return deadline?.kind === "duration" ? deadline.seconds : null;
  }
  get softTimeLimit(): null {
    return null;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#over !== null && !this.#controller.signal.aborted) this.#controller.abort(this.#over.reason);
    return this.#controller.signal;
  }

  get log(): Log {
    const { log } = this.#host.parts;
    this.#log ??= log.child?.({ task: this.name, id: this.id }) ?? log;
    return this.#log;
  }

  /** The run is over for this worker: the body may go on and has no say any more. */
  abort(reason: unknown): void {
    if (this.#over !== null) return;
    this.#over = { reason };
    const controller = this.#controller;
    if (controller !== null) runInTask(this, () => controller.abort(reason));
  }

  get state(): MognetTaskState {
    const { id } = this;
    const { state } = this.#host.parts.store;
    const live = () => this.#demandLive();
    this.#state ??= {
      async get<T>(key: string, byDefault?: T) {
        live();
        const value = await state.get(id, textKey(key));
        // What is stored under the key is the caller's business.
        return (value === undefined ? byDefault : value) as T;
      },
      async set(key, value) {
        live();
        await state.set(id, textKey(key), value);
      },
      async pop<T>(key: string, byDefault?: T) {
        live();
        const value = await state.pop(id, textKey(key));
        return (value === undefined ? byDefault : value) as T;
      },
      async clear() {
        live();
        await state.clear(id);
      },
    };
    return this.#state;
  }

  async submit<Result>(...call: Call): Promise<MognetSubmitted<Result>> {
    this.#demandLive();
    const request = await this.#requestOf(call, "ctx.submit()");
    return (await this.#host.parts.outbox.submit(request, this)) as MognetSubmitted<Result>;
  }

  async run<Result>(...call: Call): Promise<Result> {
    this.#demandLive();
    const request = await this.#requestOf(call, "ctx.run()");
    const value = await this.#waiting(1, async () => {
      const submitted = await this.#host.parts.outbox.submit(request, this);
      return submitted.get({ signal: this.signal });
    });
    return value as Result;
  }

  async gather<const Of extends readonly (MognetSubmitted | string)[]>(
    of: Of,
    options: { returnErrors?: boolean } = {},
  ): Promise<{ -readonly [K in keyof Of]: Of[K] extends MognetSubmitted<infer Value> ? Value : unknown }> {
    this.#demandLive();
    if (!Array.isArray(of)) throw mismatch("ctx.gather(): the results", "an array of results or ids", of);
    const { outbox } = this.#host.parts;
    const handles: MognetSubmitted[] = of.map((one: unknown) =>
      typeof one === "string" ? outbox.result(known(one)) : submitted(one),
    );
    const values = await this.#waiting(handles.length, async () => {
      const { signal } = this;
      const each = handles.map((handle) => handle.get({ signal }));
      if (options.returnErrors !== true) return Promise.all(each);
      const settled = await Promise.allSettled(each);
      signal.throwIfAborted();
      return settled.map((one) => (one.status === "fulfilled" ? one.value : one.reason));
    });
    return values as { -readonly [K in keyof Of]: Of[K] extends MognetSubmitted<infer Value> ? Value : unknown };
  }

  async getResult(): Promise<MognetResult> {
    const result = await this.#host.parts.store.get(this.id);
    if (result === null) throw new ResultLost(this.id, `result ${this.id} is lost`);
    return result;
  }

  getMetadata(): Promise<Record<string, unknown>> {
    return this.#host.parts.store.getMetadata(this.id);
  }

  async setMetadata(metadata: Readonly<Record<string, unknown>>): Promise<void> {
    this.#demandLive();
    if (!isPlainObject(metadata)) throw mismatch("ctx.setMetadata(): the metadata", "an object", metadata);
    await this.#host.parts.store.setMetadata(this.id, metadata);
  }

  getService<Key extends ServiceKey>(key: Key, ...args: unknown[]): ServiceOf<Key> {
    return this.#host.parts.services.get(key, this, args) as ServiceOf<Key>;
  }

  pause(): never {
    throw new Pause();
  }

  /** Celery's members that have a meaning here. */

  readonly send = <Result>(task: TaskType<never, Result>, args?: unknown, options?: object) =>
    this.submit<Result>(task, args, options);

  readonly sendTask = (
    name: string,
    args: readonly unknown[] = [],
    kwargs: Record<string, unknown> = {},
    options: object = {},
  ): Promise<SentTask> => this.submit(new Request({ ...options, name, args, kwargs }));

  progress(meta: unknown): Promise<void> {
    return this.setMetadata({ progress: meta });
  }

  /** Mognet has no custom states: the words are kept as metadata, under `state` and `meta`. */
  async updateState(state: string, meta: unknown = null): Promise<void> {
    if (typeof state !== "string" || state === "")
      throw mismatch(`${this.name}: the state`, "a text that is not empty", state);
    await this.setMetadata({ state, meta });
  }

  retry(): never {
    throw new NotWithThisProtocol(
      "Mognet has no retry()",
      "ctx.pause() puts the task back into its queue, with its state",
    );
  }

  replace(): never {
    throw new NotWithThisProtocol("Mognet cannot replace a task", "return the value of ctx.run() instead");
  }

  addToChord(): never {
    throw new NotWithThisProtocol("Mognet has no chords", "use ctx.gather()");
  }

  sendEvent(): never {
    throw new NotWithThisProtocol("Mognet has no events", "ctx.setMetadata() tells whoever looks at the result");
  }

  [childSent](): void {
    // What an app of another protocol sends from here is no child in Mognet's sense.
  }

  async #waiting<T>(count: number, act: () => Promise<T>): Promise<T> {
    const run = this.#run;
    run.dependencies += count;
    try {
      await this.#host.adjust(run);
      this.#demandLive();
      return await act();
    } finally {
      run.dependencies -= count;
      await this.#host.adjust(run);
    }
  }

  async #requestOf([task, args, options = {}]: Call, at: string): Promise<Request> {
    if (task instanceof Request) return task;
    const named = typeof task === "string" ? task : definitionName(task);
    if (named === null) throw mismatch(`${at}: the first argument`, "a task, its name or a Request", task);
    return this.#host.parts.outbox.createRequest(typeof task === "string" ? task : { name: named }, args, options);
  }

  /** A body that outlives its run changes nothing any more. */
  #demandLive(): void {
    if (this.#over !== null) throw this.#over.reason;
  }
}

function definitionName(task: unknown): string | null {
  if (typeof task !== "object" || task === null || !("name" in task)) return null;
  return typeof task.name === "string" ? task.name : null;
}

function submitted(value: unknown): MognetSubmitted {
  const ok = typeof value === "object" && value !== null && "get" in value && typeof value.get === "function";
  if (!ok) throw mismatch("ctx.gather(): each", "a result or the id of one", value);
  return value as MognetSubmitted;
}

function known(text: string): string {
  const id = mognetIdOrNull(text);
  if (id === null) throw mismatch("ctx.gather(): each", "a result or the id of one", text);
  return id;
}

function textKey(key: unknown): string {
  if (typeof key !== "string") throw mismatch("the key of a task's state", "a text", key);
  return key;
}
