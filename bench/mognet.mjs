/**
 * Mognet: submits to results a second with 200 in flight, and the round trip of one call after the other, for Lovage and Mognet's own
 * client and worker and for both mixtures of them, on the same servers, in turn. Prints medians and ratios.
 *
 *   npm run bench -- --mognet --rounds 5
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Contender } from "./process.mjs";
import { quantile, summary } from "./stats.mjs";

const { AMQP_URL: broker, REDIS_URL: backend, PYTHON: python = "python3", OUT: out } = process.env;
const rounds = Number(process.argv[2] ?? 3);
const quick = process.argv[3] === "quick";

const inFlight = 200;
const concurrency = 100;
const peer = (file) => fileURLToPath(new URL(`./peers/${file}`, import.meta.url));
const commands = {
  lovage: [process.execPath, peer("mognet-lovage.mjs")],
  mognet: [python, peer("mognet_python.py")],
};

/** Sizes such that each takes about as long. A Python client waits by looking every 0.1 s, so its calls are few. */
const pairs = [
  { name: "Lovage to Lovage", client: "lovage", worker: "lovage", tasks: 30_000, warmUp: 8_000, calls: 500 },
  { name: "Mognet to Mognet", client: "mognet", worker: "mognet", tasks: 1_500, warmUp: 200, calls: 40 },
  { name: "Lovage to Mognet", client: "lovage", worker: "mognet", tasks: 1_500, warmUp: 1_500, calls: 200 },
  { name: "Mognet to Lovage", client: "mognet", worker: "lovage", tasks: 1_500, warmUp: 1_000, calls: 40 },
];

/** What the project promises, beside Mognet to Mognet. */
const targets = [
  { name: "Lovage to Lovage", measure: "perSecond", atLeast: 10 },
  { name: "Lovage to Lovage", measure: "p50", atMost: 0.05 },
  { name: "Lovage to Mognet", measure: "perSecond", atLeast: 1 },
  { name: "Lovage to Mognet", measure: "p50", atMost: 1 },
  { name: "Mognet to Lovage", measure: "perSecond", atLeast: 1 },
  // A Python client looks every 0.1 s, whoever works: what differs is noise.
  { name: "Mognet to Lovage", measure: "p50", atMost: 1.05 },
];

let serial = 0;

async function measure({ client, worker, tasks, warmUp, calls }) {
  const share = quick ? 5 : 1;
  const job = {
    ...{ broker, backend, concurrency, inFlight, app: `bench${process.pid}x${++serial}` },
    ...{ tasks: tasks / share, warmUp: warmUp / share, calls: calls / share },
  };
  const start = (of, mode) => {
    const [program, file] = commands[of];
    return new Contender([program, [file, JSON.stringify({ ...job, mode })]]);
  };
  const working = start(worker, "work");
  try {
    await working.hear("ready");
    const calling = start(client, "client");
    try {
      const gone = working.gone("the worker");
      await Promise.race([calling.hear("warm"), gone]);
      const before = [calling.cpuMs(), working.cpuMs()];
      const perSecond = await Promise.race([calling.hear("perSecond"), gone]);
      const after = [calling.cpuMs(), working.cpuMs()];
      const [clientMicros, workerMicros] = after.map((ms, at) =>
        ms === null ? null : (1000 * (ms - before[at])) / job.tasks,
      );
      const samples = await Promise.race([calling.hear("samples"), gone]);
      return { perSecond, clientMicros, workerMicros, p50: quantile(samples, 0.5), p99: quantile(samples, 0.99) };
    } finally {
      await calling.stop();
    }
  } finally {
    await working.stop();
  }
}

const seen = new Map(pairs.map(({ name }) => [name, []]));
for (let round = 0; round < rounds; round++) {
  // Rotated, so that whatever else the machine does meets all alike.
  for (let place = 0; place < pairs.length; place++) {
    const pair = pairs[(place + round) % pairs.length];
    const result = await measure(pair);
    seen.get(pair.name).push(result);
    console.error(
      `round ${round + 1}/${rounds}  ${pair.name}: ${Math.round(result.perSecond)}/s, round trip ${result.p50.toFixed(2)} ms (p99 ${result.p99.toFixed(2)})`,
    );
  }
}

const figures = Object.fromEntries(
  [...seen].map(([name, all]) => [
    name,
    Object.fromEntries(
      ["perSecond", "clientMicros", "workerMicros", "p50", "p99"].map((key) => [
        key,
        summary(all.map((one) => one[key])),
      ]),
    ),
  ]),
);
const control = figures["Mognet to Mognet"];
console.log(`\nMognet: ${inFlight} in flight, worker concurrency ${concurrency}; medians of ${rounds} rounds`);
console.log(
  "| client to worker | a second | lowest | highest | to Mognet's | CPU µs client, worker | round trip, ms | to Mognet's |",
);
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const [name, { perSecond, clientMicros, workerMicros, p50 }] of Object.entries(figures)) {
  const cells = [
    ...[perSecond.median, perSecond.min, perSecond.max].map((value) => Math.round(value).toLocaleString("en")),
    (perSecond.median / control.perSecond.median).toFixed(2),
    `${Math.round(clientMicros?.median)}, ${Math.round(workerMicros?.median)}`,
    p50.median.toFixed(2),
    (p50.median / control.p50.median).toFixed(3),
  ];
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
const judged = targets.map(({ name, measure: key, atLeast, atMost }) => {
  const ratio = figures[name][key].median / control[key].median;
  const met = atLeast === undefined ? ratio <= atMost : ratio >= atLeast;
  return {
    name,
    measure: key,
    ratio,
    wanted: atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`,
    met,
  };
});
for (const { name, measure: key, ratio, wanted, met } of judged) {
  console.log(
    `${name}, ${key === "p50" ? "round trip" : "rate"}: ${ratio.toFixed(3)}, wanted ${wanted}: ${met ? "met" : "MISSED"}`,
  );
}
if (out)
  writeFileSync(out, `${JSON.stringify({ date: new Date().toISOString(), rounds, figures, judged }, null, 2)}\n`);
