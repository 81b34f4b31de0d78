/** What `protocol/mognet` encodes, as the message that a transport takes. wire: protocol mognet 1.2. */
import type { Message } from "../../protocol/message.ts";
import type { MognetPublication } from "../../protocol/mognet/message.ts";

export function messageOf(publication: MognetPublication): Message {
  const { body, contentType, contentEncoding, deliveryMode, priority, messageId, expiration, replyTo } = publication;
  return {
    body,
    contentType,
    contentEncoding,
    // Present and empty, as aio-pika sends it.
    headers: {},
    properties: {
      deliveryMode,
      priority,
      messageId,
      ...(expiration === undefined ? {} : { expiration }),
      ...(replyTo === undefined ? {} : { replyTo }),
    },
  };
}
