/**
 * What events cost: one worker empties a queue of short tasks with task events off and on (`-E`), in turn, in a process of its own
 * each time. Prints medians of tasks a second and of processor time a task, and their ratios; on a busy machine the second tells more.
 *
 *   npm run bench -- --events 20000 --rounds 3
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { MeasurementFailed } from "./failure.mjs";

const { AMQP_URL: amqp, REDIS_URL: redis } = process.env;
const rounds = Number(process.argv[2] ?? 3);
const count = Number(process.argv[3] ?? 20_000);
const peer = fileURLToPath(new URL("./peers/events-lovage.mjs", import.meta.url));

async function measure(broker, events, round) {
  const queue = `events-${process.pid}-${round}-${events}`;
  const job = { broker, backend: redis, queue, events, count };
  const child = spawn(process.execPath, [peer, JSON.stringify(job)], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new MeasurementFailed(`the worker ended with code ${code}`);
  return JSON.parse(text);
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

for (const [name, broker] of Object.entries({ redis, amqp })) {
  if (!broker) continue;
  const seen = { off: [], on: [] };
  for (let round = 0; round < rounds; round++) {
    for (const mode of round % 2 === 0 ? ["off", "on"] : ["on", "off"]) {
      const one = await measure(broker, mode === "on", round);
      seen[mode].push(one);
      console.error(
        `${name}  round ${round + 1}  events ${mode}: ${one.perSecond.toFixed(0)} tasks/s, ${one.cpuUs.toFixed(1)} µs of processor a task`,
      );
    }
  }
  const of = (mode, what) => median(seen[mode].map((one) => one[what]));
  const rate = of("on", "perSecond") / of("off", "perSecond");
  const cpu = of("off", "cpuUs") / of("on", "cpuUs");
  console.log(
    `${name}  events off ${of("off", "perSecond").toFixed(0)}/s ${of("off", "cpuUs").toFixed(1)} µs  on ${of("on", "perSecond").toFixed(0)}/s ` +
      `${of("on", "cpuUs").toFixed(1)} µs  rate ${rate.toFixed(2)}  by processor time ${cpu.toFixed(2)}`,
  );
}
