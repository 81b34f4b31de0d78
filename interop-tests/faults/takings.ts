/**
 * Who has taken which messages from Redis. Our take is a script that marks a message as taken in the same step, so that MONITOR shows
 * every one of ours with its text; Celery's is two steps, and a worker killed between them takes a message out of the world.
 */
import { Redis } from "ioredis";

export class Takings implements AsyncDisposable {
  readonly #looking: Redis;
  readonly #monitor: Redis;
  readonly #keys: RegExp;
  readonly #byOurs = new Set<string>();
  readonly #pushed = new Set<string>();

  /** `keys` finds in a message's text what it is known by. */
  static async watch(url: string, keys: RegExp): Promise<Takings> {
    const looking = new Redis(url);
    return new Takings(looking, await looking.monitor(), keys);
  }

  constructor(looking: Redis, monitor: Redis, keys: RegExp) {
    this.#looking = looking;
    this.#monitor = monitor;
    this.#keys = keys;
    monitor.on("monitor", (_time: string, [command, ...args]: string[], source: string) => {
      const act = command?.toUpperCase();
      if (act === "LPUSH" || act === "RPUSH") for (const key of this.#found(args.join(" "))) this.#pushed.add(key);
      if (source === "lua" && act === "HSET") for (const key of this.#found(args.join(" "))) this.#byOurs.add(key);
    });
  }

  /** Messages that one of our workers has taken, once or more. */
  get byOurs(): ReadonlySet<string> {
    return this.#byOurs;
  }

  /** Of these keys those whose message was sent, is nowhere any more, in no queue and not marked as taken, and was taken by none of ours. */
  async vanished(queue: string, keys: readonly string[]): Promise<string[]> {
    const lists = await this.#looking.keys(`${queue}*`);
    const waiting = await Promise.all(lists.map((list) => this.#looking.lrange(list, 0, -1).catch(() => [])));
    const there = new Set(this.#found([...waiting.flat(), ...(await this.#looking.hvals("unacked"))].join(" ")));
    return keys.filter((key) => this.#pushed.has(key) && !there.has(key) && !this.#byOurs.has(key));
  }

  /** What was seen of it, for a message. */
  told(key: string): string {
    return `${this.#pushed.has(key) ? "sent" : "never sent"}, ${this.#byOurs.has(key) ? "" : "not "}taken by ours`;
  }

  #found(text: string): string[] {
    return text.match(this.#keys) ?? [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#monitor.disconnect();
    this.#looking.disconnect();
  }
}
