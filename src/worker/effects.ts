/**
 * Does what the request machine says is due, one act after the other, and stops at the first that fails. An act that
 * needs no waiting does not wait: a task that stores nothing is settled in the tick in which it ended.
 */
import type { EffectKind } from "../../protocol/celery/request-machine.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { readSignatureList, type WireSignature } from "../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import type { Log } from "../runtime/log.ts";
import { TaskRevokedError } from "../tasks/errors.ts";
import { toRemoteException, tracebackText } from "../tasks/python-errors.ts";
import { Ignore, Reject, Replace, Retry } from "../tasks/signals.ts";
import { TaskCancelled } from "./effect-errors.ts";
import type { ApplyGiven, Outbox } from "./outbox.ts";
import type { Request } from "./request.ts";
import { type RecordInput, type RecordOptions, resultRecord } from "./result-records.ts";
import { retryCall } from "./retry-call.ts";
import type { TaskEvents } from "./task-events.ts";
import type { Chords } from "./workflow/chords.ts";
import type { Errbacks } from "./workflow/errbacks.ts";
import { failedPart, type Origin } from "./workflow/failures.ts";

export interface EffectsOptions {
  backend: ResultBackend<ResultMeta> | null;
  outbox: Outbox;
  /** Null without a result backend. */
  chords: Chords | null;
  errbacks: Errbacks;
  records: RecordOptions;
  events: TaskEvents;
  inheritPriority: boolean;
  log: Log;
  /** The request's message with floats kept apart from integers, for what is sent on. */
  exactly: (request: Request) => TaskRequest;
}

export class Effects {
  readonly #options: EffectsOptions;

  constructor(options: EffectsOptions) {
    this.#options = options;
  }

  /** Does one act. Returns a promise only when there is something to wait for. */
  perform(request: Request, kind: EffectKind): Promise<unknown> | undefined {
    switch (kind) {
      case "ack":
        request.delivery.ack();
        request.acknowledged = true;
        return undefined;
      case "reject":
        request.delivery.reject({ requeue: false });
        return undefined;
      case "requeue":
        request.delivery.reject({ requeue: true });
        return undefined;
      case "store-success":
        return this.#store(request, { status: "SUCCESS", result: request.value });
      case "store-started":
        return this.#store(request, {
          status: "STARTED",
          result: { pid: request.workerPid, hostname: this.#options.records.hostname },
        });
      case "store-failure":
        return this.storeError(request, "FAILURE");
      case "store-revoked":
        return this.storeError(request, "REVOKED");
      case "store-retry":
        return this.#storeRetry(request);
      case "publish-retry":
        return this.#publishRetry(request);
      case "publish-callbacks":
        return this.#publishCallbacks(request);
      case "publish-chain":
        return this.#publishChain(request);
      case "return-chord-part":
        return this.#returnPart(request, { state: "SUCCESS", result: request.value ?? null });
      case "fail-chord-part":
        return this.#returnPart(request, failedPart(request.error));
      case "revoke-chord-part":
        return this.#returnPart(request, failedPart(request.error, "REVOKED"));
      case "fail-stranded":
        return this.failStranded(request.message, this.#embed(request), request.error, originOf(request));
      case "publish-replacement":
        return this.#publishReplacement(request);
      case "fail-chain":
        return this.#failChain(request);
      case "publish-errbacks":
        return this.#publishErrbacks(request);
      case "emit-started":
      case "emit-succeeded":
      case "emit-failed":
      case "emit-retried":
      case "emit-rejected":
      case "emit-requeued":
      case "emit-revoked":
      case "emit-cancelled":
        this.#emit(request, kind);
        return undefined;
    }
  }

  #emit(request: Request, kind: EffectKind & `emit-${string}`): void {
    const { events } = this.#options;
    switch (kind) {
      case "emit-started":
        return events.started(request);
      case "emit-succeeded":
        return events.succeeded(request);
      case "emit-failed":
        return events.failed(request);
      case "emit-retried":
        return events.retried(request);
      case "emit-rejected":
        return events.rejected(request, false);
      case "emit-requeued":
        return events.rejected(request, true);
      case "emit-revoked":
        return events.revoked(request);
      case "emit-cancelled":
        return events.cancelled(request);
    }
  }

  /** Stores a state in which the request's error is the result. */
  storeError(request: Request, status: "FAILURE" | "REVOKED"): Promise<void> | undefined {
    return this.#store(request, {
      status,
      exception: toRemoteException(request.error),
      traceback: status === "FAILURE" ? tracebackText(request.error) : null,
    });
  }

  storeState(request: Request, status: string, meta: unknown): Promise<void> | undefined {
    return this.#store(request, { status, result: meta });
  }

  #store(request: Request, input: RecordInput): Promise<void> | undefined {
    const { backend, records } = this.#options;
    if (backend === null) return undefined;
    const { message } = request;
    input.children ??= request.children ?? [];
    input.queue = request.delivery.info.routingKey;
    return backend.store(message.id, resultRecord(message, input, records), message);
  }

  /** `result` is what was given to `retry()`, null when nothing was (celery-wire 1.9); a task's own id is then its child. */
  #storeRetry(request: Request): Promise<void> | undefined {
    const retry = request.error instanceof Retry ? request.error : null;
    const cause = retry === null ? request.error : retry.exc;
    if (retry !== null) {
      request.children ??= [];
      request.children.push([[request.id, null], null]);
    }
    return this.#store(request, {
      status: "RETRY",
      exception: cause === null || cause === undefined ? null : toRemoteException(cause),
      traceback: tracebackText(request.error),
    });
  }

  #publishRetry(request: Request): Promise<unknown> {
    if (!(request.error instanceof Retry)) throw new ImproperlyConfigured("only a Retry can be published again");
    const call = retryCall(this.#options.exactly(request), request.delivery.info, request.plan, request.error);
    return this.#options.outbox.applyAsync(call.name, call.args, call.kwargs, call.options);
  }

  /** Several at once: groups one by one, and the others as a group of their own (celery/app/trace.py). */
  async #publishCallbacks(request: Request): Promise<void> {
    const callbacks = readSignatureList(this.#embed(request).callbacks) ?? [];
    const given = this.#followUp(request);
    if (callbacks.length === 1) return this.#apply(request, callbacks[0]!, given);
    const tasks: WireSignature[] = [];
    for (const callback of callbacks) {
      if (callback.subtask_type === "group") await this.#apply(request, callback, given);
      else tasks.push(callback);
    }
    if (tasks.length === 0) return;
    const group: WireSignature = {
      task: "celery.group",
      args: [],
      kwargs: { tasks },
      options: {},
      subtask_type: "group",
      immutable: false,
    };
    await this.#apply(request, group, given);
  }

  /** The last element is the next link; it carries the rest with it. */
  async #publishChain(request: Request): Promise<void> {
    const embed = this.#embed(request);
    if (embed.tail && !embed.tail.next.subtask_type) {
      const { next, rest } = embed.tail;
      return this.#apply(request, next, this.#followUp(request, { chain: rest }));
    }
    const chain = readSignatureList(embed.chain) ?? [];
    const next = chain.at(-1);
    if (next !== undefined) await this.#apply(request, next, this.#followUp(request, { chain: chain.slice(0, -1) }));
  }

  /** The result as argument, and the parentage, which wins over the signature's own. */
  #followUp(request: Request, more: Record<string, unknown> = {}): ApplyGiven {
    const { id, rootId, priority } = request.message;
    const options: Record<string, unknown> = { ...more, parent_id: id, root_id: rootId };
    if (this.#options.inheritPriority && priority !== null) options.priority = priority;
    return { args: [request.value ?? null], options, parent: { id, rootId } };
  }

  async #apply(request: Request, signature: WireSignature, given: ApplyGiven): Promise<void> {
    const { children } = await this.#options.outbox.apply(signature, given);
    if (children.length === 0) return;
    request.children ??= [];
    for (const child of children) request.children.push(child);
  }

  #embed(request: Request): TaskRequest["embed"] {
    return this.#options.exactly(request).embed;
  }

  /** The replacement has this task's id and its place in chain, group and chord. wire: celery/app/task.py `replace`. */
  async #publishReplacement(request: Request): Promise<void> {
    if (!(request.error instanceof Replace)) throw new ImproperlyConfigured("only a Replace names a replacement");
    const { id, rootId, priority } = request.message;
    const inherited = this.#options.inheritPriority ? priority : null;
    await this.#options.outbox.apply(request.error.signature, {
      replaces: this.#options.exactly(request),
      collectsGroups: request.plan.failsUnreachable,
      parent: { id, rootId },
      priority: inherited,
    });
  }

  #returnPart(request: Request, part: { state: string; result: unknown }): Promise<void> | undefined {
    const chord = () => this.#embed(request).chord;
    return this.#options.chords?.returnPart(request.message, part, chord, originOf(request));
  }

  /** A part that it has added to its chord may never return. */
  async failChord(request: Request, error: unknown): Promise<void> {
    const { group } = request.message;
    const { chord } = this.#embed(request);
    if (group === null || chord === null) return;
    await this.#options.chords?.giveUp(group, error, chord, originOf(request));
  }

  /** It was dropped: its chord is told so, and every link behind it fails, with the chords that those are parts of. */
  async failStranded(
    head: Pick<TaskRequest, "id" | "task" | "group" | "groupIndex">,
    { chord, chain }: TaskRequest["embed"],
    error: unknown,
    origin: Origin,
  ): Promise<void> {
    const { chords } = this.#options;
    if (chords === null) return;
    const dropped = droppedBy(head, error);
    if (chord !== null) await chords.losePart(head, dropped, () => chord, origin);
    if (chain !== null) await chords.failures.failChain(chain, dropped, origin);
  }

  /** Every link that will now never run gets the same failure, so that nobody waits for it. */
  async #failChain(request: Request): Promise<void> {
    const chain = readSignatureList(this.#embed(request).chain) ?? [];
    const store = request.storesErrors || request.plan.failsUnreachable;
    const error = droppedBy(request.message, request.error);
    await this.#options.chords?.failures.failChain(chain, error, originOf(request), store);
  }

  /** Their own trouble is only logged. */
  async #publishErrbacks(request: Request): Promise<void> {
    const { message } = request;
    try {
      const errbacks = readSignatureList(this.#embed(request).errbacks) ?? [];
      await this.#options.errbacks.call(message, errbacks, request.error, request.context);
    } catch (error) {
      this.#options.log.error({ err: error, task: message.task, id: message.id }, "errback could not be sent");
    }
  }
}

/**
 * What the steps behind a task, and its chord, fail with: its own error, or, where that only says what became of the task itself, that it was not
 * run. (Stored as they are, `Ignore` and `Retry` would make a Python task that reads them end that way too.)
 */
function droppedBy({ id, task }: Pick<TaskRequest, "id" | "task">, error: unknown): unknown {
  const how = endOf(error);
  return how === null ? error : new TaskRevokedError(id, `not run: ${task}[${id}] ${how}`);
}

function endOf(error: unknown): string | null {
  if (error instanceof TaskRevokedError) return error.reason;
  if (error instanceof Ignore) return "ignored";
  if (error instanceof Reject && error.requeue) return "rejected";
  return error instanceof TaskCancelled ? "cancelled" : null;
}

function originOf(request: Request): Origin {
  const { id, rootId, replyTo, priority } = request.message;
  request.children ??= [];
  return { id, rootId, replyTo, priority, children: request.children, context: request.context };
}
