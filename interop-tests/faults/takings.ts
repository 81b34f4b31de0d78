/**
 * What became of messages on Redis. Every push onto a queue and every mark in `unacked` has the message's text, and MONITOR shows them
 * all. Our take pops and marks in one script; Celery's is two steps, and a worker killed between them takes a message out of the
 * world: it was pushed once more often than it was marked, and lies in no queue.
 */
import { Redis } from "ioredis";

export class Takings implements AsyncDisposable {
  readonly #looking: Redis;
  readonly #monitor: Redis;
  readonly #keys: RegExp;
  readonly #pushed = new Map<string, number>();
  readonly #marked = new Map<string, number>();

  /** `keys` finds in a message's text what it is known by. */
  static async watch(url: string, keys: RegExp): Promise<Takings> {
    const looking = new Redis(url);
    return new Takings(looking, await looking.monitor(), keys);
  }

  constructor(looking: Redis, monitor: Redis, keys: RegExp) {
    this.#looking = looking;
    this.#monitor = monitor;
    this.#keys = keys;
    monitor.on("monitor", (_time: string, [command, key, ...values]: string[]) => {
      const act = command?.toUpperCase();
      if (act === "LPUSH" || act === "RPUSH") this.#count(this.#pushed, values);
      else if (act === "HSET" && key === "unacked") this.#count(this.#marked, values);
    });
  }

  /** How many messages have been marked as taken, once or more. */
  get size(): number {
    return this.#marked.size;
  }

  /** Of these keys those whose message was popped and not marked as taken. */
  async vanished(queue: string, keys: readonly string[]): Promise<string[]> {
    const lists = await this.#looking.keys(`${queue}*`);
    const waiting = await Promise.all(lists.map((list) => this.#looking.lrange(list, 0, -1).catch(() => [])));
    const there = new Set(waiting.flat().flatMap((text) => this.#found(text)));
    return keys.filter((key) => !there.has(key) && times(this.#pushed, key) > times(this.#marked, key));
  }

  /** What was seen of it, for a message. */
  told(key: string): string {
    return `pushed ${times(this.#pushed, key)} times, taken ${times(this.#marked, key)} times`;
  }

  #count(counts: Map<string, number>, texts: readonly string[]): void {
    for (const text of texts) for (const key of this.#found(text)) counts.set(key, times(counts, key) + 1);
  }

  #found(text: string): string[] {
    return [...new Set(text.match(this.#keys))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#monitor.disconnect();
    this.#looking.disconnect();
  }
}

function times(counts: ReadonlyMap<string, number>, key: string): number {
  return counts.get(key) ?? 0;
}
