/** The body of a control message, whoever sent it: sizes are limited, and nothing throws. */
import { LovageError } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/message.ts";
import { decodePayload } from "../../protocol/serialization.ts";
import { decompress } from "../runtime/compression.ts";
import type { MailboxSettings } from "./settings.ts";

export function readBody(message: Message, settings: MailboxSettings): { body: unknown } | { refused: string } {
  if (message.refused !== undefined) return { refused: message.refused };
  if (message.body.byteLength > settings.maxBytes) return { refused: `it has ${message.body.byteLength} bytes` };
  try {
    const body = decodePayload(message, {
      accept: settings.accept,
      limits: settings.limits,
      decompress: (mime, bytes) => decompress(mime, bytes, { maxBytes: settings.maxDecompressedBytes }),
    });
    return { body };
  } catch (error) {
    if (error instanceof LovageError) return { refused: error.message };
    throw error;
  }
}
