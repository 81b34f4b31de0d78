/** Commands about the worker as a whole. wire: celery/worker/control.py; celery/worker/worker.py `stats`; behaviour 3.3, 3.4. */
import { PyFloat } from "../../../protocol/values.ts";
import { brokerInfo } from "../broker-info.ts";
import { command } from "../command.ts";
import { confTable } from "../conf.ts";
import { CommandError } from "../errors.ts";
import { NO_REPLY } from "../inbox.ts";
import { idsOf } from "../mingle.ts";
import { isTrue } from "../python-values.ts";
import { reportText } from "../report.ts";
import { ok } from "../state.ts";

export const ping = command(
  { name: "ping", kind: "inspect", help: "Ping worker(s).", parameters: "**kwargs", defaultTimeout: 0.2 },
  () => ok("pong"),
);

export const hello = command(
  {
    name: "hello",
    kind: "inspect",
    help: "Request mingle sync-data.",
    parameters: "from_node, revoked=None, **kwargs",
    visible: false,
  },
  ({ hostname, worker, clock, log }, { from_node: from, revoked }) => {
    if (from === hostname) return null;
    log.info({ node: from }, "sync with another worker");
    const ids = idsOf(revoked);
    if (ids.length > 0) worker.revokes.merge(ids);
    return { revoked: worker.revokes.ids(), clock: clock.forward() };
  },
);

export const revoked = command(
  {
    name: "revoked",
    kind: "inspect",
    alias: "dump_revoked",
    help: "List of revoked task-ids.",
    parameters: "**kwargs",
  },
  ({ worker }) => worker.revokes.ids(),
);

export const stats = command(
  { name: "stats", kind: "inspect", help: "Request worker statistics/information.", parameters: "**kwargs" },
  ({ worker, clock, settings }) => {
    const { autoscaler } = worker.pool;
    return {
      total: worker.requests.totals,
      pid: process.pid,
      clock: String(clock.value),
      uptime: Math.trunc((Date.now() - worker.startedMs) / 1000),
      pool: worker.pool.stats(),
      ...(autoscaler === null ? {} : { autoscaler: autoscaler.stats() }),
      broker: brokerInfo(settings),
      prefetch_count: worker.prefetchCount,
      rusage: resourceUsage(),
    };
  },
);

/** Python's `getrusage`, which libuv passes on whole. */
function resourceUsage(): Record<string, unknown> {
  const usage = process.resourceUsage();
  return {
    utime: new PyFloat(usage.userCPUTime / 1e6),
    stime: new PyFloat(usage.systemCPUTime / 1e6),
    maxrss: usage.maxRSS,
    ixrss: usage.sharedMemorySize,
    idrss: usage.unsharedDataSize,
    isrss: usage.unsharedStackSize,
    minflt: usage.minorPageFault,
    majflt: usage.majorPageFault,
    nswap: usage.swappedOut,
    inblock: usage.fsRead,
    oublock: usage.fsWrite,
    msgsnd: usage.ipcSent,
    msgrcv: usage.ipcReceived,
    nsignals: usage.signalsCount,
    nvcsw: usage.voluntaryContextSwitches,
    nivcsw: usage.involuntaryContextSwitches,
  };
}

export const conf = command(
  {
    name: "conf",
    kind: "inspect",
    alias: "dump_conf",
    help: "List configuration.",
    parameters: "with_defaults=False, **kwargs",
    args: [["with_defaults", "bool"]],
    signature: "[include_defaults=False]",
  },
  ({ settings, given }, { with_defaults: withDefaults }) => confTable(settings, isTrue(withDefaults), given),
);

export const report = command(
  {
    name: "report",
    kind: "inspect",
    help: "Information about Celery installation for bug reports.",
    parameters: "",
  },
  ({ settings, given, version }) => ok(reportText(settings, given, version)),
);

const UNITS: readonly (readonly [size: number, unit: string])[] = [
  [2 ** 40, "TB"],
  [2 ** 30, "GB"],
  [2 ** 20, "MB"],
  [2 ** 10, "KB"],
  [1, "b"],
];

/** `60.109MB`: five significant digits. wire: celery/utils/debug.py `humanbytes`. */
export function humanBytes(bytes: number): string {
  const [size, unit] = UNITS.find(([least]) => bytes >= least) ?? [1, "b"];
  return `${Number((bytes / size).toPrecision(5))}${unit}`;
}

/** What `memsample` noted since the last `memdump`; the oldest go first. */
const samples: string[] = [];
const MOST_SAMPLES = 10_000;

export const memsample = command(
  { name: "memsample", kind: "inspect", help: "Sample current RSS memory usage.", parameters: "**kwargs" },
  () => {
    const sample = humanBytes(process.memoryUsage.rss());
    samples.push(sample);
    if (samples.length > MOST_SAMPLES) samples.shift();
    return sample;
  },
);

export const memdump = command(
  {
    name: "memdump",
    kind: "inspect",
    help: "Dump statistics of previous memsample requests.",
    parameters: "samples=10, **kwargs",
    args: [["samples", "int"]],
    signature: "[n_samples=10]",
  },
  () => {
    // Celery takes the number and shows ten all the same.
    const noted = samples.splice(0);
    const every = Math.floor(noted.length / 10);
    const shown = noted.length <= 10 ? noted : Array.from({ length: 10 }, (_, index) => noted[index * every]);
    const lines = shown.length === 0 ? [] : ["- rss (sample):", ...shown.map((sample) => `-    > ${sample},`)];
    return `${[...lines, `- rss (end): ${humanBytes(process.memoryUsage.rss())}.`].join("\n")}\n`;
  },
);

export const objgraph = command(
  {
    name: "objgraph",
    kind: "inspect",
    help: "Create graph of uncollected objects (memory-leak debugging).",
    parameters: "num=200, max_depth=10, type='Request'",
    args: [
      ["type", "str"],
      ["num", "int"],
      ["max_depth", "int"],
    ],
    signature: "[object_type=Request] [num=200 [max_depth=10]]",
    defaultTimeout: 60,
  },
  () => {
    // A graph of Python objects. Node's own tools show the heap: node --inspect, --heapsnapshot-signal.
    throw new CommandError("ImportError", ["Requires the objgraph library"]);
  },
);

export const shutdown = command(
  {
    name: "shutdown",
    kind: "control",
    help: "Shutdown worker(s).",
    parameters: "msg='Got shutdown from remote', **kwargs",
  },
  ({ shutdown: stop, log }, { msg }) => {
    log.warn({}, typeof msg === "string" ? msg.slice(0, 1000) : "Got shutdown from remote");
    stop();
    return NO_REPLY;
  },
);
