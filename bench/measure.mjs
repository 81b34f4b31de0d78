/** One measurement of one contender: prepare, start, watch from outside, check, clean up. */
import { setTimeout as pause } from "node:timers/promises";
import { MeasurementFailed } from "./failure.mjs";
import { ARGS, EXPECTED, PUBLISH_WINDOW, TASK } from "./plan.mjs";
import { Contender } from "./process.mjs";

const LOOK_EVERY_MS = 4;
const DEADLINE_MS = 60_000;

let serial = 0;

export class Measurements {
  #servers;
  #patterns;
  #fillBull;
  #cwd;

  /** `patterns`: by broker, the message that Celery made. `fillBull(queue, count, args)` puts BullMQ's own jobs. */
  constructor({ servers, patterns, fillBull, cwd }) {
    this.#servers = servers;
    this.#patterns = patterns;
    this.#fillBull = fillBull;
    this.#cwd = cwd;
  }

  /** Tasks a second from a filled queue, first to last result, and processor time a task; start of the process to first result. */
  async work(contender, broker, count) {
    const servers = this.#servers;
    const queue = queueName("work");
    const isBull = contender.name === "bullmq";
    let ids = [];
    if (isBull) await this.#fillBull(queue, count, ARGS);
    else ids = await servers.fill(broker, queue, count, this.#patterns[broker]);
    const done = isBull ? () => servers.bullCompleted(queue) : () => servers.resultCount();
    const child = this.#start(contender, { mode: "work", broker, queue });
    try {
      const first = await watch(done, 1, child);
      const cpuBefore = child.cpuMs();
      const redisBefore = await servers.redisCpuMs();
      const last = await watch(done, count, child);
      const cpuAfter = child.cpuMs();
      const redisAfter = await servers.redisCpuMs();
      const tasks = last.count - first.count;
      if (last.count !== count) throw new MeasurementFailed(`${contender.name} left ${last.count} results of ${count}`);
      await servers.checkResults(ids, EXPECTED);
      if (!isBull && broker === "redis" && contender.name !== "celery-node") await this.#allForgotten(contender);
      return {
        perSecond: (1000 * tasks) / (last.at - first.at),
        startMs: first.at - child.startedAt,
        cpuMicros: cpuBefore === null ? null : (1000 * (cpuAfter - cpuBefore)) / tasks,
        redisMicros: (1000 * (redisAfter - redisBefore)) / tasks,
        peakMb: child.peakMb(),
      };
    } finally {
      await child.stop();
      await servers.clear(broker, queue);
    }
  }

  /** An acknowledged message leaves nothing behind: whoever leaves it has not done all the work. */
  async #allForgotten(contender) {
    const until = Date.now() + 3_000;
    let held = await this.#servers.unacked();
    while (held > 0 && Date.now() < until) {
      await pause(20);
      held = await this.#servers.unacked();
    }
    if (held > 0) throw new MeasurementFailed(`${contender.name} left ${held} messages unacknowledged`);
  }

  /** Messages a second from the first send until the broker holds them all. */
  async publish(contender, broker, count) {
    const servers = this.#servers;
    const queue = queueName("publish");
    if (broker === "amqp") await servers.makeQueue(queue);
    const depth = contender.name === "bullmq" ? () => servers.bullWaiting(queue) : () => servers.depth(broker, queue);
    const child = this.#start(contender, { mode: "publish", broker, queue, count });
    try {
      await child.hear("ready");
      const before = (await watch(depth, 1, child)).count;
      const cpuBefore = child.cpuMs();
      child.say("go");
      const from = await child.hear("started");
      const last = await watch(depth, before + count, child);
      const cpuAfter = child.cpuMs();
      return {
        perSecond: (1000 * count) / (last.at - from),
        cpuMicros: cpuBefore === null ? null : (1000 * (cpuAfter - cpuBefore)) / count,
      };
    } finally {
      child.say("end");
      await child.stop();
      await servers.clear(broker, queue);
    }
  }

  /** Milliseconds from send to result, one call after the other. */
  async call(client, worker, broker, count, warmUp) {
    const servers = this.#servers;
    const queue = queueName("call");
    if (broker === "amqp") await servers.makeQueue(queue);
    const working = this.#start(worker, { mode: "work", broker, queue });
    const calling = this.#start(client, { mode: "call", broker, queue, count, warmUp });
    try {
      const samples = await Promise.race([calling.hear("samples"), working.gone(`worker of ${client.name}`)]);
      return { samples };
    } finally {
      await Promise.all([calling.stop(), working.stop()]);
      await servers.clear(broker, queue);
    }
  }

  #start(contender, { broker, ...job }) {
    const common = { transport: broker, task: TASK, args: ARGS, expected: EXPECTED, window: PUBLISH_WINDOW };
    return new Contender(contender.command({ ...common, ...this.#servers.urls(broker), ...job }), { cwd: this.#cwd });
  }
}

/** Has Celery put one message on the queue of each broker. */
export async function recordPatterns(servers, celery) {
  const patterns = {};
  for (const broker of ["amqp", "redis"]) {
    const queue = queueName("pattern");
    const job = { mode: "pattern", task: TASK, args: ARGS, queue, ...servers.urls(broker) };
    const child = new Contender(celery.command(job));
    await child.ended();
    patterns[broker] = await servers.takePattern(broker, queue);
    await servers.clear(broker, queue);
  }
  return patterns;
}

/** One at a time for the whole machine, so a serial number is enough. */
function queueName(purpose) {
  return `bench-${purpose}-${process.pid}-${++serial}`;
}

/** Looks until there are `wanted`; when, and how many there were. Ends when the process does or time is up. */
async function watch(look, wanted, child) {
  const gone = { error: null };
  child.gone(`waiting for ${wanted}`).catch((error) => {
    gone.error = error;
  });
  const until = performance.now() + DEADLINE_MS;
  for (;;) {
    const count = await look();
    const at = performance.timeOrigin + performance.now();
    if (count >= wanted) return { count, at };
    if (gone.error !== null) throw gone.error;
    if (performance.now() > until)
      throw new MeasurementFailed(`${count} of ${wanted} after ${DEADLINE_MS / 1000} s\n${child.errors}`);
    await pause(LOOK_EVERY_MS);
  }
}
