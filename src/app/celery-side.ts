/** A Celery app as a worker serves it. */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { acceptedTypes } from "../../protocol/serialization.ts";
import type { Celery } from "../app.ts";
import type { SendRequest } from "../client/client.ts";
import { nodeName } from "../runtime/ids.ts";
import { callArguments } from "../tasks/call-arguments.ts";
import { checkOptions } from "../tasks/call-options.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Transport } from "../transports/transport.ts";
import type { Outbox } from "../worker/outbox.ts";
import type { WorkerStats } from "../worker/report.ts";
import { type StopMode, WorkerCore } from "../worker/worker.ts";
import { ConnectionPatience } from "./connection-patience.ts";
import { FleetMember } from "./fleet-member.ts";
import { makePool } from "./make-pool.ts";
import { definition } from "./options.ts";
import { limitsOf } from "./parts.ts";
import type { Served, ServedOptions } from "./served.ts";

export class CelerySide implements Served {
  readonly app: Celery;
  readonly hostname: string;
  readonly #core: WorkerCore;
  readonly #transport: Transport;
  readonly #member: FleetMember;
  #connections = 0;

  constructor(app: Celery, options: ServedOptions) {
    this.app = app;
    const { queues, slots, onGiveUp, onEnough } = options;
    const { settings, log } = app;
    const hostname = nodeName(options.name);
    const patience = new ConnectionPatience(settings);
    this.#transport = app.consumerTransport({
      onConnected: () => {
        patience.connected();
        if (++this.#connections > 1) this.#member.reconnected();
      },
      onLost: () => this.#core.connectionLost(),
      onRetry: (error) => {
        const end = patience.failed(error);
        if (end !== null) onGiveUp(end);
      },
    });
    this.#member = new FleetMember({ ...options, app, transport: this.#transport, hostname, shutdown: onEnough });
    this.#core = new WorkerCore({
      settings,
      transport: this.#transport,
      backend: app.backend,
      tasks: app.tasks.values(),
      queues: app.selectQueues(queues),
      accept: acceptedTypes(settings.accept_content),
      decode: limitsOf(settings),
      outbox: outboxOf(app),
      log,
      events: this.#member.dispatcher,
      zone: app.zone,
      isoNow: () => app.zone.iso(Date.now()),
      naiveToEpoch: (wallMs) => app.zone.fromWall(wallMs),
      nodename: hostname,
      clock: app.clock,
      pool: makePool(app, options, hostname),
      slots,
      autoscale: options.autoscale ?? null,
    });
    this.hostname = hostname;
  }

  get stats(): Readonly<WorkerStats> {
    return this.#core.stats;
  }
  get concurrency(): number {
    return this.#core.concurrency;
  }
  get active(): number {
    return this.#core.active;
  }
  get scheduled(): number {
    return this.#core.scheduled;
  }
  get taskNames(): readonly string[] {
    return this.#core.taskNames;
  }
  get queueNames(): readonly string[] {
    return this.#core.queues.map((queue) => queue.name);
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#core.prepare();
    await this.#transport.connect(signal);
    await this.#member.start(this.#core.view);
    await this.#core.start(signal);
  }
  stop(mode: StopMode): Promise<void> {
    return this.#core.stop(mode);
  }
  async close(): Promise<void> {
    await this.#member.stop();
    await this.#transport.close();
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
