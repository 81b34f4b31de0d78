/** One message that became a task of this worker: what it says, what it is due, and where it stands. */
import { policyBits, type RequestEvent, type RequestState } from "../../protocol/celery/request-machine.ts";
import type { ResultTuple } from "../../protocol/celery/result-meta.ts";
import type { TaskRequest } from "../../protocol/celery/task-message.ts";
import type { TimerEntry } from "../runtime/timer-heap.ts";
import type { Settings } from "../settings/settings.ts";
import type { AnyTask } from "../tasks/definition.ts";
import type { Delivery } from "../transports/transport.ts";
import type { RunningContext } from "./running-context.ts";

/** Celery's `Task.default_retry_delay`. */
const DEFAULT_RETRY_DELAY_S = 180;

/** What a task and the settings decide, computed once per task. */
export interface TaskPlan {
  readonly task: AnyTask;
  /** Everything but what the message itself says. */
  readonly acksLate: boolean;
  readonly acksOnFailure: boolean;
  readonly acksOnTimeout: boolean;
  readonly rejectOnWorkerLost: boolean;
  readonly trackStarted: boolean;
  readonly ignoreResult: boolean;
  readonly storeErrorsEvenIfIgnored: boolean;
  /** Seconds until it is tried again when its process or thread died; null: it is not (`task_retry_on_worker_lost`). */
  readonly retryWhenLost: number | null;
  readonly failsUnreachable: boolean;
  /** One of Celery's own tasks that belong to the worker: it runs on the event loop whatever the pool. */
  readonly local: boolean;
  /** Seconds. Remote control may change it for requests that start later, as the two below. */
  timeLimit: number | null;
  softTimeLimit: number | null;
  /** A checked rate: starts per second as a number, or text such as `10/m`; null: none. */
  rateLimit: string | number | null;
  /** Requests that were accepted under the registered name. */
  accepted: number;
}

/** Celery's precedence: the task's own attribute, else the setting. */
export function planOf(task: AnyTask, settings: Settings, local = false): TaskPlan {
  const own = task.behaviour;
  const combined = own.acksOnFailureOrTimeout ?? settings.task_acks_on_failure_or_timeout;
  return {
    task,
    acksLate: own.acksLate ?? settings.task_acks_late,
    acksOnFailure: own.acksOnFailure ?? own.acksOnFailureOrTimeout ?? settings.task_acks_on_failure ?? combined,
    acksOnTimeout: own.acksOnTimeout ?? own.acksOnFailureOrTimeout ?? settings.task_acks_on_timeout ?? combined,
    rejectOnWorkerLost: own.rejectOnWorkerLost ?? settings.task_reject_on_worker_lost ?? false,
    trackStarted: own.trackStarted ?? settings.task_track_started,
    ignoreResult: own.ignoreResult ?? settings.task_ignore_result,
    storeErrorsEvenIfIgnored: own.storeErrorsEvenIfIgnored ?? settings.task_store_errors_even_if_ignored,
    retryWhenLost:
      (own.retryOnWorkerLost ?? settings.task_retry_on_worker_lost)
        ? (own.defaultRetryDelay ?? DEFAULT_RETRY_DELAY_S)
        : null,
    failsUnreachable: settings.lovage_fail_unreachable,
    local,
    timeLimit: own.timeLimit ?? settings.task_time_limit,
    softTimeLimit: own.softTimeLimit ?? settings.task_soft_time_limit,
    rateLimit: (own.rateLimit === undefined ? settings.task_default_rate_limit : own.rateLimit) || null,
    accepted: 0,
  };
}

/**
 * Where results go. `joined`: `celery.chord_unlock` looks for the parts of a chord among them, so that those are stored even when
 * the task's result is ignored; in Celery it looks for ever.
 */
export type RequestStore = "none" | "kept" | "joined";

/** Of a long chain only the next link is decoded to know. */
function hasChain(embed: TaskRequest["embed"]): boolean {
  return embed.tail ? true : embed.chain !== null && embed.chain.length > 0;
}

/** What `task-revoked` says of a revoked request. */
export interface Revocation {
  /** It was running, or its termination was asked for. */
  terminated: boolean;
  /** The number of the signal that ended it. */
  signum: number | null;
  expired: boolean;
}

export class Request {
  readonly message: TaskRequest;
  readonly plan: TaskPlan;
  /** Replaced when the broker delivers the same task again while it still runs here. */
  delivery: Delivery;
  readonly policy: number;
  readonly storesErrors: boolean;
  state: RequestState = "received";
  context: RunningContext | null = null;
  /** Tasks that this one has sent. */
  children: ResultTuple[] | null = null;
  startedMs = 0;
  /** When it is due, and when it is no longer worth starting, in Unix milliseconds. */
  etaMs: number | null = null;
  expiresMs: number | null = null;
  /** The process that runs it; null before it started. */
  workerPid: number | null = null;
  /** Its message was acked here. */
  acknowledged = false;
  /** Set when it is revoked, for the event that tells of it. */
  revocation: Revocation | null = null;
  /** The entry of its ETA, of its rate limit, or of its next time limit. */
  timer: TimerEntry | null = null;
  /** How it ends unless an act that is due fails. */
  tentativeEnd: RequestEvent | null = null;
  /** How the body ended. */
  value: unknown = undefined;
  error: unknown = undefined;
  /** Why it is tried again, when its process or thread died. */
  lost: unknown = undefined;

  constructor(message: TaskRequest, plan: TaskPlan, delivery: Delivery, store: RequestStore) {
    this.message = message;
    this.plan = plan;
    this.delivery = delivery;
    const { callbacks, errbacks, chord } = message.embed;
    const hasBackend = store !== "none";
    const isWanted = !(message.ignoreResult ?? plan.ignoreResult) || (store === "joined" && chord !== null);
    const stores = hasBackend && isWanted;
    this.policy = policyBits({
      acksLate: plan.acksLate,
      acksOnFailure: plan.acksOnFailure,
      acksOnTimeout: plan.acksOnTimeout,
      requeuesOnWorkerLost: plan.rejectOnWorkerLost,
      trackStarted: plan.trackStarted,
      storesResult: stores,
      storesErrors: stores || (hasBackend && plan.storeErrorsEvenIfIgnored),
      hasCallbacks: callbacks !== null && callbacks.length > 0,
      hasChain: hasChain(message.embed),
      hasChord: chord !== null,
      hasErrbacks: errbacks !== null && errbacks.length > 0,
      failsStranded: hasBackend && plan.failsUnreachable,
    });
    this.storesErrors = stores || plan.storeErrorsEvenIfIgnored;
  }

  get id(): string {
    return this.message.id;
  }

  /** Display name, as Celery logs it: the shadow when there is one. */
  get label(): string {
    return `${this.message.shadow || this.message.task}[${this.message.id}]`;
  }

  /** Seconds; the message's own limit wins, and 0 or null means "not set" (behaviour 1.11). */
  get timeLimit(): number | null {
    return this.message.timeLimit || this.plan.timeLimit || null;
  }

  get softTimeLimit(): number | null {
    return this.message.softTimeLimit || this.plan.softTimeLimit || null;
  }
}
