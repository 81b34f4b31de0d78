/**
 * `amqp://` and `amqps://` URLs as Kombu reads them (kombu/utils/url.py, kombu/transport/pyamqp.py): user and password
 * default to `guest`, a missing path is the virtual host `/`, and so is `//`; parts are percent-decoded.
 */
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import { maskUrl } from "../../runtime/credentials.ts";

export interface AmqpUrl {
  tls: boolean;
  hostname: string;
  port: number;
  username: string;
  password: string;
  vhost: string;
  /** Seconds, from `?heartbeat=`. */
  heartbeat: number | null;
  /** For logs and errors: without credentials. */
  shown: string;
}

/** `tls` says that TLS is asked for apart from the URL (`broker_use_ssl`). */
export function parseAmqpUrl(text: string, tls = false): AmqpUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new ImproperlyConfigured(`not a broker URL: ${maskUrl(text)}`, { cause });
  }
  const scheme = url.protocol.slice(0, -1);
  if (!SCHEMES.has(scheme)) throw new ImproperlyConfigured(`${maskUrl(text)} is no amqp:// or amqps:// URL`);
  const secure = tls || scheme === "amqps";
  const heartbeat = Number(url.searchParams.get("heartbeat") ?? "");
  const port = url.port === "" ? (secure ? 5671 : 5672) : Number(url.port);
  const hostname = url.hostname.replace(/^\[|\]$/g, "") || "localhost";
  const vhost = decoded(url.pathname.slice(1)) || "/";
  return {
    tls: secure,
    hostname,
    port,
    username: decoded(url.username) || "guest",
    password: decoded(url.password) || "guest",
    vhost,
    heartbeat: url.searchParams.has("heartbeat") && Number.isFinite(heartbeat) ? heartbeat : null,
    shown: `${secure ? "amqps" : "amqp"}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}/${encodeURIComponent(vhost)}`,
  };
}

const SCHEMES = new Set(["amqp", "amqps", "pyamqp", "librabbitmq"]);

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // A lone percent sign stands for itself.
  }
}
