/**
 * Receives events: one queue bound to the exchange of events, every event checked and handed on in its order.
 * wire: celery/events/receiver.py; behaviour 4.1. The clock follows the senders'; a client's own clock is not believed.
 */
import { type CeleryEvent, eventExchange, eventQueue, readEvents } from "../../protocol/celery/events.ts";
import { LovageError } from "../../protocol/errors.ts";
import type { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import { decodePayload } from "../../protocol/serialization.ts";
import { newId } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import type { Consumer, Delivery, Transport } from "../transports/transport.ts";
import type { EventSettings } from "./settings.ts";

/** An event with what its receiver knows: when it came, and when it was sent by the receiver's own clock and zone. */
export interface ReceivedEvent extends CeleryEvent {
  /** Unix seconds here. */
  readonly localReceived: number;
}

export interface ReceiverOptions {
  readonly settings: EventSettings;
  /** Consumes the events; connected by the caller, and not closed here. */
  readonly transport: Transport;
  readonly clock: LamportClock;
  readonly log: Log;
  /** `#` for all events, `worker.#` for those of workers. @default "#" */
  readonly routingKey?: string;
  /** Seconds that an event may wait. @default `event_queue_ttl` */
  readonly ttl?: number | null;
  /** Timestamps are moved by the difference between the sender's zone and ours, as Celery's monitors do. @default true */
  readonly localize?: boolean;
  /** Unix milliseconds. @default Date.now */
  readonly now?: () => number;
  readonly onEvent: (event: ReceivedEvent) => void;
}

export class EventReceiver {
  readonly #options: ReceiverOptions;
  readonly #now: () => number;
  #consumer: Consumer | null = null;
  #refused = 0;
  #saidRefused = false;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** What came and was no event. */
  get refused(): number {
    return this.#refused;
  }

  /** Resolves when events arrive from now on. */
  async start(): Promise<void> {
    const { settings, transport, routingKey = "#" } = this.#options;
    const queue = eventQueue({
      prefix: settings.queuePrefix,
      nodeId: newId(),
      exchange: eventExchange(settings.exchange, transport.name),
      routingKey,
      ttl: this.#options.ttl === undefined ? settings.queueTtl : this.#options.ttl,
      expires: settings.queueExpires,
      exclusive: settings.queueExclusive,
      durable: settings.queueDurable,
    });
    await transport.declare([queue]);
    this.#consumer = await transport.consume([queue.name], { prefetch: 0, noAck: true }, (d) => this.#onDelivery(d));
  }

  async stop(): Promise<void> {
    const { transport, log } = this.#options;
    if (this.#consumer === null || !transport.connected) return;
    try {
      await this.#consumer.cancel();
    } catch (error) {
      log.debug({ err: error }, "the queue of events could not be left in order");
    }
  }

  #onDelivery({ message, info }: Delivery): void {
    const { settings, routingKey = "#" } = this.#options;
    // Redis without fanout_patterns sends everything to everyone (celery/worker/consumer/gossip.py, #1882).
    if (routingKey === "worker.#" && info.routingKey.startsWith("task.")) return;
    if (message.refused !== undefined) return this.#refuse(message.refused);
    if (message.body.byteLength > settings.maxBytes) return this.#refuse(`it has ${message.body.byteLength} bytes`);
    let body: unknown;
    try {
      body = decodePayload(message, { accept: settings.accept, limits: settings.limits });
    } catch (error) {
      if (error instanceof LovageError) return this.#refuse(error.message);
      throw error;
    }
    const { events, refused } = readEvents(body, message.headers);
    if (refused > 0) this.#refuse("it holds what is no event", refused);
    for (const event of events) this.#hand(event);
  }

  #hand(event: CeleryEvent): void {
    const { clock, onEvent, log, localize = true } = this.#options;
    const nowMs = this.#now();
    let seen = event.clock;
    if (event.type === "task-sent") {
      // Clients never synchronise: theirs counts as just before now.
      seen = (clock.value || 1) - 1;
      clock.adjust(seen);
    } else if (seen === null) seen = clock.forward();
    else clock.adjust(seen);
    const ours = new Date(nowMs).getTimezoneOffset() / 60;
    const timestamp = localize ? event.timestamp - (event.utcoffset - ours) * 3600 : event.timestamp;
    const failed = (error: unknown) => log.error({ err: error, type: event.type }, "the handler of an event threw");
    try {
      const answer: unknown = onEvent({ ...event, clock: seen, timestamp, localReceived: nowMs / 1000 });
      if (answer instanceof Promise) answer.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #refuse(reason: string, count = 1): void {
    this.#refused += count;
    if (this.#saidRefused) return;
    this.#saidRefused = true;
    this.#options.log.warn({ reason }, "an event message cannot be read; further ones are counted only");
  }
}
