/** BullMQ with its defaults and a concurrency; jobs carry the same arguments. */
const { createRequire } = require("node:module");

async function main() {
  const { callLoop, endOnSignal, job, publishLoop } = await import("./job.mjs");
  const { Queue, QueueEvents, Worker } = createRequire(job.module)(job.module);
  const { hostname, port, pathname } = new URL(job.broker);
  const connection = { host: hostname, port: Number(port), db: Number(pathname.slice(1)) };
  if (job.mode === "work") {
    const worker = new Worker(job.queue, async ({ data: [x, y] }) => x + y, {
      connection,
      concurrency: job.concurrency,
    });
    endOnSignal(() => worker.close(true));
    return;
  }
  const queue = new Queue(job.queue, { connection });
  if (job.mode === "publish") {
    await publishLoop(() => queue.add(job.task, job.args));
  } else {
    const events = new QueueEvents(job.queue, { connection });
    await events.waitUntilReady();
    await callLoop(async () => (await queue.add(job.task, job.args)).waitUntilFinished(events));
    await events.close();
  }
  await queue.close();
  process.exit(0);
}

main();
