/**
 * The neutral side: fills queues with messages that Celery itself made, and counts what is done from outside, the same way for
 * every contender. Results go to a Redis database of their own that holds nothing else, so that its size is the count.
 */
import { randomUUID } from "node:crypto";
import amqp from "amqplib";
import { Redis } from "ioredis";
import { MeasurementFailed } from "./failure.mjs";

const FILL_BATCH = 1_000;
const BROKER_DB = 0;
const RESULT_DB = 1;

export class Servers {
  #channel;
  #amqp;
  #broker;
  #results;

  static async connect({ amqpUrl, redisUrl }) {
    const servers = new Servers();
    servers.amqpUrl = amqpUrl;
    servers.redisBrokerUrl = withDatabase(redisUrl, BROKER_DB);
    servers.resultUrl = withDatabase(redisUrl, RESULT_DB);
    servers.#amqp = await amqp.connect(amqpUrl);
    servers.#channel = await servers.#amqp.createConfirmChannel();
    servers.#broker = new Redis(servers.redisBrokerUrl);
    servers.#results = new Redis(servers.resultUrl);
    for (const [client, url] of [
      [servers.#broker, servers.redisBrokerUrl],
      [servers.#results, servers.resultUrl],
    ]) {
      if ((await client.dbsize()) > 0) {
        await servers.close();
        throw new MeasurementFailed(`${url} is not empty, and the benchmark empties what it uses`);
      }
    }
    return servers;
  }

  urls(broker) {
    return { broker: broker === "amqp" ? this.amqpUrl : this.redisBrokerUrl, backend: this.resultUrl };
  }

  async versions() {
    const info = await this.#broker.info("server");
    return {
      rabbitmq: this.#amqp.connection.serverProperties.version,
      redis: /redis_version:(\S+)/.exec(info)?.[1],
    };
  }

  /** Processor time of the Redis server so far, in milliseconds. */
  async redisCpuMs() {
    const info = await this.#broker.info("cpu");
    const seconds = (name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
    return 1000 * (seconds("used_cpu_sys") + seconds("used_cpu_user"));
  }

  /** Takes the one message that Celery has put on `queue`, as the pattern for many. */
  async takePattern(broker, queue) {
    if (broker === "amqp") {
      const message = await this.#channel.get(queue, { noAck: true });
      return { id: message.properties.headers.id, message };
    }
    const text = await this.#broker.rpop(queue);
    const envelope = JSON.parse(text);
    return { id: envelope.headers.id, tag: envelope.properties.delivery_tag, text };
  }

  /** Puts `count` copies of the pattern on the queue, each with an id of its own. Returns some of the ids. */
  async fill(broker, queue, count, pattern) {
    const ids = [];
    if (broker === "amqp") await this.#channel.assertQueue(queue, { durable: true });
    for (let from = 0; from < count; from += FILL_BATCH) {
      const texts = [];
      for (let at = from; at < Math.min(count, from + FILL_BATCH); at++) {
        const id = randomUUID();
        if (at % 997 === 0) ids.push(id);
        if (broker === "amqp") this.#publishCopy(queue, id, pattern);
        else texts.push(pattern.text.replaceAll(pattern.id, id).replaceAll(pattern.tag, randomUUID()));
      }
      if (broker === "amqp") await this.#channel.waitForConfirms();
      else await this.#broker.lpush(queue, texts);
    }
    return ids;
  }

  #publishCopy(queue, id, { id: patternId, message }) {
    const { headers, ...properties } = message.properties;
    const own = { ...headers, id, root_id: headers.root_id === patternId ? id : headers.root_id };
    this.#channel.sendToQueue(queue, message.content, { ...properties, correlationId: id, headers: own });
  }

  /** As Celery declares it: what clients publish to must exist on AMQP. */
  async makeQueue(queue) {
    await this.#channel.assertQueue(queue, { durable: true });
  }

  /** Messages on Kombu's list of those taken and not acknowledged. */
  unacked() {
    return this.#broker.hlen("unacked");
  }

  /** Ready messages. */
  async depth(broker, queue) {
    if (broker === "amqp") return (await this.#channel.checkQueue(queue)).messageCount;
    return this.#broker.llen(queue);
  }

  resultCount() {
    return this.#results.dbsize();
  }

  /** Throws unless every one of these tasks has the expected result. */
  async checkResults(ids, expected) {
    if (ids.length === 0) return;
    const texts = await this.#results.mget(ids.map((id) => `celery-task-meta-${id}`));
    texts.forEach((text, at) => {
      const meta = text === null ? null : JSON.parse(text);
      if (meta?.status !== "SUCCESS" || meta.result !== expected)
        throw new MeasurementFailed(`task ${ids[at]} left ${text}`);
    });
  }

  /** Jobs of BullMQ by their state: `wait` is a list, `completed` a sorted set. */
  bullWaiting(queue) {
    return this.#broker.llen(`bull:${queue}:wait`);
  }

  bullCompleted(queue) {
    return this.#broker.zcard(`bull:${queue}:completed`);
  }

  /** Leaves nothing behind for the next measurement. */
  async clear(broker, queue) {
    if (broker === "amqp") {
      await this.#channel.deleteQueue(queue);
      await this.#channel.deleteExchange(queue);
    }
    await Promise.all([this.#broker.flushdb(), this.#results.flushdb()]);
  }

  async close() {
    this.#broker.disconnect();
    this.#results.disconnect();
    await this.#amqp.close();
  }
}

function withDatabase(url, database) {
  const parsed = new URL(url);
  parsed.pathname = `/${database}`;
  return parsed.href;
}
