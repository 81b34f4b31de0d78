/** What the matrix spans, and which of its cells are off, each with the reason. `docs/compatibility.md` repeats both. */
import type { Direction } from "./celery/case.ts";

/** The Python side, newest first. The interpreter of each stands in `LOVAGE_TEST_PYTHON_<version with _>`. */
export const versions = [
  { celery: "5.7.0", kombu: "5.7.0" },
  { celery: "5.6.3", kombu: "5.6.2" },
  { celery: "5.4.0", kombu: "5.3.7" },
] as const;

/** Broker and result backend. */
export const stores = ["amqp+redis", "amqp+rpc", "redis+redis", "filesystem+file"] as const;
export type Stores = (typeof stores)[number];

/** Python to Python is the control that the others are compared with. */
export const directions = [
  { name: "ts-py", client: "typescript", worker: "python" },
  { name: "py-ts", client: "python", worker: "typescript" },
  { name: "ts-ts", client: "typescript", worker: "typescript" },
  { name: "py-py", client: "python", worker: "python" },
] as const satisfies readonly Direction[];

export type DirectionName = (typeof directions)[number]["name"];

export interface Off {
  /** Case names; a `*` at the end stands for anything. */
  readonly cases: string;
  /** @default all */
  readonly stores?: readonly Stores[];
  /** @default all */
  readonly directions?: readonly DirectionName[];
  /** @default all */
  readonly versions?: readonly string[];
  readonly reason: string;
}

const toPython = ["ts-py", "py-py"] as const;
const fromPython = ["py-ts", "py-py"] as const;
const toTypescript = ["py-ts", "ts-ts"] as const;
const bytesOfNoClient = "these bytes come from no client: who puts them on the broker makes no difference";

export const off: readonly Off[] = [
  { cases: "hostile/*", directions: ["ts-py", "ts-ts"], reason: bytesOfNoClient },
  { cases: "other publishers/*", directions: ["ts-py", "ts-ts"], reason: bytesOfNoClient },
  { cases: "deadly to Python/*", directions: ["ts-py", "ts-ts"], reason: bytesOfNoClient },
  {
    cases: "deadly to Python/*",
    directions: ["py-py"],
    reason: "a Python worker ends or loses its way when it gets one",
  },
  {
    cases: "priority/RabbitMQ*",
    stores: ["redis+redis", "filesystem+file"],
    reason: "on Redis lower numbers are more urgent; the filesystem transport has no priorities",
  },
  {
    cases: "priority/Redis*",
    stores: ["amqp+redis", "amqp+rpc", "filesystem+file"],
    reason: "on RabbitMQ higher numbers are more urgent; the filesystem transport has no priorities",
  },
  { cases: "routing/task_routes by name", directions: toPython, reason: "this route leads to the TypeScript worker" },
  {
    cases: "routing/task_routes by pattern",
    directions: toTypescript,
    reason: "this route leads to the Python worker",
  },
  {
    cases: "request/argsrepr*",
    directions: toTypescript,
    reason: "Lovage's task context does not show argsrepr, kwargsrepr and shadow; Python judges what is sent",
  },
  {
    cases: "retries/the last attempt ends at once",
    directions: toPython,
    reason: "Celery stores RETRY after it has published the next attempt, and sometimes over its FAILURE",
  },
  {
    cases: "failures/an exception that cannot be made again*",
    directions: toTypescript,
    reason: "only a Python exception can be one",
  },
  {
    cases: "late acks/a message rejected for good*",
    versions: ["5.6.3", "5.4.0"],
    directions: toPython,
    reason: "Celery stores a failure for Reject since 5.7 only",
  },
  {
    cases: "ignored results/the task says so",
    versions: ["5.6.3", "5.4.0"],
    directions: fromPython,
    reason:
      "before 5.7 Celery's send_task says `ignore_result: false`, which overrules the task (5.4's own worker does not look)",
  },
  {
    cases: "ignored results/the call overrules the task",
    versions: ["5.4.0"],
    directions: toPython,
    reason: "Celery 5.4 asks the task alone",
  },
  {
    cases: "ignored results/a failure is ignored too",
    versions: ["5.4.0"],
    directions: toPython,
    reason: "Celery 5.4 stores failures of calls that say `ignore_result`",
  },
  {
    cases: "late acks/a rejected message comes back*",
    stores: ["filesystem+file"],
    directions: toPython,
    reason: "Kombu's filesystem transport does not tell a worker that a message came back",
  },
  {
    cases: "late acks/another worker*",
    directions: ["py-py"],
    reason: "no second Python worker in a cell; that Celery redelivers to Celery is not our promise",
  },
  {
    cases: "late acks/another worker*",
    stores: ["filesystem+file"],
    directions: ["py-ts"],
    reason: "Kombu's filesystem transport deletes a message when it is taken: what Python held is gone with it",
  },
];

/** The reason why a case is off in a cell; null: it runs. */
export function offReason(name: string, version: string, cell: Stores, direction: DirectionName): string | null {
  const found = off.find(
    (entry) =>
      matches(entry.cases, name) &&
      (entry.stores?.includes(cell) ?? true) &&
      (entry.directions?.includes(direction) ?? true) &&
      (entry.versions?.includes(version) ?? true),
  );
  return found?.reason ?? null;
}

export function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
