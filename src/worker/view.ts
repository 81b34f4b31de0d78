/** The worker as remote control sees it (`src/control/worker-view.ts`): its requests, limits, revokes, pool and queues. */
import { constants } from "node:os";
import { parseRate } from "../../protocol/celery/rate.ts";
import type { Queue } from "../../protocol/routing.ts";
import { pyRepr, saferepr } from "../../protocol/saferepr.ts";
import type {
  AutoscalerView,
  LimitsView,
  PoolView,
  RequestsView,
  RequestView,
  RevokesView,
  TaskStage,
  TaskView,
  WorkerView,
} from "../control/worker-view.ts";
import { limitedLog } from "../runtime/limited-log.ts";
import type { Log } from "../runtime/log.ts";
import type { Settings } from "../settings/settings.ts";
import type { Zone } from "../settings/timezone.ts";
import type { Autoscaler } from "./autoscaler.ts";
import type { HeldRequests } from "./held-requests.ts";
import { PoolError } from "./pools/errors.ts";
import type { Pool, PoolName } from "./pools/pool.ts";
import type { Prefetch } from "./prefetch.ts";
import type { RateLimits } from "./rate-limits/rate-limits.ts";
import type { Request, TaskPlan } from "./request.ts";
import type { Revocations } from "./revoked/revocations.ts";
import { keyOf, stampValues } from "./revoked/revoked-stamps.ts";
import type { Runner } from "./runner.ts";

export interface ViewParts {
  readonly hostname: string;
  readonly startedMs: number;
  readonly settings: Settings;
  readonly zone: Zone;
  readonly plans: ReadonlyMap<string, TaskPlan>;
  readonly runner: Runner;
  readonly held: HeldRequests;
  readonly limits: RateLimits;
  readonly revocations: Revocations;
  readonly pool: Pool;
  readonly autoscaler: Autoscaler | null;
  readonly prefetch: Prefetch;
  readonly log: Log;
  queues(): readonly Queue[];
  addQueue(queue: Queue): Promise<void>;
  cancelQueue(name: string): Promise<void>;
  /** Makes the pool so large, and takes messages for it. */
  resize(size: number): void;
}

export function viewOf(parts: ViewParts): WorkerView {
  return {
    hostname: parts.hostname,
    startedMs: parts.startedMs,
    get prefetchCount() {
      return parts.prefetch.value;
    },
    tasks: {
      *list() {
        for (const plan of parts.plans.values()) yield taskView(plan, parts.settings);
      },
      get(name) {
        const plan = parts.plans.get(name);
        return plan === undefined ? null : taskView(plan, parts.settings);
      },
    },
    requests: requestsView(parts),
    queues: {
      list: () => parts.queues(),
      add: (queue) => parts.addQueue(queue),
      cancel: (name) => parts.cancelQueue(name),
    },
    revokes: revokesView(parts),
    limits: limitsView(parts),
    pool: poolView(parts),
  };
}

/** wire: celery/app/task.py `Task` and its `from_config`: what neither the task nor a setting says is None, and not shown. */
function taskView(plan: TaskPlan, settings: Settings): TaskView {
  const { task } = plan;
  const own = task.behaviour;
  const attributes: Readonly<Record<string, unknown>> = {
    name: task.name,
    rate_limit: plan.rateLimit,
    time_limit: plan.timeLimit,
    soft_time_limit: plan.softTimeLimit,
    max_retries: own.maxRetries === undefined ? 3 : own.maxRetries,
    default_retry_delay: own.defaultRetryDelay ?? 180,
    exchange: own.exchange,
    routing_key: own.routingKey,
    queue: own.queue,
    priority: own.priority,
    expires: own.expires,
    serializer: own.serializer ?? settings.task_serializer,
    compression: own.compression,
    acks_late: plan.acksLate,
    acks_on_failure_or_timeout: own.acksOnFailureOrTimeout ?? settings.task_acks_on_failure_or_timeout,
    acks_on_failure: plan.acksOnFailure,
    acks_on_timeout: plan.acksOnTimeout,
    reject_on_worker_lost: own.rejectOnWorkerLost ?? settings.task_reject_on_worker_lost,
    retry_on_worker_lost: plan.retryWhenLost !== null,
    track_started: plan.trackStarted,
    ignore_result: plan.ignoreResult,
    store_errors_even_if_ignored: plan.storeErrorsEvenIfIgnored,
    send_events: own.sendEvents ?? true,
    typing: true,
    throws: tupleText((own.throws ?? []).map((error) => `<class ${pyRepr(error.name)}>`)),
  };
  return {
    name: task.name,
    builtin: task.name.startsWith("celery."),
    attribute: (name) => (Object.hasOwn(attributes, name) ? (attributes[name] ?? null) : null),
  };
}

/** A Python tuple as text. */
function tupleText(items: readonly string[]): string {
  return items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`;
}

function requestsView({ runner, held, limits, plans, zone }: ViewParts): RequestsView {
  const view = (request: Request): RequestView => requestView(request, zone);
  return {
    *list(stage) {
      if (stage === "active") for (const request of runner.running()) yield view(request);
      else if (stage === "scheduled") for (const request of held) yield view(request);
      else {
        for (const request of runner.reserved()) yield view(request);
        for (const request of limits.waiting) yield view(request);
      }
    },
    find(id) {
      const found = findRequest(id, { runner, held, limits });
      return found === null ? null : { stage: found.stage, request: view(found.request) };
    },
    get activeCount() {
      return runner.active;
    },
    get processed() {
      let accepted = 0;
      for (const plan of plans.values()) accepted += plan.accepted;
      return accepted;
    },
    get totals() {
      const totals = new Map<string, number>();
      for (const [name, plan] of plans) if (plan.accepted > 0) totals.set(name, plan.accepted);
      return totals;
    },
  };
}

type Holders = Pick<ViewParts, "runner" | "held" | "limits">;

function findRequest(id: string, { runner, held, limits }: Holders): { stage: TaskStage; request: Request } | null {
  const running = runner.findRunning(id);
  if (running !== null) return { stage: "active", request: running };
  const reserved = limits.waiting.find(id) ?? runner.findReserved(id);
  if (reserved !== null) return { stage: "reserved", request: reserved };
  const scheduled = held.find(id);
  return scheduled === null ? null : { stage: "scheduled", request: scheduled };
}

function requestView(request: Request, zone: Zone): RequestView {
  const { message, delivery } = request;
  return {
    id: message.id,
    type: message.task,
    name: message.shadow || message.task,
    args: message.args,
    kwargs: message.kwargs,
    get argsRepr() {
      return message.argsRepr ?? saferepr(message.args, { asTuple: true });
    },
    get kwargsRepr() {
      return message.kwargsRepr ?? saferepr(message.kwargs);
    },
    timeStart: request.startedMs === 0 ? null : (performance.timeOrigin + request.startedMs) / 1000,
    acknowledged: request.acknowledged,
    exchange: delivery.info.exchange,
    routingKey: delivery.info.routingKey,
    priority: message.priority,
    redelivered: delivery.info.redelivered,
    workerPid: request.workerPid,
    etaIso: request.etaMs === null ? null : zone.iso(Math.trunc(request.etaMs)),
  };
}

function revokesView(parts: ViewParts): RevokesView {
  const { runner, held, limits, revocations, log } = parts;
  const { ids, stamps } = revocations;
  /** A flood of revokes is not one of lines. */
  const told = limitedLog(log);
  /** Discards what has not started: it would be, when its turn came. No signal ends that, so it is told as revoked, not terminated. */
  const discard = (request: Request): void => {
    if (held.has(request)) held.drop(request);
    limits.waiting.delete(request);
    runner.revoke(request, { terminated: false, signum: null, expired: false });
  };
  const terminate = (request: Request, name: string): void => {
    const { signal, signum } = signalOf(name);
    log.info({ id: request.id, task: request.message.task, signal }, "terminating");
    if (request.state !== "running") discard(request);
    else if (signal === "SIGUSR1") runner.softLimit(request, null);
    else runner.terminate(request, signal, signum);
  };
  return {
    ids: () => ids.ids(),
    merge: (more) => ids.merge(more),
    async revoke(given) {
      const unknown: string[] = [];
      const waiting = new Map(Array.from(runner.reserved(), (request) => [request.id, request] as const));
      for (const id of given) {
        ids.add(id);
        const found = limits.waiting.find(id) ?? held.find(id) ?? waiting.get(id) ?? null;
        if (found !== null) discard(found);
        // What has begun here tells its end itself.
        else if (!runner.hasBegun(id)) unknown.push(id);
      }
      told.info({ count: given.length, ids: given.slice(0, 20) }, "tasks flagged as revoked");
      await revocations.announce(unknown);
    },
    terminate(given, signal) {
      const known: string[] = [];
      for (const id of given) {
        const found = findRequest(id, parts);
        if (found === null) continue;
        terminate(found.request, signal);
        known.push(id);
      }
      return known;
    },
    revokeStamps(flagged) {
      for (const [header, values] of flagged) stamps.add(header, values);
    },
    terminateStamped(flagged, signal) {
      const matched = new Map<string, unknown[]>();
      for (const request of [...runner.running()]) {
        for (const [header, values] of flagged) {
          const wanted = new Set(values.map((value) => keyOf(header, value)));
          const hits = stampValues(request.message, header).filter((value) => wanted.has(keyOf(header, value)));
          if (hits.length === 0) continue;
          const known = matched.get(header) ?? [];
          for (const hit of hits) if (!known.includes(hit)) known.push(hit);
          matched.set(header, known);
          terminate(request, signal);
        }
      }
      return matched;
    },
  };
}

function limitsView({ plans, limits, settings, log }: ViewParts): LimitsView {
  return {
    setRateLimit(task, rate) {
      const plan = plans.get(task);
      if (plan === undefined) return false;
      const perSecond = parseRate(rate);
      if (typeof perSecond !== "number") throw new PoolError("RATE", `${JSON.stringify(rate)} is no rate`);
      plan.rateLimit = perSecond === 0 ? null : rate;
      if (!settings.worker_disable_rate_limits) limits.set(task, perSecond);
      log.info({ task, rate }, perSecond === 0 ? "rate limit disabled" : "new rate limit");
      return true;
    },
    setTimeLimits(task, { soft, hard }) {
      const plan = plans.get(task);
      if (plan === undefined) return false;
      // None is not "no limit" but "nothing of its own": the worker's limits hold then, as in Celery.
      plan.softTimeLimit = soft ?? settings.task_soft_time_limit;
      plan.timeLimit = hard ?? settings.task_time_limit;
      log.info({ task, soft, hard }, "new time limits");
      return true;
    },
  };
}

function poolView({ pool, resize, autoscaler, settings }: ViewParts): PoolView {
  return {
    stats: () => ({
      implementation: `lovage.worker.pools:${pool.name}`,
      ...pool.stats(),
      timeouts: [settings.task_soft_time_limit ?? 0, settings.task_time_limit ?? 0],
    }),
    grow(n) {
      if (pool.size + n > pool.most) throw tooMany(pool.name, pool.size + n, pool.most);
      resize(pool.size + n);
    },
    shrink(n) {
      // Without a slot a worker would take messages and never run them.
      if (pool.size - n < 1) throw new PoolError("POOL_BUSY", "Can't shrink pool. All processes busy!");
      resize(pool.size - n);
    },
    restartable: settings.worker_pool_restarts,
    restart: () => pool.restart(),
    autoscaler: autoscaler === null ? null : autoscalerView(autoscaler),
  };
}

function tooMany(name: PoolName, wanted: number, most: number): PoolError {
  return new PoolError("POOL_SIZE", `a pool of ${name} has at most ${most} slots, not ${wanted}`);
}

function autoscalerView(autoscaler: Autoscaler): AutoscalerView {
  return { update: (max, min) => autoscaler.update(max, min), stats: () => autoscaler.stats() };
}

/** `SIGTERM`, `term` or 15. Throws `PoolError` for what is no signal here. */
function signalOf(name: string): { signal: NodeJS.Signals; signum: number } {
  const upper = name.toUpperCase();
  const full = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  for (const [signal, signum] of Object.entries(constants.signals)) {
    if (signal === full || String(signum) === name) return { signal: signal as NodeJS.Signals, signum };
  }
  throw new PoolError("SIGNAL", `${name} is no signal`);
}
