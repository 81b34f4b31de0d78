/**
 * What a monitor knows of a cluster, from its events alone: workers and tasks, each the latest so many.
 * wire: celery/events/state.py; behaviour 4.5.
 */
import { isReady } from "../../protocol/celery/states.ts";
import { InvalidEvent } from "./errors.ts";
import type { ReceivedEvent } from "./receiver.ts";
import { charactersOf, type KeptTask, newTask, type TaskInfo, tellTask } from "./task-info.ts";
import { beat, isAliveAt, type KeptWorker, newWorker, tellWorker, type WorkerInfo } from "./worker-info.ts";

/** How much of a fleet is kept in memory, at most. */
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

/** Characters of a task's id, as of a revoked one's. */
const LONGEST_ID = 1_000;
/** Characters of a task that is not weighed. */
const SMALL = 4_096;

const NOTHING: StateChange = Object.freeze({ worker: null, task: null, joined: null, left: null });

/** What a monitor knows of a fleet: give it every event. Celery: `app.events.State`. */
export class State {
  readonly #maxWorkers: number;
  readonly #maxTasks: number;
  readonly #now: () => number;
  readonly #workers = new Map<string, KeptWorker>();
  /** Least recently changed first. */
  readonly #tasks = new Map<string, KeptTask>();
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
    return isAliveAt(worker, this.#now());
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
    for (const [uuid, task] of this.#tasks) if (!readyOnly || isReady(task.state)) this.#forgetTask(uuid);
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
    tellWorker(worker, event);
    if (isOffline) {
      worker.heartbeats = [];
      this.#workers.delete(worker.hostname);
      return { worker, task: null, joined: null, left: worker };
    }
    beat(worker, event.localReceived);
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
    let worker: KeptWorker | null = null;
    if (subject === "sent") task.client = event.hostname;
    else {
      worker = this.#workers.get(event.hostname) ?? null;
      if (worker === null) {
        worker = newWorker(event.hostname);
        worker.pid = event.pid;
      }
      beat(worker, event.localReceived);
      this.#keepWorker(worker);
      task.worker = event.hostname;
    }
    if (subject === "received") this.#received++;
    tellTask(task, subject, event);
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

  /** Set anew: when there are too many, those go that were not heard of for the longest time. */
  #keepWorker(worker: KeptWorker): void {
    this.#workers.delete(worker.hostname);
    this.#workers.set(worker.hostname, worker);
    for (const oldest of this.#workers.keys()) {
      if (this.#workers.size <= this.#maxWorkers) break;
      this.#workers.delete(oldest);
    }
  }
}
