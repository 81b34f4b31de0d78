/**
 * What one transport declared, and where its messages go. The bindings are kept so that they can be made to exist again: another
 * first binder of an exchange may wipe them out (see `exchange-tables.ts`).
 */
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { messageFileName } from "../../../protocol/kombu/filesystem-names.ts";
import type { Address } from "../../../protocol/message.ts";
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
import type { ExchangeTables } from "./exchange-tables.ts";

export class Routes {
  readonly mode: DeclareMode;
  readonly #tables: ExchangeTables;
  readonly #types = new Map<string, ExchangeType>();
  readonly #queues = new Map<string, Queue>();
  readonly #bindings = new Map<string, Binding[]>();

  constructor(
    tables: ExchangeTables,
    mode: DeclareMode,
    exchanges: readonly { name: string; type: ExchangeType }[] = [],
  ) {
    this.#tables = tables;
    this.mode = mode;
    for (const exchange of exchanges) this.#types.set(exchange.name, exchange.type);
  }

  /** Throws before anything was done: `ImproperlyConfigured` for unusable names, `QueueClash` for another exchange type. */
  async declare(queues: readonly Queue[], exchanges: readonly Exchange[] = []): Promise<void> {
    // One without bindings has no file; only its type is to be known.
    for (const exchange of exchanges) this.#noteExchange(exchange);
    const found = queues.flatMap((queue) => this.#bindingsOf(queue));
    for (const queue of queues) this.#queues.set(queue.name, queue);
    if (this.mode === "never") return;
    if (this.mode === "passive") {
      for (const { exchange, binding } of found) await this.#check(exchange, binding);
      return;
    }
    for (const { exchange, binding } of found) {
      const ours = this.#bindings.get(exchange) ?? [];
      const known = ours.some((row) => row.routingKey === binding.routingKey && row.queue === binding.queue);
      if (!known) this.#bindings.set(exchange, [binding, ...ours]);
    }
    await this.ensure(new Set(found.map(({ exchange }) => exchange)));
  }

  /** Makes the declared bindings exist. Quick when they do. */
  async ensure(exchanges: Iterable<string> = this.#bindings.keys()): Promise<void> {
    if (this.mode !== "create") return;
    for (const exchange of exchanges) {
      const bindings = this.#bindings.get(exchange);
      if (bindings !== undefined) await this.#tables.ensure(exchange, bindings);
    }
  }

  /** Forgets a queue and takes it out of every exchange. */
  async remove(queue: string): Promise<void> {
    this.#queues.delete(queue);
    for (const [exchange, bindings] of this.#bindings) {
      const others = bindings.filter((binding) => binding.queue !== queue);
      if (others.length > 0) this.#bindings.set(exchange, others);
      else this.#bindings.delete(exchange);
    }
    if (this.mode !== "never") await this.#tables.removeQueue(queue);
  }

  /** The queues that a message goes to, each once. */
  async queuesFor({ exchange, routingKey }: Address): Promise<Set<string>> {
    if (exchange === "") return new Set([routingKey]);
    const table = await this.#tables.read(exchange);
    const type = this.#types.get(exchange);
    const fanout = this.#isFanout(exchange);
    const queues = new Set<string>();
    for (const binding of table) {
      // an exchange that was not declared here: a pattern tells a topic binding
      const topic = type === "topic" || (type === undefined && binding.pattern !== "");
      const taken =
        fanout || (topic ? matchesTopic(binding.routingKey, routingKey) : binding.routingKey === routingKey);
      if (taken && binding.queue !== "") queues.add(binding.queue);
    }
    return queues;
  }

  /** Messages of events and control need not find a queue. */
  isOptional(exchange: string): boolean {
    return exchange === "celeryev" || this.#isFanout(exchange);
  }

  /**
   * The queues among these that end with their only consumer: Celery makes them for one process (pidbox, replies, events). Other
   * auto-delete queues may have consumers that we cannot see.
   */
  ending(queues: Iterable<string>): string[] {
    return [...queues].filter((name) => {
      const queue = this.#queues.get(name);
      return queue?.autoDelete === true && (queue.exclusive === true || queue.arguments?.["x-expires"] !== undefined);
    });
  }

  #isFanout(exchange: string): boolean {
    const type = this.#types.get(exchange);
    return type === undefined ? exchange.endsWith(".pidbox") && !exchange.startsWith("reply.") : type === "fanout";
  }

  /** Throws `QueueClash` when it is known as one of another type. */
  #noteExchange({ name, type }: Exchange, queue = ""): void {
    if (type === "headers") throw new ImproperlyConfigured("exchanges of type headers exist only on AMQP brokers");
    const known = this.#types.get(name);
    if (known !== undefined && known !== type)
      throw new QueueClash(queue, { type }, { type: known }, { exchange: name });
    this.#types.set(name, type);
  }

  #bindingsOf(queue: Queue): { exchange: string; binding: Binding }[] {
    checkQueueName(queue.name);
    const found: { exchange: string; binding: Binding }[] = [];
    for (const { exchange, routingKey } of [queue, ...(queue.bindings ?? [])]) {
      const { name, type } = exchange;
      if (name === "") continue;
      this.#noteExchange(exchange, queue.name);
      found.push({ exchange: name, binding: bindingOf(type, routingKey, queue.name) });
    }
    return found;
  }

  async #check(exchange: string, binding: Binding): Promise<void> {
    const table = await this.#tables.read(exchange);
    const bound = table.some((row) => row.routingKey === binding.routingKey && row.queue === binding.queue);
    if (!bound) throw new QueueNotFound(binding.queue);
  }
}

/** Throws `ImproperlyConfigured` for a queue whose name cannot be part of a file name. */
export function checkQueueName(queue: string): void {
  messageFileName(0, "name", queue);
}
