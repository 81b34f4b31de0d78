/** A Mognet app as a worker serves it. wire: mognet/app/app.py `start`. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { newMognetResult } from "../../protocol/mognet/result.ts";
import { Result } from "../client/mognet/result.ts";
import { nodeName } from "../runtime/ids.ts";
import { didYouMean } from "../settings/suggest.ts";
import type { TaskBehaviour } from "../tasks/behaviour.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Transport } from "../transports/transport.ts";
import type { MognetPool } from "../worker/mognet/pool/mognet-pool.ts";
import { Services } from "../worker/mognet/services.ts";
import { MognetWorkerCore } from "../worker/mognet/worker.ts";
import type { WorkerStats } from "../worker/report.ts";
import { makeMognetPool } from "./make-pool.ts";
import type { Mognet } from "./mognet.ts";
import { requestsOf } from "./mognet-requests.ts";
import type { Served, ServedOptions } from "./served.ts";

export class MognetSide implements Served {
  readonly hostname: string;
  readonly queueNames: readonly string[];
  readonly app: Mognet;
  readonly #core: MognetWorkerCore;
  readonly #transport: Transport;
  readonly #pool: MognetPool | null;

  constructor(app: Mognet, options: ServedOptions) {
    const { queues, concurrency, name, slots, onEnough } = options;
    const { config, log } = app;
    this.app = app;
    this.hostname = name === undefined ? config.node_id : nodeName(name);
    this.queueNames = consumedQueues(app, queues);
    this.#transport = app.consumerTransport({
      onConnected: () => this.#core.connectionBack(),
      onLost: () => this.#core.connectionLost(),
    });
    const { store, results, submitter, control } = app.client;
    this.#pool = makeMognetPool(app, options, this.hostname);
    this.#core = new MognetWorkerCore({
      app,
      config,
      nodeId: this.hostname,
      hooks: app.hooks,
      transport: this.#transport,
      store,
      queues: app.queues,
      consumed: this.queueNames,
      task: (name) => withHandler(app.tasks.get(name)),
      outbox: {
        createRequest: requestsOf(app),
        submit: (request, parent) =>
          submitter.submit(request, { id: parent.request.id, stack: parent.request.stack, context: parent }),
        result: (id) => new Result(newMognetResult({ id }), results),
        revoke: (id, force) => control.revoke(id, force),
      },
      middleware: app.middleware,
      resultOf: (record) => new Result(record, results),
      services: new Services({ ...config }, app.services),
      slots,
      pool: this.#pool,
      concurrency: concurrency ?? Math.max(config.minimum_concurrency, this.#pool?.size ?? 0),
      onEnough,
      log,
    });
    for (const task of app.tasks.values()) this.#sayUnused(task);
  }

  get stats(): Readonly<WorkerStats> {
    const { received, succeeded, failed, revoked, refused, paused } = this.#core.stats;
    return { received, succeeded, failed, retried: paused, revoked, refused };
  }
  get concurrency(): number {
    return this.#pool?.size ?? Number.POSITIVE_INFINITY;
  }
  get active(): number {
    return this.#core.active;
  }
  get scheduled(): number {
    return 0;
  }
  get taskNames(): readonly string[] {
    return [...this.app.tasks.values()].filter((task) => task.handler !== null).map((task) => task.name);
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#core.start(signal);
  }
  stop(mode: "warm" | "cold"): Promise<void> {
    return this.#core.stop(mode);
  }
  async close(): Promise<void> {
    await this.#transport.close();
    await this.app.hooks.stopped();
  }

  /** A definition may serve Celery too; what Mognet has no word for is said once, not passed over. */
  #sayUnused({ name, behaviour, handler }: AnyTask): void {
    if (handler === null) return;
    const unused = UNUSED.filter((key) => behaviour[key] !== undefined);
    if (unused.length === 0) return;
    this.app.log.info({ task: name, options: unused }, "options of the task that say nothing to Mognet's protocol");
  }
}

const UNUSED: readonly (keyof TaskBehaviour)[] = [
  "autoretryFor",
  "retryBackoff",
  "maxRetries",
  "acksOnFailure",
  "acksOnTimeout",
  "acksOnFailureOrTimeout",
  "ignoreResult",
  "timeLimit",
  "softTimeLimit",
  "expires",
];

function withHandler(task: AnyTask | undefined): AnyTask | null {
  return task === undefined || task.handler === null ? null : task;
}

function consumedQueues(app: Mognet, named: readonly string[] | undefined): readonly string[] {
  const { consumed } = app.queues;
  if (named === undefined) {
    if (consumed.length === 0) throw new ImproperlyConfigured(`task_queues leaves app ${app.name} no queue to consume`);
    return consumed;
  }
  if (named.length === 0) throw new ImproperlyConfigured("a worker needs at least one queue");
  const { routed } = app.queues;
  for (const queue of named) {
    if (routed.includes(queue)) continue;
    const hint = didYouMean(queue, routed);
    app.log.warn(
      { queue, routes: routed },
      `no route of app ${app.name} leads to this queue: only requests that name it come to it${hint}`,
    );
  }
  return [...new Set(named)];
}
