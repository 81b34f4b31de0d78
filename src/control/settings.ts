/** What the settings say of mailboxes, once for workers and clients. */
import type { MailboxQueueOptions } from "../../protocol/kombu/pidbox.ts";
import { acceptedTypes, builtinSerializers, type DecodeLimits, type Serializer } from "../../protocol/serialization.ts";
import type { Settings } from "../settings/settings.ts";

export interface MailboxSettings {
  /** `control_exchange`. */
  readonly namespace: string;
  readonly queues: MailboxQueueOptions;
  /** wire: celery/app/control.py: mailboxes write with `task_serializer` and read what `accept_content` allows. */
  readonly serializer: Serializer;
  readonly accept: ReadonlySet<string>;
  readonly limits: DecodeLimits;
  readonly maxBytes: number;
  readonly maxDecompressedBytes: number;
}

export function mailboxSettings(settings: Settings): MailboxSettings {
  return {
    namespace: settings.control_exchange,
    queues: {
      ttl: settings.control_queue_ttl,
      expires: settings.control_queue_expires,
      exclusive: settings.control_queue_exclusive,
      durable: settings.control_queue_durable,
    },
    serializer: builtinSerializers.byName(settings.task_serializer),
    accept: acceptedTypes(settings.accept_content),
    limits: { maxDepth: settings.lovage_max_message_depth },
    maxBytes: settings.lovage_max_message_bytes,
    // A control message is no longer unpacked than one may be that was never packed.
    maxDecompressedBytes: Math.min(settings.lovage_max_decompressed_bytes, settings.lovage_max_message_bytes),
  };
}
