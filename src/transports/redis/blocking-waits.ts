/**
 * The second way to wait for messages (see `waiting.ts`): `BLMOVE list list RIGHT RIGHT`, one list per command and connection.
 * Connections are few: with more lists than connections each serves several in turn, half a second at a time. A consumer
 * that is full asks for nothing; a command that is still out then ends by itself within seconds.
 */
import type { Log } from "../../runtime/log.ts";
import {
  ANSWER_TIMEOUT_MS,
  type ConnectRedisOptions,
  connectionError,
  connectRedis,
  endRedis,
  type Redis,
  type RedisTarget,
} from "../../runtime/redis-connection.ts";
import type { LinkMember, RedisLink } from "./link.ts";
import type { Sleeper } from "./waiting.ts";

const MAX_CONNECTIONS = 12;
const BLOCK_SECONDS = 5;
const SHARED_BLOCK_SECONDS = 0.5;
/** Pause after a refused BLMOVE (out of memory, wrong type), so that an error makes no busy loop. */
const ERROR_PAUSE_MS = 1_000;

interface Waiter {
  readonly client: Redis;
  busy: boolean;
  timer: NodeJS.Timeout | null;
}

export class BlockingWaits implements LinkMember {
  readonly #link: RedisLink;
  readonly #target: RedisTarget;
  readonly #connection: Omit<ConnectRedisOptions, "purpose">;
  readonly #name: string;
  readonly #log: Log;
  /** Lists somebody sleeps on, in the order in which they wait for a connection. */
  readonly #lists = new Map<string, Set<Sleeper>>();
  readonly #blocked = new Set<string>();
  readonly #waiters: Waiter[] = [];
  #endpoint = "";

  constructor(
    link: RedisLink,
    target: RedisTarget,
    options: { connection: Omit<ConnectRedisOptions, "purpose">; clientName: string; log: Log },
  ) {
    this.#link = link;
    this.#target = target;
    this.#connection = options.connection;
    this.#name = options.clientName;
    this.#log = options.log;
  }

  wait(sleeper: Sleeper): void {
    for (const list of sleeper.listKeys) {
      const same = this.#lists.get(list);
      if (same === undefined) this.#lists.set(list, new Set([sleeper]));
      else same.add(sleeper);
    }
    this.#assign();
  }

  forget(sleeper: Sleeper): void {
    for (const list of sleeper.listKeys) {
      const same = this.#lists.get(list);
      same?.delete(sleeper);
      if (same?.size === 0) this.#lists.delete(list);
    }
  }

  whenDown(): void {
    this.#lists.clear();
    if (!this.#link.closed) return;
    for (const waiter of this.#waiters.splice(0)) this.#end(waiter);
  }

  #assign(): void {
    const endpoint = this.#link.endpoint;
    if (this.#link.closed || endpoint === undefined) return;
    if (this.#endpoint !== endpoint.name) {
      for (const waiter of this.#waiters.splice(0)) this.#end(waiter);
      this.#blocked.clear();
      this.#endpoint = endpoint.name;
    }
    const wanted = Math.min(MAX_CONNECTIONS, this.#lists.size);
    while (this.#waiters.length < wanted) {
      const client = connectRedis(
        { endpoints: [endpoint], sentinel: this.#target.sentinel },
        {
          ...this.#connection,
          purpose: `${this.#name}-waiter`,
          pingIntervalMs: 0,
          answerTimeoutMs: (this.#connection.answerTimeoutMs ?? ANSWER_TIMEOUT_MS) + BLOCK_SECONDS * 1000,
          onConnected: () => this.#next(waiter),
        },
      );
      const waiter: Waiter = { client, busy: false, timer: null };
      this.#waiters.push(waiter);
    }
    for (const waiter of this.#waiters) this.#next(waiter);
  }

  #next(waiter: Waiter): void {
    if (waiter.busy || waiter.timer !== null || waiter.client.status !== "ready" || this.#link.closed) return;
    const list = this.#nextList();
    if (list === undefined) return;
    // The least recently waited-for list comes first.
    const sleepers = this.#lists.get(list);
    this.#lists.delete(list);
    if (sleepers !== undefined) this.#lists.set(list, sleepers);
    waiter.busy = true;
    this.#blocked.add(list);
    const seconds = this.#lists.size > MAX_CONNECTIONS ? SHARED_BLOCK_SECONDS : BLOCK_SECONDS;
    waiter.client.call("BLMOVE", [list, list, "RIGHT", "RIGHT", seconds]).then(
      (found) => this.#answered(waiter, list, found !== null),
      (error: unknown) => this.#failed(waiter, list, error),
    );
  }

  #nextList(): string | undefined {
    for (const list of this.#lists.keys()) {
      if (!this.#blocked.has(list)) return list;
    }
    return undefined;
  }

  #answered(waiter: Waiter, list: string, found: boolean): void {
    waiter.busy = false;
    this.#blocked.delete(list);
    if (found) {
      const sleepers = [...(this.#lists.get(list) ?? [])];
      for (const sleeper of sleepers) {
        this.forget(sleeper);
        sleeper.wake();
      }
    }
    this.#next(waiter);
  }

  #failed(waiter: Waiter, list: string, error: unknown): void {
    waiter.busy = false;
    this.#blocked.delete(list);
    if (waiter.client.status !== "ready") return; // `onConnected` goes on
    this.#log.warn({ err: connectionError(error) }, "Redis refused to wait for messages");
    waiter.timer = setTimeout(() => {
      waiter.timer = null;
      this.#next(waiter);
    }, ERROR_PAUSE_MS);
    waiter.timer.unref();
  }

  #end(waiter: Waiter): void {
    if (waiter.timer !== null) clearTimeout(waiter.timer);
    endRedis(waiter.client);
  }
}
