/** The worker as its user sees it: an app, some queues, `start` and `stop`. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { acceptedTypes } from "../../protocol/serialization.ts";
import type { Celery } from "../app.ts";
import type { SendRequest } from "../client/client.ts";
import { nodeName } from "../runtime/ids.ts";
import { inPoolChild } from "../runtime/pool-child.ts";
import { mismatch } from "../settings/kinds.ts";
import { callArguments } from "../tasks/call-arguments.ts";
import { checkOptions } from "../tasks/call-options.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Transport } from "../transports/transport.ts";
import type { AutoscaleRange } from "../worker/autoscaler.ts";
import type { Outbox } from "../worker/outbox.ts";
import type { PoolName } from "../worker/pools/pool.ts";
import type { WorkerStats } from "../worker/report.ts";
import { type StopMode, WorkerCore } from "../worker/worker.ts";
import { ConnectionPatience } from "./connection-patience.ts";
import { FleetMember, type FleetOptions } from "./fleet-member.ts";
import { makePool } from "./make-pool.ts";
import { checkStopMode, checkWorkerOptions, definition } from "./options.ts";
import { limitsOf } from "./parts.ts";

export interface WorkerOptions extends FleetOptions {
  /** Names of the queues to consume. @default all of `task_queues`, else `task_default_queue` */
  queues?: readonly string[];
  /**
   * Tasks in flight. @default `worker_concurrency`, else on the event loop 16, as its tasks mostly wait, and in threads and processes
   * the number of CPUs
   */
  concurrency?: number;
  /** Where tasks run: `async` on the event loop, `threads`, or `processes`. @default `worker_pool` */
  pool?: PoolName;
  /** The module that exports the app or its tasks: what every thread and process of those pools loads. */
  module?: string | URL;
  /** Lets the pool follow the work between these numbers of slots; wins over `concurrency`. */
  autoscale?: AutoscaleRange;
  /** Node name, with `%h` for the host name. @default "celery@%h" */
  name?: string;
  /** Stop warm on SIGTERM and SIGINT, cold on the second or on SIGQUIT. @default false */
  handleSignals?: boolean;
}

const WORKER_IN_CHILD =
  "this module makes a Worker while a thread or process of a pool loads it for its tasks: keep the app and the tasks in a module of their own, and name that one as the worker's module";

/** Serves an app's tasks. */
export class Worker {
  readonly app: Celery;
  readonly hostname: string;
  readonly #core: WorkerCore;
  readonly #transport: Transport;
  readonly #member: FleetMember;
  #connections = 0;
  #stopping: Promise<void> | null = null;
  #removeSignals: () => void = () => undefined;
  #starting: Promise<this> | null = null;
  readonly #giveUp = new AbortController();
  #finish: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  /** Resolves when the worker has stopped; rejects when it gave up on its broker, which by default it never does. */
  readonly finished: Promise<void>;

  constructor(app: Celery, options: WorkerOptions = {}) {
    if (typeof app?.consumerTransport !== "function") throw mismatch("new Worker(): the app", "a Celery app", app);
    if (inPoolChild()) throw new ImproperlyConfigured(WORKER_IN_CHILD);
    checkWorkerOptions(options);
    this.app = app;
    const { settings, log } = app;
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    // Whoever does not look at `finished` hears of it from `start` or from the log.
    this.finished.catch((error: unknown) => log.error({ err: error }, "the worker gives up"));
    const patience = new ConnectionPatience(settings);
    this.#transport = app.consumerTransport({
      onConnected: () => {
        patience.connected();
        if (++this.#connections > 1) this.#member.reconnected();
      },
      onLost: () => this.#core.connectionLost(),
      onRetry: (error) => {
        const end = patience.failed(error);
        if (end !== null) this.#abandon(end);
      },
    });
    const nodename = nodeName(options.name);
    this.#member = new FleetMember({
      ...options,
      app,
      transport: this.#transport,
      hostname: nodename,
      shutdown: () => {
        this.stop("warm").catch((error: unknown) => log.error({ err: error }, "shutdown failed"));
      },
    });
    this.#core = new WorkerCore({
      settings,
      transport: this.#transport,
      backend: app.backend,
      tasks: app.tasks.values(),
      queues: app.selectQueues(options.queues),
      accept: acceptedTypes(settings.accept_content),
      decode: limitsOf(settings),
      outbox: outboxOf(app),
      log,
      events: this.#member.dispatcher,
      zone: app.zone,
      isoNow: () => app.zone.iso(Date.now()),
      naiveToEpoch: (wallMs) => app.zone.fromWall(wallMs),
      nodename,
      clock: app.clock,
      pool: makePool(app, options, nodename),
      autoscale: options.autoscale ?? null,
    });
    this.hostname = this.#core.hostname;
    if (options.handleSignals === true) this.#handleSignals();
  }

  get stats(): Readonly<WorkerStats> {
    return this.#core.stats;
  }
  /** Task bodies running now. */
  get active(): number {
    return this.#core.active;
  }
  /** Messages held for their ETA. */
  get scheduled(): number {
    return this.#core.scheduled;
  }
  get taskNames(): readonly string[] {
    return this.#core.taskNames;
  }
  get queueNames(): readonly string[] {
    return this.#core.queues.map((queue) => queue.name);
  }
  get concurrency(): number {
    return this.#core.concurrency;
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
      this.stop("cold").catch((stopError: unknown) => this.app.log.error({ err: stopError }, "shutdown failed"));
      throw error;
    });
    return this.#starting;
  }

  async #start(signal?: AbortSignal): Promise<this> {
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw mismatch("worker.start(): the signal", "an AbortSignal", signal);
    const { signal: giveUp } = this.#giveUp;
    this.app.running.add(this);
    const ended = signal === undefined ? giveUp : AbortSignal.any([signal, giveUp]);
    await this.#core.prepare();
    await this.#transport.connect(ended);
    await this.#member.start(this.#core.view);
    await this.#core.start(ended);
    this.app.log.info({ hostname: this.hostname, queues: this.queueNames, concurrency: this.concurrency }, "ready");
    return this;
  }

  /**
   * Warm: takes nothing more, lets running tasks end, gives the rest back. Cold: running late-acked tasks go back to their
   * queue, others are reported as cancelled. A second call can only make it colder. The app stays open.
   */
  stop(mode: StopMode = "warm"): Promise<void> {
    try {
      checkStopMode(mode);
    } catch (error) {
      return Promise.reject(error);
    }
    const stopped = this.#core.stop(mode);
    this.#stopping ??= this.#end(stopped);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #abandon(error: Error): void {
    if (this.#giveUp.signal.aborted) return;
    this.#giveUp.abort(error);
    this.#fail(error);
    this.stop("cold").catch((stopError: unknown) => this.app.log.error({ err: stopError }, "shutdown failed"));
  }

  async #end(stopped: Promise<void>): Promise<void> {
    try {
      await stopped;
    } finally {
      this.app.running.delete(this);
      this.#removeSignals();
      await this.#member.stop();
      await this.#transport.close();
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
    this.app.log.warn({ signal, active: this.active }, `${mode} shutdown`);
    this.stop(mode).catch((error: unknown) => this.app.log.error({ err: error }, "shutdown failed"));
  }
}

/** What the worker sends goes through the app's client, with the parentage that the worker gives it. */
function outboxOf(app: Celery): Outbox {
  const known = (name: string): AnyTask | null => app.tasks.get(name) ?? null;
  return {
    applyAsync: (name, args, kwargs, options) => {
      const task = known(name);
      const request: SendRequest = { name, args, kwargs, options, task, fromWire: true, parent: null };
      return app.client.send(request);
    },
    sendTask: (name, args, kwargs, options) => {
      const task = known(name);
      return app.client.send({ name, args, kwargs, options, task, parent: null });
    },
    send: async (task, args, options) => {
      const { name } = definition(task, "ctx.send(): the first argument");
      const registered = known(name);
      if (registered === null) throw new ImproperlyConfigured(`task ${name} is not registered with app ${app.name}`);
      const call = await callArguments(registered, args, app.settings.lovage_validate_params);
      return app.client.send({ name, ...call, options, task: registered, parent: null });
    },
    apply: (signature, given) => app.client.apply(signature, given),
    checkOptions: (at, options) => void checkOptions(options, { task: at }),
  };
}
