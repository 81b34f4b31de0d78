/** A task whose result is waited for, and the one read that goes with subscribing to its channel. */
import type { Reader } from "./reads.ts";

export class Awaited {
  readonly id: string;
  readonly channel: string;
  /** Records pushed so far: a read that was sent before the last of them tells nothing new unless it is ready. */
  pushes = 0;
  constructor(id: string, channel: string) {
    this.id = id;
    this.channel = channel;
  }
}

/** What an `AwaitedRead` tells its backend. */
export interface AwaitedReads {
  onRead(read: AwaitedRead, value: Buffer | null): void;
  onReadFailed(read: AwaitedRead, error: unknown): void;
}

/** The one read after subscribing. When its connection fails it is asked again with the next one. */
export class AwaitedRead implements Reader {
  readonly awaited: Awaited;
  readonly #owner: AwaitedReads;
  readonly #pushesBefore: number;

  constructor(awaited: Awaited, owner: AwaitedReads) {
    this.awaited = awaited;
    this.#owner = owner;
    this.#pushesBefore = awaited.pushes;
  }

  get key(): string {
    return this.awaited.channel;
  }

  /** A push came after this read was asked for. */
  get overtaken(): boolean {
    return this.awaited.pushes !== this.#pushesBefore;
  }

  onValue(value: Buffer | null): void {
    this.#owner.onRead(this, value);
  }

  onError(error: unknown): void {
    this.#owner.onReadFailed(this, error);
  }
}
