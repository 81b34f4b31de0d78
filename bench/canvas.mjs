/**
 * Chords of 1,000 and 10,000 tasks, and sending a group of 1,000: Lovage beside Celery on the same servers, each with a worker and
 * a client of its own, in turn; who begins changes from round to round. Prints medians and ratios, of the time on the clock and of the
 * processor time of client and worker for each task: the second is less at the mercy of what else the machine does.
 *
 * Celery gets 20 times as long as Lovage took so far; what it has not ended by then counts as longer than that. So a chord of 10,000
 * does not keep the others waiting, and Lovage is the first in the first round.
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
/** Sizes of chords, the second argument. */
const sizes = (process.argv[3] ?? "1000,10000")
  .split(",")
  .map(Number)
  .sort((a, b) => a - b);
const PATIENCE = 20;
const workloads = [["group", 1_000], ...sizes.map((size) => ["chord", size])];
const peer = (file) => fileURLToPath(new URL(`./peers/${file}`, import.meta.url));
const contenders = {
  lovage: { command: [process.execPath, peer("canvas-lovage.mjs")], concurrency: CONCURRENCY },
  celery: { command: [python, peer("canvas_celery.py")], concurrency: CELERY_CONCURRENCY },
};

/** Everything in `todo`, with fresh processes after what took longer than `limits` allows. */
async function measure(name, broker, round, limits) {
  const seen = [];
  let todo = workloads;
  for (let part = 0; todo.length > 0; part++) {
    const { done, late } = await measurePart(name, broker, `${round}-${part}`, todo, limits);
    seen.push(...done);
    todo = todo.slice(done.length);
    if (late === null) break;
  }
  return seen;
}

async function measurePart(name, broker, part, todo, limits) {
  const { command, concurrency } = contenders[name];
  const queue = `canvas-${name}-${broker}-${process.pid}-${part}`;
  const job = { broker: broker === "amqp" ? amqp : redis, backend: redis, queue, concurrency, workloads: todo };
  let errors = "";
  const start = (mode) => {
    // A group of its own, so that a pool ends with its worker.
    const child = spawn(command[0], [...command.slice(1), JSON.stringify({ ...job, mode })], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    child.stderr.on("data", (bytes) => {
      errors = `${errors}${bytes}`.slice(-4_000);
    });
    return child;
  };
  const worker = start("work");
  const client = start("client");
  const end = () => {
    for (const { pid } of [client, worker]) killGroup(pid);
  };
  process.once("exit", end);
  const cpuMs = () => (treeCpuMs(worker.pid) ?? 0) + (treeCpuMs(client.pid) ?? 0);
  const done = [];
  let late = null;
  let timer;
  let before = 0;
  createInterface({ input: client.stdout }).on("line", (line) => {
    const { workload, size, ms } = JSON.parse(line);
    clearTimeout(timer);
    const now = cpuMs();
    if (ms !== undefined) done.push({ workload, size, ms, cpuUs: ((now - before) * 1000) / size, isLate: false });
    before = now;
    const next = todo[done.length];
    const limitMs = next === undefined ? undefined : limits.get(next.join());
    if (limitMs === undefined) return;
    timer = setTimeout(() => {
      late = { workload: next[0], size: next[1], ms: limitMs, cpuUs: Number.NaN, isLate: true };
      end();
    }, limitMs);
  });
  const [code] = await once(client, "exit");
  clearTimeout(timer);
  if (late === null) worker.kill("SIGTERM");
  if (worker.exitCode === null && worker.signalCode === null) await once(worker, "exit");
  process.off("exit", end);
  if (late !== null) return { done: [...done, late], late };
  if (code !== 0) throw new MeasurementFailed(`the client of ${name} ended with code ${code}\n${errors}`);
  return { done, late };
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

function killGroup(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

for (const broker of ["redis", "amqp"]) {
  if (!(broker === "amqp" ? amqp : redis)) continue;
  const rows = new Map(workloads.map(([workload, size]) => [`${workload},${size}`, { lovage: [], celery: [] }]));
  for (let round = 0; round < rounds; round++) {
    const names = Object.keys(contenders);
    if (round % 2 === 1) names.reverse();
    for (const name of names) {
      const limits = new Map();
      if (name === "celery") {
        for (const [key, { lovage }] of rows) limits.set(key, PATIENCE * median(lovage.map(({ ms }) => ms)));
      }
      for (const { workload, size, ...seen } of await measure(name, broker, round, limits)) {
        rows.get(`${workload},${size}`)[name].push(seen);
        const took = seen.isLate
          ? `> ${(seen.ms / 1000).toFixed(1)} s`
          : `${seen.ms.toFixed(0)} ms, ${seen.cpuUs.toFixed(0)} CPU µs a task`;
        console.error(`${broker}  round ${round + 1}  ${name}  ${workload} of ${size}: ${took}`);
      }
    }
  }
  for (const [key, { lovage, celery }] of rows) {
    const [ours, theirs] = [lovage, celery].map((seen) => median(seen.map(({ ms }) => ms)));
    const isLate = celery.some((seen) => seen.isLate && seen.ms <= theirs);
    const more = isLate ? "> " : "";
    const [ourCpu, theirCpu] = [lovage, celery].map((seen) =>
      median(seen.flatMap(({ cpuUs }) => (Number.isNaN(cpuUs) ? [] : [cpuUs]))),
    );
    const cpu = theirCpu === undefined ? "-" : `${theirCpu.toFixed(0)} CPU µs  ${(theirCpu / ourCpu).toFixed(1)}x`;
    console.log(
      `${broker}  ${key.replace(",", " of ")}  lovage ${ours.toFixed(0)} ms  celery ${more}${theirs.toFixed(0)} ms  ` +
        `${more}${(theirs / ours).toFixed(1)}x   lovage ${ourCpu.toFixed(0)} CPU µs  celery ${cpu}`,
    );
  }
}
