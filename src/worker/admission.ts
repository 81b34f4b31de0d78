/**
 * A message's way from its delivery to the runner: it is refused, held for its ETA, held back by its rate limit, or runs as soon as there
 * is room. Owns what waits before the runner. wire: celery/worker/strategy.py `default`.
 */
import { step } from "../../protocol/celery/request-machine.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import type { Log } from "../runtime/log.ts";
import type { TimerHeap } from "../runtime/timer-heap.ts";
import type { Delivery } from "../transports/transport.ts";
import { HeldRequests } from "./held-requests.ts";
import { admit, type Decision, type IntakeRules } from "./intake.ts";
import type { Prefetch } from "./prefetch.ts";
import { RateLimits } from "./rate-limits/rate-limits.ts";
import type { Refusals } from "./refusals.ts";
import type { WorkerStats } from "./report.ts";
import { Request, type RequestStore } from "./request.ts";
import type { Revocations } from "./revoked/revocations.ts";
import type { Runner } from "./runner.ts";
import type { TaskEvents } from "./task-events.ts";
import type { UnknownTasks } from "./unknown-tasks.ts";

export interface AdmissionParts {
  readonly rules: IntakeRules;
  readonly store: RequestStore;
  readonly backend: ResultBackend<ResultMeta> | null;
  /** `worker_deduplicate_successful_tasks` */
  readonly deduplicates: boolean;
  readonly runner: Runner;
  readonly revocations: Revocations;
  readonly refusals: Refusals;
  readonly unknown: UnknownTasks;
  readonly events: TaskEvents;
  readonly timers: TimerHeap;
  readonly etas: TimerHeap;
  readonly prefetch: Prefetch;
  readonly stats: WorkerStats;
  readonly log: Log;
  /** A task has gone to the runner. */
  readonly onTask: () => void;
}

export class Admission {
  /** Requests that wait for their ETA. */
  readonly held: HeldRequests;
  /** Requests that wait for their rate limit. */
  readonly limits: RateLimits;
  readonly #parts: AdmissionParts;
  readonly #saysEach: boolean;

  constructor(parts: AdmissionParts) {
    const { timers, etas, prefetch, log } = parts;
    this.#parts = parts;
    this.#saysEach = log.isLevelEnabled?.("info") !== false;
    this.held = new HeldRequests({ timers: etas, prefetch, onDue: (request) => this.#submit(request) });
    this.limits = new RateLimits(timers, (request) => this.#toRunner(request));
  }

  /** Takes a message. Never throws. */
  readonly take = (delivery: Delivery): void => {
    const { stats, rules, refusals, unknown } = this.#parts;
    stats.received++;
    const decision = admit(delivery.message, rules);
    switch (decision.kind) {
      case "task":
        return this.#takeTask(delivery, decision);
      case "drop":
        return refusals.drop(delivery, decision);
      case "fail":
        return refusals.fail(delivery, decision);
      case "unregistered":
        return unknown.handle(delivery, decision.head);
    }
  };

  /** Lets go of what waits here and will be delivered again, since its connection has gone. */
  connectionLost(): void {
    for (const request of [...this.held]) if (request.delivery.lost) this.#dropHeld(request, "lost");
    for (const request of [...this.limits.waiting]) {
      if (!request.delivery.lost) continue;
      this.limits.waiting.delete(request);
      this.#parts.runner.enter(request, "lost");
    }
  }

  /** Gives back what waits for its ETA. */
  handBackHeld(): void {
    for (const request of [...this.held]) this.#dropHeld(request, "handedBack");
  }

  #takeTask(delivery: Delivery, { task, plan, etaMs, expiresMs }: Decision & { kind: "task" }): void {
    const { runner, revocations, events, store, log } = this.#parts;
    const request = new Request(task, plan, delivery, store);
    if (runner.adopt(request)) return;
    if (this.#saysEach) log.info({ task: task.task, id: task.id }, "received");
    request.etaMs = etaMs;
    request.expiresMs = expiresMs;
    const refused = revocations.refusal(request);
    if (refused !== null) return runner.revoke(request, refused);
    events.received(request);
    if (etaMs !== null && etaMs > Date.now()) return this.held.hold(request, etaMs);
    request.state = step(request.state, "admitted", request.policy).state;
    if (this.#mayBeDone(request)) this.#submitUnlessDone(request);
    else this.#submit(request);
  }

  #submit(request: Request): void {
    if (!this.limits.take(request)) this.#toRunner(request);
  }

  #toRunner(request: Request): void {
    this.#parts.runner.submit(request);
    this.#parts.onTask();
  }

  /** A redelivered late-acked copy is compared with the stored result before it runs. */
  #mayBeDone({ plan, delivery }: Request): boolean {
    const { deduplicates, backend } = this.#parts;
    return deduplicates && plan.acksLate && delivery.info.redelivered && backend !== null;
  }

  #submitUnlessDone(request: Request): void {
    const go = () => this.#submit(request);
    this.#parts.backend?.get(request.id).then((record) => {
      if (record?.status !== "SUCCESS") return go();
      this.#parts.log.info({ task: request.message.task, id: request.id }, "task already completed successfully");
      request.delivery.ack();
    }, go);
  }

  #dropHeld(request: Request, event: "lost" | "handedBack"): void {
    this.held.drop(request);
    this.#parts.runner.enter(request, event);
  }
}
