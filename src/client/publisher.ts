/**
 * Brings messages to the broker: declares the target queue first, compresses, and tries again as Celery's publish retry
 * policy says. wire: celery/app/amqp.py `send_task_message`; kombu/messaging.py `Producer.publish`, kombu/common.py `maybe_declare`.
 *
 * One attempt without a connection lasts `broker_connection_timeout`; with the default policy (3 retries) a publish while
 * the broker is away fails after about 17 seconds. `max_retries: null` waits for ever. What has failed may still have
 * reached the broker when the connection broke between the write and its confirmation: delivery is at least once.
 */
import type { Address, Message } from "../../protocol/message.ts";
import type { Queue } from "../../protocol/routing.ts";
import { pause } from "../runtime/backoff.ts";
import { before } from "../runtime/before.ts";
import { compress } from "../runtime/compression.ts";
import type { Log } from "../runtime/log.ts";
import { type RetryPolicy, retryDelay } from "../settings/retry-policy-setting.ts";
import type { Settings } from "../settings/settings.ts";
import { PublishError, QueueClash, TransportClosed, TransportError } from "../transports/errors.ts";
import type { PublishFailure, Transport } from "../transports/transport.ts";
import { type BrokerState, OutageWatch } from "./outage-watch.ts";

/** What decides how long a publish is tried. */
export type PublisherSettings = Pick<
  Settings,
  | "broker_connection_timeout"
  | "lovage_declare"
  | "task_compression"
  | "task_publish_retry"
  | "task_publish_retry_policy"
>;

export interface PublisherParts {
  readonly transport: Transport;
  readonly settings: PublisherSettings;
  readonly log: Log;
  readonly broker?: BrokerState;
  /** Told of every message that the broker holds. */
  readonly onSent?: (message: Message, target: PublishTarget) => void;
}

export interface PublishTarget {
  readonly address: Address;
  /** Made to exist before the first message. Null: nothing is declared. */
  readonly queue: Queue | null;
  /** What else must stand, such as the queues that delay a message. */
  readonly also?: readonly Queue[];
  /** A message that was unroutable is sent once more behind a fresh declaration. @default with the empty exchange */
  readonly remake?: boolean;
}

export interface PublishHow {
  readonly retry?: boolean | null;
  readonly retryPolicy?: Partial<RetryPolicy> | null;
  /** Name of the compression; null: `task_compression`. */
  readonly compression?: string | null;
  readonly mandatory?: boolean | null;
  readonly signal?: AbortSignal | null;
}

/** Queues whose declaration is remembered; beyond that the oldest is declared again when next used. */
const REMEMBERED = 10_000;

const NO_BROKER: BrokerState = { url: "the broker", lastError: null };

export class Publisher {
  readonly #transport: Transport;
  readonly #settings: PublisherSettings;
  readonly #log: Log;
  /** Declared, or being declared, by queue name. */
  readonly #declared = new Map<string, true | Promise<void>>();
  readonly #outage: OutageWatch;
  readonly #onSent: ((message: Message, target: PublishTarget) => void) | null;
  #connecting: Promise<void> | null = null;
  #connected = false;
  #closed = false;

  constructor({ transport, settings, log, broker = NO_BROKER, onSent }: PublisherParts) {
    this.#onSent = onSent ?? null;
    this.#transport = transport;
    this.#settings = settings;
    this.#log = log;
    const limit = settings.broker_connection_timeout;
    this.#outage = new OutageWatch(transport, broker, limit === null ? null : limit * 1000);
  }

  /** Resolves once the broker holds the message. */
  publish(message: Message, target: PublishTarget, how: PublishHow = {}): Promise<void> {
    const compression = how.compression ?? this.#settings.task_compression;
    const packed = compression === null ? message : compressed(message, compression);
    const sent = this.#retrying(
      (signal) => this.#attempt(packed, target, how, signal),
      how,
      target.queue?.name ?? null,
    );
    const onSent = this.#onSent;
    return onSent === null ? sent : sent.then(() => onSent(message, target));
  }

  /**
   * As `publish` of each, in their order. Resolves once the broker holds all; rejects when it has refused one for good, or some too
   * often. The others may then have been sent.
   */
  publishAll(messages: readonly Message[], target: PublishTarget, how: PublishHow = {}): Promise<void> {
    const compression = how.compression ?? this.#settings.task_compression;
    let left = compression === null ? messages : messages.map((message) => compressed(message, compression));
    const attempt = async (signal: AbortSignal) => {
      const failures = await this.#attemptAll(left, target, how, signal);
      this.#tellSent(left, failures, target);
      const worst = failures.find(({ error }) => !isRetryable(error)) ?? failures[0];
      if (worst === undefined) return;
      left = pick(left, failures);
      throw worst.error;
    };
    return this.#retrying(attempt, how, target.queue?.name ?? null);
  }

  /** All but those that failed are sent. */
  #tellSent(messages: readonly Message[], failures: readonly PublishFailure[], target: PublishTarget): void {
    const onSent = this.#onSent;
    if (onSent === null) return;
    const failed = new Set(failures.map(({ index }) => index));
    for (const [index, message] of messages.entries()) if (!failed.has(index)) onSent(message, target);
  }

  /** What must be done at the broker before a message can be made, under the same rules as the publish itself. */
  prepare<T>(act: () => Promise<T>, how: PublishHow = {}): Promise<T> {
    return this.#retrying((signal) => before(act(), signal), how, null);
  }

  /** Ends the waits for the broker of what is still to be published. The transport stays open: it is not ours. */
  close(): void {
    this.#closed = true;
    this.#outage.stop(new TransportClosed("the client is closed"));
  }

  async #retrying<T>(act: (signal: AbortSignal) => Promise<T>, how: PublishHow, queue: string | null): Promise<T> {
    const retry = how.retry ?? this.#settings.task_publish_retry;
    const startedMs = performance.now();
    let inDoubt = false;
    for (let retries = 0; ; retries++) {
      try {
        return await this.#once(act, how);
      } catch (error) {
        if (error instanceof PublishError) error.inDoubt ||= inDoubt;
        else inDoubt = true;
        if (!retry || how.signal?.aborted || this.#closed || !isRetryable(error)) throw error;
        const policy = { ...this.#settings.task_publish_retry_policy, ...how.retryPolicy };
        if (policy.maxRetries !== null && retries >= policy.maxRetries) {
          throw retries > 0 && this.#outage.hasCaused(error) ? this.#outage.error(startedMs, retries + 1) : error;
        }
        const delay = retryDelay(policy, retries);
        this.#log.warn({ queue, retries: retries + 1, delay, err: error }, "publish failed and is tried again");
        if (delay > 0) await pause(delay * 1000, how.signal ?? undefined);
      }
    }
  }

  async #once<T>(act: (signal: AbortSignal) => Promise<T>, how: PublishHow): Promise<T> {
    if (this.#closed) throw new TransportClosed("the client is closed");
    const outageSignal = this.#outage.enter();
    const signal = how.signal ? AbortSignal.any([outageSignal, how.signal]) : outageSignal;
    try {
      if (!this.#connected) await this.#connect(signal);
      return await act(signal);
    } finally {
      this.#outage.leave();
    }
  }

  #attempt(message: Message, target: PublishTarget, how: PublishHow, signal: AbortSignal): Promise<void> {
    const declaring = this.#declareAll(target);
    const options = optionsOf(how, signal);
    const publish = () => this.#transport.publish(message, target.address, options);
    const published = declaring === true ? publish() : before(declaring, signal).then(publish);
    const queue = this.#queueToMend(target);
    if (queue === null) return published;
    return published.catch(async (error: unknown) => {
      if (!isUnroutable(error)) throw error;
      await this.#mend(queue, signal);
      await publish();
    });
  }

  async #attemptAll(
    messages: readonly Message[],
    target: PublishTarget,
    how: PublishHow,
    signal: AbortSignal,
  ): Promise<readonly PublishFailure[]> {
    const declaring = this.#declareAll(target);
    if (declaring !== true) await before(declaring, signal);
    const options = optionsOf(how, signal);
    const failures = await sendAll(this.#transport, messages, target.address, options);
    const queue = failures.length === 0 ? null : this.#queueToMend(target);
    if (queue === null || !failures.every(({ error }) => isUnroutable(error))) return failures;
    await this.#mend(queue, signal);
    const again = await sendAll(this.#transport, pick(messages, failures), target.address, options);
    return again.map(({ index, error }) => ({ index: failures[index]?.index ?? index, error }));
  }

  /** The queue that is made again when no queue takes a message. */
  #queueToMend({ queue, address, remake }: PublishTarget): Queue | null {
    return (remake ?? address.exchange === "") && this.#settings.lovage_declare === "create" ? queue : null;
  }

  /** The queue was deleted since it was declared (it expired, or someone removed it): make it again, once. */
  #mend(queue: Queue, signal: AbortSignal): Promise<void> {
    this.#declared.delete(queue.name);
    return before(this.#transport.declare([queue]), signal);
  }

  #connect(signal: AbortSignal): Promise<void> {
    this.#connecting ??= this.#transport.connect().then(
      () => {
        this.#connected = true;
      },
      (error: unknown) => {
        this.#connecting = null;
        throw error;
      },
    );
    return before(this.#connecting, signal);
  }

  #declareAll({ queue, also }: PublishTarget): true | Promise<void> {
    const own = queue === null ? true : this.#declare(queue);
    if (also === undefined) return own;
    const declaring = also.map((one) => this.#declareAlso(one)).filter((one) => one !== true);
    if (own !== true) declaring.unshift(own);
    return declaring.length === 0 ? true : Promise.all(declaring).then(nothing);
  }

  /** One that stands with other attributes is somebody else's, and will do. */
  #declareAlso(queue: Queue): true | Promise<void> {
    const name = `also ${queue.name}`;
    const declaring = this.#declare(queue, name);
    if (declaring === true) return true;
    return declaring.catch((error: unknown) => {
      if (!(error instanceof QueueClash)) throw error;
      if (!this.#declared.has(name)) this.#log.warn({ queue: queue.name, err: error }, "a queue has other attributes");
      this.#declared.set(name, true);
    });
  }

  /** The transport replays declarations after a reconnect, so that once is enough. */
  #declare(queue: Queue, name: string = queue.name): true | Promise<void> {
    if (this.#settings.lovage_declare === "never") return true;
    const known = this.#declared.get(name);
    if (known !== undefined) return known;
    const declaring = this.#transport.declare([queue]).then(
      () => {
        if (mayVanish(queue)) this.#declared.delete(name);
        else this.#declared.set(name, true);
      },
      (error: unknown) => {
        this.#declared.delete(name);
        throw error;
      },
    );
    if (this.#declared.size >= REMEMBERED) {
      for (const oldest of this.#declared.keys()) {
        this.#declared.delete(oldest);
        break;
      }
    }
    this.#declared.set(name, declaring);
    return declaring;
  }
}

function nothing(): void {}

function isRetryable(error: unknown): boolean {
  return error instanceof TransportError && error.retryable;
}

function isUnroutable(error: unknown): boolean {
  return error instanceof PublishError && error.code === "UNROUTABLE";
}

function optionsOf({ mandatory }: PublishHow, signal: AbortSignal): { mandatory?: boolean; signal: AbortSignal } {
  return typeof mandatory === "boolean" ? { signal, mandatory } : { signal };
}

function pick(messages: readonly Message[], failures: readonly PublishFailure[]): Message[] {
  return failures.flatMap(({ index }) => messages[index] ?? []);
}

async function sendAll(
  transport: Transport,
  messages: readonly Message[],
  to: Address,
  options: { mandatory?: boolean; signal: AbortSignal },
): Promise<readonly PublishFailure[]> {
  if (transport.publishAll !== undefined) return transport.publishAll(messages, to, options);
  const sent = await Promise.allSettled(messages.map((message) => transport.publish(message, to, options)));
  return sent.flatMap((outcome, index) => (outcome.status === "rejected" ? [{ index, error: outcome.reason }] : []));
}

/** Kombu does not remember such a declaration either (`Queue.can_cache_declaration`). */
function mayVanish(queue: Queue): boolean {
  return queue.autoDelete === true || (queue.arguments !== undefined && "x-expires" in queue.arguments);
}

function compressed(message: Message, name: string): Message {
  const { mime, bytes } = compress(name, message.body);
  return { ...message, body: bytes, headers: { ...message.headers, compression: mime } };
}
