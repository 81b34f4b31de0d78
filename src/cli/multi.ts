/** `lovage multi`: several workers in the background, by their pid files. wire: celery/bin/multi.py; behaviour 6.2. */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, resolve } from "node:path";
import { pause } from "../runtime/backoff.ts";
import { type Command, EXIT, helpOf, UsageError } from "./command.ts";
import { expand, type Node, readNodes } from "./multi/nodes.ts";
import { print } from "./output.ts";
import { worker } from "./worker.ts";

const ACTS = ["start", "stop", "stopwait", "stop_verify", "restart", "kill", "show", "names", "get", "expand"] as const;
type Act = (typeof ACTS)[number];

/** Milliseconds in which a worker that cannot run usually says so. */
const EARLY_MS = 1_000;
/** Milliseconds that a warm stop may take. */
const STOP_MS = 60_000;

interface Outcome {
  readonly name: string;
  readonly pid: number | null;
  /** `started`, `running`, `stopped`, `not running`, `killed`, `failed`. */
  readonly state: string;
}

export const multi: Command = {
  name: "multi",
  summary: "start, stop and restart several workers in the background",
  usage: "ACT NODES … [worker options] [--pidfile=%n.pid] [--logfile=%n.log] [--json]",
  about: [
    `ACT is one of ${ACTS.join(", ")}.`,
    "NODES are names, or a number: 3 is celery1, celery2 and celery3. Options are those of lovage worker, for all or for some:",
    "-c 3 -c:1-2 10 -Q:images images. show prints what would be run; stop sends TERM (or -QUIT, -9), stopwait waits for the end,",
    "kill does not.",
    "Where systemd or a container supervises processes, leave this to them.",
  ].join("\n"),
  examples: [
    "lovage multi start 3 -A ./app.js -c 10 -c:1 2",
    "lovage multi stopwait 3 --pidfile=/var/run/lovage/%n.pid",
    "lovage multi show images mail -A ./app.js -Q:images images -Q:mail mail",
  ],
  flags: {
    pidfile: { type: "string", value: "FILE", help: "%n is the node's name (default %n.pid)" },
    logfile: { type: "string", value: "FILE", help: "where its log goes (default %n.log)" },
    "range-prefix": { type: "string", value: "NAME", help: "names of numbered nodes begin so (default celery)" },
    prefix: { type: "string", value: "TEXT", help: "names that are given begin so" },
    hostname: {
      type: "string",
      short: "H",
      value: "HOST",
      help: "what stands behind the @ (default this host), -n too",
    },
    suffix: { type: "string", value: "HOST", help: "the same, and before it" },
    json: { type: "boolean", short: "j", help: "one JSON document" },
  },
  async raw(args) {
    const [act, ...rest] = args;
    // As Celery's: alone it says how it is used, and that is no failure.
    if (act === undefined || act === "help") {
      print(helpOf(multi).trimEnd());
      return EXIT.ok;
    }
    if (!isAct(act)) throw new UsageError(`multi what: ${ACTS.join(", ")}`);
    const sig = takesSignal(act) ? signalAmong(rest) : undefined;
    const template = act === "get" || act === "expand" ? rest.shift() : undefined;
    const { nodes, json } = readNodes(rest, worker.flags);
    if (act === "show" || act === "names" || act === "get" || act === "expand") {
      const lines = described(act, nodes, template);
      if (json) print(JSON.stringify(lines));
      else for (const line of lines) print(line);
      return EXIT.ok;
    }
    const outcomes: Outcome[] = [];
    for (const node of nodes) {
      const outcome = await ACT[act](node, sig);
      outcomes.push(outcome);
      if (!json) print(`  > ${outcome.name}: ${outcome.state}${outcome.pid === null ? "" : ` (pid ${outcome.pid})`}`);
    }
    if (json) print(JSON.stringify(outcomes));
    return outcomes.some(({ state }) => state === "failed") ? EXIT.failed : EXIT.ok;
  },
  async run() {
    throw new UsageError(`multi what: ${ACTS.join(", ")}`);
  },
};

function isAct(value: string | undefined): value is Act {
  return ACTS.some((act) => act === value);
}

type Doing = (node: Node, sig?: NodeJS.Signals) => Promise<Outcome>;

function takesSignal(act: Act): boolean {
  return act === "stop" || act === "stopwait" || act === "stop_verify" || act === "restart";
}

/** Takes `-9`, `-QUIT` or `-SIGQUIT` out of the words. wire: celery/apps/multi.py `_find_sig_argument`. */
function signalAmong(words: string[]): NodeJS.Signals | undefined {
  for (const [index, word] of words.entries()) {
    const named = word.slice(1).toUpperCase();
    for (const [name, number] of Object.entries(constants.signals)) {
      if (!word.startsWith("-") || ![name, name.slice(3), String(number)].includes(named)) continue;
      words.splice(index, 1);
      return name as NodeJS.Signals;
    }
  }
  return undefined;
}

const ACT: Readonly<Record<Exclude<Act, "show" | "names" | "get" | "expand">, Doing>> = {
  start,
  stop: async (node, sig) => signal(node, sig ?? "SIGTERM", "stopping"),
  stopwait: stopAndWait,
  stop_verify: stopAndWait,
  async restart(node, sig) {
    await stopAndWait(node, sig);
    return start(node);
  },
  kill: async (node) => {
    const outcome = signal(node, "SIGKILL", "killed");
    rmSync(node.pidfile, { force: true });
    return outcome;
  },
};

function described(
  act: "show" | "names" | "get" | "expand",
  nodes: readonly Node[],
  template: string | undefined,
): string[] {
  if (act === "names") return nodes.map(({ name }) => name);
  if (act === "show") return nodes.map((node) => ["lovage", ...workerArgs(node)].map(quoted).join(" "));
  if (template === undefined) throw new UsageError(act === "get" ? "the options of which node?" : "expand what?");
  if (act === "get") {
    const wanted = nodes.find(({ name, short }) => name === template || short === template);
    if (wanted === undefined) throw new UsageError(`no node is named ${template}`);
    return [wanted.args.map(quoted).join(" ")];
  }
  return nodes.map((node) => expand(template, node));
}

function workerArgs(node: Node): string[] {
  return ["worker", "-n", node.name, ...node.args];
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

async function start(node: Node): Promise<Outcome> {
  const running = pidOf(node);
  if (running !== null) return { name: node.name, pid: running, state: "running" };
  for (const file of [node.pidfile, node.logfile]) mkdirSync(dirname(resolve(file)), { recursive: true });
  const log = openSync(node.logfile, "a");
  const program = process.argv[1] ?? "lovage";
  const child = spawn(process.execPath, [...process.execArgv, program, ...workerArgs(node)], {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const ended = new Promise<true>((done) => {
    child.once("exit", () => done(true));
    child.once("error", () => done(true));
  });
  const early = new AbortController();
  const gone = await Promise.race([ended, pause(EARLY_MS, early.signal).then(() => false)]);
  early.abort();
  if (gone || child.pid === undefined) return { name: node.name, pid: null, state: "failed" };
  writeFileSync(node.pidfile, `${child.pid}\n`);
  child.unref();
  return { name: node.name, pid: child.pid, state: "started" };
}

function signal(node: Node, name: NodeJS.Signals, state: string): Outcome {
  const pid = pidOf(node);
  if (pid === null) return { name: node.name, pid: null, state: "not running" };
  process.kill(pid, name);
  return { name: node.name, pid, state };
}

async function stopAndWait(node: Node, sig: NodeJS.Signals = "SIGTERM"): Promise<Outcome> {
  const { pid } = signal(node, sig, "stopping");
  if (pid === null) return { name: node.name, pid: null, state: "not running" };
  const end = performance.now() + STOP_MS;
  while (isAlive(pid)) {
    if (performance.now() > end) return { name: node.name, pid, state: "failed" };
    await pause(100);
  }
  rmSync(node.pidfile, { force: true });
  return { name: node.name, pid, state: "stopped" };
}

/** The process of the pid file, if it lives. */
function pidOf(node: Node): number | null {
  if (!existsSync(node.pidfile)) return null;
  const pid = Number(readFileSync(node.pidfile, "utf8").trim());
  return Number.isSafeInteger(pid) && pid > 1 && isAlive(pid) ? pid : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
