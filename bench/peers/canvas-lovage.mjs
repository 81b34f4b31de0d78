/** Lovage's canvas as its documentation shows it, from the build in dist/; the same job as `canvas_celery.py`. */
import { Celery, chord, consoleLog, group, task } from "lovage";
import { endOnSignal, job, say } from "./job.mjs";

const add = task("bench.add", (x, y) => x + y);
const total = task("bench.total", (numbers) => numbers.reduce((sum, one) => sum + one, 0));

const app = new Celery("bench", {
  broker: job.broker,
  backend: job.backend,
  tasks: [add, total],
  log: consoleLog({ level: "warn" }),
  settings: { task_default_queue: job.queue },
});

const members = (size) => Array.from({ length: size }, () => add.s(1, 1));

const measures = {
  async chord(size) {
    const from = performance.now();
    const value = await (await app.apply(chord(members(size), total.s()))).get({ timeout: 3_600_000 });
    if (value !== 2 * size) throw new RangeError(`expected ${2 * size} and got ${value}`);
    return performance.now() - from;
  },
  async group(size) {
    const from = performance.now();
    await app.apply(group(members(size)), { queue: `${job.queue}-unread` });
    return performance.now() - from;
  },
};

if (job.mode === "work") {
  const { Worker } = await import("lovage/worker");
  const worker = new Worker(app, { concurrency: job.concurrency });
  endOnSignal(async () => {
    await worker.stop("warm");
    await app.close();
  });
  await worker.start();
} else {
  await measures.chord(10);
  await measures.group(10);
  say({ ready: true });
  for (const [workload, size] of job.workloads) say({ workload, size, ms: await measures[workload](size) });
  await app.close();
}
