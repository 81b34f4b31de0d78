/**
 * Does what the request machine says is due, one act after the other, and stops at the first that fails. An act that
 * needs no waiting does not wait: a task that stores nothing is settled in the tick in which it ended.
 */
import type { EffectKind } from "../../protocol/celery/request-machine.ts";
import type { ResultMeta, ResultTuple } from "../../protocol/celery/result-meta.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { readSignatureList } from "../../protocol/celery/signature.ts";
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { newId } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import type { SentTask } from "../tasks/context.ts";
import { ChordError } from "../tasks/errors.ts";
import { toRemoteException, tracebackText } from "../tasks/python-errors.ts";
import { Retry } from "../tasks/signals.ts";
import { callOptionsOf } from "../tasks/signature-options.ts";
import type { Outbox } from "./outbox.ts";
import type { Request } from "./request.ts";
import { type RecordInput, type RecordOptions, resultRecord } from "./result-records.ts";
import { retryCall } from "./retry-call.ts";

export interface EffectsOptions {
  backend: ResultBackend<ResultMeta> | null;
  outbox: Outbox;
  records: RecordOptions;
  inheritPriority: boolean;
  log: Log;
  pid: number;
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
          result: { pid: this.#options.pid, hostname: this.#options.records.hostname },
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
        return this.#refuseChord(request);
      case "fail-chain":
        return this.#failChain(request);
      case "publish-errbacks":
        return this.#publishErrbacks(request);
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

  async #publishCallbacks(request: Request): Promise<void> {
    const callbacks = readSignatureList(this.#options.exactly(request).embed.callbacks) ?? [];
    await this.#sendAll(request, callbacks, [request.value], this.#parentage(request));
  }

  /** Several at once are a group of their own (celery/app/trace.py). */
  async #sendAll(
    request: Request,
    signatures: readonly WireSignature[],
    prepend: readonly unknown[],
    options: Record<string, unknown>,
  ): Promise<void> {
    const group = signatures.length > 1 ? newId() : null;
    const sent = await Promise.all(
      signatures.map((signature, index) =>
        this.#send(signature, prepend, group === null ? options : { ...options, groupId: group, groupIndex: index }),
      ),
    );
    request.children ??= [];
    for (const one of sent.flat()) request.children.push(tupleOf(one));
  }

  /** The last element is the next link; it carries the rest with it. */
  async #publishChain(request: Request): Promise<void> {
    const chain = readSignatureList(this.#options.exactly(request).embed.chain) ?? [];
    const next = chain.at(-1);
    if (next === undefined) return;
    const sent = await this.#send(next, [request.value], {
      ...this.#parentage(request),
      chain: chain.slice(0, -1),
    });
    request.children ??= [];
    for (const one of sent) request.children.push(tupleOf(one));
  }

  #parentage(request: Request): Record<string, unknown> {
    const { message } = request;
    const options: Record<string, unknown> = { parentId: message.id, rootId: message.rootId };
    if (this.#options.inheritPriority && message.priority !== null) options.priority = message.priority;
    return options;
  }

  async #send(
    signature: WireSignature,
    prepend: readonly unknown[],
    given: Record<string, unknown>,
  ): Promise<SentTask[]> {
    const args = signature.immutable ? signature.args : [...prepend, ...signature.args];
    if (signature.subtask_type === "chain") {
      // Its members are spliced in front of what remains (celery/canvas.py `_chain.run`).
      const steps = readSignatureList(signature.kwargs.tasks) ?? [];
      const first = steps[0];
      if (first === undefined) return [];
      const rest = [...(readSignatureList(given.chain) ?? []), ...steps.slice(1).reverse()];
      return this.#send(first, prepend, { ...given, chain: rest });
    }
    if (signature.subtask_type === "group") {
      const members = readSignatureList(signature.kwargs.tasks) ?? [];
      const groupId = signature.options.task_id ?? newId();
      const sent = await Promise.all(
        members.map((member, index) => this.#send(member, prepend, { ...given, groupId, groupIndex: index })),
      );
      return sent.flat();
    }
    if (signature.subtask_type === "chord") {
      throw new ImproperlyConfigured(`cannot start ${signature.task}: chords are not run by this version of Lovage`);
    }
    const own = callOptionsOf(signature.options);
    // What the signature says of its group wins over what is given (celery/canvas.py `_merge`).
    const options = { ...own, ...given, ...(own.groupId === undefined ? {} : { groupId: own.groupId }) };
    return [await this.#options.outbox.applyAsync(signature.task, args, signature.kwargs, options)];
  }

  /** Every link that will now never run gets the same failure, so that nobody waits for it. */
  async #failChain(request: Request): Promise<void> {
    const { backend, records } = this.#options;
    if (backend === null) return;
    const exception = toRemoteException(request.error);
    const traceback = tracebackText(request.error);
    const stores: Promise<void>[] = [];
    for (const link of flatLinks(readSignatureList(request.message.embed.chain) ?? [])) {
      const id = link.options.task_id;
      if (typeof id !== "string") continue;
      const head = { ...request.message, id, task: link.task, group: null, parentId: null };
      const replyTo = typeof link.options.reply_to === "string" ? link.options.reply_to : request.message.replyTo;
      const record = resultRecord(head, { status: "FAILURE", exception, traceback }, records);
      stores.push(backend.store(id, record, { replyTo, correlationId: id }));
    }
    await Promise.all(stores);
  }

  /**
   * This version does not count chord parts, so a chord with a part here cannot complete: whoever waits for its body is told
   * instead of waiting for ever.
   */
  #refuseChord(request: Request): Promise<void> | undefined {
    const { backend, records, log } = this.#options;
    const body = request.message.embed.chord;
    const id = body?.options.task_id;
    log.error(
      { task: request.message.task, id: request.id, body: id },
      "part of a chord: chords are not run by this version of Lovage",
    );
    if (backend === null || body === null || typeof id !== "string") return undefined;
    const error = new ChordError(`a part of it ran on a Lovage worker, which does not run chords: ${request.id}`);
    const head = { ...request.message, id, task: body.task, group: null, parentId: null };
    const record = resultRecord(head, { status: "FAILURE", exception: toRemoteException(error) }, records);
    const replyTo = typeof body.options.reply_to === "string" ? body.options.reply_to : request.message.replyTo;
    return backend.store(id, record, { replyTo, correlationId: id });
  }

  /** Errbacks are sent as messages with the failed id (the old style); their own trouble is only logged. */
  async #publishErrbacks(request: Request): Promise<void> {
    const { message } = request;
    const errbacks = readSignatureList(this.#options.exactly(request).embed.errbacks) ?? [];
    try {
      await this.#sendAll(request, errbacks, [message.id], { parentId: message.id, rootId: message.rootId });
    } catch (error) {
      this.#options.log.error({ err: error, task: message.task, id: message.id }, "errback could not be sent");
    }
  }
}

function tupleOf(sent: SentTask): ResultTuple {
  return [[sent.id, null], null];
}

function flatLinks(links: readonly WireSignature[]): WireSignature[] {
  return links.flatMap((link) =>
    link.subtask_type === "chain" || link.subtask_type === "group"
      ? flatLinks(readSignatureList(link.kwargs.tasks) ?? [])
      : [link],
  );
}
