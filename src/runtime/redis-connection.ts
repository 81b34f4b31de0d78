/**
 * The one way Lovage connects to Redis: an ioredis client that reconnects for ever over all endpoints of its target, with
 * capped and jittered delays, and in which no command waits or vanishes unseen:
 *
 * - A command issued while there is no connection is rejected at once (no offline queue); wait for `ready` first.
 * - A command whose answer was lost with the connection is rejected at once and never sent again behind the caller's
 *   back (ioredis with `autoResendUnfulfilledCommands: false` alone would leave such a promise pending for ever; with
 *   `maxRetriesPerRequest: 0` it is rejected). Only the caller knows whether sending twice does harm.
 * - Subscriptions are not renewed by the client: the owner does so in `onConnected`.
 * - A connection that died without a word is noticed: an idle one is pinged, and a command without any answer from the
 *   server for `answerTimeoutMs` destroys the socket.
 */
import type { Redis, RedisOptions } from "ioredis";
import { ImproperlyConfigured, LovageError } from "../../protocol/errors.ts";
import { type BackoffOptions, backoffMs } from "./backoff.ts";
import { tlsOptions } from "./redis-tls.ts";
import type { RedisEndpoint, RedisTarget } from "./redis-url.ts";

export { isRedisUrl, parseRedisUrl, type RedisEndpoint, type RedisTarget, type RedisUrlOptions } from "./redis-url.ts";
export type { Redis };

/** Why a connection failed or ended. `refused`: trying again will not help (credentials, rights, database). */
export class RedisConnectionError extends LovageError {
  readonly refused: boolean;
  constructor(message: string, refused: boolean, options: { cause?: unknown } = {}) {
    super(refused ? "REDIS_REFUSED" : "REDIS_LOST", message, { retryable: !refused, ...options });
    this.refused = refused;
  }
}

export interface ConnectRedisOptions {
  /** Part of the client name that `CLIENT LIST` shows. */
  purpose: string;
  /** `ssl_…` options as in Kombu's `broker_use_ssl`, Node's own TLS options, or both; true: verify with the defaults. */
  tls?: boolean | Readonly<Record<string, unknown>>;
  /** @default 10_000 */
  connectTimeoutMs?: number;
  /** How long the server may be silent while a command is out. @default 15_000 */
  answerTimeoutMs?: number;
  /** How often an idle connection is pinged. 0: never (for connections that block on purpose). @default 5_000 */
  pingIntervalMs?: number;
  /** Delay before TCP keep-alive probes. @default 15_000 */
  keepAliveMs?: number;
  backoff?: BackoffOptions;
  /** Do not connect before `client.connect()` is called. @default false */
  lazy?: boolean;
  /** The connection is up, first time or again. `name` is without credentials. */
  onConnected?(name: string): void;
  /** An established connection has gone. Called once per loss. */
  onLost?(error: RedisConnectionError): void;
  /** An attempt failed; the next comes in `delayMs`. Call `endRedis(client)` to give up. */
  onRetry?(error: RedisConnectionError, delayMs: number): void;
}

const corked = new WeakSet<Redis["stream"]>();

/** Commands issued from here to the end of the running callback leave in one write. */
export function inOneWrite(client: Redis): void {
  const { stream } = client;
  if (corked.has(stream)) return;
  corked.add(stream);
  stream.cork();
  process.nextTick(uncork, stream);
}

function uncork(stream: Redis["stream"]): void {
  corked.delete(stream);
  stream.uncork();
}

export const ANSWER_TIMEOUT_MS = 15_000;
/** How long a server that says nothing may take to hear that we leave. */
const FAREWELL_MS = 250;
let driver: typeof import("ioredis").Redis | null = null;

/** Whether `connectRedis` may be called. */
export function isRedisLoaded(): boolean {
  return driver !== null;
}

/** Loads ioredis: a process that speaks no Redis starts sooner without it. Throws `ImproperlyConfigured` where it is missing. */
export async function loadRedis(): Promise<void> {
  if (driver !== null) return;
  try {
    driver = (await import("ioredis")).Redis;
  } catch (cause) {
    throw new ImproperlyConfigured("the package ioredis, which speaks to Redis, cannot be loaded", { cause });
  }
}

const SHORT_LIFE_MS = 5_000;
const SHORT_LIFE_PAUSE_MS = 1_000;

/**
 * Starts connecting to `target`; `loadRedis` must have been awaited before. The client speaks RESP2, so that replies are the
 * same on every server. End it with `endRedis(client)`; after that nothing of it keeps the process alive. Throws
 * `ImproperlyConfigured` for TLS options that cannot be used (`checkRedisTls` says so earlier).
 */
export function connectRedis(target: RedisTarget, options: ConnectRedisOptions): Redis {
  if (driver === null) throw new ImproperlyConfigured("connectRedis needs loadRedis before it");
  const { backoff, pingIntervalMs = 5_000 } = options;
  let index = 0;
  let lastError: RedisConnectionError | undefined;
  let wasReady = false;
  let readyAt = 0;
  let shortLives = 0;
  const current = (): RedisEndpoint => target.endpoints[index % target.endpoints.length] as RedisEndpoint;
  // All at once: what cannot be used is refused here, not when its turn has come.
  const addresses = target.endpoints.map((endpoint) => addressOf(endpoint, options.tls));
  const address = () => addresses[index % addresses.length];

  const nextDelay = (attempt: number): number => {
    const error = lastError ?? new RedisConnectionError(`the connection to ${current().name} was closed`, false);
    lastError = undefined;
    // An established connection is tried again where it was; a failed attempt moves on.
    if (!wasReady && target.endpoints.length > 1) {
      index += 1;
      Object.assign(client.options, address());
    }
    const round = Math.floor((attempt - 1) / target.endpoints.length);
    // A server that takes connections only to drop them is not to be hammered.
    if (wasReady) shortLives = performance.now() - readyAt < SHORT_LIFE_MS ? shortLives + 1 : 0;
    const soon = wasReady && shortLives < 3;
    const delayMs = soon
      ? Math.min(50, backoffMs(0, backoff))
      : wasReady
        ? Math.min(SHORT_LIFE_PAUSE_MS, backoffMs(shortLives - 3, backoff))
        : backoffMs(round, backoff);
    if (wasReady) {
      wasReady = false;
      options.onLost?.(error);
    } else {
      options.onRetry?.(error, delayMs);
    }
    return delayMs;
  };

  const client = new driver({
    ...address(),
    ...sentinelOptions(target, options.tls, (attempt) => {
      const delayMs = Math.min(2_000, backoffMs(attempt - 1, backoff));
      const error = new RedisConnectionError(`no sentinel of ${current().name} knows a reachable master`, false);
      options.onRetry?.(error, delayMs);
      return delayMs;
    }),
    protocol: 2,
    connectionName: `lovage:${options.purpose.replace(/[^!-~]/g, "-")}`,
    disableClientInfo: true,
    lazyConnect: options.lazy ?? false,
    connectTimeout: options.connectTimeoutMs ?? 10_000,
    socketTimeout: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
    disconnectTimeout: FAREWELL_MS,
    keepAlive: options.keepAliveMs ?? 15_000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    maxLoadingRetryTime: 2_000,
    retryStrategy: nextDelay,
  });

  let pings: NodeJS.Timeout | undefined;
  client.on("error", (error: unknown) => {
    // A refusal is followed by the errors of the connection that ends because of it; that of the login says more than that of what
    // was asked without one.
    const news = connectionError(error, current());
    if (lastError?.refused !== true || (news.refused && lastError.message.startsWith("NOAUTH"))) lastError = news;
    // ioredis would go on in database 0 when SELECT is refused.
    if (/DB index|invalid DB/i.test(lastError.message)) client.disconnect(true);
  });
  client.on("ready", () => {
    wasReady = true;
    readyAt = performance.now();
    lastError = undefined;
    if (pingIntervalMs > 0) {
      pings = setInterval(() => {
        client.ping().catch((error: unknown) => {
          lastError ??= connectionError(error, current());
        });
      }, pingIntervalMs);
      pings.unref();
    }
    options.onConnected?.(current().name);
  });
  client.on("close", () => clearInterval(pings));
  return client;
}

/**
 * Ends `client` for good. A connection that does not stand is dropped: ioredis would keep the process alive for
 * `disconnectTimeout`, also for a socket that has been closed long since.
 */
export function endRedis(client: Redis): void {
  const { stream } = client;
  const stands = client.status === "ready";
  client.disconnect();
  if (stands || stream === undefined || stream === null) return;
  // Only ioredis's timer listens any more.
  if (stream.closed) stream.emit("close");
  else stream.destroy();
}

/** Resolves when `client` is ready; rejects with `RedisConnectionError` when it was disconnected for good or `signal` aborts. */
export function whenReady(client: Redis, signal?: AbortSignal): Promise<void> {
  if (client.status === "ready") return Promise.resolve();
  return new Promise((resolve, reject) => {
    const settle = (error?: RedisConnectionError) => {
      client.off("ready", ready).off("end", ended);
      signal?.removeEventListener("abort", aborted);
      if (error) reject(error);
      else resolve();
    };
    const ready = () => settle();
    const ended = () => settle(new RedisConnectionError("the connection to Redis was closed", false));
    const aborted = () =>
      settle(new RedisConnectionError("waiting for Redis was given up", false, { cause: signal?.reason }));
    if (client.status === "end") return ended();
    if (signal?.aborted) return aborted();
    client.on("ready", ready).on("end", ended);
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

const refusals = /^(?:NOAUTH|WRONGPASS|NOPERM|ERR (?:invalid password|AUTH |Client sent AUTH|DB index|invalid DB))/i;

/** What an error of ioredis means for the connection, without its arguments (they may hold the password). */
export function connectionError(error: unknown, endpoint?: { name: string }): RedisConnectionError {
  if (error instanceof RedisConnectionError) return error;
  const where = endpoint ? ` (${endpoint.name})` : "";
  if (!(error instanceof Error)) return new RedisConnectionError(`${String(error)}${where}`, false);
  // ReplyError keeps the command and its arguments, AUTH's too: such an error is never kept as the cause.
  const plain = !("command" in error);
  const text = error.message === "" ? ("code" in error ? String(error.code) : error.name) : error.message;
  const certificate = "code" in error && /CERT|SELF_SIGNED|ALTNAME|SIGNATURE/.test(String(error.code));
  const hint = certificate ? " (certificate refused; see ssl_ca_certs and ssl_cert_reqs)" : "";
  return new RedisConnectionError(`${text}${hint}${where}`, refusals.test(text), plain ? { cause: error } : {});
}

/** Throws `ImproperlyConfigured` for TLS options that `connectRedis` would refuse: unknown names, values and unreadable files. */
export function checkRedisTls(target: RedisTarget, tls: ConnectRedisOptions["tls"]): void {
  for (const endpoint of target.endpoints) addressOf(endpoint, tls);
  sentinelTls(target);
}

/** The refusal of what waits, from what `loadRedis` or `connectRedis` threw. */
export function noAttempt(error: unknown): RedisConnectionError {
  return new RedisConnectionError(error instanceof Error ? error.message : String(error), true, { cause: error });
}

function addressOf(endpoint: RedisEndpoint, tls: ConnectRedisOptions["tls"]): RedisOptions {
  const asked = endpoint.tls !== null || (tls !== undefined && tls !== false && endpoint.path === undefined);
  return {
    host: endpoint.host,
    port: endpoint.port,
    path: endpoint.path,
    username: endpoint.username,
    password: endpoint.password,
    db: endpoint.db,
    tls: asked ? tlsOptions({ ...(typeof tls === "object" ? tls : {}), ...endpoint.tls }, endpoint.host) : undefined,
  };
}

function sentinelTls({ sentinel }: RedisTarget) {
  return sentinel === null || sentinel.tls === null ? undefined : tlsOptions(sentinel.tls, "");
}

function sentinelOptions(
  target: RedisTarget,
  tls: ConnectRedisOptions["tls"],
  retry: (attempt: number) => number,
): RedisOptions {
  const { sentinel } = target;
  if (sentinel === null) return {};
  return {
    name: sentinel.masterName,
    sentinels: sentinel.nodes.map((node) => ({ ...node })),
    sentinelUsername: sentinel.username,
    sentinelPassword: sentinel.password,
    enableTLSForSentinelMode: target.endpoints[0]?.tls !== null || (tls !== undefined && tls !== false),
    sentinelTLS: sentinelTls(target),
    sentinelCommandTimeout: 5_000,
    sentinelRetryStrategy: retry,
  };
}
