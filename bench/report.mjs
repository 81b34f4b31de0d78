/** From measurements to a table for people and a document for programs. */
import { quantile, summary } from "./stats.mjs";

/** What the project promises, as `{ workload, peer, measure, atLeast | atMost }`; ratios are ours / theirs. */
export const TARGETS = [
  { workload: "work/amqp", peer: "celery", atLeast: 10 },
  { workload: "work/redis", peer: "celery", atLeast: 20 },
  { workload: "work/amqp", peer: "bare", atLeast: 0.9 },
  { workload: "work/redis", peer: "bare", atLeast: 0.9 },
  { workload: "call/amqp", peer: "celery", atMost: 0.5 },
  { workload: "call/redis", peer: "celery", atMost: 0.5 },
];

const TITLES = {
  "work/amqp": "Worker, RabbitMQ to Redis results: tasks a second from a filled queue",
  "work/redis": "Worker, Redis to Redis results: tasks a second from a filled queue",
  "publish/amqp": "Client, RabbitMQ: messages a second until the broker holds them",
  "publish/redis": "Client, Redis: messages a second until the broker holds them",
  "call/amqp": "Round trip, RabbitMQ and Redis results: milliseconds from send to result, one at a time",
  "call/redis": "Round trip, Redis and Redis results: milliseconds from send to result, one at a time",
};

/** `measured`: rows `{ workload, name, label, rounds: [...] }` with what each round gave. */
export function summarise(measured) {
  const workloads = {};
  for (const { workload, name, label, rounds } of measured) {
    workloads[workload] ??= {};
    workloads[workload][name] = { label, ...(workload.startsWith("call/") ? latency(rounds) : rates(rounds)), rounds };
  }
  for (const rows of Object.values(workloads)) {
    const ours = headline(rows.lovage);
    if (ours === null) continue;
    for (const row of Object.values(rows)) row.oursToTheirs = ours / headline(row);
  }
  const targets = TARGETS.flatMap((target) => {
    const ratio = workloads[target.workload]?.[target.peer]?.oursToTheirs;
    if (ratio === undefined) return [];
    return [{ ...target, ratio, met: target.atLeast !== undefined ? ratio >= target.atLeast : ratio <= target.atMost }];
  });
  return { workloads, targets };
}

function rates(rounds) {
  const of = (name) => summary(rounds.map((round) => round[name] ?? null));
  return {
    perSecond: of("perSecond"),
    cpuMicros: of("cpuMicros"),
    redisMicros: of("redisMicros"),
    startMs: of("startMs"),
    peakMb: of("peakMb"),
  };
}

function latency(rounds) {
  const all = rounds.flatMap(({ samples }) => samples);
  return { p50: quantile(all, 0.5), p95: quantile(all, 0.95), p99: quantile(all, 0.99), calls: all.length };
}

function headline(row) {
  return row === undefined ? null : (row.p50 ?? row.perSecond.median);
}

export function render({ workloads, targets }) {
  const parts = [];
  for (const [workload, rows] of Object.entries(workloads)) {
    const lines = workload.startsWith("call/") ? callTable(rows) : rateTable(rows);
    parts.push(`${TITLES[workload]}\n${align(lines)}`);
  }
  if (targets.length > 0) {
    const lines = [["goal", "ratio", "wanted", ""]];
    for (const { workload, peer, ratio, atLeast, atMost, met } of targets) {
      const wanted = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
      lines.push([`${workload} beside ${peer}`, ratio.toFixed(2), wanted, met ? "met" : "MISSED"]);
    }
    parts.push(align(lines));
  }
  return parts.join("\n\n");
}

function rateTable(rows) {
  const withStart = Object.values(rows).some(({ startMs }) => startMs !== null);
  const head = ["", "median/s", "min", "max", "ours/theirs", "CPU µs each"];
  if (withStart) head.push("Redis µs each", "start to first, ms", "peak MB");
  const lines = [head];
  for (const row of Object.values(rows)) {
    const { perSecond: rate } = row;
    const line = [
      row.label,
      whole(rate.median),
      whole(rate.min),
      whole(rate.max),
      ratioOf(row),
      whole(row.cpuMicros?.median),
    ];
    if (withStart) line.push(whole(row.redisMicros?.median), whole(row.startMs?.median), whole(row.peakMb?.median));
    lines.push(line);
  }
  return lines;
}

function callTable(rows) {
  const lines = [["", "p50 ms", "p95 ms", "p99 ms", "ours/theirs", "calls"]];
  for (const row of Object.values(rows)) {
    lines.push([row.label, row.p50.toFixed(2), row.p95.toFixed(2), row.p99.toFixed(2), ratioOf(row), whole(row.calls)]);
  }
  return lines;
}

function ratioOf({ oursToTheirs }) {
  if (oursToTheirs === undefined) return "";
  if (oursToTheirs >= 100) return whole(oursToTheirs);
  return oursToTheirs < 0.1 ? oursToTheirs.toPrecision(1) : oursToTheirs.toFixed(2);
}

function whole(value) {
  return value === undefined || value === null ? "" : Math.round(value).toLocaleString("en-US");
}

/** First column to the left, figures to the right. */
function align(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `  ${line}`)
    .join("\n");
}
