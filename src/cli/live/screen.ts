/** What the live view shows, as lines: a pure function of what is known and where the person is. */
import type { State } from "../../events/state.ts";
import type { TaskInfo } from "../../events/task-info.ts";
import type { WorkerInfo } from "../../events/worker-info.ts";
import { type Paint, paint } from "../paint.ts";
import { clean, cut, fill } from "../terminal-text.ts";

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Where the person is. */
export interface Place {
  /** Id of the task that is chosen. */
  chosen: string | null;
  /** Tasks whose name, id, worker, state or language has this text. */
  filter: string;
  /** What is asked for at the bottom, and typed so far; null: nothing. */
  prompt: { readonly label: string; text: string } | null;
  /** What was done last. */
  notice: string;
  help: boolean;
}

export const HELP = [
  "up, down   choose a task",
  "i          show all of the chosen task",
  "r          revoke it",
  "t          revoke it and end it where it runs",
  "l          rate limit of its kind",
  "e          tell workers to send task events",
  "/          filter by name, id, worker, state or language",
  "?          these keys; any key leaves them",
  "q, ^C      leave",
];

const COLORS: Readonly<Record<string, Paint>> = {
  SUCCESS: "green",
  FAILURE: "red",
  STARTED: "cyan",
  RECEIVED: "blue",
  RETRY: "yellow",
  REVOKED: "magenta",
  REJECTED: "magenta",
};

/** In which language a worker is written, by what it says of itself. */
export function languageOf(worker: WorkerInfo | undefined): string {
  switch (worker?.swIdent) {
    case "py-celery":
      return "python";
    case "lovage":
      return "typescript";
    default:
      return worker?.swIdent ?? "?";
  }
}

/** Tasks that fit the filter, latest change first. */
export function shownTasks(state: State, filter: string, limit = Number.POSITIVE_INFINITY): TaskInfo[] {
  const wanted = filter.toLowerCase();
  const found: TaskInfo[] = [];
  for (const task of state.tasksByTime()) {
    if (found.length >= limit) break;
    const language = languageOf(task.worker === null ? undefined : state.workers.get(task.worker));
    const text = `${task.name ?? ""} ${task.uuid} ${task.worker ?? ""} ${task.state} ${language}`.toLowerCase();
    if (wanted === "" || text.includes(wanted)) found.push(task);
  }
  return found;
}

export function screenLines(state: State, place: Place, size: Size, info: TaskInfo | null = null): string[] {
  const lines: string[] = [];
  const workers = [...state.workers.values()].sort((a, b) => (a.hostname < b.hostname ? -1 : 1));
  const alive = workers.filter((worker) => state.isAlive(worker)).length;
  lines.push(
    paint(
      "inverse",
      cut(
        ` lovage events   workers ${alive}/${workers.length}   tasks ${state.tasks.size}   events ${state.eventCount} `,
        size.columns,
      ),
    ),
  );
  lines.push(
    paint(
      "dim",
      cut(
        columns([
          ["WORKER", 30],
          ["LANGUAGE", 11],
          ["STATUS", 8],
          ["ACTIVE", 7],
          ["PROCESSED", 10],
          ["LOAD", 18],
        ]),
        size.columns,
      ),
    ),
  );
  const room = Math.max(1, Math.min(workers.length, Math.floor(size.rows / 3)));
  for (const worker of workers.slice(0, room)) lines.push(workerLine(worker, state.isAlive(worker), size.columns));
  if (workers.length > room) lines.push(paint("dim", `  and ${workers.length - room} more`));
  lines.push("");
  const foot = footer(place, size.columns);
  const left = Math.max(0, size.rows - lines.length - foot.length - 1);
  if (place.help) lines.push(...HELP.slice(0, left + 1).map((line) => `  ${line}`));
  else if (info !== null) lines.push(...infoLines(info, size.columns).slice(0, left + 1));
  else {
    lines.push(
      paint(
        "dim",
        cut(
          columns([
            ["", 1],
            ["TASK", 26],
            ["STATE", 10],
            ["WORKER", 24],
            ["LANGUAGE", 11],
            ["UUID", 36],
            ["RESULT", 40],
          ]),
          size.columns,
        ),
      ),
    );
    for (const task of shownTasks(state, place.filter, left)) {
      lines.push(taskLine(task, state, task.uuid === place.chosen, size.columns));
    }
  }
  while (lines.length < size.rows - foot.length) lines.push("");
  return [...lines.slice(0, size.rows - foot.length), ...foot];
}

function footer(place: Place, width: number): string[] {
  if (place.prompt !== null) return [cut(`${place.prompt.label}: ${place.prompt.text}_`, width)];
  const filter = place.filter === "" ? "" : `filter: ${place.filter}   `;
  return [paint("dim", cut(`${filter}${place.notice === "" ? "? keys   q leave" : clean(place.notice)}`, width))];
}

function workerLine(worker: WorkerInfo, alive: boolean, width: number): string {
  const load = worker.loadavg?.map((value) => value.toFixed(2)).join(" ") ?? "";
  const text = columns([
    [worker.hostname, 30],
    [languageOf(worker), 11],
    [alive ? "online" : "silent", 8],
    [String(worker.active ?? "-"), 7],
    [String(worker.processed ?? "-"), 10],
    [load, 18],
  ]);
  return paint(alive ? "green" : "red", cut(text, width));
}

function taskLine(task: TaskInfo, state: State, chosen: boolean, width: number): string {
  const worker = task.worker === null ? undefined : state.workers.get(task.worker);
  const text = cut(
    columns([
      [chosen ? ">" : " ", 1],
      [task.name ?? "?", 26],
      [task.state, 10],
      [task.worker ?? "", 24],
      [languageOf(worker), 11],
      [task.uuid, 36],
      [task.result ?? task.exception ?? `${task.args ?? ""} ${task.kwargs ?? ""}`, 200],
    ]),
    width,
  );
  const color = COLORS[task.state];
  if (chosen) return paint("inverse", text);
  return color === undefined ? text : paint(color, text);
}

function infoLines(task: TaskInfo, width: number): string[] {
  const rows: [string, unknown][] = [
    ["uuid", task.uuid],
    ["name", task.name],
    ["state", task.state],
    ["worker", task.worker],
    ["sent by", task.client],
    ["args", task.args],
    ["kwargs", task.kwargs],
    ["retries", task.retries],
    ["eta", task.eta],
    ["expires", task.expires],
    ["runtime", task.runtime],
    ["root", task.rootId],
    ["parent", task.parentId],
    ["result", task.result],
    ["exception", task.exception],
    ...(task.traceback === null ? [] : task.traceback.split("\n").map((line): [string, unknown] => ["", line])),
  ];
  return rows
    .filter(([, value]) => value !== null)
    .map(([name, value]) => cut(`  ${name.padEnd(10)} ${clean(String(value))}`, width));
}

function columns(cells: readonly (readonly [text: string, width: number])[]): string {
  return cells
    .map(([text, width]) => fill(clean(text), width))
    .join(" ")
    .trimEnd();
}
