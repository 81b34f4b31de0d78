/**
 * What a monitor knows of a cluster, from its events alone: workers and tasks, each the latest so many. Events that come out of
 * order do not turn a finished task back. wire: celery/events/state.py, celery/states.py `precedence`; behaviour 4.5.
 */
import { isRecord, numberOr, textOr } from "../../protocol/records.ts";
import { InvalidEvent } from "./errors.ts";
import type { ReceivedEvent } from "./receiver.ts";

export interface WorkerInfo {
  readonly hostname: string;
  readonly pid: number | null;
  /** Seconds between its heartbeats. */
  readonly freq: number;
  readonly active: number | null;
  readonly processed: number | null;
  readonly loadavg: readonly number[] | null;
  /** `py-celery`, `lovage`, … */
  readonly swIdent: string | null;
  readonly swVer: string | null;
  readonly swSys: string | null;
  readonly clock: number;
  /** Unix seconds here of the latest heartbeats, oldest first; empty: it said good-bye. */
  readonly heartbeats: readonly number[];
}

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

export interface StateOptions {
  /** @default 5000 */
  readonly maxWorkers?: number;
  /** @default 10_000 */
  readonly maxTasks?: number;
  /** Characters of all that the tasks' events told. The least recently changed go first. @default 64 Mi */
  readonly maxTaskCharacters?: number;
  /** Unix milliseconds. @default Date.now */
  readonly now?: () => number;
}

/** What an event changed. */
export interface StateChange {
  readonly worker: WorkerInfo | null;
  readonly task: TaskInfo | null;
  /** The worker was not known, or says that it has come. */
  readonly joined: WorkerInfo | null;
  readonly left: WorkerInfo | null;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const HEARTBEATS = 4;
/** A worker that is silent for this many of its intervals is taken for dead. */
const EXPIRE_WINDOW = 2;
const DEFAULT_FREQUENCY = 60;

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

/** High to low; what is not in the list stands where `null` does. */
const PRECEDENCE = ["SUCCESS", "FAILURE", null, "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"];
const READY: ReadonlySet<string> = new Set(["SUCCESS", "FAILURE", "REVOKED"]);

function rank(state: string): number {
  const found = PRECEDENCE.indexOf(state);
  return found < 0 ? PRECEDENCE.indexOf(null) : found;
}

/** Fields that only `task-received` may tell once a later state is known. */
const DESCRIPTIVE = ["name", "args", "kwargs", "parentId", "rootId", "retries", "eta", "expires"] as const;

export class State {
  readonly #maxWorkers: number;
  readonly #maxTasks: number;
  readonly #now: () => number;
  readonly #workers = new Map<string, Mutable<WorkerInfo>>();
  /** Least recently changed first. */
  readonly #tasks = new Map<string, Mutable<TaskInfo>>();
  readonly #maxCharacters: number;
  /** Of each task that has many, and of all of these. */
  readonly #large = new Map<string, number>();
  #characters = 0;
  #events = 0;
  #received = 0;

  constructor(options: StateOptions = {}) {
    this.#maxWorkers = options.maxWorkers ?? 5_000;
    this.#maxTasks = options.maxTasks ?? 10_000;
    this.#maxCharacters = options.maxTaskCharacters ?? 64 * 1024 * 1024;
    this.#now = options.now ?? Date.now;
  }

  /** By node name. */
  get workers(): ReadonlyMap<string, WorkerInfo> {
    return this.#workers;
  }

  /** By id, the least recently changed first. */
  get tasks(): ReadonlyMap<string, TaskInfo> {
    return this.#tasks;
  }

  get eventCount(): number {
    return this.#events;
  }

  /** `task-received` events so far. */
  get taskCount(): number {
    return this.#received;
  }

  /** Whether the worker's last heartbeat is not too old. */
  isAlive(worker: WorkerInfo): boolean {
    const last = worker.heartbeats.at(-1);
    return last !== undefined && this.#now() / 1000 < last + worker.freq * EXPIRE_WINDOW;
  }

  aliveWorkers(): WorkerInfo[] {
    return [...this.#workers.values()].filter((worker) => this.isAlive(worker));
  }

  /** How many are alive; it does not look further than `enough`. */
  countAlive(enough = Number.POSITIVE_INFINITY): number {
    let count = 0;
    for (const worker of this.#workers.values()) {
      if (count >= enough) break;
      if (this.isAlive(worker)) count++;
    }
    return count;
  }

  /** Takes out the workers that are silent, and says which. */
  forgetSilent(): WorkerInfo[] {
    const silent = [...this.#workers.values()].filter((worker) => !this.isAlive(worker));
    for (const worker of silent) this.#workers.delete(worker.hostname);
    return silent;
  }

  /** Latest change first. */
  *tasksByTime(options: { name?: string; worker?: string; state?: string } = {}): Generator<TaskInfo> {
    const all = [...this.#tasks.values()].reverse();
    for (const task of all) {
      if (options.name !== undefined && task.name !== options.name) continue;
      if (options.worker !== undefined && task.worker !== options.worker) continue;
      if (options.state !== undefined && task.state !== options.state) continue;
      yield task;
    }
  }

  /** Forgets tasks; with `readyOnly` those that ended. */
  clearTasks({ readyOnly = true }: { readyOnly?: boolean } = {}): void {
    for (const [uuid, task] of this.#tasks) if (!readyOnly || READY.has(task.state)) this.#forgetTask(uuid);
  }

  clear(): void {
    this.#workers.clear();
    this.#tasks.clear();
    this.#large.clear();
    this.#characters = 0;
    this.#events = 0;
    this.#received = 0;
  }

  /** Takes note of an event. Custom groups change nothing. Throws `InvalidEvent` for what is none. */
  event(event: ReceivedEvent): StateChange {
    const { type, hostname, fields } = Object(event) as Partial<Record<keyof ReceivedEvent, unknown>>;
    if (typeof type !== "string" || typeof hostname !== "string" || typeof fields !== "object" || fields === null) {
      throw new InvalidEvent("state.event() takes an event as app.events.receive() or listen() gives it");
    }
    this.#events++;
    const dash = event.type.indexOf("-");
    const group = dash < 0 ? event.type : event.type.slice(0, dash);
    const subject = dash < 0 ? "" : event.type.slice(dash + 1);
    if (group === "worker") return this.#workerEvent(subject, event);
    if (group === "task") return this.#taskEvent(subject, event);
    return NOTHING;
  }

  #workerEvent(subject: string, event: ReceivedEvent): StateChange {
    const known = this.#workers.get(event.hostname);
    const isOffline = subject === "offline";
    const worker = known ?? newWorker(event.hostname);
    const { fields } = event;
    worker.pid = event.pid ?? worker.pid;
    worker.clock = event.clock ?? worker.clock;
    worker.freq = frequencyOr(fields.freq, worker.freq);
    worker.active = numberOr(fields.active, worker.active);
    worker.processed = numberOr(fields.processed, worker.processed);
    worker.loadavg = numbers(fields.loadavg) ?? worker.loadavg;
    worker.swIdent = shortOr(fields.sw_ident, worker.swIdent);
    worker.swVer = shortOr(fields.sw_ver, worker.swVer);
    worker.swSys = shortOr(fields.sw_sys, worker.swSys);
    if (isOffline) {
      worker.heartbeats = [];
      this.#workers.delete(worker.hostname);
      return { worker, task: null, joined: null, left: worker };
    }
    this.#beat(worker, event.localReceived);
    this.#keepWorker(worker);
    const joined = known === undefined || subject === "online" ? worker : null;
    return { worker, task: null, joined, left: null };
  }

  #taskEvent(subject: string, event: ReceivedEvent): StateChange {
    const { uuid } = event.fields;
    if (typeof uuid !== "string" || uuid.length > LONGEST_ID) return NOTHING;
    const task = this.#tasks.get(uuid) ?? newTask(uuid);
    // Set anew: the most recently changed stands last.
    this.#tasks.delete(uuid);
    this.#tasks.set(uuid, task);
    let worker: Mutable<WorkerInfo> | null = null;
    if (subject === "sent") task.client = event.hostname;
    else {
      worker = this.#workers.get(event.hostname) ?? null;
      if (worker === null) {
        worker = newWorker(event.hostname);
        worker.pid = event.pid;
      }
      this.#beat(worker, event.localReceived);
      this.#keepWorker(worker);
      task.worker = event.hostname;
    }
    if (subject === "received") this.#received++;
    applyTaskEvent(task, subject, event);
    this.#weigh(task);
    for (const oldest of this.#tasks.keys()) {
      const fits = this.#tasks.size <= this.#maxTasks && this.#characters <= this.#maxCharacters;
      if (fits || oldest === uuid) break;
      this.#forgetTask(oldest);
    }
    return { worker, task, joined: null, left: null };
  }

  #forgetTask(uuid: string): void {
    this.#tasks.delete(uuid);
    this.#characters -= this.#large.get(uuid) ?? 0;
    this.#large.delete(uuid);
  }

  /** Most tasks are told in a few hundred characters: their number is limit enough. */
  #weigh(task: TaskInfo): void {
    const before = this.#large.get(task.uuid) ?? 0;
    const weight = charactersOf(task);
    if (weight > SMALL) this.#large.set(task.uuid, weight);
    else if (before === 0) return;
    else this.#large.delete(task.uuid);
    this.#characters += (weight > SMALL ? weight : 0) - before;
  }

  #beat(worker: Mutable<WorkerInfo>, localReceived: number): void {
    worker.heartbeats = [...worker.heartbeats, localReceived].sort((a, b) => a - b).slice(-HEARTBEATS);
  }

  /** Set anew: when there are too many, those go that were not heard of for the longest time. */
  #keepWorker(worker: Mutable<WorkerInfo>): void {
    this.#workers.delete(worker.hostname);
    this.#workers.set(worker.hostname, worker);
    for (const oldest of this.#workers.keys()) {
      if (this.#workers.size <= this.#maxWorkers) break;
      this.#workers.delete(oldest);
    }
  }
}

/** Characters of a task's id, as of a revoked one's. */
const LONGEST_ID = 1_000;
/** Characters of a task that is not weighed. */
const SMALL = 4_096;

/** Roughly: what has a size of its own are texts and the values of custom events. */
function charactersOf(task: TaskInfo): number {
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

const NOTHING: StateChange = Object.freeze({ worker: null, task: null, joined: null, left: null });

function newWorker(hostname: string): Mutable<WorkerInfo> {
  return {
    hostname,
    pid: null,
    freq: DEFAULT_FREQUENCY,
    active: null,
    processed: null,
    loadavg: null,
    swIdent: null,
    swVer: null,
    swSys: null,
    clock: 0,
    heartbeats: [],
  };
}

function newTask(uuid: string): Mutable<TaskInfo> {
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

function applyTaskEvent(task: Mutable<TaskInfo>, subject: string, event: ReceivedEvent): void {
  const mapped = Object.hasOwn(STATE_OF, subject) ? STATE_OF[subject] : undefined;
  const state = mapped ?? subject.toUpperCase();
  if (mapped !== undefined || subject === "cancelled") task.times = { ...task.times, [subject]: event.timestamp };
  const told = fieldsOf(event.fields, task);
  // What happened before the state that is known only adds to the description. A retry begins anew.
  const late = state !== "RETRY" && task.state !== "RETRY" && rank(state) > rank(task.state);
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
): Partial<Mutable<TaskInfo>> & Record<(typeof DESCRIPTIVE)[number], unknown> {
  const extra: Record<string, unknown> = { ...before.extra };
  for (const [name, value] of Object.entries(fields)) {
    if (!KNOWN.has(name) && Object.keys(extra).length < MOST_EXTRA) extra[name] = value;
  }
  return {
    name: textOr(fields.name, before.name),
    args: shownOr(fields.args, before.args),
    kwargs: shownOr(fields.kwargs, before.kwargs),
    eta: textOr(fields.eta, before.eta),
    expires: textOr(fields.expires, before.expires),
    retries: numberOr(fields.retries, before.retries),
    rootId: textOr(fields.root_id, before.rootId),
    parentId: textOr(fields.parent_id, before.parentId),
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

/** Senders before Celery 4 sent values instead of their texts. */
function shownOr(value: unknown, fallback: string | null): string | null {
  if (value === undefined) return fallback;
  if (typeof value === "string" || value === null) return value;
  return isRecord(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}

function numbers(value: unknown): readonly number[] | null {
  return Array.isArray(value) ? value.slice(0, LOADS).map((item) => numberOr(item, 0)) : null;
}

/** Averages of one, five and fifteen minutes. */
const LOADS = 3;
/** Characters that are kept of what a worker says it is. */
const LONGEST_SHORT = 255;
/** Seconds; a worker that is heard of more seldom than daily would never be missed. */
const MOST_SELDOM = 86_400;

function shortOr(value: unknown, fallback: string | null): string | null {
  return typeof value === "string" ? value.slice(0, LONGEST_SHORT) : fallback;
}

function frequencyOr(value: unknown, fallback: number): number {
  const seconds = numberOr(value, fallback);
  return seconds > 0 && seconds <= MOST_SELDOM ? seconds : fallback;
}
