/** Fills a queue, then says how fast a worker empties it. Job: `{ broker, backend, queue, events, count }`. */
import { Celery, consoleLog, task } from "lovage";
import { Worker } from "lovage/worker";

const { broker, backend, queue, events, count } = JSON.parse(process.argv[2] ?? "{}");
let done = 0;
let began = 0;
let cpu;
let finish;
const finished = new Promise((resolve) => {
  finish = resolve;
});
const add = task("bench.add", (x, y) => {
  if (done === 0) {
    began = performance.now();
    cpu = process.cpuUsage();
  }
  if (++done === count) {
    const { user, system } = process.cpuUsage(cpu);
    finish({ ms: performance.now() - began, cpuUs: user + system });
  }
  return x + y;
});
const app = new Celery("bench", {
  broker,
  backend,
  tasks: [add],
  log: consoleLog({ level: "warn" }),
  settings: { task_default_queue: queue, worker_prefetch_multiplier: 16 },
});
for (let sent = 0; sent < count; sent += 500) {
  await Promise.all(Array.from({ length: Math.min(500, count - sent) }, () => app.send(add, [2, 3])));
}
const worker = await new Worker(app, { events, concurrency: 64 }).start();
const { ms, cpuUs } = await finished;
await worker.stop();
await app.control.purge();
await app.transport.deleteQueue(queue);
await app.close();
process.stdout.write(JSON.stringify({ perSecond: (count / ms) * 1000, cpuUs: cpuUs / count }));
