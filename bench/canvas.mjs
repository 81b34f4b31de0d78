/**
 * Chords of 1,000 and 10,000 tasks, and sending a group of 1,000: Lovage beside Celery on the same servers, each with a worker and
 * a client of its own, in turn. Prints medians and ratios.
 *
 *   npm run bench -- --canvas 1000,10000 --rounds 3
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MeasurementFailed } from "./failure.mjs";
import { CELERY_CONCURRENCY, CONCURRENCY } from "./plan.mjs";

const { AMQP_URL: amqp, REDIS_URL: redis, PYTHON: python = "python3" } = process.env;
const rounds = Number(process.argv[2] ?? 3);
/** Sizes of chords, the second argument: Celery needs minutes for 10,000 on a small machine. */
const sizes = (process.argv[3] ?? "1000,10000").split(",").map(Number);
const workloads = [["group", 1_000], ...sizes.map((size) => ["chord", size])];
const peer = (file) => fileURLToPath(new URL(`./peers/${file}`, import.meta.url));
const contenders = {
  lovage: { command: [process.execPath, peer("canvas-lovage.mjs")], concurrency: CONCURRENCY },
  celery: { command: [python, peer("canvas_celery.py")], concurrency: CELERY_CONCURRENCY },
};

async function measure(name, broker, round) {
  const { command, concurrency } = contenders[name];
  const queue = `canvas-${name}-${broker}-${process.pid}-${round}`;
  const job = { broker: broker === "amqp" ? amqp : redis, backend: redis, queue, concurrency, workloads };
  const start = (mode) =>
    spawn(command[0], [...command.slice(1), JSON.stringify({ ...job, mode })], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  const worker = start("work");
  const client = start("client");
  const seen = [];
  createInterface({ input: client.stdout }).on("line", (line) => seen.push(JSON.parse(line)));
  const [code] = await once(client, "exit");
  worker.kill("SIGTERM");
  await once(worker, "exit");
  if (code !== 0) throw new MeasurementFailed(`the client of ${name} ended with code ${code}`);
  return seen;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

for (const broker of ["redis", "amqp"]) {
  if (!(broker === "amqp" ? amqp : redis)) continue;
  const times = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const name of Object.keys(contenders)) {
      for (const { workload, size, ms } of await measure(name, broker, round)) {
        const key = `${workload} of ${size}`;
        const row = times.get(key) ?? { lovage: [], celery: [] };
        row[name].push(ms);
        console.error(`${broker}  round ${round + 1}  ${name}  ${key}: ${ms.toFixed(0)} ms`);
        times.set(key, row);
      }
    }
  }
  for (const [key, { lovage, celery }] of times) {
    const [ours, theirs] = [median(lovage), median(celery)];
    console.log(
      `${broker}  ${key}  lovage ${ours.toFixed(0)} ms  celery ${theirs.toFixed(0)} ms  ${(theirs / ours).toFixed(1)}x`,
    );
  }
}
