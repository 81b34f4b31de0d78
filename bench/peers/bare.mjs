/**
 * amqplib or ioredis alone, doing on the wire what a Celery worker or client does and nothing else: no retry, no ETA, no states,
 * no error handling. Plain: Celery's commands for each message, those of one step in one write. Batched: the fewest commands
 * that come to the same, as the floor.
 */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { amqpBroker } from "./bare-amqp.mjs";
import { redisBroker } from "./bare-redis.mjs";
import { ResultWriter } from "./bare-results.mjs";
import { callLoop, endOnSignal, job, publishLoop } from "./job.mjs";

const broker = await (job.transport === "amqp" ? amqpBroker(job) : redisBroker(job));

if (job.mode === "work") {
  const results = new ResultWriter(new Redis(job.backend), job.batched);
  endOnSignal(() => broker.close());
  await broker.work((name, id, [x, y]) => {
    if (name === job.task) results.store(id, x + y);
  });
} else if (job.mode === "publish") {
  await publishLoop(() => broker.publish(randomUUID()));
  await broker.close();
} else {
  const commands = new Redis(job.backend);
  const listener = new Redis(job.backend);
  const waiting = new Map();
  listener.on("message", (channel, text) => {
    waiting.get(channel)?.(JSON.parse(text).result);
    waiting.delete(channel);
    listener.unsubscribe(channel);
  });
  await callLoop(async () => {
    const id = randomUUID();
    const key = `celery-task-meta-${id}`;
    const result = new Promise((resolve) => waiting.set(key, resolve));
    broker.publish(id);
    await listener.subscribe(key);
    const early = await commands.get(key);
    return early === null ? result : JSON.parse(early).result;
  });
  commands.disconnect();
  listener.disconnect();
  await broker.close();
}
