/**
 * The worker: takes messages, runs tasks, and settles what it took. It is a loop around the pure request machine: an event
 * goes in, a state and a list of acts come out, the acts are done in order, and how they went is the next event.
 *
 * Life: `start` consumes; `stop("warm")` takes nothing more and waits for what runs; `stop("cold")` hands back or reports
 * what runs and does not wait. A second `stop` can only make it colder. What was taken and not started is given back.
 */
import { hostname } from "node:os";
import { type EffectKind, type RequestEvent, step } from "../../protocol/celery/request-machine.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { TaskHead } from "../../protocol/celery/task-message.ts";
import { EncodeError } from "../../protocol/errors.ts";
import type { Queue } from "../../protocol/routing.ts";
import { BackendStoreError } from "../result-backends/errors.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { nodeName } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import { TimerHeap } from "../runtime/timer-heap.ts";
import type { Settings } from "../settings/settings.ts";
import type { AnyTask } from "../tasks/definition.ts";
import {
  NotRegistered,
  SoftTimeLimitExceeded,
  TaskError,
  TaskRevokedError,
  TimeLimitExceeded,
} from "../tasks/errors.ts";
import { toRemoteException } from "../tasks/python-errors.ts";
import { Reject } from "../tasks/signals.ts";
import type { Consumer, Delivery, Transport } from "../transports/transport.ts";
import { Effects } from "./effects.ts";
import { run } from "./executor.ts";
import { admit, type FailedHead, type IntakeRules } from "./intake.ts";
import type { Outbox } from "./outbox.ts";
import { Prefetch } from "./prefetch.ts";
import { RecentAttempts } from "./recent-attempts.ts";
import { planOf, Request, type TaskPlan } from "./request.ts";
import { type RecordOptions, resultRecord } from "./result-records.ts";
import { type ContextHost, RunningContext } from "./running-context.ts";
import { UnknownTasks } from "./unknown-tasks.ts";

export interface WorkerParts {
  settings: Settings;
  transport: Transport;
  backend: ResultBackend<ResultMeta> | null;
  tasks: Iterable<AnyTask>;
  queues: readonly Queue[];
  accept: ReadonlySet<string>;
  outbox: Outbox;
  log: Log;
  /** Now as Python's `isoformat` in the app's timezone. */
  isoNow: () => string;
  naiveToEpoch: (epochMsAsIfUtc: number) => number;
  /** @default `celery@<host>` */
  nodename?: string;
  concurrency: number;
}

/** Counts since the start. */
export interface WorkerStats {
  received: number;
  succeeded: number;
  failed: number;
  retried: number;
  revoked: number;
  refused: number;
}

export type StopMode = "warm" | "cold";

export class Worker {
  readonly hostname: string;
  readonly queues: readonly Queue[];
  readonly concurrency: number;
  readonly stats: WorkerStats = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, refused: 0 };
  readonly #parts: WorkerParts;
  readonly #log: Log;
  readonly #effects: Effects;
  readonly #records: RecordOptions;
  readonly #rules: IntakeRules;
  readonly #prefetch: Prefetch;
  readonly #timers = new TimerHeap();
  readonly #unknown: UnknownTasks;
  readonly #contextHost: ContextHost;
  /** Waiting for a free slot. */
  #ready: Request[] = [];
  #readyHead = 0;
  /** Waiting for their ETA. */
  readonly #held = new Set<Request>();
  readonly #running = new Map<string, Request>();
  /** Ended bodies whose acts are not all done. */
  #finishing = 0;
  readonly #finishingLimit: number;
  /** Acked here: when the connection was lost before the broker saw the ack, the copy that comes back is not run again. */
  readonly #acked = new RecentAttempts(10_000);
  #losses = 0;
  readonly #saysEach: boolean;
  #consumer: Consumer | null = null;
  #pumping = false;
  #stopping: StopMode | null = null;
  #stopped: Promise<void> | null = null;
  #idle: (() => void) | null = null;

  constructor(parts: WorkerParts) {
    const { settings } = parts;
    this.#parts = parts;
    this.#log = parts.log;
    this.#saysEach = parts.log.isLevelEnabled?.("info") !== false;
    this.hostname = parts.nodename ?? nodeName("celery@%h", hostname());
    this.queues = parts.queues;
    this.concurrency = parts.concurrency;
    const plans = new Map<string, TaskPlan>();
    for (const task of parts.tasks) if (task.handler !== null) plans.set(task.name, planOf(task, settings));
    this.#rules = {
      plans,
      accept: parts.accept,
      limits: {
        maxBytes: settings.lovage_max_message_bytes,
        maxDepth: settings.lovage_max_message_depth,
        maxDecompressedBytes: settings.lovage_max_decompressed_bytes,
      },
      naiveToEpoch: parts.naiveToEpoch,
      exactFloats: settings.lovage_exact_floats,
    };
    const base = settings.worker_prefetch_multiplier * parts.concurrency;
    this.#prefetch = new Prefetch(base, settings.worker_eta_task_limit);
    this.#finishingLimit = Math.max(parts.concurrency, base === 0 ? 1000 : base);
    this.#records = { extended: settings.result_extended, hostname: this.hostname, isoNow: parts.isoNow };
    this.#effects = new Effects({
      backend: parts.backend,
      outbox: parts.outbox,
      records: this.#records,
      inheritPriority: settings.task_inherit_parent_priority,
      log: parts.log,
      pid: process.pid,
    });
    this.#contextHost = {
      hostname: this.hostname,
      log: parts.log,
      outbox: parts.outbox,
      inheritPriority: settings.task_inherit_parent_priority,
      updateState: (request, state, meta) => this.#updateState(request, state, meta),
    };
    this.#unknown = new UnknownTasks({
      settings,
      timers: this.#timers,
      transport: parts.transport,
      prefetch: this.#prefetch,
      answer: (delivery, head) => this.#answerUnregistered(delivery, head),
      say: (level, head, message, fields) => this.#log[level]({ task: head.task, id: head.id, ...fields }, message),
    });
  }

  /** Names of the tasks it runs. */
  get taskNames(): string[] {
    return [...this.#rules.plans.keys()];
  }

  /** Bodies running now. */
  get active(): number {
    return this.#running.size;
  }

  /** Messages held for their ETA. */
  get scheduled(): number {
    return this.#held.size;
  }

  /** Connects, declares the queues and begins to consume. */
  async start(signal?: AbortSignal): Promise<void> {
    const { transport } = this.#parts;
    await transport.connect(signal);
    await transport.declare(this.queues);
    this.#consumer = await transport.consume(
      this.queues.map((queue) => queue.name),
      { prefetch: this.#prefetch.value },
      (delivery) => this.#onDelivery(delivery),
    );
    this.#prefetch.attach(this.#consumer);
    if (this.#stopping !== null) await this.#consumer.cancel();
  }

  /** Tells the worker that its broker connection has gone: what waits here will be delivered again. */
  connectionLost(): void {
    this.#losses++;
    for (const request of this.#held) if (request.delivery.lost) this.#dropHeld(request, "lost");
    this.#ready = this.#ready.slice(this.#readyHead).filter((request) => !request.delivery.lost);
    this.#readyHead = 0;
    if (!this.#parts.settings.worker_cancel_long_running_tasks_on_connection_loss) return;
    for (const request of this.#running.values()) {
      if (request.plan.acksLate && request.delivery.lost)
        this.#cancel(request, "the connection to the broker was lost");
    }
  }

  /** Stops; resolves when all that it ran is settled and flushed. Call again with "cold" to stop waiting for bodies. */
  stop(mode: StopMode = "warm"): Promise<void> {
    if (this.#stopping === "cold" || (this.#stopping === mode && this.#stopped !== null)) return this.#stopped!;
    const first = this.#stopping === null;
    this.#stopping = mode;
    if (first) this.#stopped = this.#shutDown();
    if (mode === "cold") this.#cool();
    return this.#stopped!;
  }

  async #shutDown(): Promise<void> {
    await this.#consumer?.cancel();
    for (const request of this.#held) this.#dropHeld(request, "handedBack");
    const waiting = this.#ready.slice(this.#readyHead);
    this.#ready = [];
    this.#readyHead = 0;
    for (const request of waiting) this.#enter(request, "handedBack");
    if (this.#running.size > 0 || this.#finishing > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    this.#timers.close();
    await this.#parts.transport.flush();
  }

  /** Cold: after the soft phase, whatever still runs is cancelled. The soft phase ends as soon as nothing runs. */
  #cool(): void {
    const softMs = this.#parts.settings.worker_soft_shutdown_timeout * 1000;
    const cancelAll = () => {
      for (const request of this.#running.values()) this.#cancel(request, "the worker is shutting down");
      this.#checkIdle();
      // A store that is away must not keep a cold shutdown waiting; what is unsettled goes back to its queue.
      this.#timers.at(Date.now() + COLD_GRACE_MS, () => this.#idle?.());
    };
    if (softMs > 0 && this.#running.size > 0) {
      this.#log.warn(
        { seconds: softMs / 1000, active: this.#running.size },
        "soft shutdown: waiting for running tasks",
      );
      this.#timers.at(Date.now() + softMs, cancelAll);
    } else cancelAll();
  }

  // -- intake ---------------------------------------------------------------------------------------------------------

  #onDelivery(delivery: Delivery): void {
    this.stats.received++;
    const decision = admit(delivery.message, this.#rules);
    switch (decision.kind) {
      case "task": {
        const request = new Request(decision.task, decision.plan, delivery, this.#parts.backend !== null);
        if (this.#adopt(request)) return;
        if (this.#saysEach) this.#log.info({ task: request.message.task, id: request.id }, "received");
        if (decision.expiresMs !== null && Date.now() > decision.expiresMs) return this.#expire(request);
        if (decision.etaMs !== null && decision.etaMs > Date.now()) {
          return this.#hold(request, decision.etaMs, decision.expiresMs);
        }
        request.state = step(request.state, "admitted", request.policy).state;
        if (this.#mayBeDone(request)) return this.#runUnlessDone(request);
        this.#ready.push(request);
        this.#pump();
        return;
      }
      case "drop":
        this.stats.refused++;
        this.#log[decision.level]({ queue: delivery.info.queue, err: decision.error }, decision.reason);
        if (decision.settle === "ack") delivery.ack();
        else delivery.reject({ requeue: false });
        return;
      case "fail":
        this.stats.refused++;
        this.#log.error({ task: decision.head.task, id: decision.head.id, err: decision.error }, decision.reason);
        this.#storeAndReject(delivery, decision.head, decision.error);
        return;
      case "unregistered":
        this.#unknown.handle(delivery, decision.head);
    }
  }

  /**
   * A copy of a task that still runs here, delivered again because the connection was lost: the running one takes over the new
   * delivery. A copy of one that ended meanwhile is acked.
   */
  #adopt(copy: Request): boolean {
    const same = this.#running.get(copy.id);
    if (same !== undefined && same.delivery.lost && same.message.retries === copy.message.retries) {
      same.delivery = copy.delivery;
      if (!same.plan.acksLate) copy.delivery.ack();
      return true;
    }
    if (this.#losses > 0 && this.#acked.takeOlder(attemptKey(copy), this.#losses)) {
      copy.delivery.ack();
      return true;
    }
    return false;
  }

  /** `worker_deduplicate_successful_tasks`: a redelivered late-acked copy is compared with the stored result before it runs. */
  #mayBeDone(request: Request): boolean {
    return (
      request.plan.acksLate &&
      request.delivery.info.redelivered &&
      this.#parts.backend !== null &&
      this.#parts.settings.worker_deduplicate_successful_tasks
    );
  }

  #runUnlessDone(request: Request): void {
    const go = () => {
      this.#ready.push(request);
      this.#pump();
    };
    this.#parts.backend?.get(request.id).then((record) => {
      if (record?.status !== "SUCCESS") return go();
      this.#log.info({ task: request.message.task, id: request.id }, "task already completed successfully");
      request.delivery.ack();
      return undefined;
    }, go);
  }

  #hold(request: Request, etaMs: number, expiresMs: number | null): void {
    request.state = step(request.state, "heldForEta", request.policy).state;
    this.#held.add(request);
    this.#prefetch.hold();
    request.timer = this.#timers.at(etaMs, () => {
      this.#held.delete(request);
      request.timer = null;
      if (expiresMs !== null && Date.now() > expiresMs) {
        this.#prefetch.release();
        return this.#expire(request);
      }
      request.state = step(request.state, "due", request.policy).state;
      this.#ready.push(request);
      this.#pump();
      this.#prefetch.release();
    });
  }

  #dropHeld(request: Request, event: "lost" | "handedBack"): void {
    this.#held.delete(request);
    if (request.timer !== null) this.#timers.cancel(request.timer);
    request.timer = null;
    this.#prefetch.release();
    this.#enter(request, event);
  }

  #expire(request: Request): void {
    this.stats.revoked++;
    request.error = new TaskRevokedError(request.id, "expired");
    this.#log.info({ task: request.message.task, id: request.id }, "discarding expired task");
    this.#enter(request, "revoked");
  }

  #answerUnregistered(delivery: Delivery, head: TaskHead): void {
    this.stats.refused++;
    this.#log.error({ task: head.task, id: head.id, queue: delivery.info.queue }, "received unregistered task");
    this.#storeAndReject(delivery, { id: head.id, task: head.task, head }, new NotRegistered(head.task), false);
  }

  /** Off the queue, with a FAILURE for whoever waits. The result is stored first, so that a crash between leaves the message. */
  #storeAndReject(delivery: Delivery, failed: FailedHead, error: unknown, withTraceback = true): void {
    const { backend } = this.#parts;
    const settle = () => {
      this.#finishing--;
      delivery.reject({ requeue: false });
      this.#checkIdle();
    };
    this.#finishing++;
    if (backend === null) return settle();
    const record: ResultMeta =
      failed.head === null
        ? {
            status: "FAILURE",
            result: null,
            exception: toRemoteException(error),
            traceback: null,
            children: null,
            dateDone: this.#parts.isoNow(),
            taskId: failed.id,
          }
        : resultRecord(
            failed.head,
            {
              status: "FAILURE",
              exception: toRemoteException(error),
              traceback: withTraceback && error instanceof Error ? error.message : null,
            },
            this.#records,
          );
    const { replyTo = null } = delivery.message.properties;
    backend.store(failed.id, record, { replyTo, correlationId: failed.id }).then(settle, (storeError: unknown) => {
      this.#log.error({ err: storeError, id: failed.id }, "the failure could not be stored");
      settle();
    });
  }

  // -- running --------------------------------------------------------------------------------------------------------

  /** Starts what is ready while there are slots. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (
      this.#readyHead < this.#ready.length &&
      this.#running.size < this.concurrency &&
      this.#finishing < this.#finishingLimit &&
      this.#stopping === null
    ) {
      const request = this.#ready[this.#readyHead++]!;
      if (this.#readyHead > 1024) {
        this.#ready = this.#ready.slice(this.#readyHead);
        this.#readyHead = 0;
      }
      if (request.delivery.lost) request.state = step(request.state, "lost", request.policy).state;
      else this.#begin(request);
    }
    if (this.#readyHead === this.#ready.length && this.#readyHead > 0) {
      this.#ready.length = 0;
      this.#readyHead = 0;
    }
    this.#pumping = false;
  }

  #begin(request: Request): void {
    const context = new RunningContext(request, this.#contextHost);
    request.context = context;
    request.startedMs = performance.now();
    this.#running.set(request.id, request);
    const { state, effects } = step(request.state, "accepted", request.policy);
    request.state = state;
    for (const effect of effects) {
      if (effect === "ack") this.#acked.add(attemptKey(request), this.#losses);
      // STARTED is announced and not waited for; stores of one task keep their order.
      this.#effects.perform(request, effect)?.catch((error: unknown) => this.#sayEffectFailed(request, effect, error));
    }
    if (request.timeLimit !== null || request.softTimeLimit !== null) this.#startLimits(request);
    run(request, context, { validate: this.#parts.settings.lovage_validate_params }, this.#onOutcome);
  }

  readonly #onOutcome = (request: Request, event: RequestEvent, result: unknown): void => {
    if (request.state !== "running") return;
    if (event === "returned") request.value = result;
    else request.error = result;
    this.#end(request, event);
  };

  #end(request: Request, event: RequestEvent): void {
    if (request.timer !== null) this.#timers.cancel(request.timer);
    request.timer = null;
    if (this.#running.get(request.id) === request) this.#running.delete(request.id);
    this.#report(request, event);
    this.#enter(request, event);
    this.#pump();
  }

  /** Tells the machine an event and does what it says is due. */
  #enter(request: Request, event: RequestEvent): void {
    const { state, effects } = step(request.state, event, request.policy);
    request.state = state;
    this.#finishing++;
    this.#perform(request, effects, 0);
  }

  #perform(request: Request, effects: readonly EffectKind[], from: number): void {
    for (let index = from; index < effects.length; index++) {
      const effect = effects[index]!;
      if (effect === "ack") this.#acked.add(attemptKey(request), this.#losses);
      let pending: Promise<unknown> | undefined;
      try {
        pending = this.#effects.perform(request, effect);
      } catch (error) {
        return this.#effectFailed(request, effects, index, error);
      }
      if (pending === undefined) continue;
      pending.then(
        () => this.#perform(request, effects, index + 1),
        (error: unknown) => this.#effectFailed(request, effects, index, error),
      );
      return;
    }
    this.#settled(request);
  }

  #settled(request: Request): void {
    if (request.state === "finishing") request.state = "settled";
    this.#finishing--;
    this.#pump();
    this.#checkIdle();
  }

  /** An act that failed turns the request into a failed one, once; a failure that cannot be stored is logged and settled. */
  #effectFailed(request: Request, effects: readonly EffectKind[], index: number, error: unknown): void {
    const effect = effects[index]!;
    this.#sayEffectFailed(request, effect, error);
    const change = CHANGED_BY[effect];
    if (change === undefined || (this.#stopping === "cold" && !(error instanceof EncodeError))) {
      return this.#perform(request, effects, index + 1);
    }
    request.error = change === "retryFailed" ? new Reject(error) : asTaskError(effect, error);
    this.#finishing--;
    this.#enter(request, change);
  }

  #sayEffectFailed(request: Request, effect: EffectKind, error: unknown): void {
    this.#log.error({ task: request.message.task, id: request.id, effect, err: error }, `${effect} failed`);
  }

  #report(request: Request, event: RequestEvent): void {
    const fields = { task: request.message.task, id: request.id };
    const seconds = () => Math.round(performance.now() - request.startedMs) / 1000;
    switch (event) {
      case "returned":
        this.stats.succeeded++;
        if (this.#saysEach) this.#log.info({ ...fields, runtime: seconds() }, "succeeded");
        return;
      case "retryAsked":
        this.stats.retried++;
        this.#log.info({ ...fields, reason: String(request.error) }, "retry");
        return;
      case "threw":
      case "hardLimit":
      case "rejected": {
        this.stats.failed++;
        const expected = request.plan.task.behaviour.throws?.some((type) => request.error instanceof type) === true;
        if (expected) this.#log.info({ ...fields, reason: String(request.error) }, "raised expected");
        else this.#log.error({ ...fields, err: request.error, runtime: seconds() }, "failed");
        return;
      }
      case "cancelled":
        this.#log.warn({ ...fields, reason: String(request.error) }, "cancelled");
        return;
      default:
        this.#log.info(fields, event);
    }
  }

  // -- limits and states ----------------------------------------------------------------------------------------------

  #startLimits(request: Request): void {
    const { softTimeLimit: soft, timeLimit: hard } = request;
    const start = Date.now();
    if (soft !== null && (hard === null || soft < hard)) {
      request.timer = this.#timers.at(start + soft * 1000, () => {
        this.#log.warn({ task: request.message.task, id: request.id, seconds: soft }, "soft time limit exceeded");
        request.timer =
          hard === null ? null : this.#timers.at(start + hard * 1000, () => this.#hardLimit(request, hard));
        request.context?.abort(new SoftTimeLimitExceeded(soft));
      });
    } else if (hard !== null) {
      request.timer = this.#timers.at(start + hard * 1000, () => this.#hardLimit(request, hard));
    }
  }

  /** On the event loop a body cannot be killed: the task is settled and its signal aborted, and the log says so. */
  #hardLimit(request: Request, seconds: number): void {
    if (request.state !== "running") return;
    request.timer = null;
    request.error = new TimeLimitExceeded(seconds);
    request.context?.abort(request.error);
    this.#end(request, "hardLimit");
  }

  #cancel(request: Request, reason: string): void {
    if (request.state !== "running") return;
    request.error = new TaskCancelled(reason);
    request.context?.abort(request.error);
    this.#end(request, "cancelled");
  }

  async #updateState(request: Request, state: string, meta: unknown): Promise<void> {
    // After the end a late update must not overwrite the result.
    if (request.state !== "running") return;
    await this.#effects.storeState(request, state, meta);
  }

  #checkIdle(): void {
    if (this.#running.size === 0 && this.#finishing === 0) this.#idle?.();
  }
}

/** How long a cold shutdown waits for results that are being stored. */
const COLD_GRACE_MS = 5_000;

/** What becomes of a request when an act of its good end fails. */
const CHANGED_BY: Partial<Record<EffectKind, RequestEvent>> = {
  "publish-callbacks": "publishFailed",
  "publish-chain": "publishFailed",
  "publish-retry": "retryFailed",
  "store-success": "unencodable",
};

/** The reason with which a running task's signal aborts on cold shutdown. */
export class TaskCancelled extends TaskError {
  static readonly python = "celery.exceptions.Retry";
  constructor(reason: string) {
    super("TASK_CANCELLED", reason);
  }
}

function asTaskError(effect: EffectKind, error: unknown): unknown {
  if (error instanceof EncodeError) return new ResultNotEncodable(error.message, error);
  if (error instanceof BackendStoreError) return error;
  return error instanceof Error ? error : new TaskError("EFFECT_FAILED", `${effect}: ${String(error)}`);
}

/** The return value has no form on the wire. */
class ResultNotEncodable extends TaskError {
  static readonly python = "kombu.exceptions.EncodeError";
  constructor(message: string, cause: unknown) {
    super("RESULT_NOT_ENCODABLE", message, { cause });
  }
}

function attemptKey(request: Request): string {
  return `${request.id}:${request.message.retries}`;
}
