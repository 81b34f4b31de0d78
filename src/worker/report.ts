/** Counts and logs how tasks end. */
import type { RequestEvent } from "../../protocol/celery/request-machine.ts";
import { cutText, errorForLog } from "../runtime/cut-text.ts";
import type { Log } from "../runtime/log.ts";
import { ChildTaskError } from "./pools/freight.ts";
import type { Request } from "./request.ts";

/** Characters of why a task was retried or not run, in its line of the log. */
const LONGEST_REASON = 8_192;

/** Counts since the start of the worker. */
export interface WorkerStats {
  received: number;
  succeeded: number;
  failed: number;
  retried: number;
  revoked: number;
  /** Messages that were no task to run here: undecodable, invalid, unregistered. */
  refused: number;
}

/** Ends that an act can still turn into another: a result without a form, a follow-up that cannot be sent. Told when all is done. */
const TENTATIVE: ReadonlySet<RequestEvent> = new Set(["returned", "retryAsked", "replaced"]);

export function isTentative(event: RequestEvent): boolean {
  return TENTATIVE.has(event);
}

export function report(request: Request, event: RequestEvent, stats: WorkerStats, log: Log): void {
  if (event === "returned") {
    stats.succeeded++;
    if (log.isLevelEnabled?.("info") === false) return;
    log.info({ ...about(request), runtime: runtime(request) }, "succeeded");
    return;
  }
  const reason = cutText(String(request.error), LONGEST_REASON);
  switch (event) {
    case "retryAsked":
      stats.retried++;
      log.info({ ...about(request), reason }, "retry");
      return;
    case "threw":
    case "hardLimit":
    case "workerLost":
    case "rejected":
    case "unencodable":
    case "publishFailed":
    case "retryFailed": {
      stats.failed++;
      if (isExpected(request)) log.info({ ...about(request), reason }, "raised expected");
      else log.error({ ...about(request), err: errorForLog(request.error), runtime: runtime(request) }, "failed");
      return;
    }
    case "cancelled":
    case "terminated":
      log.warn({ ...about(request), reason }, event);
      return;
    default:
      log.info({ ...about(request), reason }, event);
  }
}

/** The task's `throws` names its class; of a child of a pool the child says so. */
function isExpected({ error, plan }: Request): boolean {
  if (error instanceof ChildTaskError) return error.expected;
  return plan.task.behaviour.throws?.some((type) => error instanceof type) === true;
}

function about(request: Request): { task: string; id: string } {
  return { task: request.message.shadow || request.message.task, id: request.id };
}

/** Seconds, to the millisecond. */
function runtime(request: Request): number {
  return Math.round(performance.now() - request.startedMs) / 1000;
}
