/**
 * What this process holds: every message that was taken and not settled, its visibility timeout, and the way back to its
 * queue. wire: celery-wire 6.3 and 6.4; kombu/transport/redis.py `QoS`.
 *
 * A record of ours stands under a tag of our own (`<transport>-<number>`), where Kombu uses the envelope's delivery tag.
 * Peers only ever treat a tag as an opaque name, so they restore ours as we restore theirs; but a tag that is never used
 * twice proves ownership. An ack that comes after a peer has given the message to somebody else settles nothing of
 * theirs, copies of one message share no record, acts can be repeated after a lost connection, and a take whose answer
 * was lost can be read again. What is held stays valid over a reconnect.
 */
import { randomBytes } from "node:crypto";
import { decodeEnvelope, decodeUnacked, markRedelivered } from "../../../protocol/kombu/envelope.ts";
import { memberValue, skipSpace } from "../../../protocol/kombu/json-span.ts";
import type { RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost, TransportClosed } from "../errors.ts";
import type { RedisDelivery } from "./delivery.ts";
import type { LinkMember, RedisLink } from "./link.ts";
import { GIVE_BACK, RENEW, SETTLE } from "./scripts.ts";

const SETTLE_CHUNK = 2_000;
const RENEW_CHUNK = 500;
const GIVE_BACK_CHUNK = 200;

/** `back`: consumed after all others, as Kombu requeues; `front`: consumed next. */
export type QueueEnd = "back" | "front";

/** A record as it lies in the hash, its score when a peer might touch it meanwhile, and the lists it belongs to. */
export interface Return {
  tag: string;
  score: string | null;
  lists: readonly string[];
  text: string;
}

export class Unacked implements LinkMember {
  readonly tagPrefix = `lovage-${randomBytes(9).toString("base64url")}-`;
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #log: Log;
  readonly #held = new Map<string, RedisDelivery>();
  #nextNumber = 1;
  #settled: string[] = [];
  #requeued: string[] = [];
  #returned: string[] = [];
  /** What the server refused; the housekeeping tries it again. */
  #refused: { settled: string[]; requeued: string[]; returned: string[] } = { settled: [], requeued: [], returned: [] };
  readonly #inFlight = new Set<Promise<void>>();
  #renewal: Promise<void> | null = null;

  constructor(link: RedisLink, keys: RedisKeys, log: Log) {
    this.#link = link;
    this.#keys = keys;
    this.#log = log;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** Numbers for the tags of a take: the first of `count`. */
  reserveTags(count: number): number {
    const first = this.#nextNumber;
    this.#nextNumber += count;
    return first;
  }

  hold(delivery: RedisDelivery): void {
    this.#held.set(delivery.tag, delivery);
  }

  /** The message is done with: its record goes at the end of the tick. Harmless when the record has gone already. */
  settle(tag: string): void {
    this.#held.delete(tag);
    this.#settled.push(tag);
    this.#link.schedule();
  }

  /** The message goes to the back of its queue at the end of the tick. */
  requeue(tag: string): void {
    this.#held.delete(tag);
    this.#requeued.push(tag);
    this.#link.schedule();
  }

  /** Taken, but not handed to anybody: back to the front of the queue at the end of the tick. Newest first. */
  returnUnseen(tags: readonly string[]): void {
    this.#returned.push(...tags);
    this.#link.schedule();
  }

  async whenUp(): Promise<void> {
    // Peers may have restored what outlived its timeout while we were away.
    await this.renew();
  }

  flush(): void {
    if (this.#settled.length > 0) {
      const tags = this.#settled;
      this.#settled = [];
      for (let from = 0; from < tags.length; from += SETTLE_CHUNK) {
        this.#track(this.#settle(tags.slice(from, from + SETTLE_CHUNK)));
      }
    }
    if (this.#requeued.length > 0) {
      const tags = this.#requeued;
      this.#requeued = [];
      this.#track(this.#requeue(tags));
    }
    if (this.#returned.length > 0) {
      const tags = this.#returned;
      this.#returned = [];
      this.#track(this.#return(tags));
    }
  }

  /** Tries again what the server refused. */
  retryRefused(): void {
    const { settled, requeued, returned } = this.#refused;
    if (settled.length + requeued.length + returned.length === 0) return;
    this.#refused = { settled: [], requeued: [], returned: [] };
    this.#settled.push(...settled);
    this.#requeued.push(...requeued);
    this.#returned.push(...returned);
    this.#link.schedule();
  }

  /** Resolves when everything settled so far is answered. */
  async drained(signal?: AbortSignal): Promise<void> {
    while (this.#settled.length + this.#requeued.length + this.#returned.length + this.#inFlight.size > 0) {
      await this.#link.whenUp(signal);
      this.#link.flushNow();
      await Promise.all(this.#inFlight);
    }
  }

  /** Restarts the visibility timeout of all that is held, and marks as lost what peers have given to others. */
  renew(): Promise<void> {
    this.#renewal ??= this.#renewAll().finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #renewAll(): Promise<void> {
    const tags = [...this.#held.keys()];
    for (let from = 0; from < tags.length; from += RENEW_CHUNK) {
      await this.#renewChunk(tags.slice(from, from + RENEW_CHUNK));
    }
  }

  /** Gives all that is held back to the front of its queues, oldest next to be consumed. */
  async giveBackAll(): Promise<void> {
    const held = [...this.#held.values()].reverse();
    this.#held.clear();
    for (const delivery of held) delivery.lost = true;
    await this.giveBack(
      held.map((delivery) => delivery.tag),
      "front",
    );
  }

  /** Nothing that is still held can be settled any more. */
  loseAll(): void {
    for (const delivery of this.#held.values()) delivery.lost = true;
    this.#held.clear();
  }

  /** Gives records of ours back, in the order of `tags`. */
  async giveBack(tags: readonly string[], end: QueueEnd): Promise<void> {
    for (let from = 0; from < tags.length; from += GIVE_BACK_CHUNK) {
      const chunk = tags.slice(from, from + GIVE_BACK_CHUNK);
      const records = await this.records(chunk);
      const returns: Return[] = [];
      chunk.forEach((tag, at) => {
        const record = records[at];
        if (record === null || record === undefined) return;
        const { text, routingKey, priority } = readRecord(record);
        returns.push({ tag, score: null, lists: [this.#keys.list(routingKey, priority)], text });
      });
      await this.moveBack(returns, end);
    }
  }

  /** The records of these tags, null for each that has gone. */
  async records(tags: readonly string[]): Promise<(string | null)[]> {
    if (tags.length === 0) return [];
    const found = await this.#link.call("HMGET", [this.#keys.unacked, ...tags]);
    return Array.isArray(found) ? found.map((record) => (typeof record === "string" ? record : null)) : [];
  }

  /** Moves each record back to its lists unless somebody else did. Answers how many are no longer unacked thereby. */
  async moveBack(returns: readonly Return[], end: QueueEnd): Promise<number> {
    if (returns.length === 0) return 0;
    const positions = new Map<string, number>();
    const args: (string | number)[] = [end === "front" ? "RPUSH" : "LPUSH"];
    for (const { tag, score, lists, text } of returns) {
      args.push(tag, score ?? "", text, lists.length);
      for (const list of lists) {
        let position = positions.get(list);
        if (position === undefined) {
          position = positions.size + 1;
          positions.set(list, position);
        }
        args.push(position);
      }
    }
    const { unackedIndex, unacked } = this.#keys;
    return Number(await this.#link.run(GIVE_BACK, [unackedIndex, unacked, ...positions.keys()], args));
  }

  async #settle(tags: string[]): Promise<void> {
    try {
      await this.#link.run(SETTLE, [this.#keys.unackedIndex, this.#keys.unacked], tags);
    } catch (error) {
      if (this.#mayRepeat(error, "acks")) this.#settled = [...tags, ...this.#settled];
      else this.#refused.settled.push(...tags);
    }
  }

  async #requeue(tags: string[]): Promise<void> {
    try {
      await this.giveBack(tags, "back");
    } catch (error) {
      if (this.#mayRepeat(error, "requeues")) this.#requeued = [...tags, ...this.#requeued];
      else this.#refused.requeued.push(...tags);
    }
  }

  async #return(tags: string[]): Promise<void> {
    try {
      await this.giveBack(tags, "front");
    } catch (error) {
      if (this.#mayRepeat(error, "returns")) this.#returned = [...tags, ...this.#returned];
      else this.#refused.returned.push(...tags);
    }
  }

  /** Whether the connection was at fault, so that the next one is to hear it again. */
  #mayRepeat(error: unknown, what: string): boolean {
    if (error instanceof ConnectionLost) return true;
    if (!(error instanceof TransportClosed)) {
      this.#log.error({ err: error }, `Redis refused ${what}; they will be tried again`);
    }
    return false;
  }

  async #renewChunk(tags: readonly string[]): Promise<void> {
    const gone = await this.#link.run(RENEW, [this.#keys.unackedIndex], tags);
    if (!Array.isArray(gone)) return;
    for (const position of gone) {
      const delivery = this.#held.get(tags[Number(position)] ?? "");
      if (delivery === undefined) continue; // settled meanwhile
      this.#held.delete(delivery.tag);
      delivery.lose();
      this.#log.warn(
        { queue: delivery.info.queue, tag: delivery.tag },
        "a held message outlived its visibility timeout and was given to another consumer",
      );
    }
  }

  #track(act: Promise<void>): void {
    this.#inFlight.add(act);
    void act.finally(() => this.#inFlight.delete(act));
  }
}

/** What a record says: the text to put back (marked where it is an envelope), where it was going, and its priority. */
export function readRecord(record: string): { text: string; exchange: string; routingKey: string; priority: number } {
  try {
    const { envelope, exchange, routingKey } = decodeUnacked(record);
    return { text: markRedelivered(envelope), exchange, routingKey, priority: priorityOf(envelope) };
  } catch {
    // An item that never was an envelope: our take keeps it as a JSON text, or as it was when it looks like an object.
    return readRefused(record);
  }
}

function readRefused(record: string): { text: string; exchange: string; routingKey: string; priority: number } {
  const tail = /^(.*), "", ("(?:[^"\\]|\\.)*")\]$/s.exec(record);
  const routingKey: unknown = tail?.[2] === undefined ? "" : JSON.parse(tail[2]);
  const kept = tail?.[1]?.slice(1) ?? record;
  let text: unknown = kept;
  try {
    if (kept.startsWith('"')) text = JSON.parse(kept);
  } catch {
    text = kept;
  }
  return {
    text: typeof text === "string" ? text : kept,
    exchange: "",
    routingKey: typeof routingKey === "string" ? routingKey : "",
    priority: 0,
  };
}

/** The envelope's priority, 0 to 9, without reading the rest of it. */
function priorityOf(envelope: string): number {
  try {
    const properties = memberValue(envelope, skipSpace(envelope, 0), "properties");
    const priority = properties === null ? null : memberValue(envelope, properties.start, "priority");
    if (priority === null) return 0;
    const written = envelope.slice(priority.start, priority.end);
    return /^\d$/.test(written) ? Number(written) : decodeEnvelope(envelope).priority;
  } catch {
    return 0;
  }
}
