/**
 * What comes before a run: the checks in Mognet's order, then RUNNING in the store. A result that nobody has touched is looked at and
 * begun in one step; all others are read, judged, and begun if they are still what was read.
 * wire: mognet 5.2; mognet/worker/worker.py `_run_request`.
 */
import { DecodeError } from "../../../protocol/errors.ts";
import { mognetErrorValue } from "../../../protocol/mognet/refusals.ts";
import { judgeDelivery, type MognetRequestEvent, mognetStep } from "../../../protocol/mognet/request-machine.ts";
import {
  finishedResult,
  isDoneResult,
  isSameResult,
  type MognetResult,
  newMognetResult,
  startedResult,
  unexpectedRetries,
} from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import type { MognetBegun, MognetWrite } from "../../result-backends/mognet/mognet-store.ts";
import { instantMs, timeLeftMs } from "./deadlines.ts";
import { pythonErrorOf } from "./failures.ts";
import { now } from "./now.ts";
import type { MognetWorkerParts } from "./parts.ts";
import { patiently } from "./patiently.ts";
import type { Run } from "./run.ts";
import { unreadableIn } from "./unreadable.ts";

export interface StartingHost {
  readonly parts: MognetWorkerParts;
  readonly stats: { refused: number };
  readonly closing: AbortSignal;
  enter(run: Run, event: MognetRequestEvent): void;
}

export class Starting {
  readonly #host: StartingHost;
  readonly #parts: MognetWorkerParts;

  constructor(host: StartingHost) {
    this.#host = host;
    this.#parts = host.parts;
  }

  /** True: it runs now, as far as the store is concerned. False: it is settled, or others have to say something. */
  async start(run: Run): Promise<boolean> {
    let result: MognetResult | null;
    try {
      const begun = await this.#look(run);
      if (begun.begun) return this.#hasBegun(run, begun.result);
      ({ result } = begun);
    } catch (error) {
      const wrong = unreadableIn(error);
      if (wrong === null || !run.isIn("received")) throw error;
      await this.#replaceUnreadable(run, wrong);
      return false;
    }
    for (;;) {
      // It has not begun, and is wanted back: whoever has it next looks at it.
      if (run.goesBack) return false;
      if (run.state !== "received" || !(await this.#judge(run, result)) || result === null) return false;
      const write = await this.#write(run, result);
      if (write.written) return run.isIn("running");
      const before = result;
      result = write.current;
      if (!run.isIn("running")) continue;
      run.state = "received";
      if (isSameResult(before, result)) {
        await this.#replaceUnreadable(run, new DecodeError("a result that cannot be compared with itself"));
        return false;
      }
    }
  }

  async #look(run: Run): Promise<MognetBegun> {
    const { store, nodeId } = this.#parts;
    if (!this.#mayBegin(run)) {
      return { begun: false, result: await this.#patiently(run, () => store.get(run.id)) };
    }
    const begin = { nodeId, started: now() };
    // Until it is known whether the run has begun, it cannot be handed back as one that has not.
    run.isBeginning = true;
    try {
      return await this.#patiently(run, () => store.begin(run.id, begin));
    } finally {
      run.isBeginning = false;
    }
  }

  /** Is there nothing to check but its own result? */
  #mayBegin({ request }: Run): boolean {
    const left = timeLeftMs(request.deadline, Date.now());
    return request.stack.length === 0 && (left === null || left > 0) && this.#parts.task(request.name) !== null;
  }

  #hasBegun(run: Run, result: MognetResult): boolean {
    run.record = run.stored = result;
    if (run.state !== "received") return false;
    run.state = mognetStep(run.state, "started").state;
    return true;
  }

  /** May it run? If not, it is settled. */
  async #judge(run: Run, result: MognetResult | null): Promise<boolean> {
    const { request } = run;
    const { store, config, log } = this.#parts;
    const open = result !== null && !isDoneResult(result);
    let ancestors: readonly (MognetResult | null)[] = [];
    if (open && request.stack.length > 0 && request.stack.length <= config.max_recursion) {
      try {
        ancestors = await this.#patiently(run, () => store.getMany(request.stack));
      } catch (error) {
        const wrong = unreadableIn(error);
        if (wrong === null) throw error;
        return this.#refuseUnreadable(run, result, wrong);
      }
    }
    if (run.state !== "received") return false;
    const verdict = judgeDelivery({
      request,
      result,
      ancestors,
      maxRetries: config.max_retries,
      maxRecursion: config.max_recursion,
      isKnownTask: this.#parts.task(request.name) !== null,
      nowMs: Date.now(),
      deadlineMs: (deadline) => instantMs(deadline) ?? Number.POSITIVE_INFINITY,
    });
    const fields = { task: request.name, id: run.id };
    if (verdict.kind === "noResult" || result === null) {
      this.#host.stats.refused++;
      log.error(fields, "a request without a result, which may have expired, is discarded");
      this.#host.enter(run, "noResult");
      return false;
    }
    run.stored = run.record = result;
    if (verdict.kind === "alreadyDone") {
      log.warn({ ...fields, state: result.state }, "a request that is done already is discarded");
      this.#host.enter(run, "alreadyDone");
      return false;
    }
    if (verdict.kind === "refused") {
      const { state, error } = verdict;
      log.error({ ...fields, state, reason: error.message || error.name }, "a request is refused");
      run.outcome = { state, value: mognetErrorValue(error) };
      this.#host.enter(run, "refused");
      return false;
    }
    const retries = unexpectedRetries(result);
    if (retries > 0) log.warn({ ...fields, retries, max: config.max_retries }, "the task has crashed before");
    return true;
  }

  /** RUNNING, unless someone revoked or began it meanwhile. */
  async #write(run: Run, result: MognetResult): Promise<MognetWrite> {
    const started = startedResult(result, this.#parts.nodeId, now());
    run.state = mognetStep(run.state, "started").state;
    run.record = run.stored = started;
    const condition = { states: MOGNET_OPEN_STATES, starts: result.numberOfStarts, exists: true };
    return this.#patiently(run, () => this.#parts.store.put({ result: started, condition }));
  }

  /** What no Mognet has written lies in the place of the result; Mognet would requeue the message for ever. */
  async #replaceUnreadable(run: Run, error: DecodeError): Promise<void> {
    const { id, name, stack, kwargsRepr } = run.request;
    this.#parts.log.error({ task: name, id, err: error }, "the result of a request cannot be read: the request fails");
    const parentId = stack.at(-1) ?? null;
    const result = newMognetResult({ id, name, parentId, requestKwargsRepr: kwargsRepr });
    run.stored = run.record = finishedResult(result, "FAILURE", now());
    const value = mognetErrorValue(pythonErrorOf(error));
    const { record } = run;
    await this.#patiently(run, () => this.#parts.store.put({ result: record, value, anew: true }));
    this.#host.enter(run, "alreadyDone");
  }

  /** Whether an ancestor was revoked cannot be known, now or later. */
  #refuseUnreadable(run: Run, result: MognetResult, error: DecodeError): false {
    if (run.state !== "received") return false;
    const { id, name } = run.request;
    this.#parts.log.error({ task: name, id, err: error }, "an ancestor's result cannot be read: the request fails");
    run.stored = run.record = result;
    run.outcome = { state: "FAILURE", value: mognetErrorValue(pythonErrorOf(error)) };
    this.#host.enter(run, "refused");
    return false;
  }

  #patiently<T>(run: Run, act: () => Promise<T>): Promise<T> {
    return patiently(run, this.#parts.log, this.#host.closing, act);
  }
}
