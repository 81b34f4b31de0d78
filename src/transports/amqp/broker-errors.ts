/** What the broker says when it refuses: a reply code and a reason, which amqplib puts into the text of an error. */
import { ChannelClosed, ConnectionLost, ConnectionRefused, DeliveryTimeout, type TransportError } from "../errors.ts";

export const REPLY = {
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
  /** From here on the whole connection ends. 320, a connection closed by an operator, is not among them. */
  hardErrors: 501,
  notImplemented: 540,
} as const;

/** The reply code of a channel or connection that the broker closed, or null when it was not the broker's act. */
export function replyCode(error: unknown): number | null {
  const code: unknown = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "number" ? code : null;
}

/** The broker's own words, without amqplib's around them. */
export function replyText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return /with message "([\s\S]*)"$/.exec(text)?.[1] ?? text;
}

/** An error of a channel operation in our words. Without a reply code the channel went because the connection did. */
export function channelError(error: unknown): TransportError {
  const code = replyCode(error);
  if (code === null) return new ConnectionLost(`the connection went away: ${replyText(error)}`, { cause: error });
  return new ChannelClosed(`the broker closed the channel: ${replyText(error)}`, { cause: error });
}

/**
 * Why the channel of a consumer was closed under it. RabbitMQ: "delivery acknowledgement on channel 1 timed out. Timeout value
 * used: 5000 ms. This timeout value can be configured, see consumers doc guide to learn more".
 */
export function interruption(error: Error): TransportError {
  const text = replyText(error);
  if (!/delivery acknowledgement on channel \d+ timed out/.test(text)) return channelError(error);
  const timeout = /Timeout value used: (\d+) ms/.exec(text)?.[1];
  const allowed = timeout === undefined ? "" : ` (${timeout} ms)`;
  const why = `a message was held unsettled for longer than the broker's consumer_timeout${allowed}`;
  return new DeliveryTimeout(why, timeout === undefined ? null : Number(timeout), { cause: error });
}

const CERTIFICATE = /^(?:CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_SSL|EPROTO)/;

/** Why connecting to `url` (shown without credentials) failed, or `ConnectionRefused` where trying again cannot help. */
export function connectError(error: unknown, url: string, vhost: string): TransportError {
  const text = replyText(error);
  if (/ACCESS_REFUSED|ACCESS-REFUSED/.test(text)) {
    return new ConnectionRefused(`${url} refuses the login: ${text}`, { cause: error });
  }
  if (/Expected ConnectionOpenOk; got <ConnectionClose/.test(text)) {
    const why = `${url} has no virtual host ${JSON.stringify(vhost)} for this user`;
    return new ConnectionRefused(why, { cause: error });
  }
  if (/SASL mechanism/.test(text)) return new ConnectionRefused(`${url}: ${text}`, { cause: error });
  const code: unknown = error instanceof Error && "code" in error ? error.code : null;
  if (typeof code === "string" && CERTIFICATE.test(code)) {
    const hint = "see broker_use_ssl: ca_certs, cert_reqs";
    return new ConnectionRefused(`no TLS with ${url}: ${text} (${hint})`, { cause: error });
  }
  return new ConnectionLost(`cannot connect to ${url}: ${text || String(code)}`, { cause: error });
}
