/**
 * A run that waits for its children gives its place to others and takes one again before it goes on; so does its part of the prefetch.
 * wire: mognet 5.4; mognet/worker/worker.py `suspend`, `resume`.
 */
import { mognetStep } from "../../../protocol/mognet/request-machine.ts";
import { type MognetResult, resumedResult, suspendedResult } from "../../../protocol/mognet/result.ts";
import type { MognetState } from "../../../protocol/mognet/states.ts";
import type { MognetCondition } from "../../result-backends/mognet/mognet-store.ts";
import type { SlotUser } from "../slots.ts";
import type { MognetWorkerParts } from "./parts.ts";
import type { Run } from "./run.ts";
import type { Window } from "./window.ts";

export interface SuspensionsHost {
  readonly parts: MognetWorkerParts;
  readonly window: Window;
  /** Whose slots these are. */
  readonly user: SlotUser;
  /** One more waits for its children. */
  waits(): void;
  revoke(run: Run): void;
}

export class Suspensions {
  readonly #host: SuspensionsHost;
  readonly #parts: MognetWorkerParts;
  /** Waiting for a slot to go on. */
  readonly #resuming: (() => void)[] = [];

  constructor(host: SuspensionsHost) {
    this.#host = host;
    this.#parts = host.parts;
  }

  /** The children that a run waits for have become more or fewer: suspends it at the first, resumes it after the last. */
  async adjust(run: Run): Promise<void> {
    const turn = (run.transition ?? Promise.resolve()).then(() => this.#adjust(run));
    run.transition = turn;
    await turn;
  }

  /** Those that can go on are served before those that begin. False: some still wait for a slot. */
  serve(): boolean {
    while (this.#resuming.length > 0) {
      if (!this.#parts.slots.tryTake(this.#host.user)) return false;
      this.#resuming.shift()?.();
    }
    return true;
  }

  giveSlot(run: Run): void {
    if (!run.hasSlot) return;
    run.hasSlot = false;
    this.#parts.slots.give();
  }

  async #adjust(run: Run): Promise<void> {
    if (run.dependencies > 0) return run.state === "running" ? this.#suspend(run) : undefined;
    if (run.state !== "waiting") return;
    await this.#takeSlot(run);
    // Another child may be waited for by now, or the run may be over.
    if (run.state !== "waiting" || run.dependencies > 0) return this.giveSlot(run);
    await this.#resume(run);
  }

  async #suspend(run: Run): Promise<void> {
    run.state = mognetStep(run.state, "waits").state;
    this.#parts.pool?.waits(run);
    this.giveSlot(run);
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
      this.#parts.log.error(
        { id: run.id, err: error, state: result.state },
        "the state of a running task was not stored",
      );
    }
  }

  /** A write of ours was refused: someone revoked the run, or began it anew. */
  #refusedMeanwhile(run: Run, current: MognetResult | null): void {
    if (run.state === "settled" || current === null) return;
    if (current.state === "REVOKED") this.#host.revoke(run);
  }

  #takeSlot(run: Run): Promise<void> {
    if (this.#parts.slots.tryTake(this.#host.user)) {
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
}
