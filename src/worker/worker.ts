/**
 * The worker: takes messages, runs tasks, and settles what it took. It is a loop around the pure request machine: an event
 * goes in, a state and a list of acts come out, the acts are done in order, and how they went is the next event. Its parts are put
 * together in `wiring.ts`; this file starts and stops them.
 *
 * Life: `start` consumes; `stop("warm")` takes nothing more and waits for what runs; `stop("cold")` hands back or reports
 * what runs and does not wait. A second `stop` can only make it colder. What was taken and not started is given back.
 */

import type { Queue } from "../../protocol/routing.ts";
import type { WorkerView } from "../control/worker-view.ts";
import type { Consumer } from "../transports/transport.ts";
import { declareDelayed } from "./delayed-queues.ts";
import type { WorkerStats } from "./report.ts";
import type { Revocations } from "./revoked/revocations.ts";
import { viewOf } from "./view.ts";
import { type Wired, type WorkerParts, wire } from "./wiring.ts";

/** How a worker stops: "warm" waits for what runs, "cold" does not. */
export type StopMode = "warm" | "cold";

/** How long a cold shutdown waits for results that are being stored. */
const COLD_GRACE_MS = 5_000;

export class WorkerCore {
  readonly hostname: string;
  readonly startedMs = Date.now();
  /** What remote control sees of this worker and may ask of it. */
  readonly view: WorkerView;
  readonly revocations: Revocations;
  readonly stats: WorkerStats;
  readonly #parts: WorkerParts;
  readonly #wired: Wired;
  /** Bodies of its own that may run at a time. */
  #most: number;
  readonly #queues: Map<string, Queue>;
  #prepared: Promise<void> | null = null;
  #consumer: Consumer | null = null;
  #stopping: StopMode | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #leave: () => void = () => undefined;

  constructor(parts: WorkerParts) {
    const { settings, zone, log } = parts;
    const wired = wire(parts, (max) => this.#mayRun(max));
    const { hostname, plans, runner, admission, revocations, pool, autoscaler, prefetch } = wired;
    this.#parts = parts;
    this.#wired = wired;
    this.#most = wired.most;
    this.#queues = new Map(parts.queues.map((queue) => [queue.name, queue]));
    this.hostname = hostname;
    this.stats = wired.stats;
    this.revocations = revocations;
    this.view = viewOf({
      hostname,
      startedMs: this.startedMs,
      settings,
      zone,
      plans,
      runner,
      held: admission.held,
      limits: admission.limits,
      revocations,
      pool,
      autoscaler,
      prefetch,
      resize: (size) => {
        pool.resize(size);
        this.#mayRun(Math.max(size, autoscaler?.stats().max ?? 0));
      },
      queues: () => this.queues,
      addQueue: (queue) => this.#addQueue(queue),
      cancelQueue: (name) => this.#cancelQueue(name),
      log,
    });
  }

  /** Names of the tasks it runs, without Celery's built-in ones. */
  get taskNames(): string[] {
    return [...this.#wired.ownTasks];
  }

  /** Queues that are consumed. */
  get queues(): readonly Queue[] {
    return [...this.#queues.values()];
  }

  /** Slots for bodies. */
  get concurrency(): number {
    return this.#wired.pool.size;
  }

  /** Bodies running now. */
  get active(): number {
    return this.#wired.runner.active;
  }

  /** Messages held for their ETA. */
  get scheduled(): number {
    return this.#wired.admission.held.size;
  }

  /** Reads what was kept over the last stop, and makes the pool ready. `start` does so too. Throws for a pool that cannot run. */
  async prepare(): Promise<void> {
    if (this.#prepared === null) {
      this.#wired.stateDb?.load();
      this.#prepared = this.#wired.runner.start();
    }
    await this.#prepared;
  }

  /** Connects, declares the queues and begins to consume. */
  async start(signal?: AbortSignal): Promise<void> {
    const { transport } = this.#parts;
    const { prefetch, admission } = this.#wired;
    await this.prepare();
    await transport.connect(signal);
    await transport.declare(this.queues);
    await declareDelayed(this.#parts, this.queues);
    const names = this.queues.map((queue) => queue.name);
    this.#consumer = await transport.consume(names, { prefetch: prefetch.value }, admission.take);
    prefetch.attach(this.#consumer);
    if (this.#stopping !== null) await this.#consumer.cancel();
  }

  /** So many bodies at a time, at most: it takes as many messages, and as many of the slots that it shares. */
  #mayRun(most: number): void {
    const { prefetch, slots } = this.#wired;
    prefetch.rebase(this.#parts.settings.worker_prefetch_multiplier * most);
    slots.resize(slots.limit + most - this.#most);
    this.#most = most;
  }

  async #addQueue(queue: Queue): Promise<void> {
    await this.#parts.transport.declare([queue]);
    await declareDelayed(this.#parts, [queue]);
    await this.#consumer?.addQueue(queue.name);
    this.#queues.set(queue.name, queue);
  }

  async #cancelQueue(name: string): Promise<void> {
    if (!this.#queues.delete(name)) return;
    await this.#consumer?.cancelQueue(name);
  }

  /** Tells the worker that its broker connection has gone: what waits here will be delivered again. */
  connectionLost(): void {
    this.#wired.admission.connectionLost();
    this.#wired.runner.connectionLost(this.#parts.settings.worker_cancel_long_running_tasks_on_connection_loss);
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
    const { runner, admission, pool, stateDb, timers, etas } = this.#wired;
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    const waiting = [...runner.drain(), ...admission.limits.drain()];
    await this.#consumer?.cancel();
    for (const request of [...waiting, ...runner.drain(), ...admission.limits.drain()]) {
      if (request.state === "reserved") runner.enter(request, "handedBack");
    }
    admission.handBackHeld();
    await Promise.race([runner.idle(), left]);
    this.revocations.close();
    await pool.close();
    stateDb?.save();
    timers.close();
    etas.close();
    await this.#parts.transport.flush();
  }

  /** Cold: after the soft phase, whatever still runs is cancelled. The soft phase ends as soon as nothing runs. */
  #cool(): void {
    const { runner, timers } = this.#wired;
    const seconds = this.#parts.settings.worker_soft_shutdown_timeout;
    const cancelAll = () => {
      runner.cancel("the worker is shutting down");
      // A store that is away must not keep a cold shutdown waiting; what is unsettled goes back to its queue.
      timers.after(COLD_GRACE_MS, () => this.#leave());
    };
    if (seconds === 0 || runner.active === 0) return cancelAll();
    this.#parts.log.warn({ seconds, active: runner.active }, "soft shutdown: waiting for running tasks");
    timers.after(seconds * 1000, cancelAll);
  }
}
