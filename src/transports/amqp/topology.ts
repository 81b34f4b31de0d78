/**
 * What was declared, and the channel on which it is: queues with their exchanges and bindings, as Celery declares them
 * (celery-wire 4.1; kombu/entity.py `Queue._create_queue`). Each once for a connection, all again after a reconnect.
 *
 * The channel also answers questions about queues. A refused call closes it; the next call opens another.
 */

import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import type { Exchange, ExchangeType, Queue } from "../../../protocol/routing.ts";
import type { Log } from "../../runtime/log.ts";
import { ConnectionLost, QueueClash, QueueNotFound, TransportError } from "../errors.ts";
import type { DeclareMode } from "../transport.ts";
import { REPLY, replyCode, replyText } from "./broker-errors.ts";
import {
  bindExchange,
  bindQueue,
  checkQueue,
  declareExchange,
  declareQueue,
  deleteQueue,
  purgeQueue,
  type QueueCounts,
} from "./calls.ts";
import type { AmqpConnection, AnyChannel } from "./connection.ts";

export class Topology {
  readonly #mode: DeclareMode;
  readonly #log: Log;
  readonly #queues = new Map<string, Queue>();
  readonly #exchangeTypes = new Map<string, ExchangeType>();
  /** Those that were asked for without a queue. */
  readonly #exchanges = new Map<string, Exchange>();
  /** Name and attributes of what stands on the present connection. */
  #standing = new Map<string, string>();
  #connection: AmqpConnection | null = null;
  #channel: AnyChannel | null = null;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(mode: DeclareMode, log: Log) {
    this.#mode = mode;
    this.#log = log;
  }

  /** A queue of a type that has no prefetch for a whole channel. */
  isReplicated(queue: string): boolean {
    const type: unknown = this.#queues.get(queue)?.arguments?.["x-queue-type"];
    return type === "quorum" || type === "stream";
  }

  /** The type of an exchange that was declared here. */
  exchangeType(exchange: string): ExchangeType | undefined {
    return this.#exchangeTypes.get(exchange);
  }

  /** A new connection: all that was declared is declared again. A clash is logged, for nobody waits for the answer. */
  async attach(connection: AmqpConnection): Promise<void> {
    this.#connection = connection;
    this.#channel = null;
    this.#standing = new Map();
    for (const exchange of this.#exchanges.values()) {
      try {
        await this.#declareExchange(exchange);
      } catch (error) {
        if (connection.over) throw error;
        this.#log.error({ err: error, exchange: exchange.name }, "could not declare an exchange again");
      }
    }
    for (const queue of this.#queues.values()) {
      try {
        await this.#declare(queue);
      } catch (error) {
        if (connection.over) throw error;
        this.#log.error({ err: error, queue: queue.name }, "could not declare a queue again after reconnecting");
      }
    }
  }

  /** Exchanges that are only published to. */
  async declareExchanges(exchanges: readonly Exchange[]): Promise<void> {
    for (const exchange of exchanges) {
      this.#exchangeTypes.set(exchange.name, exchange.type);
      if (this.#mode !== "create") continue;
      await this.#declareExchange(exchange);
      this.#exchanges.set(exchange.name, exchange);
    }
  }

  async #declareExchange(exchange: Exchange): Promise<void> {
    try {
      await this.#run((channel) => this.#createExchange(channel, exchange));
    } catch (error) {
      throw clash(error, { name: exchange.name, exchange, routingKey: "" });
    }
  }

  async declare(queue: Queue): Promise<void> {
    checkNames(queue);
    for (const { exchange } of [queue, ...(queue.bindings ?? [])])
      this.#exchangeTypes.set(exchange.name, exchange.type);
    if (this.#modeOf(queue) === "never") return;
    if (this.#standing.get(queue.name) === fingerprint(queue)) return;
    await this.#declare(queue);
    this.#queues.set(queue.name, queue);
  }

  /** Its declaration counts no longer: it may have been deleted. */
  doubt(queue: string): void {
    this.#standing.delete(queue);
  }

  /** Declares the queue anew when it is one of ours; rejects with `QueueNotFound` when it does not exist. */
  async assure(name: string): Promise<void> {
    const queue = this.#queues.get(name);
    if (queue && this.#modeOf(queue) === "create") return this.#declare(queue);
    await this.#check(name);
  }

  async inspect(queue: string): Promise<QueueCounts | null> {
    try {
      return await this.#check(queue);
    } catch (error) {
      if (error instanceof QueueNotFound) return null;
      throw error;
    }
  }

  async purge(queue: string): Promise<number> {
    try {
      return await this.#run((channel) => purgeQueue(channel, queue));
    } catch (error) {
      throw missing(error, queue);
    }
  }

  async delete(queue: string): Promise<void> {
    this.#queues.delete(queue);
    this.#standing.delete(queue);
    await this.#run((channel) => deleteQueue(channel, queue));
  }

  #modeOf(queue: Queue): DeclareMode {
    return queue.own ? "create" : this.#mode;
  }

  async #check(queue: string): Promise<QueueCounts> {
    try {
      return await this.#run((channel) => checkQueue(channel, queue));
    } catch (error) {
      throw missing(error, queue);
    }
  }

  async #declare(queue: Queue): Promise<void> {
    const mode = this.#modeOf(queue);
    if (mode === "never") return;
    const standing = this.#standing;
    if (mode === "passive") {
      await this.#check(queue.name);
    } else {
      try {
        await this.#run((channel) => this.#create(channel, queue));
      } catch (error) {
        throw clash(error, queue);
      }
    }
    standing.set(queue.name, fingerprint(queue));
  }

  async #create(channel: AnyChannel, queue: Queue): Promise<void> {
    const bindings = [{ exchange: queue.exchange, routingKey: queue.routingKey }, ...(queue.bindings ?? [])];
    for (const { exchange } of bindings) await this.#createExchange(channel, exchange);
    const attributes = queueAttributes(queue);
    await declareQueue(channel, queue.name, { ...attributes, arguments: callArguments(queue.arguments) });
    for (const { exchange, routingKey } of bindings) {
      if (exchange.name !== "") await bindQueue(channel, queue.name, exchange.name, routingKey);
    }
  }

  async #createExchange(channel: AnyChannel, exchange: Exchange): Promise<void> {
    // kombu/entity.py: the anonymous exchange and the broker's own are never declared.
    if (exchange.name === "" || exchange.name.startsWith("amq.")) return;
    const mark = `exchange ${exchange.name}`;
    const print = exchangePrint(exchange);
    if (this.#standing.get(mark) === print) return;
    await declareExchange(channel, exchange.name, exchange.type, {
      durable: exchange.durable ?? true,
      autoDelete: exchange.autoDelete ?? false,
      arguments: callArguments(exchange.arguments),
    });
    for (const source of exchange.sources ?? []) {
      await this.#createExchange(channel, source.exchange);
      await bindExchange(channel, exchange.name, source.exchange.name, source.routingKey);
    }
    if (!exchange.autoDelete) this.#standing.set(mark, print);
  }

  /** One after the other: a refused call closes the channel under those that follow it. */
  #run<T>(act: (channel: AnyChannel) => Promise<T>): Promise<T> {
    const turn = this.#tail.then(async () => act(await this.#open()));
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  async #open(): Promise<AnyChannel> {
    const connection = this.#connection;
    if (!connection || connection.over) throw new ConnectionLost("there is no connection to the broker");
    if (this.#channel) return this.#channel;
    const channel: AnyChannel = await connection.openChannel(null, () => {
      if (this.#channel === channel) this.#channel = null;
    });
    this.#channel = channel;
    return channel;
  }
}

function checkNames(queue: Queue): void {
  for (const name of [queue.name, queue.routingKey, queue.exchange.name]) {
    if (Buffer.byteLength(name) > 255) {
      throw new ImproperlyConfigured(`${JSON.stringify(name.slice(0, 40))}… is longer than the 255 bytes AMQP allows`);
    }
  }
}

function queueAttributes(queue: Queue) {
  return {
    durable: queue.durable ?? true,
    exclusive: queue.exclusive ?? false,
    autoDelete: queue.autoDelete ?? false,
    arguments: queue.arguments ?? {},
  };
}

function exchangeAttributes(exchange: Exchange) {
  return {
    name: exchange.name,
    type: exchange.type,
    durable: exchange.durable ?? true,
    autoDelete: exchange.autoDelete ?? false,
    arguments: exchange.arguments ?? {},
  };
}

/** The exchange and what it is bound to. */
function exchangePrint(exchange: Exchange): string {
  const sources = exchange.sources?.map((source) => [source.exchange.name, source.routingKey]) ?? [];
  return JSON.stringify([exchangeAttributes(exchange), sources], bigintAsText);
}

function fingerprint(queue: Queue): string {
  const bindings = [queue, ...(queue.bindings ?? [])];
  const bound = bindings.map(({ exchange, routingKey }) => [exchangePrint(exchange), routingKey]);
  return JSON.stringify([queueAttributes(queue), bound], bigintAsText);
}

function bigintAsText(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

/** Arguments with their numbers as Kombu writes them: 32 or 64 bits, where amqplib would choose the shortest. */
function callArguments(args: Record<string, unknown> | undefined): Record<string, unknown> {
  const result: Record<string, unknown> = Object.create(null);
  for (const [key, value] of Object.entries(args ?? {})) result[key] = callArgument(value);
  return result;
}

function callArgument(value: unknown): unknown {
  if (typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))) {
    return { "!": value >= -(2 ** 31) && value < 2 ** 31 ? "int" : "long", value };
  }
  if (Array.isArray(value)) return value.map(callArgument);
  const plain = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  return plain ? callArguments(Object.fromEntries(Object.entries(value))) : value;
}

function missing(error: unknown, queue: string): unknown {
  const cause: unknown = error instanceof TransportError ? error.cause : null;
  return replyCode(cause) === REPLY.notFound ? new QueueNotFound(queue, { cause }) : error;
}

/**
 * RabbitMQ names the first attribute that differs: "inequivalent arg 'x-max-priority' for queue 'q' in vhost '/': received
 * none but current is the value '5' of type 'signedint'".
 */
function clash(error: unknown, queue: Queue): unknown {
  const cause: unknown = error instanceof TransportError ? error.cause : null;
  const code = replyCode(cause);
  const text = replyText(cause);
  if (code === REPLY.resourceLocked) {
    return new QueueClash(queue.name, queueAttributes(queue), "exclusive to another connection", {
      cause,
      retryable: true,
    });
  }
  const parts =
    /inequivalent arg '([^']*)' for (queue|exchange) '([\s\S]*)' in vhost '[\s\S]*': received (.*) but current is (.*)$/.exec(
      text,
    );
  if (code === REPLY.preconditionFailed && parts) {
    const [, attribute = "", kind, name = "", , current = ""] = parts;
    const exchange = [queue, ...(queue.bindings ?? [])].find((binding) => binding.exchange.name === name)?.exchange;
    const ours = kind === "exchange" && exchange ? exchangeAttributes(exchange) : queueAttributes(queue);
    const theirs = `${attribute}: ${current}`;
    return new QueueClash(queue.name, ours, theirs, { cause, ...(kind === "exchange" ? { exchange: name } : {}) });
  }
  return missing(error, queue.name);
}
