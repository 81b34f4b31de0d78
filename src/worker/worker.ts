/**
 * The worker: takes messages, runs tasks, and settles what it took. It is a loop around the pure request machine: an event
 * goes in, a state and a list of acts come out, the acts are done in order, and how they went is the next event.
 *
 * Life: `start` consumes; `stop("warm")` takes nothing more and waits for what runs; `stop("cold")` hands back or reports
 * what runs and does not wait. A second `stop` can only make it colder. What was taken and not started is given back.
 */

import { parseRate } from "../../protocol/celery/rate.ts";
import { step } from "../../protocol/celery/request-machine.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { DecodeLimits } from "../../protocol/serialization.ts";
import type { WorkerView } from "../control/worker-view.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { nodeName } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import { TimerHeap } from "../runtime/timer-heap.ts";
import type { Settings } from "../settings/settings.ts";
import type { Zone } from "../settings/timezone.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Consumer, Delivery, Transport } from "../transports/transport.ts";
import { type AutoscaleRange, Autoscaler } from "./autoscaler.ts";
import { builtinTasks } from "./builtin-tasks/index.ts";
import { Effects } from "./effects.ts";
import { HeldRequests } from "./held-requests.ts";
import { admit, type Decision, type IntakeRules, readExactly } from "./intake.ts";
import type { Outbox } from "./outbox.ts";
import { Calls } from "./pools/calls.ts";
import type { MakePool, Pool } from "./pools/pool.ts";
import { Prefetch } from "./prefetch.ts";
import { RateLimits } from "./rate-limits/rate-limits.ts";
import { Refusals } from "./refusals.ts";
import type { WorkerStats } from "./report.ts";
import { planOf, Request, type RequestStore, type TaskPlan } from "./request.ts";
import type { RecordOptions } from "./result-records.ts";
import { Revocations } from "./revoked/revocations.ts";
import { type KeptClock, StateDb } from "./revoked/state-db.ts";
import { Runner } from "./runner.ts";
import { Slots } from "./slots.ts";
import { type EventSink, TaskEvents } from "./task-events.ts";
import { UnknownTasks } from "./unknown-tasks.ts";
import { viewOf } from "./view.ts";
import { addToChord, type ChordAdder } from "./workflow/add-to-chord.ts";
import { Chords } from "./workflow/chords.ts";
import { Errbacks } from "./workflow/errbacks.ts";

export interface WorkerParts {
  settings: Settings;
  transport: Transport;
  backend: ResultBackend<ResultMeta> | null;
  tasks: Iterable<AnyTask>;
  queues: readonly Queue[];
  accept: ReadonlySet<string>;
  decode: DecodeLimits;
  outbox: Outbox;
  /** Where task events go. */
  events: EventSink;
  zone: Zone;
  log: Log;
  /** Now as Python's `isoformat` in the app's timezone. */
  isoNow: () => string;
  naiveToEpoch: (epochMsAsIfUtc: number) => number;
  /** @default `celery@<host>` */
  nodename?: string;
  pool: MakePool;
  /** Shared with others that run tasks in this worker. @default slots of its own, as many as the pool has */
  slots?: Slots;
  /** The logical clock, kept with the revoked ids. */
  clock?: KeptClock | null;
  /** Bounds within which the pool follows the work. */
  autoscale?: AutoscaleRange | null;
}

export type StopMode = "warm" | "cold";

/** Celery's own tasks that call others, which have to run where those run. */
const CALLS_OTHERS: ReadonlySet<string> = new Set(["celery.map", "celery.starmap"]);

/** How long a cold shutdown waits for results that are being stored. */
const COLD_GRACE_MS = 5_000;

export class WorkerCore {
  readonly hostname: string;
  readonly startedMs = Date.now();
  /** What remote control sees of this worker and may ask of it. */
  readonly view: WorkerView;
  readonly revocations: Revocations;
  readonly stats: WorkerStats = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, refused: 0 };
  readonly #parts: WorkerParts;
  readonly #log: Log;
  readonly #saysEach: boolean;
  readonly #records: RecordOptions;
  readonly #store: RequestStore;
  readonly #rules: IntakeRules;
  readonly #prefetch: Prefetch;
  readonly #timers = new TimerHeap();
  readonly #effects: Effects;
  readonly #events: TaskEvents;
  readonly #runner: Runner;
  readonly #ownTasks: readonly string[];
  readonly #refusals: Refusals;
  readonly #unknown: UnknownTasks;
  readonly #held: HeldRequests;
  readonly #limits: RateLimits;
  readonly #pool: Pool;
  readonly #slots: Slots;
  /** Bodies of its own that may run at a time. */
  #most: number;
  readonly #autoscaler: Autoscaler | null;
  readonly #stateDb: StateDb | null;
  readonly #queues: Map<string, Queue>;
  #prepared: Promise<void> | null = null;
  #consumer: Consumer | null = null;
  #stopping: StopMode | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #leave: () => void = () => undefined;

  constructor(parts: WorkerParts) {
    const { settings, log, outbox, backend } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#saysEach = log.isLevelEnabled?.("info") !== false;
    this.hostname = parts.nodename ?? nodeName();
    this.#queues = new Map(parts.queues.map((queue) => [queue.name, queue]));
    const plans = new Map<string, TaskPlan>();
    for (const task of parts.tasks) if (task.handler !== null) plans.set(task.name, planOf(task, settings));
    this.#ownTasks = [...plans.keys()];
    warnOfSoftLimits(plans.values(), log);
    this.#rules = {
      plans,
      accept: parts.accept,
      limits: {
        maxBytes: settings.lovage_max_message_bytes,
        maxDecompressedBytes: settings.lovage_max_decompressed_bytes,
      },
      naiveToEpoch: parts.naiveToEpoch,
      decode: parts.decode,
    };
    const joins = backend !== null && backend.chords === undefined && backend.can.sharedReads;
    this.#store = backend === null ? "none" : joins && settings.lovage_fail_unreachable ? "joined" : "kept";
    const inheritPriority = settings.task_inherit_parent_priority;
    const exactly = (request: Request) => readExactly(request.message, request.delivery.message, this.#rules);
    const updateState = (request: Request, state: string, meta: unknown) =>
      this.#runner.updateState(request, state, meta);
    const sendEvent = async (request: { readonly message: { readonly id: string } }, type: string, fields: object) =>
      parts.events.sendSingly(type, { uuid: request.message.id, ...fields });
    const chordAdder: ChordAdder = {
      outbox,
      chords: backend?.chords ?? null,
      inheritPriority,
      exactly,
      failChord: (request, error) => this.#effects.failChord(request, error),
    };
    this.#pool = parts.pool({
      timers: this.#timers,
      calls: new Calls({ ...chordAdder, outbox, updateState, sendEvent }),
      taskNames: () => this.#ownTasks,
    });
    const { worker_prefetch_multiplier: multiplier } = settings;
    this.#most = parts.autoscale?.max ?? this.#pool.size;
    this.#slots = parts.slots ?? new Slots(this.#most);
    const window = multiplier * this.#most;
    this.#prefetch = new Prefetch(window, settings.worker_eta_task_limit);
    this.#held = new HeldRequests({
      timers: this.#timers,
      prefetch: this.#prefetch,
      onDue: (request) => this.#submit(request),
    });
    this.revocations = new Revocations({ backend, isoNow: parts.isoNow, log });
    this.#records = { extended: settings.result_extended, hostname: this.hostname, isoNow: parts.isoNow };
    const validate = settings.lovage_validate_params;
    const thorough = settings.lovage_fail_unreachable;
    const errbacks = new Errbacks({ outbox, plans, validate, thorough, log });
    const chords =
      backend === null
        ? null
        : new Chords({ backend, outbox, errbacks, records: this.#records, thorough, settings, log });
    for (const task of builtinTasks({ settings, backend, chords, plans, log })) {
      if (!plans.has(task.name)) plans.set(task.name, planOf(task, settings, !CALLS_OTHERS.has(task.name)));
    }
    this.#events = new TaskEvents(parts.events, parts.zone);
    this.#effects = new Effects({
      events: this.#events,
      backend,
      outbox,
      chords,
      errbacks,
      records: this.#records,
      inheritPriority,
      log,
      exactly,
    });
    this.#runner = new Runner({
      pool: this.#pool,
      slots: this.#slots,
      finishingLimit: window === 0 ? 1000 : window,
      refusal: (request) => this.revocations.refusal(request),
      effects: this.#effects,
      contextHost: {
        hostname: this.hostname,
        log,
        outbox,
        inheritPriority,
        addPart: (request: Request, member) => addToChord(chordAdder, request, member),
        exactly,
        updateState,
        sendEvent,
      },
      timers: this.#timers,
      stats: this.stats,
      log,
    });
    this.#limits = new RateLimits(this.#timers, (request) => this.#toPool(request));
    if (!settings.worker_disable_rate_limits) {
      for (const plan of plans.values()) this.#limits.set(plan.task.name, perSecond(plan.rateLimit));
    }
    const { worker_state_db: path } = settings;
    const { ids, stamps } = this.revocations;
    const kept = { ids, stamps: stamps.keys, clock: parts.clock ?? null };
    this.#stateDb = path === null ? null : new StateDb({ path, ...kept, timers: this.#timers, log });
    if (this.#stateDb !== null) ids.onChange = stamps.keys.onChange = () => this.#stateDb?.changed();
    const range = parts.autoscale ?? null;
    this.#autoscaler =
      range === null
        ? null
        : new Autoscaler({
            pool: this.#pool,
            range,
            timers: this.#timers,
            wanted: () => this.#runner.active + this.#runner.waiting,
            onMax: (max) => this.#mayRun(max),
            log,
          });
    this.view = viewOf({
      hostname: this.hostname,
      startedMs: this.startedMs,
      settings,
      zone: parts.zone,
      plans,
      runner: this.#runner,
      held: this.#held,
      limits: this.#limits,
      revocations: this.revocations,
      pool: this.#pool,
      autoscaler: this.#autoscaler,
      prefetch: this.#prefetch,
      resize: (size) => {
        this.#pool.resize(size);
        this.#mayRun(Math.max(size, this.#autoscaler?.stats().max ?? 0));
      },
      queues: () => this.queues,
      addQueue: (queue) => this.#addQueue(queue),
      cancelQueue: (name) => this.#cancelQueue(name),
      log,
    });
    this.#refusals = new Refusals({
      backend,
      events: this.#events,
      effects: this.#effects,
      records: this.#records,
      rules: this.#rules,
      thorough,
      stats: this.stats,
      hold: () => this.#runner.hold(),
      log,
    });
    this.#unknown = new UnknownTasks({
      settings,
      timers: this.#timers,
      transport: parts.transport,
      prefetch: this.#prefetch,
      answer: (delivery, head) => this.#refusals.unregistered(delivery, head),
      say: (level, head, message, fields) => log[level]({ task: head.task, id: head.id, ...fields }, message),
    });
  }

  /** Names of the tasks it runs, without Celery's built-in ones. */
  get taskNames(): string[] {
    return [...this.#ownTasks];
  }

  /** Queues that are consumed. */
  get queues(): readonly Queue[] {
    return [...this.#queues.values()];
  }

  /** Slots for bodies. */
  get concurrency(): number {
    return this.#pool.size;
  }

  /** Bodies running now. */
  get active(): number {
    return this.#runner.active;
  }

  /** Messages held for their ETA. */
  get scheduled(): number {
    return this.#held.size;
  }

  /** Reads what was kept over the last stop, and makes the pool ready. `start` does so too. Throws for a pool that cannot run. */
  async prepare(): Promise<void> {
    if (this.#prepared === null) {
      this.#stateDb?.load();
      this.#prepared = this.#runner.start();
    }
    await this.#prepared;
  }

  /** Connects, declares the queues and begins to consume. */
  async start(signal?: AbortSignal): Promise<void> {
    const { transport } = this.#parts;
    await this.prepare();
    await transport.connect(signal);
    await transport.declare(this.queues);
    const names = this.queues.map((queue) => queue.name);
    this.#consumer = await transport.consume(names, { prefetch: this.#prefetch.value }, (d) => this.#onDelivery(d));
    this.#prefetch.attach(this.#consumer);
    if (this.#stopping !== null) await this.#consumer.cancel();
  }

  /** So many bodies at a time, at most: it takes as many messages, and as many of the slots that it shares. */
  #mayRun(most: number): void {
    this.#prefetch.rebase(this.#parts.settings.worker_prefetch_multiplier * most);
    this.#slots.resize(this.#slots.limit + most - this.#most);
    this.#most = most;
  }

  async #addQueue(queue: Queue): Promise<void> {
    await this.#parts.transport.declare([queue]);
    await this.#consumer?.addQueue(queue.name);
    this.#queues.set(queue.name, queue);
  }

  async #cancelQueue(name: string): Promise<void> {
    if (!this.#queues.delete(name)) return;
    await this.#consumer?.cancelQueue(name);
  }

  /** Tells the worker that its broker connection has gone: what waits here will be delivered again. */
  connectionLost(): void {
    for (const request of [...this.#held]) if (request.delivery.lost) this.#dropHeld(request, "lost");
    for (const request of [...this.#limits.waiting]) {
      if (!request.delivery.lost) continue;
      this.#limits.waiting.delete(request);
      this.#runner.enter(request, "lost");
    }
    this.#runner.connectionLost(this.#parts.settings.worker_cancel_long_running_tasks_on_connection_loss);
  }

  /** Stops; resolves when all that it ran is settled and flushed. Call again with "cold" to stop waiting for bodies. */
  stop(mode: StopMode = "warm"): Promise<void> {
    const before = this.#stopping;
    if (before === "cold" || before === mode) return this.#stopped;
    this.#stopping = mode;
    if (before === null) this.#stopped = this.#shutDown();
    if (mode === "cold") this.#cool();
    return this.#stopped;
  }

  async #shutDown(): Promise<void> {
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    const waiting = [...this.#runner.drain(), ...this.#limits.drain()];
    await this.#consumer?.cancel();
    for (const request of [...waiting, ...this.#runner.drain(), ...this.#limits.drain()]) {
      if (request.state === "reserved") this.#runner.enter(request, "handedBack");
    }
    for (const request of [...this.#held]) this.#dropHeld(request, "handedBack");
    await Promise.race([this.#runner.idle(), left]);
    this.revocations.close();
    await this.#pool.close();
    this.#stateDb?.save();
    this.#timers.close();
    await this.#parts.transport.flush();
  }

  /** Cold: after the soft phase, whatever still runs is cancelled. The soft phase ends as soon as nothing runs. */
  #cool(): void {
    const seconds = this.#parts.settings.worker_soft_shutdown_timeout;
    const cancelAll = () => {
      this.#runner.cancel("the worker is shutting down");
      // A store that is away must not keep a cold shutdown waiting; what is unsettled goes back to its queue.
      this.#timers.at(Date.now() + COLD_GRACE_MS, () => this.#leave());
    };
    if (seconds === 0 || this.#runner.active === 0) return cancelAll();
    this.#log.warn({ seconds, active: this.#runner.active }, "soft shutdown: waiting for running tasks");
    this.#timers.at(Date.now() + seconds * 1000, cancelAll);
  }

  #onDelivery(delivery: Delivery): void {
    this.stats.received++;
    const decision = admit(delivery.message, this.#rules);
    switch (decision.kind) {
      case "task":
        return this.#onTask(delivery, decision);
      case "drop":
        return this.#refusals.drop(delivery, decision);
      case "fail":
        return this.#refusals.fail(delivery, decision);
      case "unregistered":
        return this.#unknown.handle(delivery, decision.head);
    }
  }

  #onTask(delivery: Delivery, decision: Decision & { kind: "task" }): void {
    const { task, plan, etaMs, expiresMs } = decision;
    const request = new Request(task, plan, delivery, this.#store);
    if (this.#runner.adopt(request)) return;
    if (this.#saysEach) this.#log.info({ task: task.task, id: task.id }, "received");
    request.etaMs = etaMs;
    request.expiresMs = expiresMs;
    const refused = this.revocations.refusal(request);
    if (refused !== null) return this.#runner.revoke(request, refused);
    this.#events.received(request);
    if (etaMs !== null && etaMs > Date.now()) return this.#held.hold(request, etaMs);
    request.state = step(request.state, "admitted", request.policy).state;
    if (this.#mayBeDone(request)) this.#runUnlessDone(request);
    else this.#submit(request);
  }

  #submit(request: Request): void {
    if (!this.#limits.take(request)) this.#toPool(request);
  }

  #toPool(request: Request): void {
    this.#runner.submit(request);
    this.#autoscaler?.onTask();
  }

  /** `worker_deduplicate_successful_tasks`: a redelivered late-acked copy is compared with the stored result before it runs. */
  #mayBeDone(request: Request): boolean {
    const { settings, backend } = this.#parts;
    const { plan, delivery } = request;
    return (
      settings.worker_deduplicate_successful_tasks && plan.acksLate && delivery.info.redelivered && backend !== null
    );
  }

  #runUnlessDone(request: Request): void {
    const go = () => this.#submit(request);
    this.#parts.backend?.get(request.id).then((record) => {
      if (record?.status !== "SUCCESS") return go();
      this.#log.info({ task: request.message.task, id: request.id }, "task already completed successfully");
      request.delivery.ack();
    }, go);
  }

  #dropHeld(request: Request, event: "lost" | "handedBack"): void {
    this.#held.drop(request);
    this.#runner.enter(request, event);
  }
}

/** Celery refuses such a pair when it sends a task by itself. */
function warnOfSoftLimits(plans: Iterable<TaskPlan>, log: Log): void {
  const tasks: string[] = [];
  for (const { task, softTimeLimit: soft, timeLimit: hard } of plans) {
    if (soft !== null && hard !== null && hard > 0 && soft >= hard) tasks.push(task.name);
  }
  if (tasks.length === 0) return;
  const count = tasks.length;
  log.warn({ count, tasks: tasks.slice(0, 10) }, "soft time limits that never come: the hard ones are not later");
}

/** A rate that was checked when it was given. */
function perSecond(rate: string | number | null): number {
  const parsed = parseRate(rate);
  return typeof parsed === "number" ? parsed : 0;
}
