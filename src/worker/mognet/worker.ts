/**
 * The worker of Mognet's protocol: takes requests from the app's queues, carries them out, and acks them at the end.
 *
 * A connection that is lost ends no run: its message comes again, here (the run takes it over) or elsewhere (what the run gives is
 * then dropped). `stop("warm")` takes nothing more, gives what runs a while to end, and hands the rest back; "cold" hands back at once.
 * wire: mognet 5; mognet/worker/worker.py.
 */
import type { Log } from "../../runtime/log.ts";
import { LONGEST_TIMER_MS } from "../../runtime/timer-heap.ts";
import { callMiddleware, hasHook } from "../../tasks/mognet-middleware.ts";
import type { TransportError } from "../../transports/errors.ts";
import { DeliveryTimeout } from "../../transports/errors.ts";
import type { Consumer, Delivery } from "../../transports/transport.ts";
import { RunningMognetContext } from "./context.ts";
import { ControlConsumer } from "./control.ts";
import { Counts } from "./counts.ts";
import { Heartbeat } from "./heartbeat.ts";
import { Intake } from "./intake.ts";
import { LostMessages } from "./lost-messages.ts";
import type { MognetWorkerParts } from "./parts.ts";
import { Run } from "./run.ts";
import { Runner } from "./runner.ts";
import { Window } from "./window.ts";

export interface MognetWorkerStats {
  received: number;
  succeeded: number;
  failed: number;
  revoked: number;
  paused: number;
  refused: number;
}

export type MognetStopMode = "warm" | "cold";

/** How long a stop waits for what is being stored. */
const STORE_GRACE_MS = 5_000;

export class MognetWorkerCore {
  readonly stats: MognetWorkerStats = { received: 0, succeeded: 0, failed: 0, revoked: 0, paused: 0, refused: 0 };
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  readonly #window: Window;
  readonly #runner: Runner;
  readonly #control: ControlConsumer;
  readonly #held = new Map<string, Run>();
  readonly #contextOf: (run: Run) => RunningMognetContext;
  readonly #counts: Counts | null;
  readonly #heartbeat = new Heartbeat();
  readonly #intake: Intake;
  readonly #lost: LostMessages;
  #consumer: Consumer | null = null;
  #retiring = false;
  #enough = false;
  #stopping: MognetStopMode | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #whenIdle: (() => void) | null = null;
  #cool: () => void = () => undefined;

  constructor(parts: MognetWorkerParts) {
    this.#parts = parts;
    this.#log = parts.log;
    const { config, queues, log } = parts;
    this.#window = new Window(parts.concurrency, parts.pool?.most ?? config.maximum_concurrency, log);
    this.#runner = new Runner({
      parts,
      window: this.#window,
      stats: this.stats,
      full: () => this.#retire(),
      waits: () => this.#checkIdle(),
      forget: (run) => this.#forget(run),
    });
    this.#intake = new Intake({
      parts,
      refused: () => void this.stats.refused++,
      answered: () => this.#checkIdle(),
    });
    this.#lost = new LostMessages({
      parts,
      held: () => this.#held.values(),
      isStopping: () => this.#stopping !== null,
      compare: (run, result) => this.#runner.compare(run, result),
    });
    const adjust = (run: Run) => this.#runner.adjust(run);
    const contextHost = { parts, adjust };
    parts.pool?.serve(parts, adjust);
    this.#contextOf = (run) => new RunningMognetContext(run, contextHost);
    const { middleware } = parts;
    this.#counts = hasHook(middleware, "onRunningTaskCountChanged")
      ? new Counts((count) => callMiddleware(middleware, "onRunningTaskCountChanged", [count], log))
      : null;
    this.#control = new ControlConsumer(parts.transport, {
      nodeId: parts.nodeId,
      replyExchange: queues.direct.name,
      maxBytes: config.lovage.max_message_bytes,
      log,
      revoke: (id) => this.#revoke(id),
      held: () => [...this.#held.keys()],
    });
  }

  /** Requests in hand, those that wait for children included. */
  get active(): number {
    return this.#held.size;
  }

  /** Tasks that wait for their children. */
  get suspended(): number {
    return this.#window.suspended;
  }

  /** How many messages it asks for now. */
  get prefetch(): number {
    return this.#window.value;
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { transport, store, queues, nodeId, consumed, hooks } = this.#parts;
    await hooks.starting();
    await this.#parts.pool?.start(this.#runner);
    this.#heartbeat.start(this.#log);
    await Promise.all([transport.connect(signal), store.connect()]);
    const control = queues.controlOf(nodeId);
    await transport.declare([...consumed.map((queue) => queues.task(queue)), control], [queues.direct, queues.control]);
    await this.#control.start(control.name);
    const names = consumed.map((queue) => queues.task(queue).name);
    const options = {
      prefetch: this.#window.value,
      growing: true,
      onInterrupted: (error: TransportError) => this.#interrupted(error),
    };
    this.#consumer = await transport.consume(names, options, (delivery) => this.#take(delivery));
    this.#window.attach(this.#consumer);
    if (this.#stopping !== null) await this.#consumer.cancel();
    else await hooks.started();
  }

  /** The broker's connection has gone: what has not begun will come again. */
  connectionLost(): void {
    for (const run of [...this.#held.values()])
      if (run.state === "received" && !run.hasSlot) this.#runner.enter(run, "lost");
    this.#lost.watch();
  }

  /** It is back: revokes that were sent meanwhile went past us. */
  connectionBack(): void {
    this.#lost.compare([...this.#held.values()]);
  }

  stop(mode: MognetStopMode = "warm"): Promise<void> {
    const before = this.#stopping;
    if (before === "cold" || before === mode) return this.#stopped;
    this.#stopping = mode;
    if (before === null) this.#stopped = this.#shutDown();
    else this.#cool();
    return this.#stopped;
  }

  /** `max_tasks` have begun: nothing more is taken, and they may end in their own time. */
  #retire(): void {
    if (this.#retiring || this.#stopping !== null) return;
    this.#retiring = true;
    this.#log.info(
      { max: this.#parts.config.max_tasks },
      "max_tasks have begun: the worker stops when they have ended",
    );
    this.#consumer?.cancel().catch((error: unknown) => this.#log.warn({ err: error }, "consuming did not end"));
    for (const run of [...this.#held.values()])
      if (run.state === "received" && !run.hasSlot) this.#runner.handBack(run);
    this.#checkIdle();
  }

  async #shutDown(): Promise<void> {
    const { hooks, transport, config, services } = this.#parts;
    this.#runner.drain();
    // What came while a hook takes its time would go back and come again at once.
    await Promise.all([hooks.stopping(), this.#consumer?.cancel()]);
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    const cooled = new Promise<void>((resolve) => {
      this.#cool = resolve;
    });
    for (const run of [...this.#held.values()]) {
      for (const follower of run.followers?.splice(0) ?? []) follower.reject({ requeue: true });
      if (run.state === "received") this.#runner.handBack(run);
    }
    this.#checkIdle();
    if (this.#stopping === "warm") await within(Promise.race([idle, cooled]), config.lovage.shutdown_grace * 1000);
    for (const run of [...this.#held.values()]) this.#runner.handBack(run);
    this.#checkIdle();
    await within(idle, STORE_GRACE_MS);
    await this.#control.stop();
    this.#runner.close();
    await this.#parts.pool?.close();
    this.#lost.close();
    await this.#counts?.told();
    this.#heartbeat.stop();
    await services.close(this.#log);
    await transport.flush();
  }

  // ----------------------------------------------------------------------------------------------------------- messages

  #take(delivery: Delivery): void {
    if (this.#stopping !== null || this.#retiring) return delivery.reject({ requeue: true });
    this.stats.received++;
    const request = this.#intake.read(delivery);
    if (request === null) return;
    const same = this.#held.get(request.id);
    if (same !== undefined) return this.#takeAgain(same, delivery);
    const run = new Run(request, delivery, this.#contextOf);
    this.#held.set(run.id, run);
    this.#countChanged();
    this.#runner.submit(run);
  }

  /** The message of a run that is held here: again, because a connection was lost, or once more, because it was sent twice. */
  #takeAgain(run: Run, delivery: Delivery): void {
    if (run.delivery.lost) run.delivery = delivery;
    else {
      run.followers ??= [];
      run.followers.push(delivery);
    }
  }

  #forget(run: Run): void {
    if (this.#held.get(run.id) === run) this.#held.delete(run.id);
    this.#countChanged();
    for (const follower of run.followers?.splice(0) ?? []) if (!follower.lost) this.#take(follower);
    this.#checkIdle();
  }

  #revoke(id: string): void {
    const run = this.#held.get(id);
    if (run !== undefined) this.#runner.revoke(run);
  }

  #countChanged(): void {
    this.#counts?.changed(this.#held.size);
  }

  #checkIdle(): void {
    if (this.#held.size === 0 && this.#intake.answering === 0) this.#whenIdle?.();
    if (!this.#retiring || this.#enough || this.#stopping !== null) return;
    // Those that wait for children are handed back: nobody runs children here any more.
    for (const run of this.#held.values()) if (run.state !== "waiting") return;
    this.#enough = true;
    this.#parts.onEnough();
  }

  #interrupted(error: TransportError): void {
    this.connectionLost();
    if (error instanceof DeliveryTimeout) this.#lost.explain(error);
  }
}

/** Waits for `done`, at most `ms`. */
async function within(done: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    done,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS));
    }),
  ]);
  clearTimeout(timer);
}
