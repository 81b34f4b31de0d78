/** celery-node as its documentation shows it, its log of every task switched off. */
const { createRequire } = require("node:module");

async function main() {
  const { callLoop, endOnSignal, heard, job, now, say } = await import("./job.mjs");
  const celery = createRequire(job.module)(job.module);
  console.info = () => undefined;
  if (job.mode === "work") {
    const worker = celery.createWorker(job.broker, job.backend, job.queue);
    worker.register(job.task, (x, y) => x + y);
    endOnSignal();
    await worker.start();
    return;
  }
  const client = celery.createClient(job.broker, job.backend, job.queue);
  const task = client.createTask(job.task);
  if (job.mode === "publish") {
    await client.isReady();
    task.applyAsync(job.args);
    say({ ready: true });
    await heard();
    say({ started: now() });
    // It does not say when a task is sent: the depth of the queue does. A turn of the event loop between windows lets it write.
    for (let sent = 0; sent < job.count; ) {
      for (let at = 0; at < job.window && sent < job.count; at++, sent++) task.applyAsync(job.args);
      await new Promise(setImmediate);
    }
    await heard();
  } else {
    await callLoop(() => task.applyAsync(job.args).get());
  }
  process.exit(0);
}

main();
