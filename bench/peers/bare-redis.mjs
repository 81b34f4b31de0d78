/**
 * ioredis alone, with Kombu's keys: pop many (a blocking pop only when the queue is empty), mark each unacked with ZADD and HSET
 * in a MULTI, and forget it with ZREM and HDEL in a MULTI before it runs, as Celery acknowledges unless told otherwise.
 */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { bodyOf, headersOf } from "./bare-message.mjs";

const INDEX = "unacked_index";
const UNACKED = "unacked";

export async function redisBroker(job) {
  const redis = new Redis(job.broker, { enableAutoPipelining: true });
  const blocking = new Redis(job.broker);
  return {
    async close() {
      blocking.disconnect();
      redis.disconnect();
    },
    work: (run) => consume(redis, blocking, job, run),
    publish(id) {
      return redis.lpush(job.queue, JSON.stringify(envelopeOf(id, job)));
    },
  };
}

async function consume(redis, blocking, job, run) {
  const bookkeeping = job.batched ? new BatchedBookkeeping(redis) : new Bookkeeping(redis);
  const most = job.concurrency * job.prefetchMultiplier;
  for (;;) {
    const texts = (await redis.rpop(job.queue, most)) ?? [(await blocking.brpop(job.queue, 0))[1]];
    const score = Date.now() / 1000;
    const envelopes = texts.map((text) => {
      const envelope = JSON.parse(text);
      const { delivery_tag: tag, delivery_info: info } = envelope.properties;
      const record = `[${text}, ${JSON.stringify(info.exchange)}, ${JSON.stringify(info.routing_key)}]`;
      bookkeeping.add(tag, score, record);
      return envelope;
    });
    await bookkeeping.mark();
    bookkeeping.forget();
    for (const { headers, body } of envelopes) {
      const [args] = JSON.parse(Buffer.from(body, "base64").toString());
      run(headers.task, headers.id, args);
    }
  }
}

/** Kombu's commands for each message. */
class Bookkeeping {
  #redis;
  #marks = [];
  #forgets = [];

  constructor(redis) {
    this.#redis = redis;
  }

  add(tag, score, record) {
    this.#marks.push(["multi"], ["zadd", INDEX, score, tag], ["hset", UNACKED, tag, record], ["exec"]);
    this.#forgets.push(["multi"], ["zrem", INDEX, tag], ["hdel", UNACKED, tag], ["exec"]);
  }

  mark() {
    return this.#redis.pipeline(this.#marks.splice(0)).exec();
  }

  forget() {
    this.#redis.pipeline(this.#forgets.splice(0)).exec();
  }
}

/** One command of each kind for all messages of a step. */
class BatchedBookkeeping {
  #redis;
  #tags = [];
  #scores = [];
  #records = [];

  constructor(redis) {
    this.#redis = redis;
  }

  add(tag, score, record) {
    this.#tags.push(tag);
    this.#scores.push(score, tag);
    this.#records.push(tag, record);
  }

  mark() {
    const commands = [
      ["zadd", INDEX, ...this.#scores.splice(0)],
      ["hset", UNACKED, ...this.#records.splice(0)],
    ];
    return this.#redis.multi(commands).exec();
  }

  forget() {
    const tags = this.#tags.splice(0);
    const commands = [
      ["zrem", INDEX, ...tags],
      ["hdel", UNACKED, ...tags],
    ];
    this.#redis.multi(commands).exec();
  }
}

function envelopeOf(id, job) {
  return {
    body: Buffer.from(bodyOf(job)).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: headersOf(id, job),
    properties: {
      correlation_id: id,
      reply_to: "",
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: job.queue },
      priority: 0,
      body_encoding: "base64",
      delivery_tag: randomUUID(),
    },
  };
}
