/**
 * What workers hear of each other: who is there, whose heartbeat is missed, and who won an election. The clock follows the
 * fleet's. wire: celery/worker/consumer/gossip.py; behaviour 4.9.
 */
import { type ClockEntry, earliest, type LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import { isRecord } from "../../protocol/records.ts";
import type { Log } from "../runtime/log.ts";
import type { TimerEntry, TimerHeap } from "../runtime/timer-heap.ts";
import type { Transport } from "../transports/transport.ts";
import type { EventDispatcher } from "./dispatcher.ts";
import { EventReceiver, type ReceivedEvent } from "./receiver.ts";
import type { EventSettings } from "./settings.ts";
import { State } from "./state.ts";

export interface GossipOptions {
  readonly settings: EventSettings;
  readonly transport: Transport;
  readonly clock: LamportClock;
  readonly dispatcher: EventDispatcher;
  readonly timers: TimerHeap;
  readonly hostname: string;
  /** Seconds between heartbeats where the worker was told so: events older than that are of no use here. @default `event_queue_ttl` */
  readonly heartbeatInterval: number | undefined;
  /** Sends the signature that an election of the topic `task` was about. */
  readonly callTask: (signature: unknown) => Promise<unknown>;
  readonly log: Log;
}

/** Seconds between looks at who has gone silent. */
const LOOK_EVERY = 5;
/** Elections that are under way at a time; the oldest is given up. */
const MOST_ELECTIONS = 1_000;
/** Who may stand for one of them; a fleet of more elects among those that came first. */
const MOST_CANDIDATES = 1_000;
/** Silent nodes that are named when they are forgotten; of more their number is told. */
const MOST_NAMED = 10;

interface Candidate extends ClockEntry {
  readonly topic: string;
  /** Null for the others' candidates: nobody carries out what another node was elected for. */
  readonly action: unknown;
}

interface Election {
  readonly candidates: Candidate[];
  /** Acknowledgements heard since this node stands for it. */
  replies: number;
  /** Whether this node stands for election too; else it only acknowledges. */
  takesPart: boolean;
  /** When it is decided at the latest. */
  timer: TimerEntry | null;
  /** Acknowledgements that are not sent yet, and when they are at the latest. */
  owedAcks: number;
  acks: TimerEntry | null;
}

/** Characters of what names an election. */
const LONGEST_ID = 1_000;

/** Milliseconds that acknowledgements wait for candidates. */
const ACK_AFTER = 500;

/** Milliseconds after which an election is decided among those who stood for it. */
const DECIDE_AFTER = 2_000;

export class Gossip {
  readonly #options: GossipOptions;
  readonly #receiver: EventReceiver;
  readonly #state = new State({ maxTasks: 1 });
  readonly #elections = new Map<string, Election>();
  readonly #self: string;
  #timer: TimerEntry | null = null;

  constructor(options: GossipOptions) {
    this.#options = options;
    this.#self = `${options.hostname}.${process.pid}`;
    const { settings, transport, clock, log } = options;
    this.#receiver = new EventReceiver({
      settings,
      transport,
      clock,
      log,
      routingKey: "worker.#",
      ...(options.heartbeatInterval === undefined ? {} : { ttl: options.heartbeatInterval }),
      localize: false,
      onEvent: (event) => this.#onEvent(event),
    });
  }

  /** Workers of the fleet that are known and not silent, this one not among them. */
  get alive(): readonly string[] {
    return this.#state.aliveWorkers().map(({ hostname }) => hostname);
  }

  async start(): Promise<void> {
    await this.#receiver.start();
    this.#look();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) this.#options.timers.cancel(this.#timer);
    this.#timer = null;
    await this.#receiver.stop();
  }

  election(id: string, topic: string, action: unknown): void {
    const election = this.#election(id);
    election.takesPart = true;
    election.timer ??= this.#options.timers.after(DECIDE_AFTER, () => this.#decide(id));
    this.#options.dispatcher.send("worker-elect", { id, topic, action, cver: 1 });
  }

  #onEvent(event: ReceivedEvent): void {
    if (event.type === "worker-elect") return this.#onElect(event);
    if (event.type === "worker-elect-ack") return this.#onElectAck(event);
    if (!event.type.startsWith("worker-") || event.hostname === this.#options.hostname) return;
    const { joined, left } = this.#state.event(event);
    const { log } = this.#options;
    if (joined !== null) log.debug({ node: joined.hostname }, "joined the party");
    if (left !== null) log.debug({ node: left.hostname }, "left");
  }

  #onElect({ fields, clock, hostname, pid }: ReceivedEvent): void {
    const { id, topic, action } = fields;
    if (typeof id !== "string" || typeof topic !== "string" || !Object.hasOwn(fields, "cver") || clock === null) {
      this.#options.log.error({ fields: Object.keys(fields) }, "an election request misses fields");
      return;
    }
    if (id.length > LONGEST_ID || topic.length > LONGEST_ID) return;
    const election = this.#election(id);
    if (election.candidates.length >= MOST_CANDIDATES) return;
    const node = `${hostname}.${pid ?? ""}`;
    election.candidates.push({ clock, node, topic, action: node === this.#self ? action : null });
    election.owedAcks++;
    // Celery's worker ends when an acknowledgement reaches it while it knows one candidate only: ours wait for the others.
    if (this.#all(election.candidates.length)) this.#acknowledge(id, election);
    else election.acks ??= this.#options.timers.after(ACK_AFTER, () => this.#acknowledge(id, election));
  }

  #acknowledge(id: string, election: Election): void {
    if (election.acks !== null) this.#options.timers.cancel(election.acks);
    election.acks = null;
    for (; election.owedAcks > 0; election.owedAcks--) this.#options.dispatcher.send("worker-elect-ack", { id });
  }

  /** Whether so many are all workers of the fleet, this one among them. */
  #all(count: number): boolean {
    return count > 0 && this.#state.countAlive(count) < count;
  }

  /**
   * Decided as Celery decides, or two nodes would carry it out or none: with as many acknowledgements as there are other nodes, whoever
   * they are from, among those who stood for it by then. Where Celery knows one candidate only, and fails, ours wait for more.
   */
  #onElectAck({ fields }: ReceivedEvent): void {
    const { id } = fields;
    const election = typeof id === "string" ? this.#elections.get(id) : undefined;
    if (typeof id !== "string" || election?.takesPart !== true) return;
    election.replies++;
    if (!this.#all(election.replies + 1)) return;
    if (election.candidates.length > 1 || this.#all(1)) this.#decide(id);
  }

  #decide(id: string): void {
    const election = this.#elections.get(id);
    const leader = election?.takesPart === true ? earliest(election.candidates) : undefined;
    if (election === undefined || leader === undefined) return;
    const { log, callTask, timers } = this.#options;
    if (election.timer !== null) timers.cancel(election.timer);
    this.#elections.delete(id);
    if (leader.node !== this.#self) return log.info({ election: id, node: leader.node }, "another node was elected");
    log.info({ election: id }, "this node won the election");
    if (leader.topic !== "task") return log.error({ topic: leader.topic }, "unknown election topic");
    if (!isRecord(leader.action)) return log.error({ election: id }, "the election was about no task");
    callTask(leader.action).catch((error: unknown) => log.error({ err: error }, "the elected task could not be sent"));
  }

  #election(id: string): Election {
    let election = this.#elections.get(id);
    if (election !== undefined) return election;
    election = { candidates: [], replies: 0, takesPart: false, timer: null, owedAcks: 0, acks: null };
    this.#elections.set(id, election);
    for (const [oldest, { timer, acks }] of this.#elections) {
      if (this.#elections.size <= MOST_ELECTIONS) break;
      for (const entry of [timer, acks]) if (entry !== null) this.#options.timers.cancel(entry);
      this.#elections.delete(oldest);
    }
    return election;
  }

  #look(): void {
    const { timers, log } = this.#options;
    this.#timer = timers.after(LOOK_EVERY * 1000, () => {
      const silent = this.#state.forgetSilent();
      for (const { hostname } of silent.slice(0, MOST_NAMED)) log.info({ node: hostname }, "missed heartbeat");
      if (silent.length > MOST_NAMED) log.info({ nodes: silent.length }, "missed heartbeats of many nodes");
      this.#look();
    });
  }
}
