/**
 * A task as its events tell of it. Events that come out of order do not turn a finished task back.
 * wire: celery/events/state.py `Task`, celery/states.py `precedence`; behaviour 4.5.
 */
import { precedence } from "../../protocol/celery/states.ts";
import { isRecord, numberOr, textOr } from "../../protocol/records.ts";
import type { ReceivedEvent } from "./receiver.ts";

/** What is known of a task, by its latest events. */
export interface TaskInfo {
  readonly uuid: string;
  /** Null: its `task-received` was not seen. */
  readonly name: string | null;
  /** A Celery state, or a custom event's name in capitals. */
  readonly state: string;
  readonly args: string | null;
  readonly kwargs: string | null;
  readonly eta: string | null;
  readonly expires: string | null;
  readonly retries: number | null;
  readonly rootId: string | null;
  readonly parentId: string | null;
  readonly result: string | null;
  readonly exception: string | null;
  readonly traceback: string | null;
  /** Seconds. */
  readonly runtime: number | null;
  readonly queue: string | null;
  readonly exchange: string | null;
  readonly routingKey: string | null;
  /** Node name of the worker that has it. */
  readonly worker: string | null;
  /** Who sent it, when a `task-sent` told. */
  readonly client: string | null;
  /** Unix seconds of the state. */
  readonly timestamp: number;
  readonly clock: number;
  /** Unix seconds of each event of it by its name: `sent`, `received`, `started`, `succeeded`, … */
  readonly times: Readonly<Record<string, number>>;
  /** Further fields of custom events. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** A task as `State` keeps it. */
export type KeptTask = { -readonly [K in keyof TaskInfo]: TaskInfo[K] };

const STATE_OF: Readonly<Record<string, string>> = {
  sent: "PENDING",
  received: "RECEIVED",
  started: "STARTED",
  failed: "FAILURE",
  retried: "RETRY",
  succeeded: "SUCCESS",
  revoked: "REVOKED",
  rejected: "REJECTED",
};

/** Fields that only `task-received` may tell once a later state is known. */
const DESCRIPTIVE = ["name", "args", "kwargs", "parentId", "rootId", "retries", "eta", "expires"] as const;

export function newTask(uuid: string): KeptTask {
  return {
    uuid,
    name: null,
    state: "PENDING",
    args: null,
    kwargs: null,
    eta: null,
    expires: null,
    retries: null,
    rootId: null,
    parentId: null,
    result: null,
    exception: null,
    traceback: null,
    runtime: null,
    queue: null,
    exchange: null,
    routingKey: null,
    worker: null,
    client: null,
    timestamp: 0,
    clock: 0,
    times: {},
    extra: {},
  };
}

/** Fields of events that are members of a task's own. */
const KNOWN: ReadonlySet<string> = new Set(
  "uuid name args kwargs eta expires retries root_id parent_id result exception traceback runtime queue exchange routing_key".split(
    " ",
  ),
);
/** Fields of custom events that are kept of one task. */
const MOST_EXTRA = 100;

/** Takes over what an event says of the task: its `subject` (`received`, `succeeded`, …) gives the state. */
export function tellTask(task: KeptTask, subject: string, event: ReceivedEvent): void {
  const mapped = Object.hasOwn(STATE_OF, subject) ? STATE_OF[subject] : undefined;
  const state = mapped ?? subject.toUpperCase();
  if (mapped !== undefined || subject === "cancelled") task.times = { ...task.times, [subject]: event.timestamp };
  const told = fieldsOf(event.fields, task);
  // What happened before the state that is known only adds to the description. A retry begins anew.
  const late = state !== "RETRY" && task.state !== "RETRY" && precedence(state) > precedence(task.state);
  if (late) {
    if (state !== "RECEIVED") return void Object.assign(task, told);
    for (const name of DESCRIPTIVE) Object.assign(task, { [name]: told[name] });
    return;
  }
  Object.assign(task, told);
  task.state = state;
  task.timestamp = event.timestamp;
  task.clock = event.clock ?? task.clock;
}

function fieldsOf(
  fields: Readonly<Record<string, unknown>>,
  before: TaskInfo,
): Partial<KeptTask> & Record<(typeof DESCRIPTIVE)[number], unknown> {
  const extra: Record<string, unknown> = { ...before.extra };
  for (const [name, value] of Object.entries(fields)) {
    if (!KNOWN.has(name) && Object.keys(extra).length < MOST_EXTRA) extra[name] = value;
  }
  return {
    name: textOr(fields.name, before.name),
    args: shownOr(fields.args, before.args),
    kwargs: shownOr(fields.kwargs, before.kwargs),
    eta: toldOr(fields.eta, before.eta),
    expires: toldOr(fields.expires, before.expires),
    retries: numberOr(fields.retries, before.retries),
    rootId: toldOr(fields.root_id, before.rootId),
    parentId: toldOr(fields.parent_id, before.parentId),
    result: shownOr(fields.result, before.result),
    exception: textOr(fields.exception, before.exception),
    traceback: textOr(fields.traceback, before.traceback),
    runtime: numberOr(fields.runtime, before.runtime),
    queue: textOr(fields.queue, before.queue),
    exchange: textOr(fields.exchange, before.exchange),
    routingKey: textOr(fields.routing_key, before.routingKey),
    extra,
  };
}

/** Null is told too: a retry without an ETA has none, whatever the attempt before it had. */
function toldOr(value: unknown, fallback: string | null): string | null {
  return value === null ? null : textOr(value, fallback);
}

/** Senders before Celery 4 sent values instead of their texts. */
function shownOr(value: unknown, fallback: string | null): string | null {
  if (value === undefined) return fallback;
  if (typeof value === "string" || value === null) return value;
  return isRecord(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}

/** Roughly: what has a size of its own are texts and the values of custom events. */
export function charactersOf(task: TaskInfo): number {
  let characters = 0;
  const open: object[] = [task];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const [name, item] of Object.entries(next) as [string, unknown][]) {
      characters += next === task ? 0 : name.length;
      if (typeof item === "string") characters += item.length;
      else if (typeof item === "object" && item !== null) open.push(item);
      else characters += 8;
    }
  }
  return characters;
}
