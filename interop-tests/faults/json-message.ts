/** A message with a JSON body, as remote control and events have. */
import { encodeJson } from "../../protocol/json.ts";
import type { Message } from "../../protocol/message.ts";

export function jsonMessage(body: unknown, headers: Record<string, unknown> = {}): Message {
  return {
    body: new TextEncoder().encode(encodeJson(body)),
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers,
    properties: { deliveryMode: 1 },
  };
}
