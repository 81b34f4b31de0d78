/**
 * How the parts of a worker hang together: the tasks it runs, the way in (`admission.ts`), what runs (`runner.ts`, in a pool) and what is
 * due when a task has ended (`effects.ts`). `worker.ts` starts and stops them.
 */
import { parseRate } from "../../protocol/celery/rate.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { Queue } from "../../protocol/routing.ts";
import type { DecodeLimits } from "../../protocol/serialization.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { nodeName } from "../runtime/ids.ts";
import type { Log } from "../runtime/log.ts";
import { steadyTimers, TimerHeap } from "../runtime/timer-heap.ts";
import type { Settings } from "../settings/settings.ts";
import type { Zone } from "../settings/timezone.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Transport } from "../transports/transport.ts";
import { Admission } from "./admission.ts";
import { type AutoscaleRange, Autoscaler } from "./autoscaler.ts";
import { builtinTasks } from "./builtin-tasks/index.ts";
import { Effects } from "./effects.ts";
import { type IntakeRules, readExactly } from "./intake.ts";
import type { Outbox } from "./outbox.ts";
import { Calls } from "./pools/calls.ts";
import type { MakePool, Pool } from "./pools/pool.ts";
import { Prefetch } from "./prefetch.ts";
import { Refusals } from "./refusals.ts";
import type { WorkerStats } from "./report.ts";
import { planOf, type Request, type RequestStore, type TaskPlan } from "./request.ts";
import type { RecordOptions } from "./result-records.ts";
import { Revocations } from "./revoked/revocations.ts";
import { type KeptClock, StateDb } from "./revoked/state-db.ts";
import { Runner } from "./runner.ts";
import { Slots } from "./slots.ts";
import { type EventSink, TaskEvents } from "./task-events.ts";
import { UnknownTasks } from "./unknown-tasks.ts";
import { addToChord, type ChordAdder } from "./workflow/add-to-chord.ts";
import { Chords } from "./workflow/chords.ts";
import { Errbacks } from "./workflow/errbacks.ts";

export interface WorkerParts {
  settings: Settings;
  transport: Transport;
  backend: ResultBackend<ResultMeta> | null;
  tasks: Iterable<AnyTask>;
  queues: readonly Queue[];
  accept: ReadonlySet<string>;
  decode: DecodeLimits;
  outbox: Outbox;
  /** Where task events go. */
  events: EventSink;
  zone: Zone;
  log: Log;
  /** Now as Python's `isoformat` in the app's timezone. */
  isoNow: () => string;
  naiveToEpoch: (epochMsAsIfUtc: number) => number;
  /** @default `celery@<host>` */
  nodename?: string;
  pool: MakePool;
  /** Shared with others that run tasks in this worker. @default slots of its own, as many as the pool has */
  slots?: Slots;
  /** The logical clock, kept with the revoked ids. */
  clock?: KeptClock | null;
  /** Bounds within which the pool follows the work. */
  autoscale?: AutoscaleRange | null;
}

/** What `worker.ts` steers. */
export interface Wired {
  readonly hostname: string;
  readonly plans: ReadonlyMap<string, TaskPlan>;
  /** Names of the tasks without Celery's built-in ones. */
  readonly ownTasks: readonly string[];
  readonly stats: WorkerStats;
  /** For spans of time. */
  readonly timers: TimerHeap;
  /** For instants of the clock. */
  readonly etas: TimerHeap;
  readonly revocations: Revocations;
  readonly prefetch: Prefetch;
  readonly slots: Slots;
  /** Bodies of its own that may run at a time, to begin with. */
  readonly most: number;
  readonly pool: Pool;
  readonly runner: Runner;
  readonly admission: Admission;
  readonly autoscaler: Autoscaler | null;
  readonly stateDb: StateDb | null;
}

/** Celery's own tasks that call others, which have to run where those run. */
const CALLS_OTHERS: ReadonlySet<string> = new Set(["celery.map", "celery.starmap"]);

/** `onMax`: the autoscaler lets so many bodies run at a time, at most. */
export function wire(parts: WorkerParts, onMax: (max: number) => void): Wired {
  const { settings, transport, backend, outbox, isoNow, log } = parts;
  const hostname = parts.nodename ?? nodeName();
  const timers = steadyTimers();
  const etas = new TimerHeap();
  const stats: WorkerStats = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0, refused: 0 };
  const records: RecordOptions = { extended: settings.result_extended, hostname, isoNow };
  const thorough = settings.lovage_fail_unreachable;
  const inheritPriority = settings.task_inherit_parent_priority;

  const plans = new Map<string, TaskPlan>();
  for (const task of parts.tasks) if (task.handler !== null) plans.set(task.name, planOf(task, settings));
  const ownTasks = [...plans.keys()];
  warnOfSoftLimits(plans.values(), log);
  const rules: IntakeRules = {
    plans,
    accept: parts.accept,
    limits: {
      maxBytes: settings.lovage_max_message_bytes,
      maxDecompressedBytes: settings.lovage_max_decompressed_bytes,
    },
    naiveToEpoch: parts.naiveToEpoch,
    decode: parts.decode,
  };
  const exactly = (request: Request) => readExactly(request.message, request.delivery.message, rules);

  const errbacks = new Errbacks({ outbox, plans, validate: settings.lovage_validate_params, thorough, log });
  const chords = backend === null ? null : new Chords({ backend, outbox, errbacks, records, thorough, settings, log });
  for (const task of builtinTasks({ settings, backend, chords, plans, log })) {
    if (!plans.has(task.name)) plans.set(task.name, planOf(task, settings, !CALLS_OTHERS.has(task.name)));
  }
  const events = new TaskEvents(parts.events, parts.zone);
  const effects = new Effects({ events, backend, outbox, chords, errbacks, records, inheritPriority, log, exactly });

  const updateState = (request: Request, state: string, meta: unknown) => runner.updateState(request, state, meta);
  const sendEvent = async (request: { readonly message: { readonly id: string } }, type: string, fields: object) =>
    parts.events.sendSingly(type, { uuid: request.message.id, ...fields });
  const chordAdder: ChordAdder = {
    outbox,
    chords: backend?.chords ?? null,
    inheritPriority,
    exactly,
    failChord: (request, error) => effects.failChord(request, error),
  };
  const calls = new Calls({ ...chordAdder, outbox, updateState, sendEvent });
  const pool = parts.pool({ timers, calls, taskNames: () => ownTasks });
  const most = parts.autoscale?.max ?? pool.size;
  const slots = parts.slots ?? new Slots(most);
  const window = settings.worker_prefetch_multiplier * most;
  const prefetch = new Prefetch(window, settings.worker_eta_task_limit);
  const revocations = new Revocations({ backend, isoNow, log });
  const runner: Runner = new Runner({
    pool,
    slots,
    finishingLimit: window === 0 ? 1000 : window,
    refusal: (request) => revocations.refusal(request),
    effects,
    contextHost: {
      hostname,
      log,
      outbox,
      inheritPriority,
      addPart: (request: Request, member) => addToChord(chordAdder, request, member),
      exactly,
      updateState,
      sendEvent,
    },
    timers,
    stats,
    log,
  });
  const autoscaler =
    parts.autoscale == null
      ? null
      : new Autoscaler({
          pool,
          range: parts.autoscale,
          timers,
          wanted: () => runner.active + runner.waiting,
          onMax,
          log,
        });

  const hold = () => runner.hold();
  const refusals = new Refusals({ backend, events, effects, records, rules, thorough, stats, hold, log });
  const unknown = new UnknownTasks({
    settings,
    timers,
    transport,
    prefetch,
    answer: (delivery, head) => refusals.unregistered(delivery, head),
    say: (level, head, message, fields) => log[level]({ task: head.task, id: head.id, ...fields }, message),
  });
  const admission = new Admission({
    rules,
    store: storeFor(backend, thorough),
    backend,
    deduplicates: settings.worker_deduplicate_successful_tasks,
    runner,
    revocations,
    refusals,
    unknown,
    events,
    timers,
    etas,
    prefetch,
    stats,
    log,
    onTask: () => autoscaler?.onTask(),
  });
  if (!settings.worker_disable_rate_limits) {
    for (const plan of plans.values()) admission.limits.set(plan.task.name, perSecond(plan.rateLimit));
  }

  return {
    hostname,
    plans,
    ownTasks,
    stats,
    timers,
    etas,
    revocations,
    prefetch,
    slots,
    most,
    pool,
    runner,
    admission,
    autoscaler,
    stateDb: stateDbFor(parts, revocations, timers),
  };
}

/** Where no backend counts the parts of chords, all results are kept for those that look for them. */
function storeFor(backend: ResultBackend<ResultMeta> | null, thorough: boolean): RequestStore {
  if (backend === null) return "none";
  const joins = backend.chords === undefined && backend.can.sharedReads;
  return joins && thorough ? "joined" : "kept";
}

function stateDbFor(parts: WorkerParts, { ids, stamps }: Revocations, timers: TimerHeap): StateDb | null {
  const { worker_state_db: path } = parts.settings;
  if (path === null) return null;
  const kept = { ids, stamps: stamps.keys, clock: parts.clock ?? null };
  const stateDb = new StateDb({ path, ...kept, timers, log: parts.log });
  ids.onChange = stamps.keys.onChange = () => stateDb.changed();
  return stateDb;
}

/** Celery refuses such a pair when it sends a task by itself. */
function warnOfSoftLimits(plans: Iterable<TaskPlan>, log: Log): void {
  const tasks: string[] = [];
  for (const { task, softTimeLimit: soft, timeLimit: hard } of plans) {
    if (soft !== null && hard !== null && hard > 0 && soft >= hard) tasks.push(task.name);
  }
  if (tasks.length === 0) return;
  const count = tasks.length;
  log.warn({ count, tasks: tasks.slice(0, 10) }, "soft time limits that never come: the hard ones are not later");
}

/** A rate that was checked when it was given. */
function perSecond(rate: string | number | null): number {
  const parsed = parseRate(rate);
  return typeof parsed === "number" ? parsed : 0;
}
