/**
 * Redis URLs as Kombu and redis-py write them, as one value that says where to connect.
 * wire: kombu/utils/url.py `url_to_parts`, kombu/transport/redis.py `_connparams` and `_sentinel_managed_pool`.
 * TLS is stricter than Kombu's: a `rediss://` URL without `ssl_cert_reqs` verifies the certificate, where Kombu warns
 * and does not.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { maskUrl } from "./credentials.ts";

/** One server that may be tried. `tls` holds the `ssl_…` options of the URL; null: plain TCP or a unix socket. */
export interface RedisEndpoint {
  readonly host: string;
  readonly port: number;
  /** Path of a unix socket; host and port mean nothing then. */
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls: Readonly<Record<string, unknown>> | null;
  /** For logs: without credentials. */
  readonly name: string;
}

export interface RedisSentinels {
  readonly masterName: string;
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly username?: string;
  readonly password?: string;
  /** Options of TLS towards the sentinels themselves; null: plain TCP. */
  readonly tls: Readonly<Record<string, unknown>> | null;
}

/** Where to connect: endpoints tried in turn, or the master that the sentinels name (then one endpoint: credentials and db). */
export interface RedisTarget {
  readonly endpoints: readonly RedisEndpoint[];
  readonly sentinel: RedisSentinels | null;
}

export interface RedisUrlOptions {
  /** Needed by `sentinel://`; Kombu's transport option `master_name`. */
  masterName?: string;
  /** Kombu's `sentinel_kwargs`: `username`, `password` and `ssl…` of the sentinels themselves. */
  sentinelKwargs?: Readonly<Record<string, unknown>>;
}

interface Parts {
  scheme: string;
  host: string;
  port: number | undefined;
  username: string | undefined;
  password: string | undefined;
  path: string;
  query: URLSearchParams;
}

const schemes = new Set(["redis", "rediss", "redis+socket", "socket", "unix", "sentinel"]);

/** Whether one of the forms of `parseRedisUrl` is meant. */
export function isRedisUrl(url: string): boolean {
  return schemes.has(/^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? "");
}

/**
 * Reads one URL, several joined with `;`, or a list of them: `redis://[user:password@]host[:port][/db]`, `rediss://…` with
 * `ssl_cert_reqs` (`required`, `optional`, `none`, or Python's `CERT_…`), `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` and
 * `ssl_check_hostname` in the query, `redis+socket://[user:password@]/path?virtual_host=N`, and
 * `sentinel://h1:p1;sentinel://h2:p2/db`. Several plain URLs are tried in turn; several sentinel URLs are one target whose
 * db and credentials are the first ones written. Throws `ImproperlyConfigured`, never naming a password.
 */
export function parseRedisUrl(url: string | readonly string[], options: RedisUrlOptions = {}): RedisTarget {
  const urls = (typeof url === "string" ? [url] : url).flatMap((each) => each.split(";")).map((each) => each.trim());
  const parsed: Parts[] = [];
  for (const each of urls) {
    if (each === "") continue;
    const previous = parsed.at(-1);
    parsed.push(parseParts(each.includes("://") || previous === undefined ? each : `${previous.scheme}://${each}`));
  }
  const first = parsed[0];
  if (first === undefined) throw new ImproperlyConfigured("no Redis URL was given");
  if (parsed.some((parts) => (parts.scheme === "sentinel") !== (first.scheme === "sentinel"))) {
    throw new ImproperlyConfigured("sentinel:// and other Redis URLs cannot be mixed in one list");
  }
  if (first.scheme === "sentinel") return sentinelTarget(parsed, options);
  return { endpoints: parsed.map(endpointOf), sentinel: null };
}

function parseParts(url: string): Parts {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?/i.exec(url);
  const scheme = match?.[1]?.toLowerCase();
  if (!match || scheme === undefined || !schemes.has(scheme)) {
    throw new ImproperlyConfigured(`not a Redis URL: ${JSON.stringify(maskUrl(url))}`);
  }
  const authority = match[2] ?? "";
  const at = authority.lastIndexOf("@");
  const credentials = at < 0 ? "" : authority.slice(0, at);
  const address = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority.slice(at + 1));
  if (!address) {
    throw new ImproperlyConfigured(
      `the host of ${JSON.stringify(maskUrl(url))} cannot be read; in a password "/" is written %2F, "?" %3F and "#" %23`,
    );
  }
  const port = address[2] ? Number(address[2]) : undefined;
  if (port !== undefined && (port < 1 || port > 65535)) {
    throw new ImproperlyConfigured(`port ${port} of ${JSON.stringify(maskUrl(url))} is out of range`);
  }
  const colon = credentials.indexOf(":");
  const username = unquote(colon < 0 ? credentials : credentials.slice(0, colon));
  const password = colon < 0 ? "" : unquote(credentials.slice(colon + 1));
  return {
    scheme,
    host: unquote(address[1] ?? "").replace(/^\[|\]$/g, ""),
    port,
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : password,
    path: unquote(match[3] ?? ""),
    query: new URLSearchParams(match[4] ?? ""),
  };
}

function endpointOf(parts: Parts): RedisEndpoint {
  const { scheme, query } = parts;
  const socket = scheme === "redis+socket" || scheme === "socket" || scheme === "unix";
  const db = dbOf(query.get("virtual_host") ?? query.get("db") ?? (socket ? "" : parts.path));
  const login = {
    ...(parts.username === undefined ? {} : { username: parts.username }),
    ...(parts.password === undefined ? {} : { password: parts.password }),
  };
  if (socket) {
    if (parts.path === "" || parts.path === "/")
      throw new ImproperlyConfigured(`${scheme}:// needs the path of a socket`);
    return {
      host: "",
      port: 0,
      path: parts.path,
      ...login,
      db,
      tls: null,
      name: `${scheme}://${parts.path}?virtual_host=${db}`,
    };
  }
  const ssl = sslOptions(query);
  const tls = scheme === "rediss" || ssl !== null ? (ssl ?? {}) : null;
  const host = parts.host === "" ? "127.0.0.1" : parts.host;
  const port = parts.port ?? 6379;
  return { host, port, ...login, db, tls, name: `${tls ? "rediss" : "redis"}://${bracketed(host)}:${port}/${db}` };
}

function sentinelTarget(parsed: readonly Parts[], options: RedisUrlOptions): RedisTarget {
  const masterName = options.masterName ?? firstOf(parsed, (parts) => parts.query.get("master_name") ?? undefined);
  if (masterName === undefined) {
    throw new ImproperlyConfigured(
      "sentinel:// needs the transport option master_name (the name of the monitored master)",
    );
  }
  const db = dbOf(firstOf(parsed, (parts) => (parts.path.length > 1 ? parts.path : undefined)) ?? "");
  const owner = parsed.find((parts) => parts.password !== undefined || parts.username !== undefined);
  const ssl = firstOf(parsed, (parts) => sslOptions(parts.query) ?? undefined) ?? null;
  const nodes = parsed.map((parts) => ({
    host: parts.host === "" ? "127.0.0.1" : parts.host,
    port: parts.port ?? 26379,
  }));
  const { username, password, ...rest } = options.sentinelKwargs ?? {};
  // What else redis-py takes there (`socket_timeout`) is about no TLS.
  const asked = Object.entries(rest).filter(([key]) => key === "ssl" || key.startsWith("ssl_"));
  const sentinelTls = asked.some(([key, value]) => key !== "ssl" || value === true) ? Object.fromEntries(asked) : null;
  return {
    endpoints: [
      {
        host: "",
        port: 0,
        ...(owner?.username === undefined ? {} : { username: owner.username }),
        ...(owner?.password === undefined ? {} : { password: owner.password }),
        db,
        tls: ssl,
        name: `sentinel://${nodes.map((node) => `${bracketed(node.host)}:${node.port}`).join(";")}/${db} (${masterName})`,
      },
    ],
    sentinel: {
      masterName,
      nodes,
      ...(typeof username === "string" ? { username } : {}),
      ...(typeof password === "string" ? { password } : {}),
      tls: sentinelTls,
    },
  };
}

function firstOf<T>(parsed: readonly Parts[], pick: (parts: Parts) => T | undefined): T | undefined {
  for (const parts of parsed) {
    const value = pick(parts);
    if (value !== undefined) return value;
  }
  return undefined;
}

function sslOptions(query: URLSearchParams): Record<string, unknown> | null {
  const found: Record<string, unknown> = {};
  let any = false;
  for (const [key, value] of query) {
    if (!key.startsWith("ssl_")) continue;
    found[key] = value;
    any = true;
  }
  return any ? found : null;
}

function dbOf(text: string): number {
  const bare = text.replace(/^\//, "");
  if (bare === "") return 0;
  if (!/^\d{1,9}$/.test(bare)) {
    throw new ImproperlyConfigured(`the database of a Redis URL is a number from 0 on, not ${JSON.stringify(bare)}`);
  }
  return Number(bare);
}

const bracketed = (host: string) => (host.includes(":") ? `[${host}]` : host);

// urllib's `unquote`: undecodable escapes stay as they are, "+" is a plus.
function unquote(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}
