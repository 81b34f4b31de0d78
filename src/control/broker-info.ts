/** The broker as `inspect stats` shows it, never with its password. wire: kombu/connection.py `Connection.info`; behaviour 3.4. */
import { PyFloat } from "../../protocol/values.ts";
import type { Settings } from "../settings/settings.ts";
import { pickBroker } from "../settings/urls.ts";
import { maskedUrl, shown } from "./conf.ts";

const PORTS: Readonly<Record<string, number>> = { amqp: 5672, amqps: 5671, sentinel: 26379 };

export function brokerInfo(settings: Settings): Record<string, unknown> {
  const { kind, urls, transportOptions } = pickBroker(settings, { purpose: "read" });
  const [first = "", ...others] = urls;
  const { broker_heartbeat: heartbeat, broker_use_ssl: ssl } = settings;
  return {
    ...addressOf(kind, first),
    insist: false,
    ssl: ssl !== false || /^(amqps|rediss):/i.test(first),
    transport: kind,
    connect_timeout: settings.broker_connection_timeout,
    transport_options: shown("transport_options", transportOptions),
    login_method: kind === "amqp" ? "PLAIN" : null,
    uri_prefix: null,
    heartbeat: heartbeat === null ? null : new PyFloat(heartbeat),
    failover_strategy: settings.broker_failover_strategy ?? "round-robin",
    alternates: others.map(maskedUrl),
    credential_provider: null,
  };
}

function addressOf(kind: string, url: string): Record<string, unknown> {
  const match = /^([a-z0-9+.-]+):\/\/(?:([^/?#@]*)@)?(\[[^\]]*\]|[^:/?#]*)(?::(\d+))?\/?([^?#]*)/i.exec(url);
  const [, scheme = "", credentials = "", host = "", port, path = ""] = match ?? [];
  if (kind !== "amqp" && kind !== "redis") {
    return { hostname: host || null, userid: null, virtual_host: "/", port: null };
  }
  const userid = decoded(credentials.split(":")[0] ?? "");
  return {
    hostname: decoded(host).replace(/^\[|\]$/g, "") || "localhost",
    userid: userid || (kind === "amqp" ? "guest" : null),
    virtual_host: decoded(path) || (kind === "amqp" ? "/" : "0"),
    port: port === undefined ? (PORTS[scheme.toLowerCase()] ?? (kind === "amqp" ? 5672 : 6379)) : Number(port),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
