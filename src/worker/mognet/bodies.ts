/**
 * The body of a run, from the hook before it to what came of it: on the event loop, or in a child of a pool. Arguments are checked first;
 * a deadline ends it from outside. wire: mognet 5.3, 5.7; mognet/worker/worker.py.
 */
import type { PythonError } from "../../../protocol/mognet/exception.ts";
import {
  deadlinePassed,
  type InvalidArgument,
  invalidTaskArguments,
  mognetErrorValue,
} from "../../../protocol/mognet/refusals.ts";
import type { MognetRequestEvent } from "../../../protocol/mognet/request-machine.ts";
import { type MognetValue, mognetValueOf } from "../../../protocol/mognet/value.ts";
import { errorForLog } from "../../runtime/cut-text.ts";
import type { Log } from "../../runtime/log.ts";
import type { TimerHeap } from "../../runtime/timer-heap.ts";
import type { AnyTask } from "../../tasks/definition.ts";
import { callMiddleware, hasHook } from "../../tasks/mognet-middleware.ts";
import { readableThrown } from "../../tasks/python-errors.ts";
import { type Checked, checkCall } from "./arguments.ts";
import { timeLeftMs } from "./deadlines.ts";
import { execute, isIgnore, isPause, isThenable } from "./execute.ts";
import { pythonErrorOf } from "./failures.ts";
import type { MognetWorkerParts } from "./parts.ts";
import type { MognetPool } from "./pool/mognet-pool.ts";
import { DeadlineExceeded } from "./reasons.ts";
import type { Outcome, Run } from "./run.ts";

export interface BodiesHost {
  readonly parts: MognetWorkerParts;
  /** For spans of time. */
  readonly timers: TimerHeap;
  /** For instants of the clock. */
  readonly instants: TimerHeap;
  readonly stats: { succeeded: number; failed: number; revoked: number; paused: number };
  enter(run: Run, event: MognetRequestEvent): void;
  /** An error of ours. */
  failed(run: Run, error: unknown): void;
}

export class Bodies {
  readonly #host: BodiesHost;
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  readonly #tellsStart: boolean;
  readonly #saysEach: boolean;

  constructor(host: BodiesHost) {
    this.#host = host;
    this.#parts = host.parts;
    const { log, middleware } = host.parts;
    this.#log = log;
    this.#tellsStart = hasHook(middleware, "onTaskStarting");
    this.#saysEach = log.isLevelEnabled?.("info") !== false;
  }

  /** Of a run that has begun. */
  async run(run: Run): Promise<void> {
    const { request, context } = run;
    const { middleware, config } = this.#parts;
    const definition = this.#parts.task(request.name);
    if (definition === null) return;
    if (this.#saysEach) this.#log.info({ task: request.name, id: run.id }, "starting");
    if (this.#tellsStart) await callMiddleware(middleware, "onTaskStarting", [context], this.#log);
    if (run.state !== "running") return;
    if (this.#parts.pool !== null) return this.#post(run, this.#parts.pool);
    const validate = config.lovage.validate_params;
    let checked: Checked;
    try {
      const checking = checkCall(definition, request.args, request.kwargs, validate);
      checked = checking instanceof Promise ? await checking : checking;
    } catch (error) {
      // A schema of the task's has thrown instead of complaining.
      return this.#threw(run, error);
    }
    if (run.state !== "running") return;
    run.startedMs = performance.now();
    if (!checked.ok) return this.#invalid(run, checked.errors);
    if (this.#startDeadline(run)) this.#execute(run, definition, checked.call, validate);
  }

  /** False: it has passed. */
  #startDeadline(run: Run): boolean {
    const { deadline } = run.request;
    const timers = deadline?.kind === "duration" ? this.#host.timers : this.#host.instants;
    const left = timeLeftMs(deadline, Date.now());
    if (left !== null && left <= 0) this.#expire(run);
    else if (left !== null) run.deadline = { timers, entry: timers.after(left, () => this.#expire(run)) };
    return run.isIn("running");
  }

  #invalid(run: Run, errors: readonly InvalidArgument[]): void {
    const error = invalidTaskArguments(errors);
    this.#end(run, { state: "INVALID", value: mognetErrorValue(error) });
    this.#log.error({ task: run.request.name, id: run.id, reason: error.message }, "the arguments do not fit the task");
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
      lost: (error) => this.#host.failed(run, error),
    });
  }

  /** Whatever the body returns or throws, even what throws when it is looked at, its request is settled by it. */
  #execute(run: Run, definition: AnyTask, call: readonly unknown[], validate: boolean): void {
    let result: unknown;
    let later: Promise<unknown> | null = null;
    try {
      result = execute(definition, call, run.context, validate);
      if (isThenable(result)) later = Promise.resolve(result);
    } catch (error) {
      return this.#threw(run, error);
    }
    if (later === null) return this.#returned(run, result);
    later
      .then(
        (value) => this.#returned(run, value),
        (error: unknown) => this.#threw(run, error),
      )
      .catch((error: unknown) => this.#host.failed(run, error));
  }

  #returned(run: Run, returned: unknown): void {
    let value: MognetValue;
    try {
      // Its type may be what code of its own says.
      value = mognetValueOf(returned);
    } catch (error) {
      return this.#threw(run, error);
    }
    this.#succeeded(run, value);
  }

  #succeeded(run: Run, value: MognetValue): void {
    if (run.state === "settled") return;
    if (isLate(run)) this.#expire(run);
    else this.#end(run, { state: "SUCCESS", value });
  }

  #threw(run: Run, thrown: unknown): void {
    const error = readableThrown(thrown);
    if (isPause(error)) return this.#paused(run);
    if (isIgnore(error)) return this.#succeeded(run, mognetValueOf(null));
    this.#threwIn(run, pythonErrorOf(error), error);
  }

  #paused(run: Run): void {
    if (run.state === "settled") return;
    if (isLate(run)) return this.#expire(run);
    this.#host.stats.paused++;
    if (this.#saysEach) this.#log.info({ task: run.request.name, id: run.id }, "paused");
    this.#host.enter(run, "paused");
  }

  #threwIn(run: Run, error: PythonError, cause: unknown): void {
    if (run.state === "settled") return;
    if (isLate(run)) return this.#expire(run);
    this.#end(run, { state: "FAILURE", value: mognetErrorValue(error) });
    this.#log.error({ task: run.request.name, id: run.id, err: errorForLog(cause) }, "the task failed");
  }

  #expire(run: Run): void {
    run.deadline = null;
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
    this.#host.enter(run, "ended");
  }
}

/** Has its deadline passed, though its timer has had no turn yet? A body that keeps the event loop busy is late all the same. */
function isLate({ deadline }: Run): boolean {
  return deadline !== null && deadline.timers.now >= deadline.entry.dueMs;
}
