/** `ctx` of a running task. Everything costly (abort controller, logger, dates) is made when first asked for. */
import { parseIso } from "../../protocol/iso-time.ts";
import type { Log } from "../runtime/log.ts";
import { silentLog } from "../runtime/log.ts";
import { mismatch } from "../settings/kinds.ts";
import {
  type ContextSend,
  type ContextSendTask,
  childSent,
  type RetryOptions,
  runInTask,
  type SentTask,
  type TaskContext,
  type TaskDeliveryInfo,
} from "../tasks/context.ts";
import { retryOutcome } from "../tasks/retry-policy.ts";
import type { Outbox } from "./outbox.ts";
import type { Request } from "./request.ts";

/** What a context needs of its worker. */
export interface ContextHost {
  readonly hostname: string;
  readonly log: Log;
  readonly outbox: Outbox;
  readonly inheritPriority: boolean;
  updateState(request: Request, state: string, meta: unknown): Promise<void>;
}

export class RunningContext implements TaskContext {
  readonly #request: Request;
  readonly #host: ContextHost;
  #controller: AbortController | null = null;
  #log: Log | null = null;

  constructor(request: Request, host: ContextHost) {
    this.#request = request;
    this.#host = host;
  }

  get id(): string {
    return this.#request.message.id;
  }
  get name(): string {
    return this.#request.message.task;
  }
  get args(): readonly unknown[] {
    return this.#request.message.args;
  }
  get kwargs(): Readonly<Record<string, unknown>> {
    return this.#request.message.kwargs;
  }
  get retries(): number {
    return this.#request.message.retries;
  }
  get eta(): Date | null {
    return dateOf(this.#request.message.eta);
  }
  get deadline(): Date | null {
    return dateOf(this.#request.message.expires);
  }
  get deliveryInfo(): TaskDeliveryInfo {
    const { info } = this.#request.delivery;
    return {
      exchange: info.exchange,
      routingKey: info.routingKey,
      queue: info.queue,
      redelivered: info.redelivered,
      priority: this.#request.message.priority,
    };
  }
  get headers(): Readonly<Record<string, unknown>> {
    return this.#request.message.headers;
  }
  get rootId(): string {
    return this.#request.message.rootId;
  }
  get parentId(): string | null {
    return this.#request.message.parentId;
  }
  get group(): string | null {
    return this.#request.message.group;
  }
  get groupIndex(): number | null {
    return this.#request.message.groupIndex;
  }
  get origin(): string | null {
    return this.#request.message.origin;
  }
  get correlationId(): string | null {
    return this.#request.message.correlationId;
  }
  get replyTo(): string | null {
    return this.#request.message.replyTo;
  }
  get hostname(): string {
    return this.#host.hostname;
  }
  get timeLimit(): number | null {
    return this.#request.timeLimit;
  }
  get softTimeLimit(): number | null {
    return this.#request.softTimeLimit;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  get log(): Log {
    if (this.#log === null) {
      const fields = { task: this.name, id: this.id };
      this.#log = this.#host.log.child?.(fields) ?? this.#host.log ?? silentLog;
    }
    return this.#log;
  }

  /**
   * Aborts `signal`. A task that never looked at it gets a signal that is aborted when it looks. Listeners run as part of the
   * task: Node reports what one of them throws as uncaught, and `currentTask()` says there whose it was.
   */
  abort(reason: unknown): void {
    this.#controller ??= new AbortController();
    const controller = this.#controller;
    runInTask(this, () => controller.abort(reason));
  }

  /** The reason with which `signal` aborted; undefined while it has not. */
  get abortReason(): unknown {
    return this.#controller?.signal.aborted === true ? this.#controller.signal.reason : undefined;
  }

  retry(options?: RetryOptions): never {
    const outcome = retryOutcome(this.#request.plan.task, this.#request.message, options);
    if (options?.options !== undefined) {
      this.#host.outbox.checkOptions?.(`${this.name}: options of retry()`, options.options);
    }
    throw outcome;
  }

  progress(meta: unknown): Promise<void> {
    return this.updateState("PROGRESS", meta);
  }

  async updateState(state: string, meta: unknown = null): Promise<void> {
    if (typeof state !== "string" || state === "") {
      throw mismatch(`${this.name}: the state`, "a text that is not empty", state);
    }
    await this.#host.updateState(this.#request, state, meta);
  }

  readonly send: ContextSend = async (task, args, options = {}) =>
    this.#remember(await this.#host.outbox.send(task, args, this.#inherit(options)));

  readonly sendTask: ContextSendTask = async (name, args = [], kwargs = {}, options = {}) =>
    this.#remember(await this.#host.outbox.sendTask(name, args, kwargs, this.#inherit(options)));

  /** wire: celery/app/base.py `send_task`: a task sent from a task has it as parent, its root and, if set, its priority. */
  #inherit(options: Record<string, unknown>): Record<string, unknown> {
    const { message } = this.#request;
    const inherited: Record<string, unknown> = { rootId: message.rootId, parentId: message.id };
    if (this.#host.inheritPriority && message.priority !== null) inherited.priority = message.priority;
    return { ...inherited, ...options };
  }

  #remember(sent: SentTask): SentTask {
    this[childSent](sent.id);
    return sent;
  }

  [childSent](id: string): void {
    this.#request.children ??= [];
    this.#request.children.push([[id, null], null]);
  }
}

function dateOf(text: string | null): Date | null {
  if (text === null) return null;
  const parsed = parseIso(text);
  return parsed === null || parsed === "overflow" ? null : new Date(parsed.epochMs);
}
