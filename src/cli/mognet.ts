/** `lovage mognet`: Mognet's own command line, for apps and nodes of either language. wire: mognet/cli/main.py. */
import type { Mognet } from "../app/mognet.ts";
import { didYouMean } from "../settings/suggest.ts";
import { type Command, EXIT, type Flags, type Given, UsageError } from "./command.ts";
import { applyMognetFlags, beImpatient, MOGNET_APP_FLAGS, moduleSpec, openMognetApp } from "./mognet/app.ts";
import { nodesList, nodesStatus } from "./mognet/nodes.ts";
import { queuesPurge, queuesStats } from "./mognet/queues.ts";
import { type RunOptions, runMognet } from "./mognet/run.ts";
import { tasksGet, tasksRevoke, tasksTree } from "./mognet/tasks.ts";
import { print } from "./output.ts";
import { concurrencyOf, POOL_FLAG, poolOf } from "./pool-flag.ts";
import { stopSignals } from "./stop-signals.ts";

const REPORT: Flags = {
  format: { type: "string", value: "FORMAT", help: "text or json" },
  "json-indent": { type: "string", value: "N", help: "indent of --format json (default 2)" },
  "text-label-format": {
    type: "string",
    value: "FORMAT",
    help: "how a task is written: {name}(id={id!r}, state={state!r})",
  },
  poll: { type: "string", value: "SECONDS", help: "ask again, every so many seconds" },
};

const FLAGS: Flags = {
  ...MOGNET_APP_FLAGS,
  "include-queues": { type: "string", multiple: true, value: "NAMES", help: "run: only these queues, comma separated" },
  "exclude-queues": { type: "string", multiple: true, value: "NAMES", help: "run: all queues but these" },
  pool: { ...POOL_FLAG, help: "run: where tasks run: async (on the event loop), threads, or processes" },
  concurrency: {
    type: "string",
    short: "c",
    value: "N",
    help: "run: tasks at a time (default minimum_concurrency; in a pool the CPUs)",
  },
  "include-value": { type: "boolean", help: "tasks get: with the value, or the traceback" },
  force: { type: "boolean", help: "tasks revoke: also what is done, and so its children; queues purge: do it" },
  ...REPORT,
  "max-depth": { type: "string", value: "N", help: "tasks tree: levels (default 3)" },
  "max-width": { type: "string", value: "N", help: "tasks tree: children of one task (default 16)" },
  timeout: { type: "string", value: "SECONDS", help: "nodes: how long to wait for answers (default 5)" },
  json: { type: "boolean", short: "j", help: "one JSON document" },
};

interface Sub {
  /** Flags of its own, besides those of the app. */
  flags: readonly string[];
  run(app: Mognet, given: Given, words: readonly string[]): Promise<number>;
}

const report = Object.keys(REPORT);

const SUBS: ReadonlyMap<string, Sub> = new Map<string, Sub>([
  ["nodes list", { flags: ["timeout", "json"], run: nodesList }],
  ["nodes status", { flags: [...report, "timeout", "json"], run: nodesStatus }],
  ["tasks get", { flags: ["include-value", "json"], run: tasksGet }],
  ["tasks revoke", { flags: ["force", "json"], run: tasksRevoke }],
  ["tasks tree", { flags: [...report, "max-depth", "max-width", "json"], run: tasksTree }],
  ["queues stats", { flags: ["json"], run: queuesStats }],
  ["queues purge", { flags: ["force", "json"], run: queuesPurge }],
]);
const RUN_FLAGS = ["include-queues", "exclude-queues", "pool", "concurrency"];
const FIRST = new Set(["run", ...[...SUBS.keys()].map((name) => name.split(" ", 1)[0] ?? "")]);

export const mognet: Command = {
  name: "mognet",
  summary: "run and look after Mognet apps: run, nodes, tasks, queues",
  usage: "[APP] run | nodes list|status | tasks get|revoke|tree ID | queues stats|purge",
  about: [
    "Mognet's command line. The app is a module that exports one (its first word, as in Mognet, or -A), or, where it is Python's, a",
    "name and a file of its AppConfig: --name shop --config mognet.json. Nodes of both languages answer.",
    "run: SIGTERM and ^C stop the worker; what it has not finished goes back to its queue. Exit codes are Mognet's: 0; 1 for an",
    "unknown task, a purge without --force, and when it could not start; 2 for a command line that cannot be understood.",
  ].join("\n"),
  examples: [
    "lovage mognet ./app.js run --include-queues images,mail",
    "lovage mognet ./app.js run --pool processes --concurrency 4",
    "lovage mognet -A ./app.js nodes status --timeout 2",
    "lovage mognet --name shop --config mognet.json tasks tree 6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e --json",
    "lovage mognet ./app.js queues purge --force",
  ],
  flags: FLAGS,
  async run(given) {
    const { spec, words } = split(given.words);
    const [first = "", second = ""] = words;
    if (first === "run") {
      if (words.length > 1) throw new UsageError(`unexpected ${words.slice(1).join(" ")}`);
      only(given, RUN_FLAGS, "run");
      const signals = stopSignals.listen();
      const level = applyMognetFlags(given, "info");
      const running = { ...serviceOf(given, spec), signals, quiet: given.on("quiet") };
      return runMognet(await openMognetApp(given, spec, level), running);
    }
    const name = `${first} ${second}`;
    const sub = SUBS.get(name);
    if (sub === undefined) throw unknown(first, second);
    only(given, sub.flags, name);
    if (name === "queues purge" && !given.on("force")) {
      print("Must pass --force");
      return EXIT.failed;
    }
    // Whoever watches sees why it takes so long; a script gets one line, with the last reason.
    const level = applyMognetFlags(given, process.stderr.isTTY && !given.on("json") ? "warn" : "error");
    beImpatient();
    await using app = await openMognetApp(given, spec, level);
    return await sub.run(app, given, words.slice(2));
  },
};

/** What `run` makes a worker with. Children of a pool load the module that the app is from. */
function serviceOf(given: Given, spec: string | undefined): RunOptions {
  const [pool, concurrency] = [poolOf(given), concurrencyOf(given)];
  const module = moduleSpec(given, spec);
  if (pool !== undefined && pool !== "async" && module === undefined) {
    throw new UsageError(`--pool ${pool} needs the app's module (-A): every thread or process loads it`);
  }
  return {
    ...(module === undefined ? {} : { module }),
    ...(pool === undefined ? {} : { pool }),
    ...(concurrency === undefined ? {} : { concurrency }),
  };
}

/** Mognet takes its app before the command. */
function split(words: readonly string[]): { spec: string | undefined; words: readonly string[] } {
  const [first] = words;
  if (first === undefined || FIRST.has(first)) return { spec: undefined, words };
  return { spec: first, words: words.slice(1) };
}

function unknown(first: string, second: string): UsageError {
  const known = [...SUBS.keys()]
    .filter((name) => name.startsWith(`${first} `))
    .map((name) => name.slice(first.length + 1));
  if (known.length === 0) {
    const all = [...FIRST];
    return new UsageError(
      `${first === "" ? "which command" : `no such command: ${first}`}? ${all.join(", ")}${didYouMean(first, all)}`,
    );
  }
  if (second === "") return new UsageError(`${first} what: ${known.join(", ")}?`);
  return new UsageError(`no such command: ${first} ${second}${didYouMean(second, known)}`);
}

/** A flag of another command is a mistake, not something to pass over. */
function only(given: Given, allowed: readonly string[], name: string): void {
  for (const flag of Object.keys(FLAGS)) {
    if (Object.hasOwn(MOGNET_APP_FLAGS, flag) || allowed.includes(flag)) continue;
    if (given.on(flag) || given.texts(flag).length > 0) throw new UsageError(`${name} has no option --${flag}`);
  }
}
