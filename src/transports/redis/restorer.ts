/**
 * Gives messages whose consumer died back to their queues, once their visibility timeout has passed, whoever took them.
 * wire: celery-wire 6.4; kombu/transport/redis.py `restore_visible`, with Kombu's lock, so that one process of a mixed
 * fleet does it at a time. Unlike Kombu's, a restore is one atomic step per message, a message whose exchange knows no
 * queue any more goes to the queue named by its routing key instead of nowhere, and one that was renewed or settled
 * between the look and the move stays where it is. The lock of a process that was killed with it would keep everybody from
 * restoring for `unacked_mutex_expire` (300 s): one that the same holder has for longer than any scan takes is broken, which
 * Kombu bears (`LockNotOwnedError`) and atomic steps make harmless.
 */
import { randomUUID } from "node:crypto";
import type { RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import type { Log } from "../../runtime/log.ts";
import type { Bindings } from "./bindings.ts";
import type { RedisLink } from "./link.ts";
import { OVERDUE, UNLOCK } from "./scripts.ts";
import { type Return, readRecord, type Unacked } from "./unacked.ts";

const CHUNK = 50;

/** Kombu restores ten messages under its lock, which takes milliseconds. */
const ABANDONED_MS = 5_000;

export interface RestorerOptions {
  visibilityTimeoutMs: number;
  mutexExpireMs: number;
  limit: number | null;
  deadletterQueue: string | null;
}

export class Restorer {
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #unacked: Unacked;
  readonly #bindings: Bindings;
  readonly #log: Log;
  readonly #options: RestorerOptions;
  #running = false;
  /** Who had the lock when it was last found taken, and since when. */
  #holder: { token: string; sinceMs: number } | null = null;

  constructor(
    link: RedisLink,
    keys: RedisKeys,
    unacked: Unacked,
    bindings: Bindings,
    log: Log,
    options: RestorerOptions,
  ) {
    this.#link = link;
    this.#keys = keys;
    this.#unacked = unacked;
    this.#bindings = bindings;
    this.#log = log;
    this.#options = options;
  }

  /** One scan. Answers how many messages went back. Does nothing while another process holds the lock. */
  async restore(): Promise<number> {
    if (this.#running) return 0;
    this.#running = true;
    try {
      // Most of the time there is nothing, and then the lock is not worth taking.
      if ((await this.#overdue(1)).length === 0) return 0;
      // What we hold ourselves is not overdue, however long this process stood still.
      await this.#unacked.renew();
      const token = randomUUID().replaceAll("-", "");
      const mutex = this.#keys.unackedMutex;
      const lock = () => this.#link.call("SET", [mutex, token, "NX", "PX", this.#options.mutexExpireMs]);
      if ((await lock()) !== "OK" && !((await this.#broken(mutex)) && (await lock()) === "OK")) return 0;
      try {
        return await this.#restoreAll();
      } finally {
        await this.#link.run(UNLOCK, [mutex], [token]);
      }
    } finally {
      this.#running = false;
    }
  }

  /** Breaks a lock that one holder has for too long. */
  async #broken(mutex: string): Promise<boolean> {
    const found = await this.#link.call("GET", [mutex]);
    const token = found === null ? null : String(found);
    const before = this.#holder;
    if (token === null || before?.token !== token) {
      this.#holder = token === null ? null : { token, sinceMs: performance.now() };
      return token === null;
    }
    if (performance.now() - before.sinceMs < ABANDONED_MS) return false;
    this.#holder = null;
    const broken = (await this.#link.run(UNLOCK, [mutex], [token])) === 1;
    if (broken)
      this.#log.warn(
        { mutex },
        "a lock on restoring messages was held for too long, as by a process that was killed; it is broken",
      );
    return broken;
  }

  async #restoreAll(): Promise<number> {
    let left = this.#options.limit ?? Number.POSITIVE_INFINITY;
    let restored = 0;
    while (left > 0) {
      const overdue = await this.#overdue(Math.min(CHUNK, left));
      if (overdue.length === 0) break;
      const moved = await this.#restoreChunk(overdue);
      restored += moved;
      left -= overdue.length;
      // What cannot be moved would be found for ever.
      if (moved === 0) break;
    }
    if (restored > 0) this.#log.info({ restored }, "restored messages that nobody settled in time");
    return restored;
  }

  async #overdue(limit: number): Promise<{ tag: string; score: string }[]> {
    const seconds = this.#options.visibilityTimeoutMs / 1000;
    const found = await this.#link.run(OVERDUE, [this.#keys.unackedIndex], [seconds, limit]);
    const overdue: { tag: string; score: string }[] = [];
    if (!Array.isArray(found)) return overdue;
    for (let at = 0; at + 1 < found.length; at += 2) {
      overdue.push({ tag: String(found[at]), score: String(found[at + 1]) });
    }
    return overdue;
  }

  async #restoreChunk(overdue: readonly { tag: string; score: string }[]): Promise<number> {
    const records = await this.#unacked.records(overdue.map(({ tag }) => tag));
    const returns: Return[] = [];
    for (const [at, { tag, score }] of overdue.entries()) {
      const record = records[at];
      if (record === null || record === undefined) {
        // An index entry without a record: settled, or restored halfway by a peer.
        returns.push({ tag, score, lists: [], text: "" });
        continue;
      }
      const { text, exchange, routingKey, priority } = readRecord(record);
      const queues = await this.#queuesFor(exchange, routingKey);
      if (queues.length === 0) {
        this.#log.error({ tag, exchange, routingKey }, "an unacked message names no queue; it stays where it is");
        continue;
      }
      returns.push({ tag, score, text, lists: queues.map((queue) => this.#keys.list(queue, priority)) });
    }
    return this.#unacked.moveBack(returns, "front");
  }

  async #queuesFor(exchange: string, routingKey: string): Promise<string[]> {
    const fallback = this.#options.deadletterQueue ?? routingKey;
    if (exchange !== "") {
      const queues = await this.#bindings.lookup(exchange, routingKey);
      if (queues.length > 0) return queues;
      if (fallback !== "") {
        this.#log.warn({ exchange, routingKey, queue: fallback }, "no queue is bound for a message to restore");
      }
    }
    if (exchange === "" && routingKey !== "") return [routingKey];
    return fallback === "" ? [] : [fallback];
  }
}
