/**
 * Taking messages: one script takes as many as the prefetch leaves free and marks them unacked in the same step; the answer
 * flows to `onDelivery` as one batch. While lists hold messages each take follows the acks of the last batch in one write;
 * when they are empty the consumer sleeps (see `waiting.ts`). A full consumer asks for nothing and waits for nothing.
 * wire: celery-wire 6.3; order of queues: kombu/utils/scheduling.py.
 */
import { type DecodedEnvelope, decodeEnvelope, decodeUnacked } from "../../../protocol/kombu/envelope.ts";
import type { RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import type { Message } from "../../../protocol/message.ts";
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost, TransportClosed, TransportError } from "../errors.ts";
import type { ConsumeOptions, Consumer, Delivery } from "../transport.ts";
import { type DeliveryOwner, RedisDelivery } from "./delivery.ts";
import type { Fanout, TooLarge } from "./fanout.ts";
import type { RedisLink } from "./link.ts";
import type { QueueOrderStrategy } from "./options.ts";
import { TAKE } from "./scripts.ts";
import type { Unacked } from "./unacked.ts";
import type { Sleeper, Waiting } from "./waiting.ts";

/** Messages, and bytes, of one take. */
const TAKE_MESSAGES = 500;
const TAKE_BYTES = 4 << 20;
const ERROR_PAUSE_MS = 1_000;

export interface ConsumerParts {
  link: RedisLink;
  keys: RedisKeys;
  unacked: Unacked;
  waiting: Waiting;
  fanout: Fanout;
  log: Log;
  strategy: QueueOrderStrategy;
  maxMessageBytes: number;
  /** The consumer has nothing more to do and is to be forgotten. */
  ended(consumer: RedisConsumer): void;
}

interface Take {
  readonly queues: readonly string[];
  readonly first: number;
  readonly count: number;
}

export class RedisConsumer implements Consumer, Sleeper, DeliveryOwner {
  readonly canChangePrefetch = true;
  readonly #parts: ConsumerParts;
  readonly #onDelivery: (delivery: Delivery) => void;
  readonly #noAck: boolean;
  #prefetch: number;
  /** All queues in the order of their adding; those kept in lists also stand in `#order`. */
  readonly #queues: string[] = [];
  #order: string[] = [];
  readonly #tails = new Map<string, string>();
  #held = 0;
  #sleep: "awake" | "falling" | "asleep" = "awake";
  /** Counts the times that it stopped sleeping: an answer to an older question changes nothing. */
  #woken = 0;
  /** The last look found less than was asked for: the next take looks whether the lists are empty. */
  #drained = true;
  #taking: Promise<void> | null = null;
  /** Takes whose answer was lost with the connection: their messages may be unacked under our tags. */
  #unanswered: Take[] = [];
  #pause: NodeJS.Timeout | null = null;
  #cancelled = false;

  constructor(parts: ConsumerParts, options: ConsumeOptions, onDelivery: (delivery: Delivery) => void) {
    this.#parts = parts;
    this.#prefetch = options.prefetch;
    this.#noAck = options.noAck ?? false;
    this.#onDelivery = onDelivery;
  }

  get queues(): readonly string[] {
    return this.#queues;
  }

  get listKeys(): readonly string[] {
    return this.#parts.keys.listsByUrgency(this.#order);
  }

  async addQueue(queue: string): Promise<void> {
    if (this.#parts.link.closed) throw new TransportClosed();
    if (this.#cancelled || this.#queues.includes(queue)) return;
    this.#queues.push(queue);
    if (await this.#parts.fanout.listen(this, queue)) return;
    if (this.#cancelled || !this.#queues.includes(queue)) return;
    this.#parts.waiting.forget(this);
    this.#tails.set(queue, `, "", ${JSON.stringify(queue)}]`);
    this.#order.push(queue);
    if (this.#parts.strategy === "sorted") this.#order.sort();
    this.#stir();
  }

  async cancelQueue(queue: string): Promise<void> {
    const at = this.#queues.indexOf(queue);
    if (at < 0) return;
    this.#queues.splice(at, 1);
    this.#parts.waiting.forget(this);
    this.#order = this.#order.filter((name) => name !== queue);
    await Promise.all([this.#parts.fanout.leave(this, queue), this.#taking]);
    this.#stir();
  }

  async cancel(): Promise<void> {
    if (!this.#cancelled) {
      this.#cancelled = true;
      this.#parts.waiting.forget(this);
      if (this.#pause !== null) clearTimeout(this.#pause);
    }
    await Promise.all([...this.#queues.map((queue) => this.#parts.fanout.leave(this, queue)), this.#taking]);
    if (this.#unanswered.length === 0) this.#parts.ended(this);
  }

  setPrefetch(prefetch: number): void {
    this.#prefetch = prefetch;
    this.#parts.link.schedule();
  }

  /** Takes what is free, unless it is known that there is nothing. */
  pump(): void {
    if (this.#cancelled || this.#taking !== null || this.#sleep !== "awake" || this.#pause !== null) return;
    if (this.#order.length === 0 || !this.#parts.link.up) return;
    const free = this.#prefetch === 0 ? TAKE_MESSAGES : this.#prefetch - this.#held;
    if (free > 0) this.#taking = this.#take(Math.min(free, TAKE_MESSAGES)).finally(() => this.#parts.link.schedule());
  }

  wake(): void {
    this.#stir();
  }

  /** The connection went: nobody watches our lists any more. */
  whenDown(): void {
    this.#rise();
  }

  /** Reads again what takes without an answer have made ours. */
  async whenUp(): Promise<void> {
    while (this.#unanswered.length > 0) {
      const take = this.#unanswered.shift()!;
      const tags = Array.from({ length: take.count }, (_, at) => this.#tag(take.first + at));
      let records: (string | null)[];
      try {
        records = await this.#parts.unacked.records(tags);
      } catch (error) {
        this.#unanswered.push(take);
        throw error;
      }
      const unwanted: string[] = [];
      records.forEach((record, at) => {
        if (record === null) return;
        const tag = tags[at]!;
        const known = readEnvelopeOf(record);
        if (known !== null && this.#wants(known.queue)) this.#deliver(known.queue, known.text, tag);
        else unwanted.push(tag);
      });
      if (unwanted.length > 0) this.#parts.unacked.returnUnseen(unwanted.reverse());
    }
    if (this.#cancelled) this.#parts.ended(this);
  }

  settled(delivery: RedisDelivery, how: "done" | "requeue"): void {
    if (delivery.tag === "") return;
    this.#held -= 1;
    if (how === "done") this.#parts.unacked.settle(delivery.tag);
    else this.#parts.unacked.requeue(delivery.tag);
  }

  lost(delivery: RedisDelivery): void {
    if (delivery.tag === "") return;
    this.#held -= 1;
    this.#parts.link.schedule();
  }

  /** A message of a fanout exchange: nothing is kept on the server, so nothing is held. */
  deliverFanout(queue: string, text: string | TooLarge): void {
    if (!this.#cancelled) this.#hand(this.#build(queue, text, "", this.#noAck));
  }

  #stir(): void {
    this.#rise();
    this.#parts.link.schedule();
  }

  #rise(): void {
    this.#sleep = "awake";
    this.#woken += 1;
    this.#drained = true;
  }

  #wants(queue: string): boolean {
    return !this.#cancelled && this.#order.includes(queue);
  }

  #tag(number: number): string {
    return `${this.#parts.unacked.tagPrefix}${number}`;
  }

  async #take(count: number): Promise<void> {
    const { link, keys, unacked, waiting, strategy, maxMessageBytes, log } = this.#parts;
    const queues = this.#order;
    const take: Take = { queues, first: this.#noAck ? 0 : unacked.reserveTags(count), count };
    const rotate = strategy === "round_robin" && queues.length > 1;
    const args = [
      count,
      this.#noAck ? 0 : 1,
      rotate ? 1 : 0,
      unacked.tagPrefix,
      take.first,
      maxMessageBytes,
      TAKE_BYTES,
    ];
    const tails = queues.map((queue) => this.#tails.get(queue) ?? "");
    const lists = keys.listsByUrgency(queues);
    const answer = link.run(TAKE, [keys.unackedIndex, keys.unacked, ...lists], [...args, queues.length, ...tails]);
    // In the same write: what the lists hold after the take.
    const asleep = this.#drained ? this.#fallAsleep(waiting) : null;
    let reply: unknown;
    try {
      reply = await answer;
    } catch (error) {
      this.#taking = null;
      if (error instanceof ConnectionLost && !this.#noAck) this.#unanswered.push(take);
      if (!(error instanceof ConnectionLost || error instanceof TransportClosed)) {
        log.error({ err: error, queues }, "Redis refused to hand out messages");
        this.#rest();
      }
      return;
    }
    this.#taking = null;
    const taken = Array.isArray(reply) ? reply : [];
    if (typeof taken[0] === "string") {
      log.error({ err: new TransportError("REDIS", taken[0]), queues }, "a queue cannot be read");
      this.#rest();
    }
    const count_ = (taken.length - 1) / 2;
    this.#drained = count_ < count;
    this.#distribute(take, taken, rotate);
    if (asleep !== null) await asleep;
  }

  #distribute(take: Take, taken: readonly unknown[], rotate: boolean): void {
    const unwanted: string[] = [];
    const served = new Set<string>();
    for (let at = 1; at + 1 < taken.length; at += 2) {
      const queue = take.queues[Number(taken[at])];
      const item = itemOf(taken[at + 1]);
      if (queue === undefined) continue;
      const tag = this.#noAck ? "" : this.#tag(take.first + (at - 1) / 2);
      if (rotate) {
        served.delete(queue);
        served.add(queue);
      }
      if (item === null) continue;
      if (this.#noAck) this.#hand(this.#build(queue, item, "", true));
      else if (this.#wants(queue)) this.#deliver(queue, item, tag);
      else unwanted.push(tag);
    }
    if (served.size > 0) {
      const last = [...served].filter((queue) => this.#order.includes(queue));
      this.#order = [...this.#order.filter((queue) => !served.has(queue)), ...last];
    }
    if (unwanted.length > 0) this.#parts.unacked.returnUnseen(unwanted.reverse());
  }

  #deliver(queue: string, item: string | TooLarge, tag: string): void {
    const delivery = this.#build(queue, item, tag, false);
    this.#held += 1;
    this.#parts.unacked.hold(delivery);
    this.#hand(delivery);
  }

  #build(queue: string, item: string | TooLarge, tag: string, settled: boolean): RedisDelivery {
    if (typeof item === "string") {
      try {
        return new RedisDelivery(this, ...read(decodeEnvelope(item), queue), tag, settled);
      } catch (error) {
        return new RedisDelivery(
          this,
          ...refusal(error instanceof Error ? error.message : String(error), queue),
          tag,
          settled,
        );
      }
    }
    const reason = `a message of ${item.size} bytes is over the limit of ${this.#parts.maxMessageBytes}`;
    return new RedisDelivery(this, ...refusal(reason, queue, headOf(item.end)), tag, settled);
  }

  #hand(delivery: RedisDelivery): void {
    try {
      this.#onDelivery(delivery);
    } catch (error) {
      this.#parts.log.error(
        { err: error, queue: delivery.info.queue },
        "a delivery handler threw; the message stays held",
      );
    }
  }

  async #fallAsleep(waiting: Waiting): Promise<void> {
    this.#sleep = "falling";
    const woken = this.#woken;
    let isAsleep = false;
    try {
      isAsleep = await waiting.sleep(this);
    } catch (error) {
      // The take on the same connection tells the same story.
      this.#parts.log.debug({ err: error }, "could not wait for messages");
    }
    if (woken !== this.#woken) return;
    this.#sleep = isAsleep ? "asleep" : "awake";
    if (!isAsleep) this.#parts.link.schedule();
  }

  #rest(): void {
    if (this.#cancelled || this.#pause !== null) return;
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.#stir();
    }, ERROR_PAUSE_MS);
    this.#pause.unref();
  }
}

type Content = [Message, { exchange: string; routingKey: string; redelivered: boolean; queue: string }];

function read(envelope: DecodedEnvelope, queue: string): Content {
  const { exchange, routingKey, redelivered } = envelope;
  return [envelope.message, { exchange, routingKey, redelivered, queue }];
}

function refusal(refused: string, queue: string, head: Pick<Message, "headers" | "properties"> | null = null): Content {
  const message: Message = { body: new Uint8Array(0), headers: null, properties: {}, ...head, refused };
  return [message, { exchange: "", routingKey: queue, redelivered: false, queue }];
}

function itemOf(reply: unknown): string | TooLarge | null {
  if (typeof reply === "string") return reply;
  if (!Array.isArray(reply)) return null;
  return { size: Number(reply[0]), end: String(reply[1]) };
}

/** Kombu writes the body first, and base64 holds no quotes: what follows it in the end of a large envelope tells whose it is. */
function headOf(end: string): Pick<Message, "headers" | "properties"> | null {
  const from = end.indexOf('"content-encoding"');
  if (from < 0) return null;
  try {
    const { headers, properties } = decodeEnvelope(`{${end.slice(from)}`).message;
    return { headers, properties };
  } catch {
    return null;
  }
}

/** The envelope of a record of ours and the queue it came from. Null: no envelope, it goes back to its queue. */
function readEnvelopeOf(record: string): { text: string; queue: string } | null {
  try {
    const { envelope, routingKey } = decodeUnacked(record);
    return { text: envelope, queue: routingKey };
  } catch {
    return null;
  }
}
