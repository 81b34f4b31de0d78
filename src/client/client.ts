/**
 * Sends tasks and waits for their results: routing, message, publish, result in one call. It is given its transport and
 * backend and leaves them open; all results share the backend's one subscription.
 */

import { linksHideChord } from "../../protocol/celery/canvas/hidden-chord.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import { encodeTask } from "../../protocol/celery/task-encoder.ts";
import type { TaskMessageInput } from "../../protocol/celery/task-message.ts";
import type { Message } from "../../protocol/message.ts";
import { builtinSerializers, type SerializerRegistry } from "../../protocol/serialization.ts";
import { requireChords } from "../result-backends/chord-counter.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { newId, processOrigin } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import type { Settings } from "../settings/settings.ts";
import { type Zone, zoneOf } from "../settings/timezone.ts";
import { type ApplyAsyncOptions, type CheckedOptions, checkOptions } from "../tasks/call-options.ts";
import { childSent, currentTask } from "../tasks/context.ts";
import type { AnyTask } from "../tasks/definition.ts";
import { callOptionsOf, wireOptionsOf } from "../tasks/signature-options.ts";
import type { Transport } from "../transports/transport.ts";
import type { Anticipation } from "./anticipation.ts";
import { AsyncResult, type ResultOptions } from "./async-result.ts";
import {
  type ApplyParts,
  applyCanvas,
  type CanvasSent,
  type Frozen,
  freezeCanvas,
  type PlanHost,
} from "./carry-out.ts";
import { Delays } from "./delays.ts";
import type { BrokerState } from "./outage-watch.ts";
import { PlanMessages } from "./plan-messages.ts";
import { Publisher, type PublisherParts, type PublishHow, type PublishTarget } from "./publisher.ts";
import { Queues } from "./queues.ts";
import { ErrorRegistry } from "./remote-errors.ts";
import { Results, type ResultsParts } from "./results.ts";
import { type Destination, type Routed, Router } from "./router.ts";
import { type CallBy, routeOptions, secondsUntil, taskMessage, withTaskDefaults } from "./task-call.ts";

export interface ClientParts {
  readonly settings: Settings;
  readonly transport: Transport;
  /** Null: results are not stored anywhere. */
  readonly backend: ResultBackend<ResultMeta> | null;
  readonly log: Log;
  /** @default made from the settings */
  readonly queues?: Queues;
  /** @default `json` and `raw` */
  readonly serializers?: SerializerRegistry;
  readonly errors?: ErrorRegistry;
  /** The definition of a name, where it is known here. */
  readonly taskOf?: (name: string) => AnyTask | null;
  /** Named by the error of a publish that no broker took. */
  readonly broker?: BrokerState;
  /** Tells workers to call tasks back. */
  readonly revoke?: ResultsParts["revoke"];
  /** Told of every message that the broker holds. */
  readonly onSent?: PublisherParts["onSent"];
  /** Unix milliseconds. @default Date.now */
  readonly now?: () => number;
  /** Task ids. @default UUID version 4 */
  readonly ids?: () => string;
  /** @default `gen<pid>@<host>` */
  readonly origin?: string;
  /** `reply_to` when the backend names none. @default a fresh UUID */
  readonly oid?: string;
}

/** The task that sends another one. */
export interface ParentTask {
  readonly id: string;
  readonly rootId: string;
  readonly deliveryInfo?: { readonly priority: number | null };
}

export interface SendRequest {
  readonly name: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly options?: ApplyAsyncOptions | Readonly<Record<string, unknown>>;
  /** The definition, when the task is known here: its call options are defaults, its `returns` checks the value. */
  readonly task?: AnyTask | null;
  /** Whose rules apply: Celery's `apply_async` of a known task or its `send_task`. @default `definition` when `task` is given */
  readonly by?: CallBy;
  /** The options are those of a peer's signature: names unknown here are passed on as properties instead of refused. */
  readonly fromWire?: boolean;
  /** @default the task that the calling code runs in */
  readonly parent?: ParentTask | null;
}

export interface Client {
  readonly queues: Queues;
  readonly router: Router;
  readonly publisher: Publisher;
  readonly results: Results;
  readonly zone: Zone;
  /** Resolves once the broker holds the task. */
  send<T = unknown>(request: SendRequest): Promise<AsyncResult<T>>;
  /**
   * Does what Celery's `Signature.apply_async` does, for a signature of any type. Resolves once the broker holds all messages.
   * Throws `ChordsNotSupported` for chords on a result backend that has none, before anything is sent.
   */
  apply(signature: WireSignature, parts?: ApplyParts): Promise<CanvasSent>;
  /** The signature with ids for all of its parts, and the result that it will have. Sends nothing. */
  freeze(signature: WireSignature): Promise<Frozen>;
  /** The result of a task sent before, here or elsewhere. */
  result<T = unknown>(id: string, options?: ResultOptions): AsyncResult<T>;
  /** Ends publishes that still wait for a broker, and timeouts. Transport and backend stay open. Twice is fine. */
  close(): void;
}

export function createClient(parts: ClientParts): Client {
  return new CeleryClient(parts);
}

class CeleryClient implements Client, PlanHost {
  readonly queues: Queues;
  readonly router: Router;
  readonly publisher: Publisher;
  readonly results: Results;
  readonly zone: Zone;
  readonly #parts: ClientParts;
  readonly #delays: Delays;
  readonly #serializers: SerializerRegistry;
  readonly #now: () => number;
  readonly #ids: () => string;
  readonly #origin: string;
  readonly #oid: string;
  #replyTo: string | null;

  constructor(parts: ClientParts) {
    const { settings } = parts;
    this.#parts = parts;
    this.queues = parts.queues ?? new Queues(settings);
    this.router = new Router(settings, this.queues);
    this.#delays = new Delays(settings, this.queues, parts.transport.name);
    this.publisher = new Publisher(parts);
    const lostAfter = settings.lovage_result_lost_after;
    const ids = parts.ids ?? newId;
    this.#ids = ids;
    this.results = new Results({
      ids,
      backend: parts.backend,
      errors: parts.errors ?? new ErrorRegistry(),
      validate: settings.lovage_validate_params,
      lostAfterMs: lostAfter === null ? null : lostAfter * 1000,
      ...(parts.revoke === undefined ? {} : { revoke: parts.revoke }),
    });
    this.zone = zoneOf(settings);
    this.#serializers = parts.serializers ?? builtinSerializers;
    this.#now = parts.now ?? Date.now;
    this.#origin = parts.origin ?? processOrigin();
    this.#oid = parts.oid ?? newId();
    this.#replyTo = parts.backend === null ? this.#oid : null;
  }

  async send<T = unknown>(request: SendRequest): Promise<AsyncResult<T>> {
    const call = this.#prepare(request);
    const { options, how } = call;
    const hasLinks = options.link || options.linkError;
    if (hasLinks && request.parent === undefined && linksHideChord(wireOptionsOf(options))) requireChords(this.backend);
    const ignored = options.ignoreResult === true;
    const replyTo = this.#replyTo ?? (await this.#askReplyTo(ignored, how));
    const anticipation = ignored ? null : this.results.anticipation;
    const id = options.taskId ?? anticipation?.newId() ?? this.#ids();
    try {
      await this.#publish(id, encodeTask(this.#input(call, id, replyTo)), call.destination, how, anticipation);
    } catch (error) {
      anticipation?.forget(id);
      throw error;
    }
    if (request.parent === undefined && options.addToParent !== false) currentTask()?.[childSent](id);
    return new AsyncResult<T>(id, this.results, { returns: request.task?.returns ?? null, ignored });
  }

  apply(signature: WireSignature, parts: ApplyParts = {}): Promise<CanvasSent> {
    return applyCanvas(signature, parts, this);
  }

  freeze(signature: WireSignature): Promise<Frozen> {
    return freezeCanvas(signature, this);
  }

  // What a plan needs (`PlanHost`).

  get backend(): ResultBackend<ResultMeta> | null {
    return this.#parts.backend;
  }

  get errbacksOnChordHeader(): boolean {
    return this.#parts.settings.task_allow_error_cb_on_chord_header;
  }

  newId(): string {
    return this.#ids();
  }

  replyTo(): string | Promise<string> {
    return this.#replyTo ?? this.#askReplyTo(false, {});
  }

  taskOf(name: string): AnyTask | null {
    return this.#parts.taskOf?.(name) ?? null;
  }

  defaultQueue(name: string): string {
    const routed = this.router.route({}, name, [], {}, this.taskOf(name));
    return routed.queue?.name ?? this.queues.default.name;
  }

  exchangeType(queue: string): string | null {
    return this.queues.get(queue).exchange.type;
  }

  messages(replyTo: string, { priority = null, signal = null }: ApplyParts): PlanMessages {
    return new PlanMessages(this.publisher, ({ name, args, kwargs, options: wire }) => {
      const options = callOptionsOf(wire);
      if (signal !== null) options.signal = signal;
      const task = this.taskOf(name);
      const call = this.#prepare({ name, args, kwargs, options, task, fromWire: true, parent: null }, priority);
      const input = this.#input(call, call.options.taskId ?? this.#ids(), replyTo);
      const { countdown, eta, expires } = call.options;
      const repeatable = this.router.asksNamesOnly && !countdown && !eta && !expires;
      return { message: encodeTask(input), input, target: call.destination, how: call.how, repeatable };
    });
  }

  #prepare(request: SendRequest, inherited: number | null = null): PreparedCall {
    const { name, args = [], kwargs = {}, task = null } = request;
    const given = checkOptions(request.options, { task: name, fromWire: request.fromWire ?? false });
    const by = request.by ?? (task === null ? "name" : "definition");
    const options = withTaskDefaults(name, given, task, by, this.#parts.settings);
    let routed = this.router.route(routeOptions(options), options.routeName ?? name, args, kwargs, task);
    const { rootId, parentId, ...ancestry } = this.#ancestry(request, options);
    const priority = ancestry.priority ?? inherited;
    if (priority !== null && routed.priority === undefined) routed = { ...routed, priority };
    const how = {
      retry: routed.retry,
      retryPolicy: routed.retryPolicy,
      compression: routed.compression,
      mandatory: options.mandatory,
      signal: options.signal,
    };
    const destination = this.#delays.destination(this.router.destination(routed), secondsUntil(options, this.#now));
    return { name, args, kwargs, options: { ...options, rootId, parentId }, routed, destination, how };
  }

  #input(call: PreparedCall, id: string, replyTo: string): TaskMessageInput {
    const { name, args, kwargs, options, routed, destination } = call;
    const { settings } = this.#parts;
    return taskMessage({ name, id, args, kwargs }, options, routed, destination, {
      settings,
      zone: this.zone,
      nowMs: this.#now(),
      serializer: this.#serializers.byName(routed.serializer ?? settings.task_serializer),
      origin: this.#origin,
      replyTo,
      onExpired: (secondsAgo) =>
        this.#parts.log.warn(
          { task: name, id, secondsAgo },
          "sent a task whose expires has passed; the broker drops it",
        ),
    });
  }

  /** Until the broker has confirmed it, or, sooner, until its result is there: then it held it. */
  async #publish(
    id: string,
    message: Message,
    to: PublishTarget,
    how: PublishHow,
    anticipation: Anticipation | null,
  ): Promise<void> {
    const early = anticipation?.expect(id) ?? null;
    const published = this.publisher.publish(message, to, how);
    // Behind the message, so that it does not wait for it.
    anticipation?.listenAhead();
    if (early === null) return published;
    await Promise.race([published, early.then(settled, () => published)]);
    published.catch((error: unknown) =>
      this.#parts.log.debug({ id, err: error }, "a task whose result is there was not confirmed"),
    );
  }

  result<T = unknown>(id: string, options?: ResultOptions): AsyncResult<T> {
    return new AsyncResult<T>(id, this.results, options);
  }

  close(): void {
    this.publisher.close();
    this.results.close();
  }

  /** wire: celery/app/base.py `send_task`: what the call leaves open comes from the task that sends. */
  #ancestry(
    request: SendRequest,
    { rootId, parentId }: CheckedOptions,
  ): { rootId: string | null; parentId: string | null; priority: number | null } {
    if (rootId && parentId) return { rootId, parentId, priority: null };
    const parent = request.parent === undefined ? currentTask() : request.parent;
    if (!parent) return { rootId: rootId ?? null, parentId: parentId ?? null, priority: null };
    return {
      rootId: rootId || parent.rootId || parent.id,
      parentId: parentId || parent.id,
      priority: this.#parts.settings.task_inherit_parent_priority ? (parent.deliveryInfo?.priority ?? null) : null,
    };
  }

  /** For rpc the reply queue must stand before the first message that names it, but not for a result that nobody stores. */
  async #askReplyTo(ignored: boolean, how: PublishHow): Promise<string> {
    const { backend } = this.#parts;
    if (backend === null || ignored) return this.#oid;
    this.#replyTo = (await this.publisher.prepare(() => backend.replyTo(), how)) || this.#oid;
    return this.#replyTo;
  }
}

/** A call with all that is known of it before its message is made. */
interface PreparedCall {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: CheckedOptions;
  readonly routed: Routed;
  readonly destination: Destination;
  readonly how: PublishHow;
}

function settled(): void {}
