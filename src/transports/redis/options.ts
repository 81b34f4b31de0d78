/**
 * Kombu's `broker_transport_options` for Redis, checked and in our units. Names, units (seconds) and defaults are Kombu's.
 * wire: celery-wire 6.1; kombu/transport/redis.py `Channel.from_transport_options`.
 */
import { ImproperlyConfigured } from "../../../protocol/errors.ts";
import type { Exchange } from "../../../protocol/routing.ts";
import type { Log } from "../../runtime/log.ts";
import type { DeclareMode, TransportEvents } from "../transport.ts";

export type QueueOrderStrategy = "round_robin" | "priority" | "sorted";

export interface RedisTransportOptions {
  /** `redis://`, `rediss://`, `redis+socket://` or `sentinel://` URLs; each may hold several, joined with `;`. */
  urls: string | readonly string[];
  /** Kombu's transport options by their own names. Setting: `broker_transport_options`. */
  transportOptions?: Readonly<Record<string, unknown>>;
  /** `ssl_…` options as in Kombu, or Node's. Setting: `broker_use_ssl`. */
  tls?: boolean | Readonly<Record<string, unknown>>;
  /** Unless the option `socket_connect_timeout` says otherwise. Setting: `broker_connection_timeout`. @default 10_000 */
  connectTimeoutMs?: number;
  /** @default "create" */
  declareMode?: DeclareMode;
  events?: TransportEvents;
  log?: Log;
  /** Larger messages are delivered as `refused` and never read. @default 256 MiB */
  maxMessageBytes?: number;
  /**
   * Exchanges that this process publishes to without declaring a queue on them. Redis does not know an exchange's type:
   * one that is not named here or by a declared queue counts as direct or topic by its bindings, and as fanout when it is
   * `celeryev` or ends in `.pidbox` (not `reply.….pidbox`).
   */
  exchanges?: readonly Exchange[];
}

export interface RedisSettings {
  visibilityTimeoutMs: number;
  globalKeyprefix: string;
  sep: string;
  prioritySteps: readonly number[];
  queueOrderStrategy: QueueOrderStrategy;
  unackedKey: string;
  unackedIndexKey: string;
  unackedMutexKey: string;
  unackedMutexExpireMs: number;
  /** Most messages that one scan gives back; null: all that are overdue. */
  unackedRestoreLimit: number | null;
  unackedRestoreIntervalMs: number;
  fanoutPrefix: boolean | string;
  fanoutPatterns: boolean;
  sentinelFanoutCompat: boolean;
  deadletterQueue: string | null;
  masterName: string | undefined;
  sentinelKwargs: Readonly<Record<string, unknown>>;
  clientName: string;
  connectTimeoutMs: number | undefined;
  answerTimeoutMs: number | undefined;
  pingIntervalMs: number | undefined;
}

/** Options that Kombu knows and that change nothing here. */
const WITHOUT_EFFECT = [
  "ack_emulation",
  "body_encoding",
  "confirm_publish",
  "connection_class",
  "credential_provider",
  "interval_max",
  "interval_start",
  "interval_step",
  "max_connections",
  "max_retries",
  "min_other_sentinels",
  "polling_interval",
  "reauth_check_interval",
  "retry_on_timeout",
  "socket_keepalive",
  "socket_keepalive_options",
  "unacked_restore_throttle",
];

const WITH_EFFECT = [
  "client_name",
  "deadletter_queue",
  "fanout_patterns",
  "fanout_prefix",
  "global_keyprefix",
  "health_check_interval",
  "master_name",
  "priority_steps",
  "queue_order_strategy",
  "sentinel_fanout_compat",
  "sentinel_kwargs",
  "sep",
  "socket_connect_timeout",
  "socket_timeout",
  "unacked_index_key",
  "unacked_key",
  "unacked_mutex_expire",
  "unacked_mutex_key",
  "unacked_restore_interval",
  "unacked_restore_limit",
  "visibility_timeout",
];

const KNOWN: ReadonlySet<string> = new Set([...WITHOUT_EFFECT, ...WITH_EFFECT]);

/** Names among the transport options that neither Kombu's Redis transport nor we know. */
export function unknownOptions(options: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(options).filter((name) => !KNOWN.has(name));
}

/** Reads and checks the options. Throws `ImproperlyConfigured` that names the option. */
export function parseRedisSettings(options: Readonly<Record<string, unknown>> = {}): RedisSettings {
  const read = new Reader(options);
  const strategy = read.text("queue_order_strategy", "round_robin");
  if (strategy !== "round_robin" && strategy !== "priority" && strategy !== "sorted") {
    throw new ImproperlyConfigured(
      `queue_order_strategy is round_robin, priority or sorted, not ${JSON.stringify(strategy)}`,
    );
  }
  const limit = options.unacked_restore_limit;
  const interval = read.seconds("unacked_restore_interval", 10);
  const fanoutPrefix = options.fanout_prefix ?? true;
  const kwargs = options.sentinel_kwargs ?? {};
  if (typeof kwargs !== "object") throw new ImproperlyConfigured("sentinel_kwargs must be an object");
  return {
    visibilityTimeoutMs: read.positive("visibility_timeout", 3600) * 1000,
    globalKeyprefix: read.text("global_keyprefix", ""),
    sep: read.text("sep", "\x06\x16"),
    prioritySteps: prioritySteps(options.priority_steps),
    queueOrderStrategy: strategy,
    unackedKey: read.text("unacked_key", "unacked"),
    unackedIndexKey: read.text("unacked_index_key", "unacked_index"),
    unackedMutexKey: read.text("unacked_mutex_key", "unacked_mutex"),
    unackedMutexExpireMs: Math.max(1, Math.round(read.positive("unacked_mutex_expire", 300) * 1000)),
    unackedRestoreLimit: limit === undefined || limit === null ? null : read.positive("unacked_restore_limit", 1),
    unackedRestoreIntervalMs: (interval > 0 ? interval : 10) * 1000,
    fanoutPrefix: typeof fanoutPrefix === "string" ? fanoutPrefix : Boolean(fanoutPrefix),
    fanoutPatterns: Boolean(options.fanout_patterns ?? true),
    sentinelFanoutCompat: Boolean(options.sentinel_fanout_compat ?? false),
    deadletterQueue: read.text("deadletter_queue", "") || null,
    masterName: read.text("master_name", "") || undefined,
    sentinelKwargs: kwargs === null ? {} : { ...kwargs },
    clientName: read.text("client_name", "broker"),
    connectTimeoutMs: read.limitMs("socket_connect_timeout"),
    answerTimeoutMs: read.limitMs("socket_timeout"),
    pingIntervalMs: read.optionalMs("health_check_interval"),
  };
}

class Reader {
  readonly #options: Readonly<Record<string, unknown>>;
  constructor(options: Readonly<Record<string, unknown>>) {
    this.#options = options;
  }

  text(name: string, fallback: string): string {
    const value = this.#options[name] ?? fallback;
    if (typeof value !== "string") throw new ImproperlyConfigured(`transport option ${name} must be a text`);
    return value;
  }

  seconds(name: string, fallback: number): number {
    const value = this.#options[name] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
      throw new ImproperlyConfigured(
        `transport option ${name} must be a number from 0 on, not ${JSON.stringify(value)}`,
      );
    }
    return value;
  }

  positive(name: string, fallback: number): number {
    const value = this.seconds(name, fallback);
    if (value === 0) throw new ImproperlyConfigured(`transport option ${name} must be more than 0`);
    return value;
  }

  /** A time limit: none is what `null` says, not 0. */
  limitMs(name: string): number | undefined {
    const value = this.#options[name];
    return value === undefined || value === null ? undefined : Math.ceil(this.positive(name, 1) * 1000);
  }

  optionalMs(name: string): number | undefined {
    const value = this.#options[name];
    return value === undefined || value === null ? undefined : Math.round(this.seconds(name, 0) * 1000);
  }
}

function prioritySteps(value: unknown): readonly number[] {
  if (value === undefined || value === null) return [0, 3, 6, 9];
  if (!Array.isArray(value) || value.length === 0 || !value.every((step) => Number.isInteger(step) && step >= 0)) {
    throw new ImproperlyConfigured("transport option priority_steps must be a list of numbers from 0 to 9");
  }
  return value.map(Number).sort((a, b) => a - b);
}
