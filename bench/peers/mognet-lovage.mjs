/** Lovage's Mognet client and worker as its documentation shows them, from the build in dist/; the same job as `mognet_python.py`. */
import { consoleLog, task } from "lovage";
import { Mognet } from "lovage/mognet";
import { endOnSignal, job, say } from "./job.mjs";

const add = task("bench.add", (x, y) => x + y);
const redis = { redis: { url: job.backend } };

const app = new Mognet(job.app, {
  tasks: [add],
  config: {
    broker: { amqp: { url: job.broker } },
    result_backend: redis,
    state_backend: redis,
    minimum_concurrency: job.concurrency,
  },
  log: consoleLog({ level: "warn" }),
});

async function call() {
  const value = await app.run(add, [2, 3], {}, { timeout: 60_000 });
  if (value !== 5) throw new RangeError(`expected 5 and got ${value}`);
}

async function rate(count) {
  let next = 0;
  const lane = async () => {
    while (next++ < count) await call();
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: job.inFlight }, lane));
  return (1000 * count) / (performance.now() - from);
}

async function roundTrips(count) {
  const samples = [];
  for (let done = 0; done < count; done++) {
    const from = performance.now();
    await call();
    samples.push(performance.now() - from);
  }
  return samples;
}

if (job.mode === "work") {
  const { Worker } = await import("lovage/worker");
  const worker = new Worker(app);
  endOnSignal(async () => {
    await worker.stop("warm");
    await app.close();
  });
  await worker.start();
  say({ ready: true });
} else {
  await app.connect();
  await rate(job.warmUp);
  say({ warm: true });
  say({ perSecond: await rate(job.tasks) });
  say({ samples: await roundTrips(job.calls) });
  await app.close();
}
