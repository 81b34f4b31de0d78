/** amqplib's calls that have an answer, as promises that reject with our errors. */
import type { Replies } from "amqplib/callback_api";
import { channelError } from "./broker-errors.ts";
import type { AnyChannel } from "./connection.ts";

type Done<T> = (error: unknown, value?: T) => void;

const pending = new WeakMap<object, number>();

/** Calls on this (amqplib's) connection that are not answered. */
export function pendingCalls(connection: object): number {
  return pending.get(connection) ?? 0;
}

/** Runs one call. A channel that has closed makes amqplib throw at once; that is the same to the caller. */
function call<T>(channel: AnyChannel, start: (done: Done<T>) => void): Promise<T | undefined> {
  const { connection } = channel;
  return new Promise((resolve, reject) => {
    pending.set(connection, pendingCalls(connection) + 1);
    const done: Done<T> = (error, value) => {
      pending.set(connection, pendingCalls(connection) - 1);
      if (error) reject(channelError(error));
      else resolve(value);
    };
    try {
      start(done);
    } catch (error) {
      done(error);
    }
  });
}

export interface QueueCounts {
  messages: number;
  consumers: number;
}

export async function checkQueue(channel: AnyChannel, queue: string): Promise<QueueCounts> {
  const found = await call<Replies.AssertQueue>(channel, (done) => channel.checkQueue(queue, done));
  return { messages: found?.messageCount ?? 0, consumers: found?.consumerCount ?? 0 };
}

export async function declareQueue(
  channel: AnyChannel,
  queue: string,
  options: { durable: boolean; exclusive: boolean; autoDelete: boolean; arguments: object },
): Promise<void> {
  await call(channel, (done) => channel.assertQueue(queue, options, done));
}

export async function declareExchange(
  channel: AnyChannel,
  exchange: string,
  type: string,
  options: { durable: boolean; autoDelete: boolean; arguments: object },
): Promise<void> {
  await call(channel, (done) => channel.assertExchange(exchange, type, options, done));
}

export async function bindQueue(channel: AnyChannel, queue: string, exchange: string, key: string): Promise<void> {
  await call(channel, (done) => channel.bindQueue(queue, exchange, key, {}, done));
}

/** What `source` gets with this key goes on to the exchange. */
export async function bindExchange(channel: AnyChannel, exchange: string, source: string, key: string): Promise<void> {
  await call(channel, (done) => channel.bindExchange(exchange, source, key, {}, done));
}

export async function purgeQueue(channel: AnyChannel, queue: string): Promise<number> {
  return (await call<Replies.PurgeQueue>(channel, (done) => channel.purgeQueue(queue, done)))?.messageCount ?? 0;
}

export async function deleteQueue(channel: AnyChannel, queue: string): Promise<void> {
  await call(channel, (done) => channel.deleteQueue(queue, {}, done));
}

/** `prefetch` over 65535 means no limit, as in Celery (celery/worker/consumer: `basic.qos` takes 16 bits). */
export async function setQos(channel: AnyChannel, prefetch: number, wholeChannel: boolean): Promise<void> {
  const count = prefetch > 0xffff || prefetch < 0 ? 0 : prefetch;
  await call(channel, (done) => channel.prefetch(count, wholeChannel, done));
}

export async function startConsuming(
  channel: AnyChannel,
  queue: string,
  options: { consumerTag: string; noAck: boolean; exclusive: boolean },
  onCancelled: () => void,
): Promise<void> {
  // Deliveries never reach amqplib; it only tells when the broker has cancelled the consumer.
  await call(channel, (done) => channel.consume(queue, (message) => message === null && onCancelled(), options, done));
}

export async function stopConsuming(channel: AnyChannel, consumerTag: string): Promise<void> {
  await call(channel, (done) => channel.cancel(consumerTag, done));
}

export async function closeChannel(channel: AnyChannel): Promise<void> {
  await call(channel, (done) => channel.close(done));
}
