/**
 * Writes on their way to Redis: those of one turn of the event loop leave together, in the order they were asked for, in few batches
 * at a time. While Redis is away or busy they wait, and are tried again with growing pauses, in order. What a batch looks like
 * on the wire and what its answers mean is its owner's business.
 */
import { backoffMs } from "../../runtime/backoff.ts";
import type { Redis } from "../../runtime/redis-connection.ts";

/** Redis refuses longer values, and closes the connection when it meets one. celery/backends/redis.py `_MAX_STR_VALUE_SIZE`. */
export const LONGEST_VALUE = 512 * 1024 * 1024;
const WRITES_PER_BATCH = 200;
/** Less than any Redis takes in one value (`proto-max-bulk-len` is at least 1 MB): what is longer goes alone, and is refused alone. */
const BYTES_PER_BATCH = 512 * 1024;
const BATCHES_IN_FLIGHT = 4;
/** Tries while Redis is out of memory: about a minute. */
const OUT_OF_MEMORY_TRIES = 10;
/** What Redis before 7 puts in front of the error of a command in a script. */
const SCRIPT_ERROR = /^-?ERR Error running script \(call to [^)]*\): @user_script:\s?\d+: @user_script:\s?\d+: /;
const OUT_OF_MEMORY = /^-?OOM\b/;
/** Passing states of a server: failover, start, a long script, a failed snapshot. */
const PASSING = /^-?(?:READONLY|LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|MISCONF|NOREPLICAS|UNKILLABLE)\b/;

export interface QueuedWrite {
  readonly bytes: number;
  /** Given by the queue. */
  sequence: number;
  /** How often Redis was out of memory for it. */
  tries: number;
}

export interface WriteQueueOptions<W> {
  /** The connection if it is up; the owner calls `wake` when it comes up. */
  client(): Redis | null;
  /**
   * Resolves when it is known what became of them, and never rejects; then the function is called, which settles each or gives it
   * back with `again` or `later`. What those who are told write next finds nobody ahead, and leaves in the same turn.
   */
  send(client: Redis, batch: W[]): Promise<() => void>;
  /** Told once for each pause, with all that is not settled. */
  onRetry(error: unknown, writes: number): void;
  /** A batch that is not full waits for the answer to the one before. @default false: up to four are on their way */
  fewer?: boolean;
}

export class WriteQueue<W extends QueuedWrite> {
  readonly #options: WriteQueueOptions<W>;
  #waiting: W[] = [];
  #waitingBytes = 0;
  #inOrder = true;
  #sequence = 0;
  #inFlight = 0;
  #unanswered = 0;
  #turn: NodeJS.Immediate | null = null;
  #soon = false;
  #timer: NodeJS.Timeout | null = null;
  #attempt = 0;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(options: WriteQueueOptions<W>) {
    this.#options = options;
  }

  /** Writes not yet settled. */
  get pending(): number {
    return this.#waiting.length + this.#unanswered;
  }

  get closed(): boolean {
    return this.#closed;
  }

  push(write: W): void {
    write.sequence = ++this.#sequence;
    this.#waiting.push(write);
    this.#waitingBytes += write.bytes;
    this.#schedule();
  }

  /** The connection is up. */
  wake(): void {
    this.#attempt = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#schedule();
  }

  /** Writes that are tried once more, in their place; not for a queue that is closed. */
  again(writes: readonly W[]): void {
    if (writes.length === 0) return;
    for (const write of writes) {
      this.#waiting.push(write);
      this.#waitingBytes += write.bytes;
    }
    this.#inOrder = false;
    this.#schedule();
  }

  /** As `again`, after a pause. */
  later(writes: readonly W[], error: unknown): void {
    if (writes.length === 0) return;
    const pauses = this.#timer === null && !this.#closed;
    if (pauses) {
      if (this.#turn !== null) clearImmediate(this.#turn);
      this.#turn = null;
      this.#timer = setTimeout(
        () => {
          this.#timer = null;
          this.#schedule();
        },
        backoffMs(this.#attempt++),
      );
    }
    this.again(writes);
    if (pauses) this.#options.onRetry(error, this.pending);
  }

  /** All has gone well: the next pause is a short one. */
  calm(): void {
    this.#attempt = 0;
  }

  /** Resolves when nothing is pending. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Gives up what is not in flight. */
  takeAll(): W[] {
    const all = this.#waiting.splice(0);
    this.#waitingBytes = 0;
    // Whoever takes them settles them in this turn.
    process.nextTick(() => this.#tellIdle());
    return all;
  }

  close(): void {
    this.#closed = true;
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#turn = null;
    this.#timer = null;
  }

  /** Counts a write as pending while its owner looks at something. */
  async hold(act: () => Promise<void>): Promise<void> {
    this.#unanswered++;
    await act();
    this.#unanswered--;
    this.#goOn();
  }

  #schedule(): void {
    if (this.#turn !== null || this.#soon || this.#timer !== null || this.#closed) return;
    if (this.#inFlight > 0) {
      this.#turn = setImmediate(this.#flush);
      return;
    }
    // Nobody is ahead: behind the code that runs now, all that it writes leaves together and ahead of the tick's other writes.
    this.#soon = true;
    process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#turn = null;
    this.#soon = false;
    const client = this.#options.client();
    if (client === null || this.#timer !== null) return;
    if (!this.#inOrder) {
      this.#waiting.sort((a, b) => a.sequence - b.sequence);
      this.#inOrder = true;
    }
    while (this.#waiting.length > 0 && this.#inFlight < this.#most()) void this.#send(client, this.#takeBatch());
  };

  /** What waits for the answer to another batch makes a larger one, which costs both sides less. */
  #most(): number {
    const isFull = this.#waiting.length >= WRITES_PER_BATCH || this.#waitingBytes >= BYTES_PER_BATCH;
    return this.#options.fewer === true && !isFull ? 1 : BATCHES_IN_FLIGHT;
  }

  #takeBatch(): W[] {
    let count = 0;
    let bytes = 0;
    for (const write of this.#waiting) {
      if (count > 0 && (count >= WRITES_PER_BATCH || bytes + write.bytes > BYTES_PER_BATCH)) break;
      bytes += write.bytes;
      count++;
    }
    this.#waitingBytes -= bytes;
    return this.#waiting.splice(0, count);
  }

  async #send(client: Redis, batch: W[]): Promise<void> {
    const { length } = batch;
    this.#inFlight++;
    this.#unanswered += length;
    const settle = await this.#options.send(client, batch);
    this.#inFlight--;
    this.#unanswered -= length;
    settle();
    this.#goOn();
  }

  #goOn(): void {
    if (this.#waiting.length > 0) this.#schedule();
    else this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** Is this error text of Redis one of a state that passes? A server that is out of memory is asked for about a minute. */
export function isPassing(write: QueuedWrite, error: string): boolean {
  return isPassingState(error) || (isOutOfMemory(error) && ++write.tries < OUT_OF_MEMORY_TRIES);
}

export function isOutOfMemory(error: string): boolean {
  return OUT_OF_MEMORY.test(error.replace(SCRIPT_ERROR, ""));
}

export function isPassingState(error: string): boolean {
  return PASSING.test(error.replace(SCRIPT_ERROR, ""));
}
