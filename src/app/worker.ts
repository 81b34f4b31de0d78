/** The worker as its user sees it: one app or several, some queues, `start` and `stop`. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { Celery } from "../app.ts";
import type { Log } from "../runtime/log.ts";
import { inPoolChild } from "../runtime/pool-child.ts";
import { mismatch } from "../settings/kinds.ts";
import type { PoolName } from "../worker/pools/pool.ts";
import type { WorkerStats } from "../worker/report.ts";
import { Slots } from "../worker/slots.ts";
import type { StopMode } from "../worker/worker.ts";
import { CelerySide } from "./celery-side.ts";
import type { FleetOptions } from "./fleet-member.ts";
import { mognetPoolSize, type PoolOptions, poolSize } from "./make-pool.ts";
import type { Mognet } from "./mognet.ts";
import { MognetSide } from "./mognet-side.ts";
import { checkStopMode, checkWorkerOptions } from "./options.ts";
import { type Served, type ServedOptions, sumOfStats } from "./served.ts";

/** What a worker consumes, in which pool, and what it does besides. A mistake in it is an `ImproperlyConfigured`. */
export interface WorkerOptions extends FleetOptions, PoolOptions {
  /**
   * Names of the queues to consume. With several apps, of all of them: each is consumed for the apps that know its
   * name, else for the Celery app; an app that has none of them is not served. @default all of `task_queues`, else `task_default_queue`; of a Mognet app all that its routes name
   */
  queues?: readonly string[];
  /** Node name, with `%h` for the host name; a Mognet app's is its `node_id`. @default "celery@%h" */
  name?: string;
  /** Stop warm on SIGTERM and SIGINT, cold on the second or on SIGQUIT. @default false */
  handleSignals?: boolean;
}

/** What a worker can serve. */
export type WorkerApp = Celery | Mognet;

const WORKER_IN_CHILD =
  "this module makes a Worker while a thread or process of a pool loads it for its tasks: keep the app and the tasks in a module of their own, and name that one as the worker's module";

/** Serves an app's tasks, or those of several apps with one concurrency and one shutdown. */
export class Worker<App extends WorkerApp = WorkerApp> {
  /** The first of them. */
  readonly app: App;
  readonly apps: readonly WorkerApp[];
  readonly hostname: string;
  readonly #log: Log;
  /** Where tasks run. */
  readonly pool: PoolName;
  readonly #slots: Slots;
  readonly #sides: readonly Served[];
  #stopping: Promise<void> | null = null;
  #removeSignals: () => void = () => undefined;
  #starting: Promise<this> | null = null;
  readonly #giveUp = new AbortController();
  #finish: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  /** Resolves when the worker has stopped; rejects when it gave up on its broker, which by default it never does. */
  readonly finished: Promise<void>;

  constructor(app: App | readonly App[], options: WorkerOptions = {}) {
    const apps: readonly App[] = Array.isArray(app) ? app : [app as App];
    if (apps.length === 0) throw mismatch("new Worker(): the apps", "at least one app", app);
    for (const one of apps) {
      if (typeof one?.consumerTransport === "function") continue;
      const { message } = mismatch("new Worker(): the app", "a Celery app", one);
      throw new ImproperlyConfigured(`${message}; a Mognet app, or an array of apps, will do as well`);
    }
    if (new Set(apps).size < apps.length) throw new ImproperlyConfigured("new Worker(): an app is given twice");
    if (inPoolChild()) throw new ImproperlyConfigured(WORKER_IN_CHILD);
    checkWorkerOptions(options);
    if (!apps.some((one) => one instanceof Celery)) demandNoCeleryOptions(options);
    this.app = apps[0]!;
    this.apps = apps;
    this.#log = this.app.log;
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    // Whoever does not look at `finished` hears of it from `start` or from the log.
    this.finished.catch((error: unknown) => this.#log.error({ err: error }, "the worker gives up"));
    this.pool = options.pool ?? apps.find((one) => one instanceof Celery)?.settings.worker_pool ?? "async";
    this.#slots = new Slots(slotsFor(apps, options));
    this.#sides = this.#makeSides(options);
    this.hostname = this.#sides[0]!.hostname;
    if (options.handleSignals === true) this.#handleSignals();
  }

  /** Tasks in flight, of all apps together; `Infinity`: each app's own. Remote control and `autoscale` change it. */
  get concurrency(): number {
    const each = this.#sides.reduce((sum, side) => sum + side.concurrency, 0);
    return Math.min(this.#slots.limit, each);
  }
  get stats(): Readonly<WorkerStats> {
    return this.#sides.length === 1 ? this.#sides[0]!.stats : sumOfStats(this.#sides);
  }
  /** Task bodies running now, and Mognet tasks that wait for their children. */
  get active(): number {
    return this.#sides.reduce((sum, side) => sum + side.active, 0);
  }
  /** Messages held for their ETA. */
  get scheduled(): number {
    return this.#sides.reduce((sum, side) => sum + side.scheduled, 0);
  }
  get taskNames(): readonly string[] {
    return [...new Set(this.#sides.flatMap((side) => side.taskNames))];
  }
  get queueNames(): readonly string[] {
    return this.#sides.flatMap((side) => side.queueNames);
  }

  /** Those that are consumed for this app. */
  queuesOf(app: WorkerApp): readonly string[] {
    return this.#sides.find((side) => side.app === app)?.queueNames ?? [];
  }

  /**
   * Connects, declares its queues and consumes. While the broker is away it keeps trying until `signal` aborts. Asked again it
   * answers as before. A worker that was stopped, or whose start has failed, is not started again: make a new one.
   */
  start(signal?: AbortSignal): Promise<this> {
    if (this.#stopping !== null) {
      const words = `worker ${this.hostname} was stopped and is not started again; make a new Worker`;
      return Promise.reject(new ImproperlyConfigured(words));
    }
    this.#starting ??= this.#start(signal).catch((error: unknown) => {
      // Often nobody holds the worker, and an open connection would keep the process alive.
      this.#stopQuietly("cold");
      throw error;
    });
    return this.#starting;
  }

  async #start(signal?: AbortSignal): Promise<this> {
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw mismatch("worker.start(): the signal", "an AbortSignal", signal);
    const { signal: giveUp } = this.#giveUp;
    const end = signal === undefined ? giveUp : AbortSignal.any([signal, giveUp]);
    for (const app of this.apps) app.running.add(this);
    await Promise.all(this.#sides.map((side) => side.start(end)));
    const { hostname, queueNames, concurrency } = this;
    this.#log.info({ hostname, queues: queueNames, ...(Number.isFinite(concurrency) ? { concurrency } : {}) }, "ready");
    return this;
  }

  /**
   * Warm: takes nothing more, lets running tasks end, gives the rest back; Mognet's tasks have `lovage.shutdown_grace` seconds to end
   * and go back to their queue then. Cold: running late-acked tasks go back to their queue, others are reported as cancelled. A
   * second call can only make it colder. The app stays open.
   */
  stop(mode: StopMode = "warm"): Promise<void> {
    try {
      checkStopMode(mode);
    } catch (error) {
      return Promise.reject(error);
    }
    const stopped = Promise.all(this.#sides.map((side) => side.stop(mode)));
    this.#stopping ??= this.#end(stopped);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #makeSides({ queues, ...options }: WorkerOptions): readonly Served[] {
    const shared: ServedOptions = {
      ...options,
      slots: this.#slots,
      onGiveUp: (error) => this.#abandon(error),
      onEnough: () => this.#stopQuietly("warm"),
    };
    const owners = queues === undefined ? null : ownersOf(queues, this.apps);
    const served = this.apps.filter((app) => owners === null || queues?.length === 0 || owners.has(app));
    for (const app of this.apps) {
      if (!served.includes(app))
        this.#log.info({ app: app.name }, "none of the queues is this app's: it is not served");
    }
    return served.map((app) => {
      const own = owners === null ? {} : { queues: owners.get(app) ?? [] };
      return app instanceof Celery
        ? new CelerySide(app, { ...shared, ...own })
        : new MognetSide(app, { ...shared, ...own });
    });
  }

  #abandon(error: Error): void {
    if (this.#giveUp.signal.aborted) return;
    this.#giveUp.abort(error);
    this.#fail(error);
    this.#stopQuietly("cold");
  }

  #stopQuietly(mode: StopMode): void {
    this.stop(mode).catch((error: unknown) => this.#log.error({ err: error }, "shutdown failed"));
  }

  async #end(stopped: Promise<unknown>): Promise<void> {
    try {
      await stopped;
    } finally {
      for (const app of this.apps) app.running.delete(this);
      this.#removeSignals();
      await Promise.all(this.#sides.map((side) => side.close()));
      this.#finish();
    }
  }

  #handleSignals(): void {
    let asked = 0;
    const warm = (signal: NodeJS.Signals) => {
      asked++;
      const mode = asked > 1 || (signal === "SIGTERM" && process.env.REMAP_SIGTERM === "SIGQUIT") ? "cold" : "warm";
      this.#onSignal(signal, mode);
    };
    const cold = (signal: NodeJS.Signals) => {
      asked++;
      this.#onSignal(signal, "cold");
    };
    process.on("SIGTERM", warm).on("SIGINT", warm).on("SIGQUIT", cold);
    this.#removeSignals = () => {
      process.off("SIGTERM", warm).off("SIGINT", warm).off("SIGQUIT", cold);
    };
  }

  #onSignal(signal: NodeJS.Signals, mode: StopMode): void {
    this.#log.warn({ signal, active: this.active }, `${mode} shutdown`);
    this.#stopQuietly(mode);
  }
}

/** What a Celery app says counts for all; Mognet's prefetch is its concurrency, and needs no slots beside it. */
function slotsFor(apps: readonly WorkerApp[], options: PoolOptions): number {
  const celery = apps.filter((app) => app instanceof Celery);
  if (celery.length === 0) {
    const inPool = options.pool !== undefined && options.pool !== "async";
    return inPool ? mognetPoolSize(options) : (options.concurrency ?? Number.POSITIVE_INFINITY);
  }
  return options.autoscale?.max ?? Math.max(...celery.map((app) => poolSize(app, options)));
}

/** Options that only a Celery app has a meaning for. */
function demandNoCeleryOptions(options: WorkerOptions): void {
  const { autoscale, events, heartbeat, heartbeatInterval, gossip, mingle } = options;
  const given = { autoscale, events, heartbeat, heartbeatInterval, gossip, mingle };
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === false) continue;
    throw new ImproperlyConfigured(
      `new Worker(): ${name} is for Celery apps, and a worker of Mognet apps has no use for it`,
    );
  }
}

/** Which queues are whose, where there are several apps: of all that know the name; else of the Celery app, which may make any. */
function ownersOf(queues: readonly string[], apps: readonly WorkerApp[]): ReadonlyMap<WorkerApp, string[]> {
  const owners = new Map<WorkerApp, string[]>();
  const byDefault = apps.find((app) => app instanceof Celery) ?? apps[0]!;
  for (const queue of queues) {
    const knowing = apps.filter((app) => knows(app, queue));
    for (const app of knowing.length > 0 ? knowing : [byDefault]) {
      const own = owners.get(app);
      if (own === undefined) owners.set(app, [queue]);
      else own.push(queue);
    }
  }
  return owners;
}

function knows(app: WorkerApp, queue: string): boolean {
  return app instanceof Celery
    ? app.queues.configured.some(({ name }) => name === queue)
    : app.queues.routed.includes(queue);
}
