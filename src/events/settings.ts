/** What the settings say of events, once for senders and receivers. */
import { acceptedTypes, builtinSerializers, type DecodeLimits, type Serializer } from "../../protocol/serialization.ts";
import type { Settings } from "../settings/settings.ts";

export interface EventSettings {
  readonly exchange: string;
  readonly serializer: Serializer;
  /** wire: celery/events/receiver.py: a receiver reads `event_serializer` and JSON. */
  readonly accept: ReadonlySet<string>;
  readonly limits: DecodeLimits;
  readonly maxBytes: number;
  readonly queuePrefix: string;
  readonly queueTtl: number | null;
  readonly queueExpires: number | null;
  readonly queueExclusive: boolean;
  readonly queueDurable: boolean;
}

export function eventSettings(settings: Settings): EventSettings {
  return {
    exchange: settings.event_exchange,
    serializer: builtinSerializers.byName(settings.event_serializer),
    accept: acceptedTypes([settings.event_serializer, "json"]),
    limits: { maxDepth: settings.lovage_max_message_depth },
    maxBytes: settings.lovage_max_message_bytes,
    queuePrefix: settings.event_queue_prefix,
    queueTtl: settings.event_queue_ttl,
    queueExpires: settings.event_queue_expires,
    queueExclusive: settings.event_queue_exclusive,
    queueDurable: settings.event_queue_durable,
  };
}
