/**
 * Chords of 1,000 and 10,000 tasks, and sending a group of 1,000: Lovage beside Celery on the same servers, each with a worker and
 * a client of its own, in turn; who begins changes from round to round. Prints medians and ratios, of the time on the clock and of the
 * processor time of client and worker for each task: the second is less at the mercy of what else the machine does.
 *
 *   npm run bench -- --canvas 1000,10000 --rounds 3
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MeasurementFailed } from "./failure.mjs";
import { CELERY_CONCURRENCY, CONCURRENCY } from "./plan.mjs";
import { treeCpuMs } from "./process.mjs";

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
  let errors = "";
  const start = (mode) => {
    const child = spawn(command[0], [...command.slice(1), JSON.stringify({ ...job, mode })], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stderr.on("data", (bytes) => {
      errors = `${errors}${bytes}`.slice(-4_000);
    });
    return child;
  };
  const worker = start("work");
  const client = start("client");
  const cpuMs = () => (treeCpuMs(worker.pid) ?? 0) + (treeCpuMs(client.pid) ?? 0);
  const seen = [];
  let before = 0;
  createInterface({ input: client.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    const now = cpuMs();
    if (message.workload !== undefined) seen.push({ ...message, cpuUs: ((now - before) * 1000) / message.size });
    before = now;
  });
  const [code] = await once(client, "exit");
  worker.kill("SIGTERM");
  await once(worker, "exit");
  if (code !== 0) throw new MeasurementFailed(`the client of ${name} ended with code ${code}\n${errors}`);
  return seen;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

for (const broker of ["redis", "amqp"]) {
  if (!(broker === "amqp" ? amqp : redis)) continue;
  const rows = new Map();
  for (let round = 0; round < rounds; round++) {
    const names = Object.keys(contenders);
    if (round % 2 === 1) names.reverse();
    for (const name of names) {
      for (const { workload, size, ms, cpuUs } of await measure(name, broker, round)) {
        const key = `${workload} of ${size}`;
        const row = rows.get(key) ?? { lovage: [], celery: [] };
        row[name].push({ ms, cpuUs });
        console.error(
          `${broker}  round ${round + 1}  ${name}  ${key}: ${ms.toFixed(0)} ms, ${cpuUs.toFixed(0)} CPU µs a task`,
        );
        rows.set(key, row);
      }
    }
  }
  for (const [key, { lovage, celery }] of rows) {
    const beside = (of, unit) => {
      const [ours, theirs] = [median(lovage.map(of)), median(celery.map(of))];
      return `lovage ${ours.toFixed(0)} ${unit}  celery ${theirs.toFixed(0)} ${unit}  ${(theirs / ours).toFixed(1)}x`;
    };
    console.log(`${broker}  ${key}  ${beside(({ ms }) => ms, "ms")}   ${beside(({ cpuUs }) => cpuUs, "CPU µs")}`);
  }
}
