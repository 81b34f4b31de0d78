/**
 * Bodies of Mognet tasks in threads or processes. A body that waits for its children keeps its child, so that another is started for
 * each of those: recursion needs them. One whose run is over is told so, and has a while to end before its child is killed.
 */
import type { PythonError } from "../../../../protocol/mognet/exception.ts";
import type { InvalidArgument } from "../../../../protocol/mognet/refusals.ts";
import { decodeMognetValue, type MognetValue } from "../../../../protocol/mognet/value.ts";
import type { TimerEntry } from "../../../runtime/timer-heap.ts";
import type { WorkerLostError } from "../../../tasks/errors.ts";
import { RemoteTaskError } from "../../../tasks/errors.ts";
import { type BodyOwner, Children, type ChildrenOptions } from "../../pools/children.ts";
import type { Ended } from "../../pools/messages.ts";
import type { SlotUser } from "../../slots.ts";
import { pythonErrorOf } from "../failures.ts";
import type { MognetWorkerParts } from "../parts.ts";
import type { Run } from "../run.ts";
import { MognetCalls } from "./calls.ts";
import { packReason } from "./reasons.ts";

/** How the body of a run ended. */
export interface BodyEnd {
  returned(value: MognetValue): void;
  /** `cause` is for the log. */
  threw(error: PythonError, cause: unknown): void;
  paused(): void;
  invalid(errors: readonly InvalidArgument[]): void;
  /** Its thread or process died under it. */
  lost(error: WorkerLostError): void;
}

/** What a body may take to end when its run is over. */
const END_WITHIN_MS = 5_000;
/** Children that were started for bodies that waited stay for as long, should more of them come. */
const KEEP_MS = 30_000;

export interface MognetPoolOptions extends ChildrenOptions {
  /** Children there may be at most, those of bodies that wait included. */
  most: number;
}

export class MognetPool {
  readonly #children: Children<Run>;
  readonly #options: MognetPoolOptions;
  readonly #running = new Map<Run, BodyEnd>();
  readonly #waiting = new Set<Run>();
  #calls: MognetCalls | null = null;
  #shrinking: TimerEntry | null = null;

  constructor(options: MognetPoolOptions) {
    this.#options = { ...options, size: Math.min(options.size, options.most) };
    this.#children = new Children(this.#options);
  }

  get name(): string {
    return this.#options.name;
  }

  /** Bodies at a time, besides those that wait. */
  get size(): number {
    return this.#options.size;
  }

  get most(): number {
    return this.#options.most;
  }

  /** What bodies ask of the worker. Before `start`. */
  serve(parts: MognetWorkerParts, adjust: (run: Run) => Promise<void>): void {
    this.#calls = new MognetCalls(parts, adjust);
  }

  /** Resolves when it can run. Rejects when the tasks cannot be loaded where they shall run. */
  start(user: SlotUser): Promise<void> {
    const owner: BodyOwner<Run> = {
      ended: (run, message) => this.#onEnded(run, message),
      lost: (run, error) => this.#forget(run)?.lost(error),
      answer: (run, call, tell) => this.#calls!.answer(run, call, tell),
      room: () => user.onSlotFree(),
    };
    return this.#children.start(owner);
  }

  hasRoom(): boolean {
    return this.#children.room > 0;
  }

  /** Takes a child for a run that is about to begin. */
  take(run: Run): void {
    this.#children.take(run);
  }

  /** For a run that does not begin after all. */
  giveBack(run: Run): void {
    if (!this.#running.has(run)) this.#children.giveBack(run);
  }

  run(run: Run, end: BodyEnd): void {
    const { message, info } = run.delivery;
    this.#running.set(run, end);
    run.onAbort = (reason) => this.#kill(run, reason);
    this.#children.post(run, (job) => ({
      type: "request",
      job,
      id: run.id,
      body: new Uint8Array(message.body),
      headers: message.headers,
      info: {
        exchange: info.exchange,
        routingKey: info.routingKey,
        redelivered: info.redelivered,
        queue: info.queue,
      },
      record: run.record,
    }));
  }

  /** The body of a run waits for its children: others may need a child meanwhile. */
  waits(run: Run): void {
    if (!this.#running.has(run)) return;
    this.#waiting.add(run);
    const { size, most } = this.#options;
    const wanted = Math.min(size + this.#waiting.size, most);
    if (wanted > this.#children.size) this.#children.resize(wanted);
  }

  /** It goes on. */
  resumes(run: Run): void {
    if (this.#waiting.delete(run)) this.#shrinkLater();
  }

  async close(): Promise<void> {
    this.#running.clear();
    await this.#children.close();
    this.#options.timers.close();
  }

  #shrinkLater(): void {
    const { timers, size } = this.#options;
    if (this.#shrinking !== null) timers.cancel(this.#shrinking);
    this.#shrinking = timers.after(KEEP_MS, () => {
      this.#shrinking = null;
      this.#children.resize(Math.min(this.#children.size, size + this.#waiting.size));
    });
  }

  #kill(run: Run, reason: unknown): void {
    if (this.#forget(run) === undefined) return;
    this.#children.kill(run, packReason(reason), "SIGKILL", END_WITHIN_MS);
  }

  #forget(run: Run): BodyEnd | undefined {
    const end = this.#running.get(run);
    this.#running.delete(run);
    this.#calls?.forget(run);
    this.resumes(run);
    run.onAbort = null;
    return end;
  }

  #onEnded(run: Run, message: Ended): void {
    const end = this.#forget(run);
    if (end === undefined || !("mognet" in message)) return;
    const { mognet: ending } = message;
    switch (ending.how) {
      case "returned":
        return returned(ending.value, end);
      case "threw":
        return end.threw(ending.error, causeOf(run, ending.error, ending.text));
      case "paused":
        return end.paused();
      case "invalid":
        return end.invalid(ending.errors);
    }
  }
}

function returned(text: string, end: BodyEnd): void {
  let value: MognetValue;
  try {
    value = decodeMognetValue(text, { floats: "keep" });
  } catch (error) {
    // It is deeper than anyone reads.
    return end.threw(pythonErrorOf(error), error);
  }
  end.returned(value);
}

/** For the log: the stack as it was in the child. */
function causeOf({ id }: Run, { name, traceback }: PythonError, text: string): Error {
  const colon = name.indexOf(":");
  const cause = new RemoteTaskError(
    id,
    { module: name.slice(0, Math.max(0, colon)), type: name.slice(colon + 1), args: [text] },
    traceback ?? null,
  );
  cause.message = text;
  if (traceback !== undefined) cause.stack = traceback;
  return cause;
}
