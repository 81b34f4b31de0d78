/**
 * Consuming fanout exchanges: a queue bound to one is no list but a pub/sub pattern, and its messages are never unacked.
 * wire: celery-wire 6.3; kombu/transport/redis.py `_subscribe`, `_receive_one`. During a rolling upgrade from Kombu before
 * 5.4 with Sentinel (`sentinel_fanout_compat`) a second, literal channel is listened to; copies are told by their delivery tag.
 */
import type { RedisKeys } from "../../../protocol/kombu/redis-keys.ts";
import type { Bindings } from "./bindings.ts";
import type { Subscriber, Subscription } from "./subscriber.ts";

const REMEMBERED_TAGS = 1_000;

/** A message that was not fetched: its bytes, and the last of its characters where the server gave them. */
export interface TooLarge {
  readonly size: number;
  readonly end: string;
}

export interface FanoutConsumer {
  deliverFanout(queue: string, text: string | TooLarge): void;
}

export class Fanout {
  readonly #subscriber: Subscriber;
  readonly #bindings: Bindings;
  readonly #keys: RedisKeys;
  readonly #maxMessageBytes: number;
  readonly #legacyChannel: ((exchange: string, routingKey: string) => string) | null;
  readonly #subscriptions = new Map<FanoutConsumer, Map<string, Subscription[]>>();

  constructor(
    subscriber: Subscriber,
    bindings: Bindings,
    keys: RedisKeys,
    options: {
      maxMessageBytes: number;
      legacyChannel: ((exchange: string, routingKey: string) => string) | null;
    },
  ) {
    this.#subscriber = subscriber;
    this.#bindings = bindings;
    this.#keys = keys;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#legacyChannel = options.legacyChannel;
  }

  /** Subscribes when the queue is bound to a fanout exchange; false when it is a list. */
  async listen(consumer: FanoutConsumer, queue: string): Promise<boolean> {
    const binding = this.#bindings.fanoutOf(queue);
    if (binding === null) return false;
    const patterns = [escaped(this.#keys, binding)];
    const legacy = this.#legacyChannel?.(binding.exchange, binding.routingKey.replaceAll("#", "*"));
    if (legacy !== undefined && legacy !== patterns[0]) patterns.push(legacy);
    const seen = patterns.length > 1 ? new RecentTags() : null;
    const limit = this.#maxMessageBytes;
    const subscriptions = patterns.map((pattern) => ({
      pattern,
      onMessage: (_channel: string, text: Buffer) => {
        if (text.length > limit) return consumer.deliverFanout(queue, { size: text.length, end: "" });
        const envelope = text.toString();
        if (seen === null || seen.isNew(envelope)) consumer.deliverFanout(queue, envelope);
      },
    }));
    let ofConsumer = this.#subscriptions.get(consumer);
    if (ofConsumer === undefined) {
      ofConsumer = new Map();
      this.#subscriptions.set(consumer, ofConsumer);
    }
    ofConsumer.set(queue, subscriptions);
    await Promise.all(subscriptions.map((subscription) => this.#subscriber.subscribe(subscription)));
    return true;
  }

  async leave(consumer: FanoutConsumer, queue: string): Promise<void> {
    const ofConsumer = this.#subscriptions.get(consumer);
    const subscriptions = ofConsumer?.get(queue);
    if (ofConsumer === undefined || subscriptions === undefined) return;
    ofConsumer.delete(queue);
    if (ofConsumer.size === 0) this.#subscriptions.delete(consumer);
    await Promise.all(subscriptions.map((subscription) => this.#subscriber.unsubscribe(subscription)));
  }
}

/** Names may hold what PSUBSCRIBE takes for a wildcard; only the binding's own `*` and `#` are ones. */
function escaped(keys: RedisKeys, binding: { exchange: string; routingKey: string }): string {
  const base = keys.fanoutPattern(binding.exchange, "").replace(/[*?[\]\\]/g, "\\$&");
  const whole = keys.fanoutPattern(binding.exchange, binding.routingKey);
  return base + whole.slice(keys.fanoutPattern(binding.exchange, "").length);
}

class RecentTags {
  readonly #tags = new Set<string>();
  isNew(envelope: string): boolean {
    const tag = /"delivery_tag":\s*"([^"\\]+)"[^"]*$/.exec(envelope.slice(-200))?.[1];
    if (tag === undefined) return true;
    if (this.#tags.has(tag)) return false;
    this.#tags.add(tag);
    if (this.#tags.size > REMEMBERED_TAGS) {
      for (const oldest of this.#tags) {
        this.#tags.delete(oldest);
        break;
      }
    }
    return true;
  }
}
