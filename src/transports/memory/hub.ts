/**
 * The broker inside the process: exchanges, queues and who consumes them. Behaves as Kombu's virtual transports do
 * (kombu/transport/virtual/base.py): the anonymous exchange makes the queue that it names, the lowest priority number is
 * served first, patterns match as `protocol/routing.ts` says. Unlike them it refuses a redeclaration with other attributes.
 */
import type { Message } from "../../../protocol/message.ts";
import {
  type Binding,
  bindingOf,
  type Exchange,
  type ExchangeType,
  type Queue,
  routesFor,
} from "../../../protocol/routing.ts";
import { QueueClash } from "../errors.ts";
import { type Entry, MemoryQueue } from "./queue.ts";

interface Table {
  declared: Exchange;
  bindings: Binding[];
}

/** Every transport that names the same hub talks to the same queues. */
export class MemoryHub {
  readonly queues = new Map<string, MemoryQueue>();
  readonly #exchanges = new Map<string, Table>();

  declare(queue: Queue, owner: object): void {
    const known = this.queues.get(queue.name);
    if (known) {
      const clash = known.differsFrom(queue, owner);
      if (clash) throw new QueueClash(queue.name, clash.ours, clash.theirs);
    }
    const bindings = [queue, ...(queue.bindings ?? [])];
    for (const { exchange } of bindings) this.declareExchange(exchange);
    if (!known) this.queues.set(queue.name, new MemoryQueue(queue, owner, () => this.delete(queue.name)));
    else known.adopt(queue);
    for (const { exchange, routingKey } of bindings) this.#bind(exchange, routingKey, queue.name);
  }

  /** The queues that took the message; false when none did. */
  publish(message: Message, exchange: string, routingKey: string): boolean {
    const names = exchange === "" ? [routingKey] : this.#routes(exchange, routingKey);
    for (const name of names) {
      const queue = this.queues.get(name) ?? this.#undeclared(name);
      queue.put(entryOf(message, exchange, routingKey));
    }
    return names.length > 0;
  }

  exchangeType(name: string): ExchangeType | undefined {
    return this.#exchanges.get(name)?.declared.type;
  }

  delete(name: string): void {
    this.queues.get(name)?.drop();
    this.queues.delete(name);
    for (const [exchange, table] of this.#exchanges) {
      table.bindings = table.bindings.filter((binding) => binding.queue !== name);
      if (table.declared.autoDelete && table.bindings.length === 0) this.#exchanges.delete(exchange);
    }
  }

  /** Removes what belongs to a transport that has closed. */
  forget(owner: object): void {
    for (const queue of [...this.queues.values()]) {
      if (queue.belongsTo(owner)) this.delete(queue.name);
    }
  }

  clear(): void {
    for (const name of [...this.queues.keys()]) this.delete(name);
    this.#exchanges.clear();
  }

  declareExchange(exchange: Exchange): void {
    if (exchange.name === "") return;
    const known = this.#exchanges.get(exchange.name);
    if (!known) this.#exchanges.set(exchange.name, { declared: exchange, bindings: [] });
    else if (known.declared.type !== exchange.type) {
      throw new QueueClash(
        exchange.name,
        { type: exchange.type },
        { type: known.declared.type },
        { exchange: exchange.name },
      );
    }
  }

  #bind(exchange: Exchange, routingKey: string, queue: string): void {
    const table = this.#exchanges.get(exchange.name);
    if (!table) return;
    const has = table.bindings.some((known) => known.queue === queue && known.routingKey === routingKey);
    if (!has) table.bindings.push(bindingOf(exchange.type, routingKey, queue));
  }

  #routes(exchange: string, routingKey: string): string[] {
    const table = this.#exchanges.get(exchange);
    return table ? routesFor(table.declared.type, table.bindings, routingKey) : [];
  }

  #undeclared(name: string): MemoryQueue {
    const queue = new MemoryQueue({ name, exchange: { name: "", type: "direct" }, routingKey: name }, null, () =>
      this.delete(name),
    );
    this.queues.set(name, queue);
    return queue;
  }
}

const hubs = new Map<string, MemoryHub>();

/** The hub of this name within the process, made on first use. */
export function memoryHub(name: string): MemoryHub {
  let hub = hubs.get(name);
  if (!hub) {
    hub = new MemoryHub();
    hubs.set(name, hub);
  }
  return hub;
}

function entryOf(message: Message, exchange: string, routingKey: string): Entry {
  return { message: copyMessage(message), exchange, routingKey, redelivered: false, sequence: 0 };
}

/** Receiver and sender share nothing that either could change. */
function copyMessage(message: Message): Message {
  const copy: Message = {
    body: message.body.slice(),
    headers: message.headers === null ? null : copyRecord(message.headers),
    properties: { ...message.properties },
  };
  if (message.contentType !== undefined) copy.contentType = message.contentType;
  if (message.contentEncoding !== undefined) copy.contentEncoding = message.contentEncoding;
  return copy;
}

function copyRecord(record: object): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(record)) {
    if (value === undefined) continue;
    // Not an assignment: a header named __proto__ is a header.
    Object.defineProperty(copy, key, { value: copyValue(value), enumerable: true, writable: true, configurable: true });
  }
  return copy;
}

function copyValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyValue);
  if (typeof value !== "object" || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? copyRecord(value) : value;
}
