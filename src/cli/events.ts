/** `lovage events`: what the fleet does, as lines or as a live view. wire: celery/bin/events.py, celery/events/dumper.py. */
import { encodeJson } from "../../protocol/json.ts";
import { pyRepr } from "../../protocol/saferepr.ts";
import type { Celery } from "../app.ts";
import type { ReceivedEvent } from "../events/receiver.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, type Given, UsageError } from "./command.ts";
import { liveView } from "./live/live-view.ts";
import { onBrokenOutput, print } from "./output.ts";
import { stopSignals } from "./stop-signals.ts";
import { cleanLines } from "./terminal-text.ts";

export const events: Command = {
  name: "events",
  summary: "watch the fleet: workers, and tasks as they run",
  usage: "[--dump | --json] [--filter TYPE]",
  about: [
    "On a terminal a live view of workers and tasks, in which tasks are revoked and rate limited from the keyboard (? shows the",
    "keys). With --dump one line an event, with --json one JSON object an event; lines also where the output is no terminal, or",
    "one that cannot place what it shows (TERM=dumb). It waits for its broker until it is ended.",
    "Workers send task events when they were started with -E, or after: lovage control enable_events.",
  ].join("\n"),
  examples: [
    "lovage events -A ./app.js",
    "lovage events --dump -b redis://localhost:6379/0",
    "lovage events --json --filter task-",
  ],
  flags: {
    ...APP_FLAGS,
    dump: { type: "boolean", short: "d", help: "one line an event" },
    json: { type: "boolean", short: "j", help: "one JSON object an event" },
    filter: { type: "string", value: "TYPE", help: "only events whose type begins so, such as task- or worker-online" },
    limit: { type: "string", value: "N", help: "end after so many events" },
    enable: { type: "boolean", help: "tell workers to send task events" },
  },
  async run(given) {
    if (await watch(given)) endByHangup();
    return EXIT.ok;
  },
};

/** Resolves when all is closed; with true when the terminal is there no more. */
async function watch(given: Given): Promise<boolean> {
  if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
  const limit = given.number("limit") ?? Number.POSITIVE_INFINITY;
  if (!(limit >= 1)) throw new UsageError("--limit is a number of events, at least 1");
  const level = applyAppFlags(given, "warn");
  const signals = stopSignals.listen();
  const stop = new AbortController();
  signals.attach({ stop: () => stop.abort() });
  const live = !given.on("dump") && !given.on("json") && canDraw();
  // A terminal that hangs up is restored as on SIGTERM.
  const onHangup = () => signals.on("SIGHUP");
  if (live) process.on("SIGHUP", onHangup);
  await using app = await openApp(given, level);
  // `lovage events | head` has seen enough.
  onBrokenOutput(() => stop.abort());
  try {
    const begun = async () => {
      if (given.on("enable")) await app.control.enableEvents({ signal: stop.signal });
    };
    const filter = given.text("filter") ?? "";
    if (live) return await liveView(app, stop, begun);
    await dump(app, { json: given.on("json"), filter, limit, signal: stop.signal, begun });
  } finally {
    process.off("SIGHUP", onHangup);
    signals.close();
  }
  return false;
}

/** Node aborts with a core when it exits after its terminal has gone (`node::ResetStdio`); the signal ends it in order. */
function endByHangup(): void {
  process.removeAllListeners("SIGHUP");
  process.kill(process.pid, "SIGHUP");
}

/** Whether both ends are a terminal, and one that can place what it shows. */
export function canDraw({
  stdin,
  stdout,
  env,
}: {
  stdin: { isTTY?: boolean };
  stdout: { isTTY?: boolean };
  env: NodeJS.ProcessEnv;
} = process): boolean {
  return stdin.isTTY === true && stdout.isTTY === true && env.TERM !== "dumb";
}

interface DumpOptions {
  json: boolean;
  filter: string;
  limit: number;
  signal: AbortSignal;
  /** Called when events arrive from now on. */
  begun: () => Promise<void>;
}

async function dump(app: Celery, { json, filter, limit, signal, begun }: DumpOptions): Promise<void> {
  const names = new Map<string, string>();
  let seen = 0;
  const stream = await app.events.receive({ signal }).start();
  if (signal.aborted) return;
  await begun();
  if (!json) print("-> evdump: starting capture...");
  for await (const event of stream) {
    const line = json ? jsonLine(event) : cleanLines(dumpLine(event, names));
    if (!event.type.startsWith(filter)) continue;
    print(line);
    if (++seen >= limit) return;
  }
}

function jsonLine({ fields, localReceived, ...envelope }: ReceivedEvent): string {
  return encodeJson({ ...envelope, ...fields, local_received: localReceived });
}

const HUMAN: Readonly<Record<string, string>> = {
  "worker-offline": "shutdown",
  "worker-online": "started",
  "worker-heartbeat": "heartbeat",
};
/** Tasks whose names are remembered for their later events. */
const MOST_NAMES = 4_095;

/** Celery's line. `names` remembers what a task is from its first event on. */
export function dumpLine(event: ReceivedEvent, names: Map<string, string>): string {
  const { type, hostname, timestamp, fields } = event;
  const when = pythonTime(timestamp);
  const known = HUMAN[type] ?? type.toLowerCase().replaceAll("-", " ");
  const rest = new Map<string, unknown>([
    ["clock", event.clock],
    ["pid", event.pid],
    ["utcoffset", event.utcoffset],
    ["local_received", event.localReceived],
    ...Object.entries(fields),
  ]);
  let task = "";
  const { uuid } = fields;
  if (type.startsWith("task-") && typeof uuid === "string") {
    rest.delete("uuid");
    if (type === "task-received" || type === "task-sent") {
      task = `${fields.name}(${uuid}) args=${fields.args} kwargs=${fields.kwargs}`;
      for (const name of ["name", "args", "kwargs"]) rest.delete(name);
      names.set(uuid, task);
      for (const oldest of names.keys()) {
        if (names.size <= MOST_NAMES) break;
        names.delete(oldest);
      }
    } else task = names.get(uuid) ?? uuid;
  }
  const shown = [...rest.keys()]
    .sort()
    .map((name) => `${name}=${shownValue(rest.get(name))}`)
    .join(", ");
  return `${hostname} [${when}] ${known}: ${task === "" ? "" : `${task} `}${shown}`;
}

/** Python's `str` of a datetime in UTC: microseconds, and none where they are 0. */
function pythonTime(timestamp: number): string {
  const whole = Math.floor(timestamp);
  // As Python rounds: what is left of a second, half to even.
  const exact = (timestamp - whole) * 1e6;
  const down = Math.floor(exact);
  const left = exact - down;
  const micros = left > 0.5 || (left === 0.5 && down % 2 === 1) ? down + 1 : down;
  const [second = ""] = new Date((whole + Math.floor(micros / 1e6)) * 1000).toISOString().split(".");
  const rest = micros % 1e6;
  return `${second.replace("T", " ")}${rest === 0 ? "" : `.${String(rest).padStart(6, "0")}`}+00:00`;
}

/** Python's `str`. */
function shownValue(value: unknown): string {
  return typeof value === "string" ? value : pyRepr(value ?? null);
}
