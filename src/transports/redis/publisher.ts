/**
 * Publishing: what was asked for in one tick leaves as one write, one LPUSH per list. wire: celery-wire 3.3 and 6.2.
 *
 * At least once: when the connection is lost before the answer, the push is sent again on the next one, and a message may
 * then stand in its queue twice. Consumers of a Celery fleet are used to that (every redelivery looks the same).
 */
import { encodeEnvelope } from "../../../protocol/kombu/envelope.ts";
import type { RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import type { Address, Message } from "../../../protocol/message.ts";
import { type Abortable, AbortGroups } from "../../runtime/abort-groups.ts";
import { newId } from "../../runtime/ids.ts";
import { ConnectionLost, PublishError, TransportClosed } from "../errors.ts";
import { type Bindings, matchingQueues } from "./bindings.ts";
import type { LinkMember, RedisLink } from "./link.ts";
import { PUSH_EXPIRING } from "./scripts.ts";

/** Messages, and characters, of one LPUSH. */
const CHUNK_MESSAGES = 500;
const CHUNK_LENGTH = 1 << 20;
/** What may wait for a connection, in messages and in characters of their envelopes. */
const MAX_WAITING = 200_000;
const MAX_WAITING_LENGTH = 256 << 20;
/** Redis' own limit on one string (`proto-max-bulk-len`). */
const MAX_ENVELOPE_LENGTH = 512 << 20;

/** One `publish` call: it is done when all of its copies are. */
class Publication implements Abortable {
  copies = 0;
  done = false;
  inFlight = false;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #aborts: AbortGroups;

  constructor(
    aborts: AbortGroups,
    resolve: () => void,
    reject: (error: unknown) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#aborts = aborts;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
    if (signal !== undefined) aborts.join(signal, this);
  }

  /** What is on its way is answered; only waiting ends here. */
  onAbort(reason: unknown): void {
    if (!this.inFlight) this.fail(reason);
  }

  copyDone(): void {
    this.copies -= 1;
    if (this.copies === 0 && !this.done) {
      this.#end();
      this.#resolve();
    }
  }

  fail(error: unknown): void {
    if (this.done) return;
    this.#end();
    this.#reject(error);
  }

  /** Its push was not answered. True: send it again. */
  mayRepeat(): boolean {
    this.inFlight = false;
    if (this.#signal?.aborted) this.fail(this.#signal.reason);
    return !this.done;
  }

  #end(): void {
    this.done = true;
    if (this.#signal !== undefined) this.#aborts.leave(this.#signal, this);
  }
}

/** One copy on its way to one key: a list, or a channel. */
interface Push {
  readonly key: string;
  readonly text: string;
  readonly publication: Publication;
  readonly to: Address;
  /** The queue, when its lists are to live on for its `x-expires`. */
  readonly expiring: string | null;
  readonly isChannel: boolean;
  /** Of a channel: somebody must be listening. */
  readonly mandatory?: boolean;
}

interface Routed {
  readonly message: Message;
  readonly to: Address;
  readonly mandatory: boolean;
  readonly publication: Publication;
}

export interface PublisherOptions {
  deadletterQueue: string | null;
  /** Channels that a fanout message goes to besides the usual one. */
  legacyChannel: ((exchange: string, routingKey: string) => string) | null;
}

export class Publisher implements LinkMember {
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #bindings: Bindings;
  readonly #options: PublisherOptions;
  readonly #aborts = new AbortGroups();
  #pushes: Push[] = [];
  #routed = new Map<string, Routed[]>();
  #waiting = 0;
  #waitingLength = 0;
  readonly #inFlight = new Set<Promise<void>>();

  constructor(link: RedisLink, keys: RedisKeys, bindings: Bindings, options: PublisherOptions) {
    this.#link = link;
    this.#keys = keys;
    this.#bindings = bindings;
    this.#options = options;
  }

  publish(message: Message, to: Address, options: { mandatory?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (this.#link.closed) return reject(new TransportClosed());
      if (signal?.aborted) return reject(signal.reason);
      if (!this.#link.up && this.#isFull()) {
        const full = "too many messages wait for the connection to Redis";
        return reject(new PublishError(full, to, { retryable: true }));
      }
      const publication = new Publication(this.#aborts, resolve, reject, signal);
      try {
        if (to.exchange === "") this.#toQueues(message, to, [to.routingKey], publication);
        else if (this.#bindings.isFanout(to.exchange))
          this.#toChannel(message, to, publication, options.mandatory ?? false);
        else this.#toExchange({ message, to, mandatory: options.mandatory ?? true, publication });
      } catch (error) {
        publication.fail(error);
      }
      this.#link.schedule();
    });
  }

  whenDown(): void {
    if (!this.#link.closed) return;
    for (const push of this.#pushes) push.publication.fail(new TransportClosed());
    for (const routed of this.#routed.values()) {
      for (const { publication } of routed) publication.fail(new TransportClosed());
    }
    this.#pushes = [];
    this.#routed.clear();
  }

  flush(): void {
    if (this.#routed.size > 0) {
      const routed = this.#routed;
      this.#routed = new Map();
      for (const [exchange, messages] of routed) this.#track(this.#route(exchange, messages));
    }
    const pushes = this.#pushes;
    if (pushes.length === 0) return;
    this.#pushes = [];
    this.#waiting = 0;
    this.#waitingLength = 0;
    const byKey = new Map<string, Push[]>();
    for (const push of pushes) {
      if (push.publication.done) continue;
      push.publication.inFlight = true;
      const same = byKey.get(push.key);
      if (same === undefined) byKey.set(push.key, [push]);
      else same.push(push);
    }
    for (const same of byKey.values()) this.#send(same);
  }

  /** Resolves when all that was asked for so far is answered or given up. */
  async drained(signal?: AbortSignal): Promise<void> {
    while (this.#pushes.length > 0 || this.#routed.size > 0 || this.#inFlight.size > 0) {
      await this.#link.whenUp(signal);
      this.#link.flushNow();
      await Promise.all(this.#inFlight);
    }
  }

  /** Whether too much waits; what was given up meanwhile does not count. */
  #isFull(): boolean {
    if (this.#waiting < MAX_WAITING && this.#waitingLength < MAX_WAITING_LENGTH) return false;
    this.#pushes = this.#pushes.filter((push) => !push.publication.done);
    this.#waiting = this.#pushes.length;
    this.#waitingLength = this.#pushes.reduce((sum, push) => sum + push.text.length, 0);
    return this.#waiting >= MAX_WAITING || this.#waitingLength >= MAX_WAITING_LENGTH;
  }

  #toQueues(message: Message, to: Address, queues: readonly string[], publication: Publication): void {
    const priority = clampPriority(message.properties.priority);
    publication.copies += queues.length;
    for (const queue of queues) {
      const text = this.#encode(message, to);
      const expiring = this.#bindings.expiresOf(queue) === null ? null : queue;
      this.#add({ key: this.#keys.list(queue, priority), text, publication, to, expiring, isChannel: false });
    }
  }

  #toChannel(message: Message, to: Address, publication: Publication, mandatory: boolean): void {
    const text = this.#encode(message, to);
    const channels = [this.#keys.fanoutChannel(to.exchange, to.routingKey)];
    const legacy = this.#options.legacyChannel?.(to.exchange, to.routingKey);
    if (legacy !== undefined && legacy !== channels[0]) channels.push(legacy);
    publication.copies += channels.length;
    // Of two channels each may have its own listeners.
    const needed = mandatory && channels.length === 1;
    for (const key of channels)
      this.#add({ key, text, publication, to, expiring: null, isChannel: true, mandatory: needed });
  }

  #toExchange(routed: Routed): void {
    const { exchange } = routed.to;
    const same = this.#routed.get(exchange);
    if (same === undefined) this.#routed.set(exchange, [routed]);
    else same.push(routed);
  }

  #encode(message: Message, to: Address): string {
    const text = encodeEnvelope(message, { exchange: to.exchange, routingKey: to.routingKey, deliveryTag: newId() });
    if (text.length > MAX_ENVELOPE_LENGTH) {
      throw new PublishError("the message is larger than Redis can keep", to, { code: "MESSAGE_TOO_LARGE" });
    }
    return text;
  }

  #add(push: Push): void {
    this.#pushes.push(push);
    this.#waiting += 1;
    this.#waitingLength += push.text.length;
  }

  /** Looks the queues up for all messages of a tick; a message that finds none was looked up after it was published. */
  async #route(exchange: string, messages: readonly Routed[]): Promise<void> {
    let table: Awaited<ReturnType<Bindings["table"]>>;
    try {
      table = await this.#bindings.table(exchange);
    } catch (error) {
      for (const routed of messages) {
        if (!(error instanceof ConnectionLost)) routed.publication.fail(error);
        else if (routed.publication.mayRepeat()) this.#toExchange(routed);
      }
      this.#link.schedule();
      return;
    }
    const type = this.#bindings.typeOf(exchange);
    for (const { message, to, mandatory, publication } of messages) {
      if (publication.done) continue;
      const queues = matchingQueues(table, type, to.routingKey);
      if (queues.length === 0 && this.#options.deadletterQueue !== null) queues.push(this.#options.deadletterQueue);
      try {
        if (queues.length > 0) {
          this.#toQueues(message, to, queues, publication);
        } else if (mandatory) {
          const where = `exchange ${JSON.stringify(to.exchange)} with routing key ${JSON.stringify(to.routingKey)}`;
          publication.fail(new PublishError(`no queue is bound to ${where}`, to, { code: "UNROUTABLE" }));
        } else {
          publication.copies += 1;
          publication.copyDone();
        }
      } catch (error) {
        publication.fail(error);
      }
    }
    this.flush();
  }

  #send(pushes: readonly Push[]): void {
    let from = 0;
    while (from < pushes.length) {
      let to = from;
      let length = 0;
      while (to < pushes.length && to - from < CHUNK_MESSAGES && length < CHUNK_LENGTH)
        length += pushes[to++]!.text.length;
      this.#track(this.#sendChunk(pushes.slice(from, to)));
      from = to;
    }
  }

  async #sendChunk(pushes: readonly Push[]): Promise<void> {
    const first = pushes[0]!;
    const texts = pushes.map((push) => push.text);
    try {
      if (first.isChannel) {
        const heard = await Promise.all(texts.map((text) => this.#link.call("PUBLISH", [first.key, text])));
        pushes.forEach((push, at) => {
          if (push.mandatory && heard[at] === 0) push.publication.fail(unheard(push.to));
        });
      } else if (first.expiring === null) {
        await this.#link.call("LPUSH", [first.key, ...texts]);
      } else {
        const ttl = this.#bindings.expiresOf(first.expiring) ?? 0;
        await this.#link.run(PUSH_EXPIRING, [first.key, ...this.#keys.lists(first.expiring)], [ttl, ...texts]);
      }
    } catch (error) {
      this.#unanswered(pushes, error);
      return;
    }
    for (const push of pushes) push.publication.copyDone();
  }

  #unanswered(pushes: readonly Push[], error: unknown): void {
    if (error instanceof ConnectionLost && !this.#link.closed) {
      const again = pushes.filter((push) => push.publication.mayRepeat());
      this.#pushes = [...again, ...this.#pushes];
      this.#link.schedule();
      return;
    }
    const { message, retryable, cause } = asError(error);
    for (const push of pushes) {
      const closed = error instanceof TransportClosed || this.#link.closed;
      push.publication.fail(closed ? new TransportClosed() : new PublishError(message, push.to, { retryable, cause }));
    }
  }

  #track(act: Promise<void>): void {
    this.#inFlight.add(act);
    void act.finally(() => this.#inFlight.delete(act));
  }
}

function unheard(to: Address): PublishError {
  return new PublishError(`nobody listens to exchange ${JSON.stringify(to.exchange)}`, to, { code: "UNROUTABLE" });
}

function asError(error: unknown): { message: string; retryable: boolean; cause: unknown } {
  const message = error instanceof Error ? error.message : String(error);
  const retryable = error instanceof Error && "retryable" in error && error.retryable === true;
  return { message, retryable, cause: error };
}

/** Kombu's `_get_message_priority`: within 0 to 9, and 0 for what is no number. */
function clampPriority(priority: number | undefined): number {
  return priority !== undefined && priority > 0 ? Math.min(9, Math.trunc(priority)) : 0;
}
