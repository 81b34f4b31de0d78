/**
 * The channels that one client listens to, over one connection: SUBSCRIBE and UNSUBSCRIBE of a turn of the event loop are one
 * write, and after a reconnect everything wanted is subscribed anew. A channel is reported once it is subscribed, so that
 * its owner can read what was written before. Channels that nobody wants any more are left together, a moment later.
 */
import { inOneWrite, type Redis } from "../../runtime/redis-connection.ts";

const channelsPerCommand = 500;
const lingerMs = 50;

export interface SubscriptionsOptions {
  /** The subscriber connection if it is up; the owner calls `onConnected` and `onLost`. */
  client(): Redis | null;
  /** These channels are subscribed from now on. */
  onSubscribed(channels: readonly string[]): void;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #wanted = new Set<string>();
  /** Subscribed, or asked for, on the present connection. */
  readonly #asked = new Set<string>();
  readonly #toSubscribe = new Set<string>();
  readonly #toUnsubscribe = new Set<string>();
  #turn: NodeJS.Immediate | null = null;
  #linger: NodeJS.Timeout | null = null;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** Channels that the server sends to us, or is about to. */
  get size(): number {
    return this.#asked.size + this.#toSubscribe.size;
  }

  /** Says whether the channel is subscribed (or asked for) already; if not, `onSubscribed` will tell. */
  want(channel: string): boolean {
    this.#wanted.add(channel);
    this.#toUnsubscribe.delete(channel);
    if (this.#asked.has(channel)) return true;
    this.#toSubscribe.add(channel);
    this.#schedule();
    return false;
  }

  drop(channel: string): void {
    this.#wanted.delete(channel);
    this.#toSubscribe.delete(channel);
    if (!this.#asked.has(channel)) return;
    this.#toUnsubscribe.add(channel);
    if (this.#toUnsubscribe.size >= channelsPerCommand) this.#leave();
    else this.#linger ??= setTimeout(this.#leave, lingerMs).unref();
  }

  onConnected(): void {
    this.onLost();
    for (const channel of this.#wanted) this.#toSubscribe.add(channel);
    this.#schedule();
  }

  onLost(): void {
    this.#asked.clear();
    this.#toUnsubscribe.clear();
  }

  close(): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#turn = null;
    this.#linger = null;
    for (const set of [this.#wanted, this.#asked, this.#toSubscribe, this.#toUnsubscribe]) set.clear();
  }

  #schedule(): void {
    this.#turn ??= setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#turn = null;
    const client = this.#options.client();
    if (client === null) return;
    inOneWrite(client);
    for (const channels of chunks(this.#toSubscribe)) {
      for (const channel of channels) this.#asked.add(channel);
      client.subscribe(...channels).then(() => this.#options.onSubscribed(channels), ignoreLoss);
    }
    this.#toSubscribe.clear();
  };

  readonly #leave = (): void => {
    if (this.#linger !== null) clearTimeout(this.#linger);
    this.#linger = null;
    const client = this.#options.client();
    const channels = [...this.#toUnsubscribe];
    this.#toUnsubscribe.clear();
    if (client === null || channels.length === 0) return;
    for (const channel of channels) this.#asked.delete(channel);
    client.unsubscribe(...channels).catch(ignoreLoss);
  };
}

/** A subscription fails only with its connection, and the next connection starts from what is wanted. */
function ignoreLoss(): void {
  return undefined;
}

function* chunks(channels: ReadonlySet<string>): Iterable<string[]> {
  let chunk: string[] = [];
  for (const channel of channels) {
    chunk.push(channel);
    if (chunk.length < channelsPerCommand) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
