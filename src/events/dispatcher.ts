/**
 * Sends events. Task events of a worker are gathered and leave as lists on `task.multi`, a few milliseconds later or when
 * enough are there; all others leave one by one. Nobody waits for an event: while the broker is away, or slower than we are, they wait
 * here, the newest of them, in a number and size that are bounded. wire: celery/events/dispatcher.py; behaviour 4.1 and 4.2.
 */

import { utf8Encode } from "../../protocol/bytes.ts";
import {
  type EventFields,
  eventExchange,
  eventGroup,
  eventHead,
  eventRoutingKey,
  eventText,
  fieldsText,
  timestampText,
} from "../../protocol/celery/events.ts";
import type { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import type { Message } from "../../protocol/message.ts";
import type { Exchange } from "../../protocol/routing.ts";
import type { Serializer } from "../../protocol/serialization.ts";
import type { Log } from "../runtime/log.ts";
import { TransportClosed } from "../transports/errors.ts";
import type { Transport } from "../transports/transport.ts";

export interface DispatcherOptions {
  /** Carries the events; it is connected here when need be, and not closed. */
  readonly transport: Transport;
  readonly clock: LamportClock;
  /** `celery@host` of a worker, `gen<pid>@host` of a client. */
  readonly hostname: string;
  /** `event_exchange`. */
  readonly exchange: string;
  readonly serializer: Serializer;
  /** Groups that are sent (`worker`, `task`); null: all. */
  readonly groups: Iterable<string> | null;
  /** Groups whose events are gathered into lists. @default none */
  readonly buffered?: Iterable<string>;
  readonly log: Log;
  /** Unix milliseconds. @default Date.now */
  readonly now?: () => number;
  /** Batches and single events that wait while the broker is away. @default 10_000 */
  readonly maxWaiting?: number;
  /** Bytes of them. @default 16 MiB */
  readonly maxWaitingBytes?: number;
}

/** Events of one list. Celery's limit is 24, for its every list is a write; a receiver takes lists of any length. */
const BATCH = 200;
/** Milliseconds that a list waits for more. */
const GATHER_MS = 5;
/** Messages on their way to the broker at a time. */
const IN_FLIGHT = 256;

interface Waiting {
  readonly message: Message;
  readonly routingKey: string;
}

export class EventDispatcher {
  readonly hostname: string;
  readonly #options: DispatcherOptions;
  readonly #exchange: Exchange;
  readonly #groups: Set<string> | null;
  readonly #buffered: ReadonlySet<string>;
  readonly #now: () => number;
  /** What all events begin with, as text. */
  #head: string;
  #sendsTasks: boolean;
  #whenMs = Number.NaN;
  #whenText = "";
  /** Texts of events by group. */
  #batches = new Map<string, string[]>();
  #flushTimer: NodeJS.Timeout | null = null;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #inFlight = 0;
  #ready = false;
  #preparing: Promise<void> | null = null;
  #closed = false;
  #dropped = 0;
  #saidDropped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.hostname = options.hostname;
    this.#exchange = eventExchange(options.exchange, options.transport.name);
    this.#groups = options.groups === null ? null : new Set(options.groups);
    this.#buffered = new Set(options.buffered ?? []);
    this.#now = options.now ?? Date.now;
    this.#head = this.#headNow();
    this.#sendsTasks = this.sends("task");
  }

  /** Whether task events leave at all: asked for every task, so that nothing is made of them where they do not. */
  get sendsTaskEvents(): boolean {
    return this.#sendsTasks;
  }

  /** Null: all groups, and none can be switched off (a worker that was started with `-E`). */
  get groups(): ReadonlySet<string> | null {
    return this.#groups;
  }

  /** Whether an event would be on its way at once. */
  get connected(): boolean {
    return this.#options.transport.connected;
  }

  /** Events that were let go because too many waited. */
  get dropped(): number {
    return this.#dropped;
  }

  sends(group: string): boolean {
    return this.#groups === null || this.#groups.has(group);
  }

  /** False: all groups are sent anyway, or this one is. */
  enable(group: string): boolean {
    if (this.#groups === null || this.#groups.has(group)) return false;
    this.#groups.add(group);
    this.#sendsTasks = this.sends("task");
    return true;
  }

  /** False: all groups are sent anyway, or this one is not. */
  disable(group: string): boolean {
    if (this.#groups === null || !this.#groups.delete(group)) return false;
    this.#sendsTasks = this.sends("task");
    return true;
  }

  /** Sends an event unless its group is switched off. Never throws for want of a broker. `type` is a plain name. */
  send(type: string, fields: EventFields): void {
    const group = eventGroup(type);
    if (this.#closed || !this.sends(group)) return;
    const own = this.#own(type, fields);
    if (own !== null) this.#gather(group, type, own);
  }

  /** The same of an event of a task whose members are written already (`fieldsText`): asked for three times a task. */
  sendTaskText(type: string, own: string): void {
    if (!this.#closed && this.#sendsTasks) this.#gather("task", type, own);
  }

  #gather(group: string, type: string, own: string): void {
    const text = eventText(this.#head, type, own, this.#options.clock.forward(), this.#when());
    if (!this.#buffered.has(group)) return this.#put(text, eventRoutingKey(type));
    let batch = this.#batches.get(group);
    if (batch === undefined) {
      batch = [];
      this.#batches.set(group, batch);
    }
    batch.push(text);
    if (batch.length >= BATCH) this.flush();
    else this.#flushTimer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  /** Sends an event by itself behind all so far, also where its group is switched off: one of a task's own. */
  sendSingly(type: string, fields: EventFields): void {
    if (this.#closed) return;
    this.flush();
    const own = this.#own(type, fields);
    if (own === null) return;
    this.#put(eventText(this.#head, type, own, this.#options.clock.forward(), this.#when()), eventRoutingKey(type));
  }

  /** The process may have moved to another offset since the start (daylight saving). */
  refreshOffset(): void {
    this.#head = this.#headNow();
  }

  /** Sends what is gathered, and what waited for the broker. */
  flush(): void {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    for (const [group, batch] of this.#batches) {
      if (batch.length === 0) continue;
      this.#batches.set(group, []);
      this.#put(`[${batch.join(", ")}]`, `${group}.multi`);
    }
    this.#pump();
  }

  /** Sends what is gathered, waits until the broker has it, at most `ms` milliseconds, and sends nothing more. */
  async close(ms = 2_000): Promise<void> {
    this.flush();
    this.#closed = true;
    if (this.#waiting.length === 0 && this.#inFlight === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([new Promise<void>((resolve) => this.#whenIdle.push(resolve)), late]);
    clearTimeout(timer);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  readonly #whenIdle: (() => void)[] = [];

  /** Null: what somebody's own event holds has no form on the wire. */
  #own(type: string, fields: EventFields): string | null {
    try {
      return fieldsText(fields);
    } catch (error) {
      this.#options.log.warn({ err: error, type }, "an event has no form on the wire and was not sent");
      return null;
    }
  }

  /** Many events are told in one millisecond. */
  #when(): string {
    const ms = this.#now();
    if (ms !== this.#whenMs) {
      this.#whenMs = ms;
      this.#whenText = timestampText(ms / 1000);
    }
    return this.#whenText;
  }

  #put(text: string, routingKey: string): void {
    const { serializer, hostname } = this.#options;
    const message: Message = {
      body: utf8Encode(text),
      contentType: serializer.contentType,
      contentEncoding: serializer.contentEncoding,
      headers: { hostname },
      properties: { deliveryMode: 1, priority: 0 },
    };
    if (this.#waiting.length === 0 && this.#mayPublish()) return this.#publish(message, routingKey);
    this.#waiting.push({ message, routingKey });
    this.#waitingBytes += message.body.byteLength;
    this.#makeRoom();
    this.#pump();
  }

  #mayPublish(): boolean {
    if (!this.#ready) {
      this.#prepare();
      return false;
    }
    return this.#options.transport.connected && this.#inFlight < IN_FLIGHT;
  }

  #pump(): void {
    let sent = 0;
    while (sent < this.#waiting.length && this.#mayPublish()) {
      const { message, routingKey } = this.#waiting[sent++]!;
      this.#waitingBytes -= message.body.byteLength;
      this.#publish(message, routingKey);
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent);
    if (this.#waiting.length === 0 && this.#inFlight === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #publish(message: Message, routingKey: string): void {
    const { transport, log } = this.#options;
    this.#inFlight++;
    const done = () => {
      this.#inFlight--;
      this.#pump();
    };
    transport
      .publish(message, { exchange: this.#exchange.name, routingKey }, { mandatory: false })
      .then(done, (error: unknown) => {
        this.#dropped++;
        if (!(error instanceof TransportClosed)) log.warn({ err: error, routingKey }, "an event could not be sent");
        done();
      });
  }

  /** The oldest make room: what a monitor shows is the present. */
  #makeRoom(): void {
    const { maxWaiting = 10_000, maxWaitingBytes = 16 * 1024 * 1024, log } = this.#options;
    let gone = 0;
    while (
      this.#waiting.length - gone > 1 &&
      (this.#waiting.length - gone > maxWaiting || this.#waitingBytes > maxWaitingBytes)
    ) {
      this.#waitingBytes -= this.#waiting[gone++]!.message.body.byteLength;
    }
    if (gone === 0) return;
    this.#waiting = this.#waiting.slice(gone);
    this.#dropped += gone;
    if (this.#saidDropped) return;
    this.#saidDropped = true;
    log.warn({ waiting: this.#waiting.length }, "events wait for the broker, and the oldest are let go");
  }

  /** Once: the connection stands and the exchange exists. */
  #prepare(): void {
    this.#preparing ??= this.#declare().then(
      () => {
        this.#ready = true;
        this.#pump();
      },
      (error: unknown) => {
        this.#preparing = null;
        if (!(error instanceof TransportClosed)) {
          this.#options.log.warn({ err: error }, "the exchange of events could not be declared");
        }
        for (const resolve of this.#whenIdle.splice(0)) resolve();
      },
    );
  }

  async #declare(): Promise<void> {
    const { transport } = this.#options;
    await transport.connect();
    await transport.declare([], [this.#exchange]);
  }

  #headNow(): string {
    const utcoffset = new Date(this.#now()).getTimezoneOffset() / 60;
    return eventHead({ hostname: this.hostname, pid: process.pid, utcoffset: utcoffset === 0 ? 0 : utcoffset });
  }
}
