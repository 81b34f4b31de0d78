/**
 * All measurements, interleaved: every round takes each contender of each workload once, in an order that is rotated from round
 * to round, so that whatever else the machine does meets all of them alike.
 */
import { createRequire } from "node:module";
import { availableParallelism, cpus, totalmem } from "node:os";
import { contenders } from "./contenders.mjs";
import { Measurements, recordPatterns } from "./measure.mjs";
import { FULL, QUICK, sizeOf } from "./plan.mjs";
import { render, summarise } from "./report.mjs";
import { Servers } from "./servers.mjs";

/**
 * `options`: `{ amqpUrl, redisUrl, peers: { python, celeryNode, bullmq }, quick, only, names, rounds, tasks, nodeFlags, cwd, say }`.
 * `only`: beginnings of workload names (`work/redis`, `call`); `names`: contenders; both empty for all. `tasks`: how many for a worker,
 * whoever it is.
 */
export async function runBenchmarks(options) {
  const { peers, say } = options;
  const usual = options.quick ? QUICK : FULL;
  const sizes = options.tasks === undefined ? usual : { ...usual, tasks: { common: options.tasks } };
  const all = contenders(peers, options.nodeFlags);
  const celery = all.find(({ name }) => name === "celery");
  const servers = await Servers.connect(options);
  const measured = new Map();
  const failures = [];
  const began = performance.now();
  try {
    const patterns = await recordPatterns(servers, celery);
    const fillBull = bullFiller(peers.bullmq, servers);
    const measurements = new Measurements({ servers, patterns, fillBull, cwd: options.cwd });
    const plan = planOf(all, sizes, measurements).filter(
      ({ workload, name }) =>
        (options.only.length === 0 || options.only.some((start) => workload.startsWith(start))) &&
        (options.names.length === 0 || options.names.includes(name)),
    );
    const most = Math.max(...plan.map(({ rounds }) => options.rounds ?? rounds));
    for (let round = 0; round < most; round++) {
      const now = plan.filter(({ rounds }) => round < (options.rounds ?? rounds));
      for (const step of rotated(now, round)) {
        const key = `${step.workload} ${step.name}`;
        if (!measured.has(key)) {
          measured.set(key, { workload: step.workload, name: step.name, label: step.label, rounds: [] });
        }
        try {
          const result = await step.measure();
          measured.get(key).rounds.push(result);
          say(`round ${round + 1}/${most}  ${key}  ${brief(result)}`);
        } catch (error) {
          failures.push({ what: key, round: round + 1, reason: error.message });
          say(`round ${round + 1}/${most}  ${key}  FAILED: ${error.message}`);
        }
      }
    }
    const complete = plan
      .map(({ workload, name }) => measured.get(`${workload} ${name}`))
      .filter((row) => row?.rounds.length > 0);
    const results = summarise(complete);
    const document = {
      date: new Date().toISOString(),
      seconds: Math.round((performance.now() - began) / 1000),
      machine: machine(),
      versions: { node: process.versions.node, ...(await servers.versions()) },
      contenders: Object.fromEntries(all.map(({ name, label, note }) => [name, { label, note }])),
      sizes,
      ...results,
      failures,
    };
    return { document, text: render(results), failures };
  } finally {
    await servers.close();
  }
}

/** Every pair of workload and contender, in the order of the tables. */
function planOf(all, sizes, measurements) {
  const plan = [];
  const named = (name) => all.find((contender) => contender.name === name);
  for (const broker of ["amqp", "redis"]) {
    for (const contender of all) {
      if (!contender.brokers.includes(broker)) continue;
      if (contender.modes.includes("work")) {
        plan.push({
          workload: `work/${broker}`,
          name: contender.name,
          label: contender.label,
          rounds: sizes.rounds,
          measure: () => measurements.work(contender, broker, sizeOf(sizes.tasks, contender.name, broker)),
        });
      }
      if (contender.modes.includes("publish")) {
        plan.push({
          workload: `publish/${broker}`,
          name: contender.name,
          label: contender.label,
          rounds: sizes.publishRounds,
          measure: () => measurements.publish(contender, broker, sizeOf(sizes.publishes, contender.name, broker)),
        });
      }
    }
    const pairs = all
      .filter(({ brokers, modes }) => brokers.includes(broker) && modes.includes("call"))
      .map((contender) => ({ name: contender.name, label: contender.label, client: contender, worker: contender }));
    if (named("celery") !== undefined) {
      const ours = named("lovage");
      const celery = named("celery");
      pairs.push({ name: "lovage-celery", label: "Lovage calls Celery", client: ours, worker: celery });
      pairs.push({ name: "celery-lovage", label: "Celery calls Lovage", client: celery, worker: ours });
    }
    for (const { name, label, client, worker } of pairs) {
      plan.push({
        workload: `call/${broker}`,
        name,
        label,
        rounds: sizes.callRounds,
        measure: () =>
          measurements.call(
            client,
            worker,
            broker,
            sizeOf(sizes.calls, name, broker),
            sizeOf(sizes.warmUp, name, broker),
          ),
      });
    }
  }
  const order = ["work", "publish", "call"];
  const place = ({ workload }) => order.indexOf(workload.split("/")[0]);
  return plan.sort((a, b) => place(a) - place(b));
}

function rotated(list, by) {
  const at = list.length === 0 ? 0 : (by * 3) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function bullFiller(module, servers) {
  return async (queueName, count, args) => {
    const { Queue } = createRequire(module)(module);
    const { hostname, port, pathname } = new URL(servers.redisBrokerUrl);
    const queue = new Queue(queueName, {
      connection: { host: hostname, port: Number(port), db: Number(pathname.slice(1)) },
    });
    for (let from = 0; from < count; from += 1_000) {
      await queue.addBulk(Array.from({ length: Math.min(1_000, count - from) }, () => ({ name: "add", data: args })));
    }
    await queue.close();
  };
}

function machine() {
  return { cores: availableParallelism(), model: cpus()[0]?.model ?? "", memoryGb: Math.round(totalmem() / 2 ** 30) };
}

function brief(result) {
  if (result.samples !== undefined) {
    const sorted = [...result.samples].sort((a, b) => a - b);
    return `p50 ${sorted[Math.floor(sorted.length / 2)].toFixed(2)} ms`;
  }
  const cpu = result.cpuMicros === null ? "" : `, ${Math.round(result.cpuMicros)} µs CPU each`;
  return `${Math.round(result.perSecond)}/s${cpu}`;
}
