/**
 * The worker of Mognet's protocol: takes requests from the app's queues, carries them out, and acks them at the end.
 *
 * A connection that is lost ends no run: its message comes again, here (the run takes it over) or elsewhere (what the run gives is
 * then dropped). `stop("warm")` takes nothing more, gives what runs a while to end, and hands the rest back; "cold" hands back at once.
 * wire: mognet 5; mognet/worker/worker.py.
 */
import { DecodeError } from "../../../protocol/errors.ts";
import { decodeMognetEnvelope, mognetRequestIdIn } from "../../../protocol/mognet/message.ts";
import { mognetIdOrNull } from "../../../protocol/mognet/names.ts";
import { mognetErrorValue } from "../../../protocol/mognet/refusals.ts";
import { decodeMognetRequestPayload, type MognetRequest } from "../../../protocol/mognet/request.ts";
import { finishedResult, isDoneResult } from "../../../protocol/mognet/result.ts";
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";
import { isRecord } from "../../../protocol/records.ts";
import { newId } from "../../runtime/ids.ts";
import type { Log } from "../../runtime/log.ts";
import { callMiddleware, hasHook } from "../../tasks/mognet-middleware.ts";
import type { TransportError } from "../../transports/errors.ts";
import { DeliveryTimeout } from "../../transports/errors.ts";
import type { Consumer, Delivery } from "../../transports/transport.ts";
import { RunningMognetContext } from "./context.ts";
import { ControlConsumer } from "./control.ts";
import { Counts } from "./counts.ts";
import { Heartbeat } from "./heartbeat.ts";
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

/** How often runs whose message is lost are compared with the store, in case another node has them. */
const RECHECK_MS = 5_000;
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
  #consumer: Consumer | null = null;
  #retiring = false;
  #enough = false;
  #stopping: MognetStopMode | null = null;
  #stopped: Promise<void> = Promise.resolve();
  #whenIdle: (() => void) | null = null;
  #cool: () => void = () => undefined;
  #recheck: NodeJS.Timeout | null = null;
  /** Messages that are answered without becoming a run. */
  #answering = 0;

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
    this.#watchLost();
  }

  /** It is back: revokes that were sent meanwhile went past us. */
  connectionBack(): void {
    this.#compare([...this.#held.values()]);
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
    await hooks.stopping();
    this.#runner.drain();
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    const cooled = new Promise<void>((resolve) => {
      this.#cool = resolve;
    });
    await this.#consumer?.cancel();
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
    if (this.#recheck !== null) clearTimeout(this.#recheck);
    await this.#counts?.told();
    this.#heartbeat.stop();
    await services.close(this.#log);
    await transport.flush();
  }

  // ----------------------------------------------------------------------------------------------------------- messages

  #take(delivery: Delivery): void {
    if (this.#stopping !== null || this.#retiring) return delivery.reject({ requeue: true });
    this.stats.received++;
    const request = this.#read(delivery);
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

  #read(delivery: Delivery): MognetRequest | null {
    const { message } = delivery;
    const { lovage } = this.#parts.config;
    let payload: unknown = null;
    try {
      if (message.refused !== undefined) throw new DecodeError(message.refused);
      if (message.body.byteLength > lovage.max_message_bytes) {
        throw new DecodeError(`a message of ${message.body.byteLength} bytes, more than lovage.max_message_bytes`);
      }
      const envelope = decodeMognetEnvelope(message.body, {
        floats: lovage.exact_floats ? "keep" : "number",
        maxDepth: lovage.max_message_depth,
      });
      payload = envelope.payload;
      if (envelope.kind !== "Request")
        throw new DecodeError(`a message of kind ${JSON.stringify(envelope.kind.slice(0, 60))}`);
      return decodeMognetRequestPayload(envelope.payload, newId);
    } catch (error) {
      this.#refuse(delivery, payload, error);
      return null;
    }
  }

  /** Mognet acks it, and its result stays PENDING for ever. Here whoever waits for it is told, if it says who. */
  #refuse(delivery: Delivery, payload: unknown, error: unknown): void {
    this.stats.refused++;
    const { properties } = delivery.message;
    const told = isRecord(payload) && typeof payload.id === "string" ? payload.id : this.#idIn(delivery);
    const id = mognetIdOrNull(told ?? properties.messageId ?? "");
    this.#log.error({ err: error, id, queue: delivery.info.queue }, "a message that is no request is discarded");
    const settle = () => delivery.reject({ requeue: false });
    if (id === null) return settle();
    const reason = error instanceof Error ? error.message : String(error);
    this.#answering++;
    this.#invalidate(id, `the request cannot be read: ${reason}`)
      .catch((failure: unknown) =>
        this.#log.error({ err: failure, id }, "the result of a message that is no request stays as it is"),
      )
      .then(settle)
      .finally(() => {
        this.#answering--;
        this.#checkIdle();
      });
  }

  /** Of a message whose envelope cannot be read. */
  #idIn({ message }: Delivery): string | null {
    const { max_message_bytes: most, max_message_depth: maxDepth } = this.#parts.config.lovage;
    if (message.refused !== undefined || message.body.byteLength > most) return null;
    return mognetRequestIdIn(message.body, { maxDepth });
  }

  async #invalidate(id: string, reason: string): Promise<void> {
    const { store } = this.#parts;
    const result = await store.get(id);
    if (result === null || isDoneResult(result)) return;
    const name = "mognet.exceptions.task_exceptions:InvalidTaskArguments";
    const time = mognetTimestamp(Date.now());
    await store.put({
      result: finishedResult(result, "INVALID", time),
      value: mognetErrorValue({ name, message: reason, args: [[reason]] }),
      condition: { states: ["PENDING"], starts: result.numberOfStarts, exists: true },
    });
  }

  #revoke(id: string): void {
    const run = this.#held.get(id);
    if (run !== undefined) this.#runner.revoke(run);
  }

  #countChanged(): void {
    this.#counts?.changed(this.#held.size);
  }

  #checkIdle(): void {
    if (this.#held.size === 0 && this.#answering === 0) this.#whenIdle?.();
    if (!this.#retiring || this.#enough || this.#stopping !== null) return;
    // Those that wait for children are handed back: nobody runs children here any more.
    for (const run of this.#held.values()) if (run.state !== "waiting") return;
    this.#enough = true;
    this.#parts.onEnough();
  }

  // ------------------------------------------------------------------------------------------------------ lost connections

  #interrupted(error: TransportError): void {
    this.connectionLost();
    if (!(error instanceof DeliveryTimeout)) return;
    const oldest = [...this.#held.values()].filter((run) => run.delivery.lost);
    this.#log.error(
      {
        err: error,
        tasks: [...new Set(oldest.map((run) => run.request.name))].slice(0, 20),
        timeoutMs: error.timeoutMs,
      },
      "RabbitMQ took back the messages of tasks that run for longer than its consumer_timeout. They go on here; their messages come again, " +
        "to this worker (it goes on with them) or to another (which begins them anew). Raise consumer_timeout in rabbitmq.conf above the " +
        "longest run (in milliseconds; advanced.config: {rabbit, [{consumer_timeout, undefined}]} switches it off), or let long tasks ctx.pause() in between",
    );
  }

  /** As long as there are runs whose message is lost: is it still ours? */
  #watchLost(): void {
    if (this.#recheck !== null || this.#stopping !== null) return;
    this.#recheck = setTimeout(() => {
      this.#recheck = null;
      const lost = [...this.#held.values()].filter((run) => run.delivery.lost);
      if (lost.length === 0) return;
      this.#compare(lost);
      this.#watchLost();
    }, RECHECK_MS);
    this.#recheck.unref();
  }

  #compare(runs: readonly Run[]): void {
    const running = runs.filter((run) => run.state === "running" || run.state === "waiting");
    if (running.length === 0) return;
    this.#parts.store.getMany(running.map((run) => run.id)).then(
      (results) => {
        for (const [at, run] of running.entries()) this.#runner.compare(run, results[at] ?? null);
      },
      (error: unknown) => this.#log.warn({ err: error }, "running tasks could not be compared with the store"),
    );
  }
}

/** Waits for `done`, at most `ms`. */
async function within(done: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    done,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}
