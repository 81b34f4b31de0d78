/**
 * Slots and what runs in them: starts ready requests while there is room, tells the request machine how their bodies ended,
 * and has the acts done that are then due (`acts.ts`). A slot is free again when the body has ended; how many ended requests may
 * still wait for their acts (a result store that is away) is bounded too, and nothing new starts above that.
 */
import { type RequestEvent, step } from "../../protocol/celery/request-machine.ts";
import type { Log } from "../runtime/log.ts";
import type { TimerHeap } from "../runtime/timer-heap.ts";
import { SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded } from "../tasks/errors.ts";
import { onlyWaits } from "../tasks/only-waits.ts";
import { Retry } from "../tasks/signals.ts";
import { Acts } from "./acts.ts";
import { Begun } from "./begun.ts";
import { TaskCancelled } from "./effect-errors.ts";
import type { Effects } from "./effects.ts";
import type { BodyEnd, Pool } from "./pools/pool.ts";
import { isTentative, report, type WorkerStats } from "./report.ts";
import type { Request, Revocation } from "./request.ts";
import { type ContextHost, RunningContext } from "./running-context.ts";
import type { Slots, SlotUser } from "./slots.ts";

export interface RunnerParts {
  pool: Pool;
  /** Bodies at a time of all that this worker serves; the pool knows of its own alone. */
  slots: Slots;
  /** Ended bodies that may wait for their acts, at least; as many as the pool has slots always may. */
  finishingLimit: number;
  /** Asked when a request is about to start: null, or why it must not. */
  refusal: (request: Request) => Revocation | null;
  effects: Effects;
  contextHost: ContextHost;
  timers: TimerHeap;
  stats: WorkerStats;
  log: Log;
}

/** Celery's `Task.max_retries`. */
const DEFAULT_MAX_RETRIES = 3;

export class Runner implements SlotUser {
  readonly #parts: RunnerParts;
  readonly #log: Log;
  /** Waiting for a slot; `#head` is the next one. */
  #ready: Request[] = [];
  #head = 0;
  readonly #begun = new Begun();
  readonly #acts: Acts;
  #active = 0;
  #finishing = 0;
  #pumping = false;
  #accepting = true;
  #whenIdle: (() => void)[] = [];

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#log = parts.log;
    this.#acts = new Acts({
      effects: parts.effects,
      log: parts.log,
      acking: (request) => this.#begun.noteAck(request),
      settling: (request) => this.#begun.forget(request),
      changed: (request, event) => {
        this.#finishing--;
        request.tentativeEnd = null;
        report(request, event, this.#parts.stats, this.#log);
        this.enter(request, event);
      },
      done: (request) => {
        const end = request.tentativeEnd;
        if (end !== null) report(request, end, this.#parts.stats, this.#log);
        this.#settled(request);
        this.#pump();
        this.#checkIdle();
      },
      abandoned: (request) => {
        this.#settled(request);
        this.#checkIdle();
      },
    });
  }

  /** Bodies running now. */
  get active(): number {
    return this.#active;
  }

  /** Ended bodies whose acts are not all done. */
  get finishing(): number {
    return this.#finishing;
  }

  /** Requests that wait for a slot. */
  get waiting(): number {
    return this.#ready.length - this.#head;
  }

  /** Makes the pool ready. */
  start(): Promise<void> {
    return this.#parts.pool.start({ ended: this.#onEnd, room: () => this.#pump() });
  }

  /** Queues a request whose state is `reserved`. */
  submit(request: Request): void {
    this.#ready.push(request);
    this.#pump();
  }

  /** What waits for a slot, in its order. */
  *reserved(): Generator<Request> {
    for (let index = this.#head; index < this.#ready.length; index++) {
      const request = this.#ready[index]!;
      if (request.state === "reserved") yield request;
    }
  }

  /** What runs. */
  running(): Iterable<Request> {
    return this.#begun.running();
  }

  /** What runs under that id. */
  findRunning(id: string): Request | null {
    return this.#begun.findRunning(id);
  }

  /** Whether a request of that id runs, or its end is being dealt with. */
  hasBegun(id: string): boolean {
    return this.#begun.has(id);
  }

  findReserved(id: string): Request | null {
    for (const request of this.reserved()) if (request.id === id) return request;
    return null;
  }

  /** Discards a request that has not started. */
  revoke(request: Request, revocation: Revocation): void {
    request.revocation = revocation;
    const reason = revocation.expired ? "expired" : "revoked";
    request.error = new TaskRevokedError(request.id, reason);
    this.#parts.stats.revoked++;
    this.#log.info({ task: request.message.task, id: request.id, reason }, "discarding revoked task");
    this.enter(request, "revoked");
  }

  /** Ends a running body with that signal, and reports it as terminated. */
  terminate(request: Request, signal: NodeJS.Signals, signum: number): void {
    if (request.state !== "running") return;
    request.revocation = { terminated: true, signum, expired: false };
    const error = new TaskRevokedError(request.id, "terminated");
    request.error = error;
    this.#parts.stats.revoked++;
    this.#parts.pool.kill(request, error, signal);
    this.#end(request, "terminated");
  }

  /**
   * Asks a running body to end as one over its soft limit, in its own way. Celery's processes take SIGUSR1 for that; Node would
   * open its debugger. wire: billiard/pool.py `soft_timeout_sighandler`.
   */
  softLimit(request: Request, seconds: number | null): void {
    if (request.state === "running") this.#parts.pool.abort(request, new SoftTimeLimitExceeded(seconds));
  }

  /** Tells the machine what happened to a request and does what is due. */
  enter(request: Request, event: RequestEvent): void {
    const { state, effects } = step(request.state, event, request.policy);
    request.state = state;
    this.#finishing++;
    this.#acts.perform(request, effects);
  }

  /** Counts an act outside of any request among what a stop waits for; the returned function ends it. */
  hold(): () => void {
    this.#finishing++;
    return () => {
      this.#finishing--;
      this.#pump();
      this.#checkIdle();
    };
  }

  /** Whether it is a copy of a task that has begun here, which has taken it over. */
  adopt(copy: Request): boolean {
    return this.#begun.adopt(copy);
  }

  /** The connection has gone: what waits for a slot will be delivered again. */
  connectionLost(cancelLateAcked: boolean): void {
    this.#begun.connectionLost();
    this.#ready = this.#ready.slice(this.#head).filter((request) => !request.delivery.lost);
    this.#head = 0;
    if (cancelLateAcked) {
      this.cancel("the connection to the broker was lost", (request) => request.plan.acksLate && request.delivery.lost);
    }
  }

  /** Starts nothing more, and gives what waits for a slot to the caller. */
  drain(): Request[] {
    this.#accepting = false;
    const waiting = this.#ready.slice(this.#head);
    this.#ready = [];
    this.#head = 0;
    return waiting;
  }

  /** Resolves when no body runs and no act is due. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve);
      this.#checkIdle();
    });
  }

  /** Aborts running bodies and settles them as cancelled. */
  cancel(reason: string, which: (request: Request) => boolean = () => true): void {
    for (const request of [...this.running()]) {
      if (!which(request)) continue;
      const error = new TaskCancelled(reason);
      request.error = error;
      this.#parts.pool.kill(request, error, "SIGTERM");
      this.#end(request, "cancelled");
    }
  }

  /** Stores a state that a running task sets itself. After its end a late update must not overwrite the result. */
  async updateState(request: Request, state: string, meta: unknown): Promise<void> {
    if (request.state === "running") await this.#parts.effects.storeState(request, state, meta);
  }

  onSlotFree(): void {
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#startReady();
    } finally {
      this.#pumping = false;
    }
  }

  #startReady(): void {
    const { pool, slots, finishingLimit, refusal } = this.#parts;
    while (
      this.#accepting &&
      this.#head < this.#ready.length &&
      pool.hasRoom(this.#active) &&
      this.#finishing < Math.max(finishingLimit, pool.size) &&
      slots.tryTake(this)
    ) {
      const request = this.#ready[this.#head++]!;
      const refused = this.#isStill(request) ? refusal(request) : null;
      if (request.state === "reserved" && refused === null) {
        this.#begin(request);
        continue;
      }
      if (refused !== null) this.revoke(request, refused);
      slots.give();
    }
    if (this.#head < this.#ready.length && this.#head <= 1024) return;
    this.#ready = this.#ready.slice(this.#head);
    this.#head = 0;
  }

  /** False: it was revoked while it waited, or its message has gone. */
  #isStill(request: Request): boolean {
    if (request.state !== "reserved") return false;
    if (request.delivery.lost) request.state = step(request.state, "lost", request.policy).state;
    return request.state === "reserved";
  }

  #begin(request: Request): void {
    const { pool } = this.#parts;
    const context = new RunningContext(request, this.#parts.contextHost);
    request.context = context;
    request.startedMs = performance.now();
    request.workerPid = pool.accept(request);
    request.plan.accepted++;
    this.#begun.add(request);
    this.#active++;
    const { state, effects } = step(request.state, "accepted", request.policy);
    request.state = state;
    this.#acts.announce(request, effects);
    if (request.timeLimit !== null || request.softTimeLimit !== null) this.#startLimits(request);
    if (onlyWaits(request.plan.task)) this.#parts.slots.give();
    pool.run(request, context);
  }

  readonly #onEnd = (request: Request, event: BodyEnd, result: unknown): void => {
    // A body that was settled by its hard limit or a cold shutdown has no say any more.
    if (request.state !== "running") return;
    if (event === "returned") request.value = result;
    else request.error = result;
    this.#end(request, event === "workerLost" ? this.#lostEvent(request) : event);
  };

  /** wire: celery/worker/request.py `on_failure`: another attempt when the task asks for it, none once they are used up. */
  #lostEvent(request: Request): RequestEvent {
    const { plan, message } = request;
    if (plan.retryWhenLost === null) return "workerLost";
    const { maxRetries = DEFAULT_MAX_RETRIES } = plan.task.behaviour;
    if (maxRetries !== null && message.retries >= maxRetries) return "threw";
    request.lost = request.error;
    request.error = new Retry(request.error, { countdown: plan.retryWhenLost });
    return "retryAsked";
  }

  #end(request: Request, event: RequestEvent): void {
    if (request.timer !== null) this.#parts.timers.cancel(request.timer);
    request.timer = null;
    this.#active--;
    if (isTentative(event)) request.tentativeEnd = event;
    else report(request, event, this.#parts.stats, this.#log);
    this.enter(request, event);
    // What comes of the body is on its way before another one takes the event loop.
    if (!onlyWaits(request.plan.task)) this.#parts.slots.give();
    this.#pump();
  }

  /** Nothing is due any more. */
  #settled(request: Request): void {
    request.state = "settled";
    this.#begun.forget(request);
    this.#finishing--;
  }

  #startLimits(request: Request): void {
    const { timers } = this.#parts;
    const { softTimeLimit: soft, timeLimit: hard } = request;
    const start = timers.now;
    request.context?.startSoftLimit();
    const armHard = () => (hard === null ? null : timers.at(start + hard * 1000, () => this.#hardLimit(request, hard)));
    if (soft === null || (hard !== null && hard <= soft)) {
      request.timer = armHard();
      return;
    }
    request.timer = timers.at(start + soft * 1000, () => {
      this.#log.warn({ task: request.message.task, id: request.id, seconds: soft }, "soft time limit exceeded");
      request.timer = armHard();
      this.softLimit(request, soft);
    });
  }

  /** The body is killed where the pool can; on the event loop its signal aborts, and what it still does changes nothing. */
  #hardLimit(request: Request, seconds: number): void {
    if (request.state !== "running") return;
    request.timer = null;
    const error = new TimeLimitExceeded(seconds);
    request.error = error;
    this.#parts.pool.kill(request, error, "SIGKILL");
    this.#end(request, "hardLimit");
  }

  #checkIdle(): void {
    if (this.#active > 0 || this.#finishing > 0 || this.#whenIdle.length === 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }
}
