/** Lovage as its documentation shows it, from the build in dist/. */
import { Celery, consoleLog, task } from "lovage";
import { callLoop, endOnSignal, job, publishLoop } from "./job.mjs";

const add = task(job.task, (x, y) => x + y);

const app = new Celery("bench", {
  broker: job.broker,
  backend: job.backend,
  tasks: [add],
  log: consoleLog({ level: "warn" }),
  settings: { task_default_queue: job.queue, worker_prefetch_multiplier: job.prefetchMultiplier },
});

if (job.mode === "work") {
  const { Worker } = await import("lovage/worker");
  const worker = new Worker(app, { concurrency: job.concurrency });
  endOnSignal(async () => {
    await worker.stop("warm");
    await app.close();
  });
  await worker.start();
} else if (job.mode === "publish") {
  await publishLoop(() => app.send(add, job.args));
  await app.close();
} else {
  await callLoop(async () => (await app.send(add, job.args)).get({ timeout: 60_000 }));
  await app.close();
}
