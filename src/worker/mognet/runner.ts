/**
 * Carries requests out: asks the machine what is due for each event, and does it in order. Every write of a result is conditional, so
 * that nothing late overwrites what another node or a revoke has written. wire: mognet 5.2-5.7; mognet/worker/worker.py.
 */

import { DecodeError } from "../../../protocol/errors.ts";
import type { PythonError } from "../../../protocol/mognet/exception.ts";
import {
  deadlinePassed,
  type InvalidArgument,
  invalidTaskArguments,
  mognetErrorValue,
} from "../../../protocol/mognet/refusals.ts";
import {
  judgeDelivery,
  type MognetEffect,
  type MognetRequestEvent,
  mognetStep,
} from "../../../protocol/mognet/request-machine.ts";
import {
  finishedResult,
  isDoneResult,
  type MognetResult,
  newMognetResult,
  resumedResult,
  startedResult,
  suspendedResult,
  unexpectedRetries,
} from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES, type MognetState } from "../../../protocol/mognet/states.ts";
import { mognetTimestamp } from "../../../protocol/mognet/times.ts";
import { type MognetValue, mognetValueOf } from "../../../protocol/mognet/value.ts";
import { BackendError } from "../../result-backends/errors.ts";
import type { MognetCondition, MognetWrite } from "../../result-backends/mognet/mognet-store.ts";
import { backoffMs, pause } from "../../runtime/backoff.ts";
import { errorForLog } from "../../runtime/cut-text.ts";
import type { Log } from "../../runtime/log.ts";
import { TimerHeap } from "../../runtime/timer-heap.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import { Revoked } from "../../tasks/mognet-errors.ts";
import { callMiddleware, hasHook } from "../../tasks/mognet-middleware.ts";
import type { SlotUser } from "../slots.ts";
import { checkCall } from "./arguments.ts";
import { instantMs, timeLeftMs } from "./deadlines.ts";
import { execute, isIgnore, isPause, isThenable } from "./execute.ts";
import { pythonErrorOf } from "./failures.ts";
import type { MognetWorkerParts } from "./parts.ts";
import type { MognetPool } from "./pool/mognet-pool.ts";
import { DeadlineExceeded, HandedBack, StartedElsewhere } from "./reasons.ts";
import type { Outcome, Run } from "./run.ts";
import type { Window } from "./window.ts";

export interface RunnerHost {
  readonly parts: MognetWorkerParts;
  readonly window: Window;
  readonly stats: { succeeded: number; failed: number; revoked: number; refused: number; paused: number };
  /** `max_tasks` have begun. */
  full(): void;
  /** One more waits for its children. */
  waits(): void;
  /** Its message is settled, or will come again. */
  forget(run: Run): void;
}

/** Before a request goes back to its queue because of an error of ours: what is broken should not be asked in a tight loop. */
const REQUEUE_AFTER_MS = 1_000;

export class Runner implements SlotUser {
  readonly #host: RunnerHost;
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  readonly #timers = new TimerHeap();
  readonly #closing = new AbortController();
  /** Waiting for a slot to begin; `#head` is the next one. */
  #ready: Run[] = [];
  #head = 0;
  /** Waiting for a slot to go on: served first. */
  readonly #resuming: (() => void)[] = [];
  #begun = 0;
  #accepting = true;
  readonly #tellsStart: boolean;
  readonly #tellsEnd: boolean;
  readonly #saysEach: boolean;

  constructor(host: RunnerHost) {
    this.#host = host;
    this.#parts = host.parts;
    const { log, middleware } = host.parts;
    this.#log = log;
    this.#tellsStart = hasHook(middleware, "onTaskStarting");
    this.#tellsEnd = hasHook(middleware, "onTaskCompleted");
    this.#saysEach = log.isLevelEnabled?.("info") !== false;
  }

  submit(run: Run): void {
    this.#ready.push(run);
    this.onSlotFree();
  }

  onSlotFree(): void {
    const { slots, pool } = this.#parts;
    while (this.#resuming.length > 0) {
      if (!slots.tryTake(this)) return;
      this.#resuming.shift()?.();
    }
    while (this.#accepting && this.#head < this.#ready.length) {
      if (this.#isFull() || pool?.hasRoom() === false || !slots.tryTake(this)) return;
      const run = this.#ready[this.#head++]!;
      run.hasSlot = true;
      pool?.take(run);
      if (run.state !== "received") this.#leave(run);
      else if (run.delivery.lost) this.enter(run, "lost");
      else this.#carryOut(run);
    }
    if (this.#head < this.#ready.length && this.#head <= 1024) return;
    this.#ready = this.#ready.slice(this.#head);
    this.#head = 0;
  }

  /** Starts nothing more. */
  drain(): void {
    this.#accepting = false;
    this.#ready = [];
    this.#head = 0;
  }

  close(): void {
    this.drain();
    this.#closing.abort();
    this.#timers.close();
    this.#parts.slots.leave(this);
  }

  /** Something happened to a run: what is due is done, in order. An event that comes too late changes nothing. */
  enter(run: Run, event: MognetRequestEvent): void {
    if (run.state === "settled") return;
    const { state, effects } = mognetStep(run.state, event);
    run.state = state;
    if (state === "settled") {
      if (run.timer !== null) this.#timers.cancel(run.timer);
      run.timer = null;
    }
    this.#perform(run, effects, 0, event);
    if (state === "settled") this.#leave(run);
  }

  /** By a message: also what was never written to the store is revoked there. */
  revoke(run: Run): void {
    if (run.state === "settled") return;
    this.#log.info({ task: run.request.name, id: run.id }, "revoked");
    run.abort(new Revoked(run.id));
    this.#host.stats.revoked++;
    this.enter(run, "revoked");
  }

  handBack(run: Run): void {
    if (run.state === "settled") return;
    run.abort(new HandedBack());
    this.enter(run, "handedBack");
  }

  /** What the store says of a run: another node may have begun it, or someone may have revoked it, while we were not reached. */
  compare(run: Run, result: MognetResult | null): void {
    const { record } = run;
    if (run.state === "settled" || record === null || result === null) return;
    if (result.state === "REVOKED") return this.revoke(run);
    if (!run.delivery.lost || (result.started === record.started && result.nodeId === record.nodeId)) return;
    this.#log.warn({ task: run.request.name, id: run.id, node: result.nodeId }, "the task was started again elsewhere");
    run.abort(new StartedElsewhere(result.nodeId));
    if (run.state === "waiting") this.#host.window.release();
    run.state = "settled";
    if (run.timer !== null) this.#timers.cancel(run.timer);
    this.#leave(run);
    this.#host.forget(run);
  }

  /** The children that a run waits for have become more or fewer: suspends it at the first, resumes it after the last. */
  async adjust(run: Run): Promise<void> {
    const turn = (run.transition ?? Promise.resolve()).then(() => this.#adjust(run));
    run.transition = turn;
    await turn;
  }

  // ------------------------------------------------------------------------------------------------------ before the run

  #isFull(): boolean {
    const { max_tasks: most } = this.#parts.config;
    return most !== null && this.#begun >= most;
  }

  #carryOut(run: Run): void {
    this.#begun++;
    this.#check(run).catch((error: unknown) => this.#failed(run, error));
    if (this.#isFull()) this.#host.full();
  }

  async #check(run: Run): Promise<void> {
    const { request } = run;
    const { store, config } = this.#parts;
    let result: MognetResult | null;
    try {
      result = await this.#patiently(run, () => store.get(run.id));
    } catch (error) {
      if (error instanceof DecodeError && run.isIn("received")) return this.#replaceUnreadable(run, error);
      throw error;
    }
    for (;;) {
      if (run.state !== "received") return;
      const open = result !== null && !isDoneResult(result);
      const ancestors =
        open && request.stack.length > 0 && request.stack.length <= config.max_recursion
          ? await this.#patiently(run, () => store.getMany(request.stack))
          : [];
      if (run.state !== "received") return;
      const task = this.#parts.task(request.name);
      const verdict = judgeDelivery({
        request,
        result,
        ancestors,
        maxRetries: config.max_retries,
        maxRecursion: config.max_recursion,
        isKnownTask: task !== null,
        nowMs: Date.now(),
        deadlineMs: (deadline) => instantMs(deadline) ?? Number.POSITIVE_INFINITY,
      });
      const fields = { task: request.name, id: run.id };
      if (verdict.kind === "noResult" || result === null) {
        this.#host.stats.refused++;
        this.#log.error(fields, "a request without a result, which may have expired, is discarded");
        return this.enter(run, "noResult");
      }
      run.stored = run.record = result;
      if (verdict.kind === "alreadyDone") {
        this.#log.warn({ ...fields, state: result.state }, "a request that is done already is discarded");
        return this.enter(run, "alreadyDone");
      }
      if (verdict.kind === "refused") {
        const { state, error } = verdict;
        this.#log.error({ ...fields, state, reason: error.message || error.name }, "a request is refused");
        run.outcome = { state, value: mognetErrorValue(error) };
        return this.enter(run, "refused");
      }
      const retries = unexpectedRetries(result);
      if (retries > 0) this.#log.warn({ ...fields, retries, max: config.max_retries }, "the task has crashed before");
      const write = await this.#start(run, result);
      if (write.written) break;
      result = write.current;
      if (run.isIn("running")) run.state = "received";
    }
    if (run.isIn("running")) await this.#begin(run);
  }

  /** What no Mognet has written lies in the place of the result; Mognet would requeue the message for ever. */
  async #replaceUnreadable(run: Run, error: DecodeError): Promise<void> {
    const { id, name, stack, kwargsRepr } = run.request;
    this.#log.error({ task: name, id, err: error }, "the result of a request cannot be read: the request fails");
    const parentId = stack.at(-1) ?? null;
    const result = newMognetResult({ id, name, parentId, requestKwargsRepr: kwargsRepr });
    run.stored = run.record = finishedResult(result, "FAILURE", now());
    await this.#parts.store.put({ result: run.record, value: mognetErrorValue(pythonErrorOf(error)) });
    this.enter(run, "alreadyDone");
  }

  /** RUNNING, unless someone revoked or began it meanwhile. */
  async #start(run: Run, result: MognetResult): Promise<MognetWrite> {
    const started = startedResult(result, this.#parts.nodeId, now());
    run.state = mognetStep(run.state, "started").state;
    run.record = run.stored = started;
    const condition = { states: MOGNET_OPEN_STATES, starts: result.numberOfStarts, exists: true };
    return this.#patiently(run, () => this.#parts.store.put({ result: started, condition }));
  }

  async #begin(run: Run): Promise<void> {
    const { request, context } = run;
    const { middleware, config } = this.#parts;
    const definition = this.#parts.task(request.name);
    if (definition === null) return;
    if (this.#saysEach) this.#log.info({ task: request.name, id: run.id }, "starting");
    if (this.#tellsStart) await callMiddleware(middleware, "onTaskStarting", [context], this.#log);
    if (run.state !== "running") return;
    if (this.#parts.pool !== null) return this.#post(run, this.#parts.pool);
    const validate = config.lovage.validate_params;
    const checking = checkCall(definition, request.args, request.kwargs, validate);
    const checked = checking instanceof Promise ? await checking : checking;
    if (run.state !== "running") return;
    run.startedMs = performance.now();
    if (!checked.ok) return this.#invalid(run, checked.errors);
    if (this.#startDeadline(run)) this.#execute(run, definition, checked.call, validate);
  }

  /** False: it has passed. */
  #startDeadline(run: Run): boolean {
    const left = timeLeftMs(run.request.deadline, Date.now());
    if (left !== null && left <= 0) this.#expire(run);
    else if (left !== null) run.timer = this.#timers.at(Date.now() + left, () => this.#expire(run));
    return run.isIn("running");
  }

  #invalid(run: Run, errors: readonly InvalidArgument[]): void {
    const error = invalidTaskArguments(errors);
    this.#log.error({ task: run.request.name, id: run.id, reason: error.message }, "the arguments do not fit the task");
    this.#end(run, { state: "INVALID", value: mognetErrorValue(error) });
  }

  /** To a thread or process, which checks the arguments and calls the handler. */
  #post(run: Run, pool: MognetPool): void {
    run.startedMs = performance.now();
    if (!this.#startDeadline(run)) return;
    pool.run(run, {
      returned: (value) => this.#succeeded(run, value),
      threw: (error, cause) => this.#threwIn(run, error, cause),
      paused: () => this.#paused(run),
      invalid: (errors) => run.state !== "settled" && this.#invalid(run, errors),
      lost: (error) => this.#failed(run, error),
    });
  }

  #execute(run: Run, definition: AnyTask, call: readonly unknown[], validate: boolean): void {
    let result: unknown;
    try {
      result = execute(definition, call, run.context, validate);
    } catch (error) {
      return this.#threw(run, error);
    }
    if (!isThenable(result)) return this.#returned(run, result);
    Promise.resolve(result).then(
      (value) => this.#returned(run, value),
      (error: unknown) => this.#threw(run, error),
    );
  }

  // -------------------------------------------------------------------------------------------------------------- the end

  #returned(run: Run, value: unknown): void {
    this.#succeeded(run, mognetValueOf(value));
  }

  #succeeded(run: Run, value: MognetValue): void {
    if (run.state !== "settled") this.#end(run, { state: "SUCCESS", value });
  }

  #threw(run: Run, error: unknown): void {
    if (isPause(error)) return this.#paused(run);
    if (isIgnore(error)) return this.#succeeded(run, mognetValueOf(null));
    this.#threwIn(run, pythonErrorOf(error), error);
  }

  #paused(run: Run): void {
    if (run.state === "settled") return;
    this.#host.stats.paused++;
    if (this.#saysEach) this.#log.info({ task: run.request.name, id: run.id }, "paused");
    this.enter(run, "paused");
  }

  #threwIn(run: Run, error: PythonError, cause: unknown): void {
    if (run.state === "settled") return;
    this.#log.error({ task: run.request.name, id: run.id, err: errorForLog(cause) }, "the task failed");
    this.#end(run, { state: "FAILURE", value: mognetErrorValue(error) });
  }

  #expire(run: Run): void {
    run.timer = null;
    if (run.state === "settled") return;
    this.#log.error({ task: run.request.name, id: run.id }, "the task ran past its deadline");
    this.#end(run, { state: "REVOKED", value: mognetErrorValue(deadlinePassed()) });
    run.abort(new DeadlineExceeded());
  }

  #end(run: Run, outcome: Outcome): void {
    const { stats } = this.#host;
    if (outcome.state === "SUCCESS") stats.succeeded++;
    else if (outcome.state === "REVOKED") stats.revoked++;
    else stats.failed++;
    run.outcome = outcome;
    run.ended = true;
    if (this.#saysEach && outcome.state === "SUCCESS") {
      const ms = Math.round(performance.now() - run.startedMs);
      this.#log.info({ task: run.request.name, id: run.id, ms }, "succeeded");
    }
    this.enter(run, "ended");
  }

  /** An error of ours, such as a store that refuses: the request goes back to its queue, and counts as one more crash if it began. */
  #failed(run: Run, error: unknown): void {
    if (run.state === "settled") return;
    if (error === ABANDONED) {
      if (run.delivery.lost) run.state = "received";
      return this.enter(run, run.delivery.lost ? "lost" : "handedBack");
    }
    this.#log.error(
      { task: run.request.name, id: run.id, err: error },
      "the request could not be carried out; it goes back",
    );
    run.abort(error);
    this.enter(run, "failed");
  }

  // ------------------------------------------------------------------------------------------------------------ the acts

  #perform(run: Run, effects: readonly MognetEffect[], from: number, event: MognetRequestEvent): void {
    for (let at = from; at < effects.length; at++) {
      const effect = effects[at]!;
      const pending = this.#do(run, effect, event);
      if (pending === undefined) continue;
      pending.then(
        (next) => this.#perform(run, next ?? effects, next === undefined ? at + 1 : 0, event),
        (error: unknown) => this.#effectFailed(run, effects, at, event, error),
      );
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
        if (event === "failed") this.#requeueLater(run);
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
      const write = await this.#parts.store.put({ result, value: outcome.value, condition, clearState: true });
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

  /** Nothing could be stored: the message comes again. */
  #giveUp(run: Run): void {
    this.#requeueLater(run);
    this.#host.forget(run);
  }

  #requeueLater(run: Run): void {
    const { delivery } = run;
    if (this.#closing.signal.aborted) return delivery.reject({ requeue: true });
    // On close the transport gives back what is not settled.
    this.#timers.at(Date.now() + REQUEUE_AFTER_MS, () => delivery.reject({ requeue: true }));
  }

  // ---------------------------------------------------------------------------------------------------------- suspension

  async #adjust(run: Run): Promise<void> {
    if (run.dependencies > 0) return run.state === "running" ? this.#suspend(run) : undefined;
    if (run.state !== "waiting") return;
    await this.#takeSlot(run);
    // Another child may be waited for by now, or the run may be over.
    if (run.state !== "waiting" || run.dependencies > 0) return this.#giveSlot(run);
    await this.#resume(run);
  }

  async #suspend(run: Run): Promise<void> {
    run.state = mognetStep(run.state, "waits").state;
    this.#parts.pool?.waits(run);
    this.#giveSlot(run);
    this.#host.window.hold();
    this.#host.waits();
    await this.#note(run, "RUNNING", suspendedResult);
  }

  async #resume(run: Run): Promise<void> {
    run.state = mognetStep(run.state, "resumes").state;
    this.#parts.pool?.resumes(run);
    this.#host.window.release();
    await this.#note(run, "SUSPENDED", resumedResult);
  }

  /** What it says of the run is for those who look; a store that is away does not end the run. */
  async #note(run: Run, from: MognetState, change: (result: MognetResult) => MognetResult): Promise<void> {
    const { stored } = run;
    if (stored === null || stored.state !== from) return;
    const result = change(stored);
    run.stored = result;
    const condition: MognetCondition = { states: [from], starts: stored.numberOfStarts };
    try {
      const write = await this.#parts.store.put({ result, condition });
      if (!write.written) this.#refusedMeanwhile(run, write.current);
    } catch (error) {
      this.#log.error({ id: run.id, err: error, state: result.state }, "the state of a running task was not stored");
    }
  }

  /** A write of ours was refused: someone revoked the run, or began it anew. */
  #refusedMeanwhile(run: Run, current: MognetResult | null): void {
    if (run.state === "settled" || current === null) return;
    if (current.state === "REVOKED") this.revoke(run);
  }

  #takeSlot(run: Run): Promise<void> {
    if (this.#parts.slots.tryTake(this)) {
      run.hasSlot = true;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#resuming.push(() => {
        run.hasSlot = true;
        resolve();
      });
    });
  }

  /** It needs no place any more. */
  #leave(run: Run): void {
    this.#parts.pool?.giveBack(run);
    this.#giveSlot(run);
  }

  #giveSlot(run: Run): void {
    if (!run.hasSlot) return;
    run.hasSlot = false;
    this.#parts.slots.give();
  }

  /** A store that is away for longer than it waits itself is asked again, for as long as the request is ours. */
  async #patiently<T>(run: Run, act: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof BackendError) || !error.retryable) throw error;
        if (run.state === "settled" || run.delivery.lost || this.#closing.signal.aborted) throw ABANDONED;
        this.#log.warn({ id: run.id, err: error }, "the result store does not answer; trying again");
        await pause(backoffMs(attempt), this.#closing.signal, true);
      }
    }
  }
}

/** Nobody waits for the rest. */
const ABANDONED = Symbol("abandoned");

function now(): string {
  return mognetTimestamp(Date.now() + (performance.now() % 1));
}
