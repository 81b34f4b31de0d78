/**
 * The acts that the machine asks for, done in order, each when the one before has ended. Every write of a result is conditional, so that
 * nothing late overwrites what another node or a revoke has written. wire: mognet 5.2-5.7; mognet/worker/worker.py `_on_complete`.
 */
import { mognetErrorValue } from "../../../protocol/mognet/refusals.ts";
import type { MognetEffect, MognetRequestEvent } from "../../../protocol/mognet/request-machine.ts";
import { finishedResult, isDoneResult, suspendedResult } from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import type { MognetCondition } from "../../result-backends/mognet/mognet-store.ts";
import type { Log } from "../../runtime/log.ts";
import type { TimerHeap } from "../../runtime/timer-heap.ts";
import { callMiddleware, hasHook } from "../../tasks/mognet-middleware.ts";
import { pythonErrorOf } from "./failures.ts";
import { now } from "./now.ts";
import type { MognetWorkerParts } from "./parts.ts";
import type { Run } from "./run.ts";
import { unreadableIn } from "./unreadable.ts";
import type { Window } from "./window.ts";

export interface ActsHost {
  readonly parts: MognetWorkerParts;
  readonly window: Window;
  /** For spans of time. */
  readonly timers: TimerHeap;
  readonly closing: AbortSignal;
  readonly stats: { succeeded: number; failed: number };
  /** Its message is settled, or will come again. */
  forget(run: Run): void;
}

/** Before a request goes back to its queue because of an error of ours: what is broken should not be asked in a tight loop. */
const REQUEUE_AFTER_MS = 1_000;

export class Acts {
  readonly #host: ActsHost;
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  readonly #tellsEnd: boolean;

  constructor(host: ActsHost) {
    this.#host = host;
    this.#parts = host.parts;
    this.#log = host.parts.log;
    this.#tellsEnd = hasHook(host.parts.middleware, "onTaskCompleted");
  }

  /** Does what is due for an event. */
  perform(run: Run, effects: readonly MognetEffect[], event: MognetRequestEvent): void {
    this.#perform(run, effects, 0, event);
  }

  #perform(run: Run, effects: readonly MognetEffect[], from: number, event: MognetRequestEvent): void {
    for (let at = from; at < effects.length; at++) {
      const effect = effects[at]!;
      const pending = this.#do(run, effect, event);
      if (pending === undefined) continue;
      pending
        .then(
          (next) => this.#perform(run, next ?? effects, next === undefined ? at + 1 : 0, event),
          (error: unknown) => this.#effectFailed(run, effects, at, event, error),
        )
        // Whatever else goes wrong, its message is not kept.
        .catch((error: unknown) => this.#giveUpFor(run, error));
      return;
    }
    if (run.state === "settled") this.#host.forget(run);
  }

  /** A promise of what is due instead of the rest, if anything. */
  #do(
    run: Run,
    effect: MognetEffect,
    event: MognetRequestEvent,
  ): Promise<readonly MognetEffect[] | undefined> | undefined {
    const { store, middleware } = this.#parts;
    switch (effect) {
      case "store-outcome":
        return this.#storeOutcome(run);
      case "store-suspended":
        return this.#storeSuspended(run, event);
      case "store-revoked":
        return store.revoke(run.id, { finished: now() }).then(() => undefined);
      case "clear-state":
        if (run.stateCleared) return undefined;
        // Nobody waits for this: what is left goes with its lifetime.
        store.state.clear(run.id).catch((error: unknown) => {
          this.#log.warn({ id: run.id, err: error }, "the state of a task that has ended was not removed");
        });
        return undefined;
      case "call-completed": {
        const result = run.stored;
        if (!this.#tellsEnd || result === null) return undefined;
        const args: [unknown, { context: unknown }] = [this.#parts.resultOf(result), { context: run.context }];
        return callMiddleware(middleware, "onTaskCompleted", args, this.#log).then(() => undefined);
      }
      case "raise-prefetch":
        this.#host.window.hold();
        return undefined;
      case "lower-prefetch":
        this.#host.window.release();
        return undefined;
      case "ack":
        run.delivery.ack();
        return undefined;
      case "requeue":
        if (run.delivery.lost) this.#sayLost(run);
        else if (event === "failed") this.#requeueLater(run);
        else run.delivery.reject({ requeue: true });
        return undefined;
      default:
        // The rest is done by those who know more: the start, the resume, the cancelling.
        return undefined;
    }
  }

  async #storeOutcome(run: Run): Promise<readonly MognetEffect[] | undefined> {
    const { record, outcome } = run;
    if (record === null || outcome === null) return undefined;
    const result = finishedResult(record, outcome.state, now());
    let starts = (run.stored ?? record).numberOfStarts;
    for (;;) {
      const condition: MognetCondition = { states: MOGNET_OPEN_STATES, starts };
      const { value } = outcome;
      const over = run.stored ?? record;
      const write = await this.#parts.store.put({ result, value, condition, over, clearState: true });
      if (write.written) {
        run.stored = result;
        run.stateCleared = true;
        return undefined;
      }
      const { current } = write;
      const fields = { task: run.request.name, id: run.id, state: current?.state, node: current?.nodeId };
      if (current === null || isDoneResult(current)) {
        this.#log.warn(fields, "the task was revoked or ended elsewhere meanwhile: what it gave here is dropped");
        return ["clear-state", "ack"];
      }
      // A suspension that we did not hear of does not make the run another's.
      if (current.nodeId === record.nodeId && current.started === record.started && current.numberOfStarts !== starts) {
        starts = current.numberOfStarts;
        continue;
      }
      this.#log.warn(fields, "the task was started again elsewhere meanwhile: what it gave here is dropped");
      return ["ack"];
    }
  }

  async #storeSuspended(run: Run, event: MognetRequestEvent): Promise<readonly MognetEffect[] | undefined> {
    const stored = run.stored ?? run.record;
    if (stored === null) return undefined;
    // wire: a pause writes over the copy taken at the start, the others over what is stored.
    const base = event === "paused" ? (run.record ?? stored) : stored;
    const result = suspendedResult(base);
    const condition: MognetCondition = { states: ["RUNNING"], starts: stored.numberOfStarts };
    const write = await this.#parts.store.put({ result, condition });
    if (write.written) run.stored = result;
    return undefined;
  }

  #effectFailed(
    run: Run,
    effects: readonly MognetEffect[],
    at: number,
    event: MognetRequestEvent,
    error: unknown,
  ): void {
    const effect = effects[at]!;
    this.#log.error({ task: run.request.name, id: run.id, effect, err: error }, `${effect} failed`);
    if (effect === "store-outcome") {
      if (unreadableIn(error) !== null) {
        this.#replace(run)
          .then(() => this.#perform(run, effects, at + 1, event))
          .catch((thrown: unknown) => this.#giveUpFor(run, thrown));
        return;
      }
      const before = run.outcome;
      // A value that has no form on the wire, or is refused by the store, is a failure of the task.
      if (before?.state === "SUCCESS") {
        this.#host.stats.succeeded--;
        this.#host.stats.failed++;
        run.outcome = { state: "FAILURE", value: mognetErrorValue(pythonErrorOf(error)) };
        return this.#perform(run, effects, at, event);
      }
      return this.#giveUp(run);
    }
    if (effect === "store-revoked") return this.#giveUp(run);
    this.#perform(run, effects, at + 1, event);
  }

  /** Something of another kind lies under the keys of the result, and always would: the outcome takes its place. */
  async #replace(run: Run): Promise<void> {
    const { record, outcome } = run;
    if (record === null || outcome === null) return;
    const result = finishedResult(record, outcome.state, now());
    await this.#parts.store.put({ result, value: outcome.value, anew: true });
    run.stored = result;
  }

  #giveUpFor(run: Run, error: unknown): void {
    this.#log.error({ task: run.request.name, id: run.id, err: error }, "a request is given back: its end went wrong");
    this.#giveUp(run);
  }

  /** Nothing could be stored: the message comes again. */
  #giveUp(run: Run): void {
    this.#requeueLater(run);
    this.#host.forget(run);
  }

  /**
   * It cannot be given back, and not be sent again either: where the broker still has it, it comes again, and two of them might be
   * run at a time.
   */
  #sayLost(run: Run): void {
    const { info, message } = run.delivery;
    const persistent = message.properties.deliveryMode === 2;
    this.#log.warn(
      { task: run.request.name, id: run.id, queue: info.queue },
      persistent
        ? "the connection that the message of a task that is to begin again came over has gone: it comes again by itself"
        : "the connection that the message of a task that is to begin again came over has gone. It comes again, unless RabbitMQ was " +
            "restarted: Mognet's messages do not outlive that, and the task stays SUSPENDED (lovage.persistent_messages keeps those of an app)",
    );
  }

  #requeueLater(run: Run): void {
    const { delivery } = run;
    if (this.#host.closing.aborted) return delivery.reject({ requeue: true });
    // On close the transport gives back what is not settled.
    this.#host.timers.after(REQUEUE_AFTER_MS, () => delivery.reject({ requeue: true }));
  }
}
