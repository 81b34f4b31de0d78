/**
 * Carries requests out: gives them slots in turn, asks the machine what is due for each event, and has it done.
 * wire: mognet 5.2-5.7; mognet/worker/worker.py.
 */
import { type MognetRequestEvent, mognetStep } from "../../../protocol/mognet/request-machine.ts";
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { Log } from "../../runtime/log.ts";
import { steadyTimers, TimerHeap } from "../../runtime/timer-heap.ts";
import { Revoked } from "../../tasks/mognet-errors.ts";
import { onlyWaits } from "../../tasks/only-waits.ts";
import type { SlotUser } from "../slots.ts";
import { Acts } from "./acts.ts";
import { Bodies } from "./bodies.ts";
import type { MognetWorkerParts } from "./parts.ts";
import { ABANDONED } from "./patiently.ts";
import { HandedBack, StartedElsewhere } from "./reasons.ts";
import type { Run } from "./run.ts";
import { Starting } from "./starting.ts";
import { Suspensions } from "./suspensions.ts";
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

export class Runner implements SlotUser {
  readonly #host: RunnerHost;
  readonly #parts: MognetWorkerParts;
  readonly #log: Log;
  /** For spans of time. */
  readonly #timers = steadyTimers();
  /** For instants of the clock. */
  readonly #instants = new TimerHeap();
  readonly #closing = new AbortController();
  readonly #starting: Starting;
  readonly #bodies: Bodies;
  readonly #acts: Acts;
  readonly #suspensions: Suspensions;
  /** Waiting for a slot to begin; `#head` is the next one. */
  #ready: Run[] = [];
  #head = 0;
  #begun = 0;
  #accepting = true;

  constructor(host: RunnerHost) {
    this.#host = host;
    this.#parts = host.parts;
    this.#log = host.parts.log;
    const { parts, stats, window } = host;
    const enter = (run: Run, event: MognetRequestEvent) => this.enter(run, event);
    const failed = (run: Run, error: unknown) => this.#failed(run, error);
    const closing = this.#closing.signal;
    this.#starting = new Starting({ parts, stats, closing, enter });
    this.#bodies = new Bodies({ parts, stats, timers: this.#timers, instants: this.#instants, enter, failed });
    this.#acts = new Acts({ parts, window, stats, timers: this.#timers, closing, forget: host.forget });
    this.#suspensions = new Suspensions({
      ...{ parts, window, user: this, waits: host.waits },
      revoke: (run) => this.revoke(run),
    });
  }

  submit(run: Run): void {
    this.#ready.push(run);
    this.onSlotFree();
  }

  onSlotFree(): void {
    const { slots, pool } = this.#parts;
    if (!this.#suspensions.serve()) return;
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
    this.#instants.close();
    this.#parts.slots.leave(this);
  }

  /** Something happened to a run: what is due is done, in order. An event that comes too late changes nothing. */
  enter(run: Run, event: MognetRequestEvent): void {
    if (run.state === "settled") return;
    const { state, effects } = mognetStep(run.state, event);
    run.state = state;
    if (state === "settled") this.#cancelDeadline(run);
    this.#acts.perform(run, effects, event);
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
    if (run.isBeginning) {
      run.goesBack = true;
      return;
    }
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
    this.#cancelDeadline(run);
    this.#leave(run);
    this.#host.forget(run);
  }

  /** The children that a run waits for have become more or fewer: suspends it at the first, resumes it after the last. */
  adjust(run: Run): Promise<void> {
    return this.#suspensions.adjust(run);
  }

  #isFull(): boolean {
    const { max_tasks: most } = this.#parts.config;
    return most !== null && this.#begun >= most;
  }

  #carryOut(run: Run): void {
    this.#begun++;
    this.#run(run).catch((error: unknown) => this.#failed(run, error));
    if (this.#isFull()) this.#host.full();
  }

  async #run(run: Run): Promise<void> {
    const starts = await this.#starting.start(run);
    if (run.goesBack) return this.handBack(run);
    if (!starts) return;
    const task = this.#parts.task(run.request.name);
    if (task !== null && onlyWaits(task)) this.#suspensions.giveSlot(run);
    await this.#bodies.run(run);
  }

  /** An error of ours, such as a store that refuses: the request goes back to its queue, and counts as one more crash if it began. */
  #failed(run: Run, error: unknown): void {
    if (run.state === "settled") return;
    if (error === ABANDONED) {
      if (run.delivery.lost) run.state = "received";
      return this.enter(run, run.delivery.lost ? "lost" : "handedBack");
    }
    run.abort(error);
    this.enter(run, "failed");
    this.#log.error(
      { task: run.request.name, id: run.id, err: error },
      "the request could not be carried out; it goes back",
    );
  }

  /** It needs no place any more. */
  #leave(run: Run): void {
    this.#parts.pool?.giveBack(run);
    this.#suspensions.giveSlot(run);
  }

  #cancelDeadline(run: Run): void {
    run.deadline?.timers.cancel(run.deadline.entry);
    run.deadline = null;
  }
}
