/** `ctx` of a running task. Everything costly (abort controller, logger, dates) is made when first asked for. */

import { membersOf } from "../../protocol/celery/canvas/parts.ts";
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import { readSignature, type WireSignature } from "../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { parseIso } from "../../protocol/iso-time.ts";
import { checkCustomEvent } from "../events/custom.ts";
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
  type SignatureLike,
  type TaskContext,
  type TaskDeliveryInfo,
} from "../tasks/context.ts";
import type { AnyTask, TaskType } from "../tasks/definition.ts";
import { SoftTimeLimitExceeded, TaskError } from "../tasks/errors.ts";
import { retryOutcome } from "../tasks/retry-policy.ts";
import { Replace } from "../tasks/signals.ts";
import { Signature, wireOf as signatureJson } from "../tasks/signature.ts";
import type { DeliveryInfo } from "../transports/transport.ts";
import type { Applied, ApplyGiven, Outbox } from "./outbox.ts";

/** What a context needs of its request: in a child of a pool it is not the worker's own. */
export interface ContextRequest {
  readonly message: TaskRequest;
  readonly delivery: { readonly info: DeliveryInfo };
  readonly plan: { readonly task: AnyTask; readonly ignoreResult: boolean };
  /** Seconds. */
  readonly timeLimit: number | null;
  readonly softTimeLimit: number | null;
  /** Tasks that this one has sent. */
  children: ResultTuple[] | null;
}

/** What a context needs of its worker. */
export interface ContextHost {
  readonly hostname: string;
  readonly log: Log;
  readonly outbox: Pick<Outbox, "send" | "sendTask" | "apply" | "checkOptions">;
  readonly inheritPriority: boolean;
  /** The request's message with floats kept apart from integers, for what is sent on. */
  exactly(request: ContextRequest): TaskRequest;
  updateState(request: ContextRequest, state: string, meta: unknown): Promise<void>;
  /** Adds a part to the chord that the request is in. Throws `ChordsNotSupported` where the result store counts no parts. */
  addPart(request: ContextRequest, member: WireSignature): Promise<Applied>;
  /** An event of the task's own. */
  sendEvent(request: ContextRequest, type: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
}

export class RunningContext implements TaskContext {
  readonly #request: ContextRequest;
  readonly #host: ContextHost;
  #controller: AbortController | null = null;
  /** The body knows of its signal, or was told what it says. */
  #sawSignal = false;
  /** On the clock of `performance.now()`. */
  #softDeadlineMs = Number.POSITIVE_INFINITY;
  #log: Log | null = null;

  constructor(request: ContextRequest, host: ContextHost) {
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
  get stamps(): Readonly<Record<string, unknown>> {
    return this.#request.message.stamps;
  }
  get replacedTaskNesting(): number {
    return this.#request.message.replacedTaskNesting;
  }
  get ignoreResult(): boolean {
    return this.#request.message.ignoreResult ?? this.#request.plan.ignoreResult;
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
    this.#noticeSoftLimit();
    this.#sawSignal = true;
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  /** The body starts: its soft limit is counted from here. */
  startSoftLimit(): void {
    const { softTimeLimit: soft, timeLimit: hard } = this.#request;
    if (soft !== null && (hard === null || soft < hard)) this.#softDeadlineMs = performance.now() + soft * 1000;
  }

  /** A body that keeps its event loop busy lets no timer fire, and sees its limit when it looks. */
  #noticeSoftLimit(): void {
    if (performance.now() < this.#softDeadlineMs) return;
    this.#softDeadlineMs = Number.POSITIVE_INFINITY;
    if (this.abortReason === undefined) this.abort(new SoftTimeLimitExceeded(this.#request.softTimeLimit));
  }

  /** Python raises in the midst of the body. Here the next call of one that never asked for its signal throws, once. */
  #throwSoftLimit(): void {
    if (this.#softDeadlineMs !== Number.POSITIVE_INFINITY) this.#noticeSoftLimit();
    const reason = this.abortReason;
    if (this.#sawSignal || !(reason instanceof SoftTimeLimitExceeded)) return;
    this.#sawSignal = true;
    throw reason;
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
    this.#throwSoftLimit();
    if (typeof state !== "string" || state === "") {
      throw mismatch(`${this.name}: the state`, "a text that is not empty", state);
    }
    await this.#host.updateState(this.#request, state, meta);
  }

  async sendEvent(type: string, fields: Readonly<Record<string, unknown>> = {}): Promise<void> {
    checkCustomEvent(`${this.name}: ctx.sendEvent()`, type, fields);
    await this.#host.sendEvent(this.#request, type, fields);
  }

  replace(signature: SignatureLike): never {
    const replacement = wireOf(signature, "ctx.replace(): the argument");
    if (Object.hasOwn(replacement.options, "chord")) {
      throw new ImproperlyConfigured("A signature replacing a task must not be part of a chord");
    }
    if (replacement.subtask_type === "chain" && membersOf(replacement).length === 0) {
      throw new ImproperlyConfigured("Cannot replace with an empty chain");
    }
    throw new Replace(replacement);
  }

  async addToChord(signature: SignatureLike): Promise<ResultTuple | null> {
    this.#throwSoftLimit();
    const { group, embed } = this.#request.message;
    if (embed.chord === null || group === null) throw new NotInChord("Current task is not member of any chord");
    const member = wireOf(signature, "ctx.addToChord(): the argument");
    const isEmpty = member.subtask_type !== null && member.subtask_type !== "chord" && membersOf(member).length === 0;
    if (isEmpty) throw new ImproperlyConfigured("Cannot add an empty chain or group to a chord");
    const { result, children } = await this.#host.addPart(this.#request, member);
    for (const child of children) this.#addChild(child);
    return result;
  }

  /** The message with floats kept apart from integers. */
  exactly(): TaskRequest {
    return this.#host.exactly(this.#request);
  }

  /** Sends any signature as a child of this task. */
  async apply(signature: WireSignature, given: ApplyGiven = {}): Promise<ResultTuple | null> {
    const { result, children } = await this.#host.outbox.apply(signature, { ...this.#given(), ...given });
    for (const child of children) this.#addChild(child);
    return result;
  }

  #given(): ApplyGiven {
    const { id, rootId, priority } = this.#request.message;
    return { parent: { id, rootId }, priority: this.#host.inheritPriority ? priority : null };
  }

  #addChild(child: ResultTuple): void {
    this.#request.children ??= [];
    this.#request.children.push(child);
  }

  readonly send: ContextSend = async <Result>(task: TaskType<never, Result>, args?: unknown, options: object = {}) => {
    this.#throwSoftLimit();
    const sent = this.#remember(await this.#host.outbox.send(task, args, this.#inherit({ ...options })));
    // What the definition says of its result; without a schema nobody checks it.
    return sent as SentTask<Result>;
  };

  readonly sendTask: ContextSendTask = async (name, args = [], kwargs = {}, options = {}) => {
    this.#throwSoftLimit();
    return this.#remember(await this.#host.outbox.sendTask(name, args, kwargs, this.#inherit(options)));
  };

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

  [childSent](child: string | ResultTuple): void {
    this.#addChild(typeof child === "string" ? [[child, null], null] : child);
  }
}

/** `add_to_chord` of a task that is in none. */
class NotInChord extends TaskError {
  static readonly python = "builtins.ValueError";
  constructor(message: string) {
    super("NOT_IN_CHORD", message);
  }
}

function wireOf(signature: SignatureLike, at: string): WireSignature {
  if (signature instanceof Signature) return signature.toJSON();
  const isData = typeof signature === "object" && signature !== null && "task" in signature;
  return isData ? readSignature(signature) : signatureJson(signature, at);
}

function dateOf(text: string | null): Date | null {
  if (text === null) return null;
  const parsed = parseIso(text);
  return parsed === null || parsed === "overflow" ? null : new Date(parsed.epochMs);
}
