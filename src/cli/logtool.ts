/**
 * `lovage logtool`: what a worker's log tells, ours (JSON lines) and Celery's. wire: celery/bin/logtool.py, whose words the
 * subcommands have.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { isRecord } from "../../protocol/records.ts";
import { APP_FLAGS, applyAppFlags } from "./app-flags.ts";
import { type Command, EXIT, type Flags, UsageError } from "./command.ts";
import { complain, print } from "./output.ts";

const KINDS = ["stats", "errors", "incomplete", "traces", "debug"] as const;
type Kind = (typeof KINDS)[number];

/** Flags of every command, in Celery too, that say nothing to this one. */
const NOT_LOOKED_AT = ["app", "broker", "result-backend", "config", "loglevel"] as const;
const LOG_FLAGS: Flags = {
  ...APP_FLAGS,
  ...Object.fromEntries(NOT_LOOKED_AT.map((name) => [name, { ...APP_FLAGS[name]!, help: null }])),
};

export const logtool: Command = {
  name: "logtool",
  summary: "read a worker's log: counts, errors, tasks without an end",
  usage: "stats|errors|incomplete|traces|debug [FILE …] [--json]",
  about: [
    "Reads logs of workers, ours and Celery's, from files or standard input. stats counts tasks by name and lines by level;",
    "errors prints lines of errors; incomplete the tasks that were received and did not end; traces what went wrong with its",
    "stack; debug what is not about tasks.",
  ].join("\n"),
  examples: [
    "lovage logtool stats worker.log",
    "kubectl logs worker | lovage logtool incomplete",
    "lovage logtool errors *.log --json",
  ],
  flags: { ...LOG_FLAGS, json: { type: "boolean", short: "j", help: "one JSON document" } },
  async run(given) {
    const [what, ...files] = given.words;
    const kind = KINDS.find((one) => one === what);
    if (kind === undefined) throw new UsageError(`logtool what: ${KINDS.join(", ")}`);
    applyAppFlags(given, "warn");
    for (const name of NOT_LOOKED_AT) {
      if (given.text(name) !== undefined) complain(`lovage: logtool reads logs alone; --${name} is not looked at\n`);
    }
    const audit = new Audit();
    for (const file of files.length === 0 ? ["-"] : files) {
      try {
        for await (const line of linesOf(file)) audit.read(line);
      } catch (error) {
        throw new UsageError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    const found = audit.of(kind);
    if (given.on("json")) print(JSON.stringify(found));
    else for (const line of textOf(found)) print(line);
    return EXIT.ok;
  },
};

function linesOf(file: string): AsyncIterable<string> {
  return createInterface({
    input: file === "-" ? process.stdin : createReadStream(file),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
}

const LEVELS: Readonly<Record<number, string>> = {
  10: "TRACE",
  20: "DEBUG",
  30: "INFO",
  40: "WARNING",
  50: "ERROR",
  60: "CRITICAL",
};
/** `[2026-11-21 09:00:00,123: INFO/MainProcess] Task proj.add[id] received`, and our readable lines. */
const CELERY_LINE = /^\[([^\]]+): (DEBUG|INFO|WARNING|ERROR|CRITICAL)\/[^\]]*\] (.*)$/;
const CELERY_TASK =
  /Task ([\w.:<>-]+)\[([^\]]+)\] (received|succeeded|raised unexpected|raised expected|retry|ignored|rejected)/;
const ENDS = new Set([
  "terminated",
  "revoked",
  "workerLost",
  "hardLimit",
  "succeeded",
  "failed",
  "raised expected",
  "raised unexpected",
  "ignored",
  "rejected",
  "cancelled",
  "discarding",
]);
/** Lines and tasks that are kept; a log may be endless. */
const MOST = 100_000;

export class Audit {
  readonly #levels = new Map<string, number>();
  readonly #tasks = new Map<string, { received: number; succeeded: number; failed: number; retried: number }>();
  readonly #open = new Map<string, string>();
  readonly #kept: Record<"errors" | "traces" | "debug", string[]> = { errors: [], traces: [], debug: [] };
  #lines = 0;
  #inTrace = false;

  read(line: string): void {
    if (line.trim() === "") return;
    this.#lines++;
    const json = line.startsWith("{") ? parsed(line) : null;
    if (json !== null) return this.#json(line, json);
    const match = CELERY_LINE.exec(line);
    // What follows an error without a head of its own is its traceback.
    if (match === null) {
      if (this.#inTrace) this.#keep("traces", line);
      return;
    }
    const [, , level = "", text = ""] = match;
    this.#count(level);
    this.#inTrace = level === "ERROR" || level === "CRITICAL";
    if (this.#inTrace) {
      this.#keep("errors", line);
      this.#keep("traces", line);
    }
    const task = CELERY_TASK.exec(text);
    if (task !== null) this.#task(task[1] ?? "", task[2] ?? "", task[3] ?? "");
    else if (!this.#inTrace) this.#keep("debug", line);
  }

  of(kind: Kind): object {
    switch (kind) {
      case "stats":
        return {
          lines: this.#lines,
          levels: Object.fromEntries(this.#levels),
          tasks: Object.fromEntries(this.#tasks),
          incomplete: this.#open.size,
        };
      case "incomplete":
        return Array.from(this.#open, ([id, task]) => ({ id, task }));
      default:
        return this.#kept[kind];
    }
  }

  #json(line: string, fields: Record<string, unknown>): void {
    const level = LEVELS[Number(fields.level)] ?? "INFO";
    this.#count(level);
    const { msg, task, id, err } = fields;
    if (level === "ERROR" || level === "CRITICAL") {
      this.#keep("errors", line);
      if (isRecord(err) && typeof err.stack === "string")
        this.#keep("traces", `${String(task ?? "")}[${String(id ?? "")}] ${err.stack}`);
    }
    if (typeof task === "string" && typeof id === "string" && typeof msg === "string") this.#task(task, id, msg);
    else if (level !== "ERROR" && level !== "CRITICAL") this.#keep("debug", line);
  }

  #task(name: string, id: string, what: string): void {
    let counts = this.#tasks.get(name);
    if (counts === undefined) {
      if (this.#tasks.size >= MOST) return;
      counts = { received: 0, succeeded: 0, failed: 0, retried: 0 };
      this.#tasks.set(name, counts);
    }
    if (what === "received") {
      counts.received++;
      if (this.#open.size < MOST) this.#open.set(id, name);
    } else if (what === "retry") counts.retried++;
    else if (what === "succeeded") counts.succeeded++;
    else if (what === "failed" || what.startsWith("raised")) counts.failed++;
    if (what !== "received" && (ENDS.has(what) || ENDS.has(what.split(" ")[0] ?? ""))) this.#open.delete(id);
  }

  #count(level: string): void {
    this.#levels.set(level, (this.#levels.get(level) ?? 0) + 1);
  }

  #keep(kind: "errors" | "traces" | "debug", line: string): void {
    const kept = this.#kept[kind];
    if (kept.length < MOST) kept.push(line);
  }
}

function parsed(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function textOf(found: object): string[] {
  if (Array.isArray(found)) {
    return found.map((entry: unknown) =>
      isRecord(entry) ? `${String(entry.task)}[${String(entry.id)}]` : String(entry),
    );
  }
  const { lines, levels, tasks, incomplete } = found as {
    lines: number;
    levels: Record<string, number>;
    tasks: Record<string, Record<string, number>>;
    incomplete: number;
  };
  return [
    `lines: ${lines}`,
    ...Object.entries(levels).map(([level, count]) => `  ${level}: ${count}`),
    `tasks: ${Object.keys(tasks).length}, without an end: ${incomplete}`,
    ...Object.entries(tasks).map(
      ([name, counts]) =>
        `  ${name}: ${Object.entries(counts)
          .map(([what, count]) => `${what} ${count}`)
          .join(", ")}`,
    ),
  ];
}
