/** Messages until they are settled, and who waits for them: for one alone, or for all of a batch with one promise. */
import type { Message } from "../../../protocol/message.ts";
import type { Abortable } from "../../runtime/abort-groups.ts";
import type { PublishFailure } from "../transport.ts";
import type { PublishAddress } from "./frames.ts";

/** Told once of each of its messages. */
interface Owner {
  readonly promise: Promise<unknown>;
  settled(outgoing: Outgoing, failure: { readonly error: unknown } | null): void;
}

export class Outgoing {
  readonly message: Message;
  readonly to: PublishAddress;
  readonly owner: Owner;
  /** Nobody waits for it any more, and it is not sent again. */
  over = false;
  confirmed = false;
  /** Why the broker sent it back. */
  returned: string | null = null;
  /** Connections that the broker ended, blaming us, when this message alone was on its way. */
  strikes = 0;

  constructor(message: Message, to: PublishAddress, owner: Owner) {
    this.message = message;
    this.to = to;
    this.owner = owner;
  }

  resolve(): void {
    if (this.over) return;
    this.over = true;
    this.owner.settled(this, null);
  }

  reject(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.owner.settled(this, { error });
  }
}

/** Told of messages that were given up, and of signals that need not be listened to any more. */
export interface Watch {
  abandoned(): void;
  ended(signal: AbortSignal, member: Abortable): void;
}

export class SinglePublish implements Owner, Abortable {
  readonly outgoing: Outgoing;
  readonly promise: Promise<void>;
  #resolve!: () => void;
  #reject!: (reason: unknown) => void;
  readonly #watch: Watch;
  readonly #signal: AbortSignal | undefined;

  constructor(message: Message, to: PublishAddress, watch: Watch, signal: AbortSignal | undefined) {
    this.#watch = watch;
    this.#signal = signal;
    this.outgoing = new Outgoing(message, to, this);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  settled(_outgoing: Outgoing, failure: { readonly error: unknown } | null): void {
    if (this.#signal) this.#watch.ended(this.#signal, this);
    if (failure === null) this.#resolve();
    else this.#reject(failure.error);
  }

  onAbort(reason: unknown): void {
    this.outgoing.reject(reason);
    this.#watch.abandoned();
  }
}

export class BatchPublish implements Owner, Abortable {
  readonly outgoing: readonly Outgoing[];
  readonly promise: Promise<readonly PublishFailure[]>;
  #resolve!: (failures: readonly PublishFailure[]) => void;
  #left: number;
  readonly #failed = new Map<Outgoing, unknown>();
  readonly #watch: Watch;
  readonly #signal: AbortSignal | undefined;

  constructor(messages: readonly Message[], to: PublishAddress, watch: Watch, signal: AbortSignal | undefined) {
    this.#watch = watch;
    this.#signal = signal;
    this.#left = messages.length;
    this.outgoing = messages.map((message) => new Outgoing(message, to, this));
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  settled(outgoing: Outgoing, failure: { readonly error: unknown } | null): void {
    if (failure !== null) this.#failed.set(outgoing, failure.error);
    if (--this.#left > 0) return;
    if (this.#signal) this.#watch.ended(this.#signal, this);
    this.#resolve(this.#failed.size === 0 ? [] : this.#failures());
  }

  onAbort(reason: unknown): void {
    for (const outgoing of this.outgoing) {
      if (outgoing.over) continue;
      outgoing.reject(reason);
      this.#watch.abandoned();
    }
  }

  #failures(): PublishFailure[] {
    const failures: PublishFailure[] = [];
    for (const [index, outgoing] of this.outgoing.entries()) {
      if (this.#failed.has(outgoing)) failures.push({ index, error: this.#failed.get(outgoing) });
    }
    return failures;
  }
}
