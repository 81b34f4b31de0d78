/**
 * The messages of one canvas plan, made one after the other and sent together. Tasks of a group differ in their ids, arguments and
 * places: what they share (options, route, callbacks, the chord's body) is checked and written once.
 */
import type { PlannedTask } from "../../protocol/celery/canvas/plan.ts";
import { TaskSeries } from "../../protocol/celery/task-encoder.ts";
import type { TaskMessageInput } from "../../protocol/celery/task-message.ts";
import type { Message } from "../../protocol/message.ts";
import type { Publisher, PublishHow, PublishTarget } from "./publisher.ts";

/** A message, what it was made of, and where it goes. */
export interface PreparedMessage {
  readonly message: Message;
  readonly input: TaskMessageInput;
  readonly target: PublishTarget;
  readonly how: PublishHow;
  /** The route and the times are the same for every task of this name with the same options. */
  readonly repeatable: boolean;
}

/** Messages that follow each other and go the same way. */
interface Run {
  readonly target: PublishTarget;
  readonly how: PublishHow;
  readonly messages: Message[];
}

/** Between these the event loop is served. */
const SLICE_MESSAGES = 256;
const SLICE_BYTES = 1024 * 1024;

export class PlanMessages {
  readonly #publisher: Publisher;
  readonly #prepare: (step: PlannedTask) => PreparedMessage;
  readonly #runs: Run[] = [];
  #previous: PlannedTask | null = null;
  #series: TaskSeries | null = null;
  /** The first task of the series. */
  #pattern: PlannedTask | null = null;
  #sliceMessages = 0;
  #sliceBytes = 0;

  constructor(publisher: Publisher, prepare: (step: PlannedTask) => PreparedMessage) {
    this.#publisher = publisher;
    this.#prepare = prepare;
  }

  /** Throws what has no form. A promise: the slice is full, and who waits for it lets others run. */
  add(step: PlannedTask): Promise<void> | null {
    const previous = this.#previous;
    const run = this.#runs.at(-1);
    const message =
      this.#series !== null && previous !== null && run !== undefined && this.#isSibling(previous, step)
        ? this.#sibling(this.#series, step, run)
        : this.#first(step, run);
    this.#previous = step;
    this.#sliceMessages++;
    this.#sliceBytes += message.body.length;
    return this.#sliceMessages >= SLICE_MESSAGES || this.#sliceBytes >= SLICE_BYTES ? this.#nextSlice() : null;
  }

  /** Resolves once the broker holds all. In the order in which they were added. */
  async publish(): Promise<void> {
    const [only] = this.#runs;
    const [message] = only?.messages ?? [];
    if (only !== undefined && message !== undefined && this.#runs.length === 1 && only.messages.length === 1) {
      return this.#publisher.publish(message, only.target, only.how);
    }
    this.#startSlice();
    const sent: Promise<void>[] = [];
    for (const { messages, target, how } of this.#runs) {
      for (let from = 0, to = 0; from < messages.length; from = to) {
        if (this.#sliceIsFull()) await this.#nextSlice();
        to = this.#endOfSlice(messages, from);
        sent.push(settledLater(this.#publisher.publishAll(messages.slice(from, to), target, how)));
      }
    }
    await Promise.all(sent);
  }

  #first(step: PlannedTask, run: Run | undefined): Message {
    const { message, input, target, how, repeatable } = this.#prepare(step);
    this.#pattern = step;
    this.#series = repeatable && TaskSeries.canHold(input) ? new TaskSeries(input, message) : null;
    if (run !== undefined && goesAlike(run, target, how)) run.messages.push(message);
    else this.#runs.push({ target, how, messages: [message] });
    return message;
  }

  #isSibling(previous: PlannedTask, step: PlannedTask): boolean {
    if (step.name !== previous.name) return false;
    const isLike = step.like !== undefined && step.like !== null && step.like === this.#pattern;
    return isLike || hasAlikeOptions(previous, step);
  }

  #sibling(series: TaskSeries, { args, kwargs, options }: PlannedTask, run: Run): Message {
    const message = series.encode({
      id: String(options.task_id),
      args,
      kwargs,
      groupIndex: typeof options.group_index === "number" ? options.group_index : null,
      rootId: textOrNull(options.root_id),
      parentId: textOrNull(options.parent_id),
    });
    run.messages.push(message);
    return message;
  }

  /** Fills the slice, with one message at least. */
  #endOfSlice(messages: readonly Message[], from: number): number {
    let to = from;
    while (to < messages.length && !this.#sliceIsFull()) {
      this.#sliceMessages++;
      this.#sliceBytes += messages[to++]?.body.length ?? 0;
    }
    return to;
  }

  #sliceIsFull(): boolean {
    return this.#sliceMessages >= SLICE_MESSAGES || this.#sliceBytes >= SLICE_BYTES;
  }

  #startSlice(): void {
    this.#sliceMessages = 0;
    this.#sliceBytes = 0;
  }

  #nextSlice(): Promise<void> {
    this.#startSlice();
    return new Promise((resolve) => setImmediate(resolve));
  }
}

/** The same but for what `SeriesMember` says, and that in a form that needs no check. */
function hasAlikeOptions(one: PlannedTask, other: PlannedTask): boolean {
  const options = other.options;
  const known = one.options;
  let count = 0;
  for (const name in options) {
    count++;
    if (options[name] !== known[name] && !isOwn(name, known[name], options[name])) return false;
  }
  for (const _name in known) count--;
  return count === 0;
}

function isOwn(name: string, known: unknown, value: unknown): boolean {
  switch (name) {
    case "task_id":
    case "root_id":
    case "parent_id":
      return typeof known === "string" && typeof value === "string" && value !== "";
    case "group_index":
      return typeof known === "number" && Number.isSafeInteger(value);
    default:
      return false;
  }
}

function goesAlike(run: Run, target: PublishTarget, how: PublishHow): boolean {
  const { address, queue } = run.target;
  return (
    address.exchange === target.address.exchange &&
    address.routingKey === target.address.routingKey &&
    queue === target.queue &&
    run.how.retry === how.retry &&
    run.how.retryPolicy === how.retryPolicy &&
    run.how.compression === how.compression &&
    run.how.mandatory === how.mandatory &&
    run.how.signal === how.signal
  );
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** A slice that fails while later ones are still to be sent is no rejection that nobody handles. */
function settledLater(sent: Promise<void>): Promise<void> {
  sent.catch(() => undefined);
  return sent;
}
