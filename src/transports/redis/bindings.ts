/**
 * Binding tables: who is bound to which exchange, and how long that lasts. wire: celery-wire 6.2 and 6.5;
 * kombu/transport/redis.py `_queue_bind`, `maybe_refresh_binding_expiry`, `sweep_bindings`, `_delete`.
 *
 * An ordinary queue stands in the table and in the permanent set; a queue with `x-expires` stands in the table alone, and
 * its consumer keeps moving the exchange's deadline. Tables are read afresh for each batch of messages, as a peer may
 * bind a queue at any time.
 */
import { decodeBinding, encodeBinding, type RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import {
  type Binding,
  bindingOf,
  type Exchange,
  type ExchangeType,
  matchesTopic,
  type Queue,
} from "../../../protocol/routing.ts";
import { QueueClash, QueueNotFound } from "../errors.ts";
import type { DeclareMode } from "../transport.ts";
import type { LinkMember, RedisLink } from "./link.ts";
import { BIND_EXPIRING, SWEEP_BINDINGS } from "./scripts.ts";

const EXPIRES_FACTOR = 2;
const MIN_TABLE_TTL_MS = 3_600_000;
const SWEEP_INTERVAL_MS = 60_000;
const SWEEP_LIMIT = 100;

interface BoundQueue {
  readonly name: string;
  readonly expiresMs: number | null;
  readonly autoDelete: boolean;
  readonly bindings: readonly { exchange: string; type: ExchangeType; routingKey: string; member: string }[];
}

export class Bindings implements LinkMember {
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #mode: DeclareMode;
  readonly #queues = new Map<string, BoundQueue>();
  readonly #types = new Map<string, ExchangeType>();
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(
    link: RedisLink,
    keys: RedisKeys,
    mode: DeclareMode,
    exchanges: readonly { name: string; type: ExchangeType }[],
  ) {
    this.#link = link;
    this.#keys = keys;
    this.#mode = mode;
    for (const exchange of exchanges) this.#types.set(exchange.name, exchange.type);
  }

  /** Milliseconds of `x-expires` that this transport declared the queue with, else null. */
  expiresOf(queue: string): number | null {
    return this.#queues.get(queue)?.expiresMs ?? null;
  }

  /** The fanout exchange and routing key that a queue listens to, or null for a queue kept in lists. */
  fanoutOf(queue: string): { exchange: string; routingKey: string } | null {
    return this.#queues.get(queue)?.bindings.find((binding) => binding.type === "fanout") ?? null;
  }

  isFanout(exchange: string): boolean {
    const type = this.#types.get(exchange);
    if (type !== undefined) return type === "fanout";
    return exchange === "celeryev" || (exchange.endsWith(".pidbox") && !exchange.startsWith("reply."));
  }

  /** Binds queues and remembers them for the next connection. Throws `QueueClash` before anything was done. */
  async declare(queues: readonly Queue[], exchanges: readonly Exchange[] = []): Promise<void> {
    // An exchange is its table of bindings: one without them has no trace on the server, and only its type is to be known.
    for (const exchange of exchanges) this.#noteExchange(exchange);
    const bound = queues.map((queue) => this.#boundQueue(queue));
    for (const queue of bound) this.#queues.set(queue.name, queue);
    this.#refreshedAt = Number.NEGATIVE_INFINITY;
    if (this.#mode === "never" || bound.every((queue) => queue.bindings.length === 0)) return;
    await this.#link.retrying(() => (this.#mode === "passive" ? this.#check(bound) : this.#bind(bound)));
  }

  async whenUp(): Promise<void> {
    if (this.#mode === "create") await this.#bind([...this.#queues.values()]);
  }

  /** The queues that a message takes, each once. Reads the table; a pattern in a member tells a topic binding. */
  async lookup(exchange: string, routingKey: string): Promise<string[]> {
    return matchingQueues(await this.table(exchange), this.#types.get(exchange), routingKey);
  }

  async table(exchange: string): Promise<Binding[]> {
    const members = await this.#link.call("SMEMBERS", [this.#keys.binding(exchange)]);
    const table: Binding[] = [];
    if (!Array.isArray(members)) return table;
    for (const member of members) {
      const binding = typeof member === "string" ? decodeBinding(member, this.#keys.sep) : null;
      if (binding !== null) table.push(binding);
    }
    return table;
  }

  typeOf(exchange: string): ExchangeType | undefined {
    return this.#types.get(exchange);
  }

  /** Unbinds the auto-delete queues on fanout exchanges: nobody listens any more. Kombu does so when a channel closes. */
  async removeListeners(): Promise<void> {
    if (this.#mode !== "create") return;
    for (const queue of [...this.#queues.values()]) {
      if (queue.autoDelete && this.fanoutOf(queue.name) !== null) await this.remove(queue.name);
    }
  }

  /** Takes the queue's bindings away and forgets it; its lists are the caller's. */
  async remove(queue: string): Promise<void> {
    const bound = this.#queues.get(queue);
    if (bound === undefined) return;
    const acts: Promise<unknown>[] = [];
    for (const { exchange, member } of bound.bindings) {
      acts.push(this.#link.call("SREM", [this.#keys.binding(exchange), member]));
      acts.push(this.#link.call("SREM", [this.#keys.bindingPermanent(exchange), member]));
    }
    await Promise.all(acts);
    this.#queues.delete(queue);
  }

  /** Keeps the tables of consumed queues with `x-expires` alive, and sweeps what others left. `now`: monotonic ms. */
  async maintain(consumed: Iterable<string>, now: number): Promise<void> {
    if (this.#mode === "never") return;
    const expiring: BoundQueue[] = [];
    let shortest = Number.POSITIVE_INFINITY;
    for (const name of consumed) {
      const queue = this.#queues.get(name);
      if (queue === undefined || queue.expiresMs === null) continue;
      expiring.push(queue);
      shortest = Math.min(shortest, tableTtl(queue.expiresMs));
    }
    if (expiring.length === 0) return;
    if (now - this.#refreshedAt >= shortest / 3) {
      await this.#bind(expiring);
      this.#refreshedAt = now;
    }
    if (now - this.#sweptAt >= SWEEP_INTERVAL_MS) {
      this.#sweptAt = now;
      const keys = this.#keys;
      await this.#link.run(
        SWEEP_BINDINGS,
        [keys.bindingDeadlines],
        [keys.bindingPrefix, keys.bindingPermanentPrefix, SWEEP_LIMIT],
      );
    }
  }

  /** Throws `QueueClash` when it is known as one of another type. */
  #noteExchange({ name, type }: Exchange, queue = ""): void {
    const known = this.#types.get(name);
    if (known !== undefined && known !== type)
      throw new QueueClash(queue, { type }, { type: known }, { exchange: name });
    this.#types.set(name, type);
  }

  #boundQueue(queue: Queue): BoundQueue {
    const bindings: BoundQueue["bindings"][number][] = [];
    for (const { exchange, routingKey } of [queue, ...(queue.bindings ?? [])]) {
      if (exchange.name === "") continue;
      this.#noteExchange(exchange, queue.name);
      const member = encodeBinding(bindingOf(exchange.type, routingKey, queue.name), this.#keys.sep);
      bindings.push({ exchange: exchange.name, type: exchange.type, routingKey, member });
    }
    return { name: queue.name, expiresMs: expiresOf(queue), autoDelete: queue.autoDelete === true, bindings };
  }

  async #bind(queues: readonly BoundQueue[]): Promise<void> {
    const acts: Promise<unknown>[] = [];
    const keys = this.#keys;
    for (const queue of queues) {
      for (const { exchange, member } of queue.bindings) {
        if (queue.expiresMs !== null) {
          const ttl = tableTtl(queue.expiresMs);
          acts.push(
            this.#link.run(BIND_EXPIRING, [keys.binding(exchange), keys.bindingDeadlines], [member, exchange, ttl]),
          );
          continue;
        }
        // The permanent set first: a sweep between the two must find it.
        acts.push(this.#link.call("SADD", [keys.bindingPermanent(exchange), member]));
        acts.push(this.#link.call("SADD", [keys.binding(exchange), member]));
      }
    }
    await Promise.all(acts);
  }

  async #check(queues: readonly BoundQueue[]): Promise<void> {
    for (const queue of queues) {
      for (const { exchange, member } of queue.bindings) {
        const found = await this.#link.call("SISMEMBER", [this.#keys.binding(exchange), member]);
        if (found === 0) throw new QueueNotFound(queue.name);
      }
    }
  }
}

/** Queues whose binding takes the key. Members of topic exchanges carry a pattern, so the type need not be known. */
export function matchingQueues(
  table: readonly Binding[],
  type: ExchangeType | undefined,
  routingKey: string,
): string[] {
  const queues = new Set<string>();
  for (const binding of table) {
    const topic = type === "topic" || (type === undefined && binding.pattern !== "");
    const taken =
      type === "fanout" || (topic ? matchesTopic(binding.routingKey, routingKey) : binding.routingKey === routingKey);
    if (taken && binding.queue !== "") queues.add(binding.queue);
  }
  return [...queues];
}

function tableTtl(expiresMs: number): number {
  return Math.max(expiresMs * EXPIRES_FACTOR, MIN_TABLE_TTL_MS);
}

function expiresOf(queue: Queue): number | null {
  const value = queue.arguments?.["x-expires"];
  const number = typeof value === "string" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? Math.trunc(number) : null;
}
