/**
 * What makes a worker a member of a fleet: its events and heartbeat, its mailbox, what it asks the others when it starts, and what
 * it hears of them. wire: celery/worker/consumer/{events,heart,mingle,gossip,control}.py; behaviour 1.1, 3, 4.
 */
import type { Celery } from "../app.ts";
import { Inbox } from "../control/inbox.ts";
import { Mailbox } from "../control/mailbox.ts";
import { mingle } from "../control/mingle.ts";
import { mailboxSettings } from "../control/settings.ts";
import type { ControlState } from "../control/state.ts";
import type { WorkerView } from "../control/worker-view.ts";
import { EventDispatcher } from "../events/dispatcher.ts";
import { Gossip } from "../events/gossip.ts";
import { Heart } from "../events/heart.ts";
import { eventSettings } from "../events/settings.ts";
import { limitedLog } from "../runtime/limited-log.ts";
import type { Log } from "../runtime/log.ts";
import { steadyTimers } from "../runtime/timer-heap.ts";
import { version } from "../runtime/version.ts";
import { TransportClosed } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";

export interface FleetOptions {
  /** Send task events from the start (`-E`); remote control cannot switch them off then. @default `worker_send_task_events` */
  events?: boolean;
  /** Send a heartbeat that monitors and other workers see. @default true */
  heartbeat?: boolean;
  /** Seconds between heartbeats. @default 2 */
  heartbeatInterval?: number;
  /** Listen to the other workers. @default true */
  gossip?: boolean;
  /** Ask the other workers at the start what was revoked. @default true */
  mingle?: boolean;
}

export interface FleetParts extends FleetOptions {
  readonly app: Celery;
  /** The worker's own connection, on which it consumes. */
  readonly transport: Transport;
  readonly hostname: string;
  readonly shutdown: () => void;
}

/** wire: celery/worker/consumer/{mingle,gossip}.py `compatible_transports`. */
const TALKATIVE: ReadonlySet<string> = new Set(["amqp", "redis"]);
const DEFAULT_INTERVAL = 2;

export class FleetMember {
  /** Where the worker's task events go. */
  readonly dispatcher: EventDispatcher;
  readonly #parts: FleetParts;
  readonly #timers = steadyTimers();
  /** For what others can make us say as often as they like. */
  readonly #log: Log;
  #worker: WorkerView | null = null;
  #heart: Heart | null = null;
  #gossip: Gossip | null = null;
  #inbox: Inbox | null = null;
  /** Its own, only where reading and writing are different brokers; else the app's asks the others. */
  #mailbox: Mailbox | null = null;
  #listening = false;
  #stopped = false;

  constructor(parts: FleetParts) {
    const { app, hostname } = parts;
    this.#parts = parts;
    this.#log = limitedLog(app.log);
    const { exchange, serializer } = eventSettings(app.settings);
    const always = parts.events ?? app.settings.worker_send_task_events;
    this.dispatcher = new EventDispatcher({
      transport: app.transport,
      clock: app.clock,
      hostname,
      exchange,
      serializer,
      groups: always ? null : ["worker"],
      buffered: ["task"],
      log: app.log,
    });
  }

  /** Before the worker consumes: others hear of it, and it of them. */
  async start(worker: WorkerView): Promise<void> {
    const { app, transport, hostname, heartbeat = true, heartbeatInterval } = this.#parts;
    this.#worker = worker;
    if (heartbeat) this.#heart = this.#makeHeart(worker, heartbeatInterval ?? DEFAULT_INTERVAL);
    this.#heart?.start();
    await this.#mingle(worker);
    if (this.#stopped) return;
    if ((this.#parts.gossip ?? true) && TALKATIVE.has(transport.name)) {
      const { settings, clock } = app;
      const gossip = new Gossip({
        settings: eventSettings(settings),
        transport,
        clock,
        log: this.#log,
        dispatcher: this.dispatcher,
        timers: this.#timers,
        hostname,
        heartbeatInterval,
        callTask: (signature) => app.applyWire(signature),
      });
      this.#gossip = gossip;
      await this.#unlessRefused(gossip.start(), "the worker does not hear the others");
    }
    if (app.settings.worker_enable_remote_control) {
      await this.#unlessRefused(this.#openInbox(worker), "the worker cannot be reached by remote control");
    }
  }

  /** A broker may allow tasks and no more; tasks are what a worker is for. */
  async #unlessRefused(act: Promise<void>, words: string): Promise<void> {
    try {
      await act;
    } catch (error) {
      if (!this.#stopped) this.#parts.app.log.error({ err: error }, words);
    }
  }

  /** The worker is connected again: those that came meanwhile do not know it. */
  reconnected(): void {
    if (this.#worker === null || this.#stopped) return;
    this.#heart?.start();
    void this.#mingle(this.#worker);
  }

  /** After the worker's last task: says good-bye, and leaves nothing behind. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    const { log } = this.#parts.app;
    const ended = [this.#inbox?.stop(), this.#gossip?.stop()];
    this.#heart?.stop();
    for (const result of await Promise.allSettled([...ended, this.dispatcher.close(), this.#mailbox?.close()])) {
      if (result.status === "rejected" && !(result.reason instanceof TransportClosed)) {
        log.debug({ err: result.reason }, "the worker left its fleet in disorder");
      }
    }
    this.#timers.close();
  }

  #makeHeart(worker: WorkerView, interval: number): Heart {
    return new Heart({
      dispatcher: this.dispatcher,
      timers: this.#timers,
      interval,
      version: version(),
      load: () => ({ active: worker.requests.activeCount, processed: worker.requests.processed }),
    });
  }

  async #openInbox(worker: WorkerView): Promise<void> {
    const { app, transport, hostname } = this.#parts;
    this.#inbox = new Inbox({
      settings: mailboxSettings(app.settings),
      transport,
      replies: this.#controlTransport(),
      commands: app.control.commands,
      state: this.#controlState(worker, hostname),
    });
    await this.#inbox.start();
    this.#listening = true;
  }

  #controlState(worker: WorkerView, hostname: string): ControlState {
    const { app, shutdown } = this.#parts;
    const { dispatcher } = this;
    const makeHeart = () => this.#heart ?? this.#makeHeart(worker, DEFAULT_INTERVAL);
    const configured = new Map(app.queues.configured.map((queue) => [queue.name, queue]));
    return {
      hostname,
      worker,
      settings: app.settings,
      given: app.givenSettings,
      version: version(),
      clock: app.clock,
      events: {
        enableTaskEvents: () => dispatcher.enable("task"),
        disableTaskEvents: () => {
          dispatcher.flush();
          return dispatcher.disable("task");
        },
        heartbeat: () => makeHeart().requested(),
      },
      gossip: this.#gossip,
      configuredQueue: (name) => configured.get(name) ?? null,
      shutdown,
      log: this.#log,
    };
  }

  /** Replies go to the broker that the requests came from. */
  #controlTransport(): Transport {
    const { app, transport } = this.#parts;
    const { broker_read_url: read, broker_write_url: write } = app.settings;
    return read === null && write === null ? app.transport : transport;
  }

  async #mingle(worker: WorkerView): Promise<void> {
    const { app, transport, hostname } = this.#parts;
    if (this.#parts.mingle === false || !TALKATIVE.has(transport.name)) return;
    const { clock, log, settings } = app;
    const control = this.#controlTransport();
    if (control !== app.transport) {
      this.#mailbox ??= new Mailbox({ settings: mailboxSettings(settings), transport: control, clock, log });
    }
    const mailbox = this.#mailbox ?? app.control.mailbox;
    const { revokes } = worker;
    const { settled, done } = mingle({
      mailbox,
      hostname,
      revokes,
      clock,
      log,
      listening: this.#listening,
    });
    done.catch((error: unknown) => {
      if (!this.#stopped) log.warn({ err: error }, "mingle: the other workers could not be asked");
    });
    await settled;
  }
}
