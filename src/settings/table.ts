/**
 * Every setting that Lovage honours, once: its kind, its default and what it does. The rest of `settings/` and the types are
 * derived from this table. Names, units and defaults are Celery's (celery/app/defaults.py) unless the line says otherwise.
 */
import { compressionNames } from "../runtime/compression.ts";
import {
  bool,
  count,
  dict,
  type Kind,
  mismatch,
  nullable,
  oneOf,
  seconds,
  structured,
  text,
  texts,
  tls,
  UnsupportedValue,
  urls,
} from "./kinds.ts";
import { deliveryMode, queues } from "./queues-setting.ts";
import { rateLimit } from "./rate-limit-setting.ts";
import { DEFAULT_RETRY_POLICY, retryPolicy } from "./retry-policy-setting.ts";
import { routes } from "./routes-setting.ts";
import { namedZone } from "./timezone.ts";

export interface Setting<Out, In = Out> {
  readonly kind: Kind<Out, In>;
  readonly default: Out;
  /** One sentence, with the unit where there is one. */
  readonly doc: string;
}

function setting<Out, In>(kind: Kind<Out, In>, fallback: NoInfer<Out>, doc: string): Setting<Out, In> {
  return { kind, default: fallback, doc };
}

const MIB = 1024 * 1024;
const positive = count({ min: 1 });
const timeLimit = seconds({ min: 0.001 });
const byteCount = count({ min: 1, unit: "bytes" });
const exchangeType = oneOf(["direct", "topic", "fanout", "headers"]);
const queueType = oneOf(["classic", "quorum"]);
const priority = count({ max: 255 });

const serializer = oneOf(["json"], ["pickle", "yaml", "yml", "msgpack", "auth", "raw"]);
const contentTypes = texts(
  oneOf(
    ["json", "application/json"],
    ["pickle", "application/x-python-serialize", "yaml", "yml", "application/x-yaml", "msgpack"].concat([
      "application/x-msgpack",
      "auth",
      "raw",
      "application/data",
      "application/text",
    ]),
  ),
);
const compression = oneOf(compressionNames(), [
  "gzip",
  "zlib",
  "brotli",
  "zstd",
  "zstandard",
  "bzip2",
  "bzip",
  "lzma",
  "xz",
]);

const timezone: Kind<string> = {
  what: "an IANA time zone such as Europe/Oslo",
  parse: (value, at) => namedZone(text.parse(value, at)).name,
  fromText: text.fromText,
};

const concurrency = structured<number | null, number | "auto" | null>(
  "a whole number, or null for the default",
  (value, at) => {
    if (value === null || value === "auto") return null;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) {
      throw mismatch(at, "a whole number, at least 1, or null", value);
    }
    return value;
  },
);

const protocol = structured<2, 2>("2", (value, at) => {
  if (value !== 2) throw mismatch(at, "2 (task messages of protocol 1 are read, but not written)", value);
  return 2;
});

const failover = nullable(oneOf(["round-robin", "shuffle"]));

const POOLS = ["async", "threads", "processes"] as const;

/** Celery's path or short name of a pool; what only Celery has is passed over in a file that both read. */
const pool: Kind<(typeof POOLS)[number]> = {
  what: '"async", "threads" or "processes"',
  parse(value, at) {
    for (const name of POOLS) if (name === value) return name;
    const known = ["prefork", "thread", "eventlet", "gevent", "solo", "custom"];
    if (typeof value === "string" && (known.includes(value) || value.includes(":"))) {
      throw new UnsupportedValue(`${at}: pool ${JSON.stringify(value)} is not available in Lovage; use ${this.what}`);
    }
    throw mismatch(at, this.what, value);
  },
  fromText: text.fromText,
};

export const TABLE = {
  // core
  accept_content: setting(
    contentTypes,
    Object.freeze(["json"] as const),
    "Content types that are read, by name or MIME type.",
  ),
  result_accept_content: setting(nullable(contentTypes), null, "The same for results; null: as accept_content."),
  enable_utc: setting(bool, true, "Times without a zone are UTC, not the machine's."),
  timezone: setting(nullable(timezone), null, "IANA zone of times without one and of the offsets we write; null: UTC."),

  // broker
  broker_url: setting(
    nullable(urls),
    null,
    "Where messages go; several fail over. Null: the embedded default in .lovage/.",
  ),
  broker_read_url: setting(nullable(urls), null, "Where workers consume, when that differs from broker_url."),
  broker_write_url: setting(nullable(urls), null, "Where tasks are published, when that differs from broker_url."),
  broker_transport_options: setting(dict, Object.freeze({}), "Options of the transport in Kombu's names."),
  broker_use_ssl: setting(tls, false, "TLS to the broker: true, or an object of ca, cert, key and such."),
  broker_connection_timeout: setting(
    nullable(seconds()),
    4,
    "Seconds one attempt to connect, or one publish without a connection, may take.",
  ),
  broker_connection_retry: setting(bool, true, "Reconnect after the connection was lost."),
  broker_connection_retry_on_startup: setting(
    nullable(bool),
    null,
    "Retry the first connection too; null: as broker_connection_retry.",
  ),
  broker_connection_max_retries: setting(
    nullable(count()),
    null,
    "Attempts to reconnect; null: for ever (Celery: 100).",
  ),
  broker_heartbeat: setting(nullable(seconds()), 120, "Seconds between AMQP heartbeats; null or 0: none."),
  broker_native_delayed_delivery_queue_type: setting(
    queueType,
    "quorum",
    "RabbitMQ type of the queues in which ETAs wait where quorum queues are in use.",
  ),
  broker_failover_strategy: setting(failover, null, "Order in which several broker URLs are tried; null: round-robin."),

  // results
  result_backend: setting(nullable(text), null, "Where results are stored; null: nowhere, or the embedded default."),
  result_backend_transport_options: setting(
    dict,
    Object.freeze({}),
    "Options of the result store, such as global_keyprefix.",
  ),
  redis_backend_use_ssl: setting(nullable(tls), null, "TLS to a Redis result backend."),
  redis_socket_timeout: setting(
    nullable(timeLimit),
    null,
    "Seconds a Redis result backend may be silent while an answer is due; null: 15 (Celery: 120).",
  ),
  redis_socket_connect_timeout: setting(
    nullable(timeLimit),
    null,
    "Seconds one attempt to connect to a Redis result backend may take; null: 10 (Celery: no limit).",
  ),
  result_serializer: setting(serializer, "json", "How results are written."),
  result_compression: setting(
    nullable(compression),
    null,
    "Compression of stored results; readable for Celery 5.7 and newer only.",
  ),
  result_expires: setting(nullable(seconds()), 86_400, "Seconds a result is kept; null or 0: for ever."),
  result_failure_expires: setting(nullable(seconds()), null, "Seconds a FAILURE is kept; null: as result_expires."),
  result_extended: setting(bool, false, "Store name, args, kwargs, worker, retries and queue with each result."),
  result_persistent: setting(nullable(bool), null, "rpc: replies survive a restart of the broker; null: they do not."),
  result_chord_expires: setting(
    nullable(seconds()),
    null,
    "Seconds the parts of a chord are kept; null: as result_expires, 0: for ever.",
  ),
  result_chord_join_timeout: setting(
    nullable(seconds()),
    3,
    "Seconds the results of a chord's header may take to be read; null: no limit.",
  ),
  result_chord_retry_interval: setting(seconds(), 1, "Seconds between looks at a chord that nothing counts."),
  task_allow_error_cb_on_chord_header: setting(
    bool,
    false,
    "Errbacks that a chord gets when it is sent (of the chain around it, of the task that it replaces) are linked to the tasks of its header " +
      "too, not only to its body. `linkError()` of a chord does not know the settings: it takes `onHeader`.",
  ),

  // tasks: routing
  task_default_queue: setting(text, "celery", "Queue of tasks that no route claims."),
  task_default_exchange: setting(
    nullable(text),
    null,
    "Exchange of queues that name none; null: named as task_default_queue.",
  ),
  task_default_exchange_type: setting(exchangeType, "direct", "Type of that exchange."),
  task_default_routing_key: setting(
    nullable(text),
    null,
    "Routing key of queues that name none; null: as task_default_queue.",
  ),
  task_default_queue_type: setting(queueType, "classic", "RabbitMQ type of the default queue."),
  task_default_priority: setting(nullable(priority), null, "Priority of tasks that name none."),
  task_default_delivery_mode: setting(
    deliveryMode,
    2,
    "2 or persistent: messages survive a restart of the broker; 1 or transient.",
  ),
  task_queues: setting(nullable(queues), null, "Queues by name; null: the default queue alone."),
  task_routes: setting(
    nullable(routes),
    null,
    "Which task goes where: names, globs, regular expressions or functions.",
  ),
  task_create_missing_queues: setting(bool, true, "A queue that is not in task_queues is made when first used."),
  task_create_missing_queue_type: setting(queueType, "classic", "RabbitMQ type of queues made so."),
  task_create_missing_queue_exchange_type: setting(
    nullable(exchangeType),
    null,
    "Exchange type of queues made so; null: direct.",
  ),
  task_queue_max_priority: setting(nullable(priority), null, "x-max-priority of every queue that sets none."),
  task_inherit_parent_priority: setting(bool, false, "A task sent from a task takes its priority."),

  // tasks: messages
  task_protocol: setting(protocol, 2, "Message protocol that is sent. Both are read."),
  task_serializer: setting(serializer, "json", "How task messages are written."),
  task_compression: setting(nullable(compression), null, "Compression of task messages."),
  task_publish_retry: setting(bool, true, "Try again when a publish fails for want of a connection."),
  task_publish_retry_policy: setting(
    retryPolicy,
    DEFAULT_RETRY_POLICY,
    "max_retries (null: for ever), interval_start, interval_step, interval_max in seconds; what is absent keeps its default.",
  ),
  task_repr_maxlevels: setting(positive, 3, "Nesting shown in argsrepr and kwargsrepr."),

  // tasks: execution
  task_ignore_result: setting(bool, false, "Results are not stored."),
  task_store_errors_even_if_ignored: setting(bool, false, "Failures are stored even so."),
  task_track_started: setting(bool, false, "STARTED is stored when a task starts."),
  task_acks_late: setting(bool, false, "Messages are acked after the task, not before."),
  task_acks_on_failure_or_timeout: setting(bool, true, "With late acks, ack what failed or timed out too."),
  task_acks_on_failure: setting(nullable(bool), null, "The same for failures; null: task_acks_on_failure_or_timeout."),
  task_acks_on_timeout: setting(
    nullable(bool),
    null,
    "The same for time limits; null: task_acks_on_failure_or_timeout.",
  ),
  task_reject_on_worker_lost: setting(nullable(bool), null, "With late acks, requeue what ran when its worker died."),
  task_retry_on_worker_lost: setting(bool, false, "Try again, as retry() does, what ran when its worker died."),
  task_default_rate_limit: setting(
    nullable(rateLimit),
    null,
    "Starts per worker of tasks that set no rate_limit: 10/s, 5/m, 2/h, or a number per second; null: as many as there are.",
  ),
  task_time_limit: setting(nullable(seconds()), null, "Hard time limit in seconds."),
  task_soft_time_limit: setting(nullable(seconds()), null, "Soft time limit in seconds."),

  // worker
  worker_pool: setting(
    pool,
    "async",
    "Where tasks run: on the event loop (async), in threads, or in child processes (Celery's default: prefork).",
  ),
  worker_max_tasks_per_child: setting(nullable(positive), null, "A thread or process is replaced after so many tasks."),
  worker_max_memory_per_child: setting(
    nullable(positive),
    null,
    "KiB in use after a task above which a process is replaced; of a thread its own heap counts.",
  ),
  worker_proc_alive_timeout: setting(
    timeLimit,
    60,
    "Seconds in which a thread or process must have loaded the tasks (Celery: 4).",
  ),
  worker_concurrency: setting(
    concurrency,
    null,
    "Tasks in flight; null: 16 on the event loop, where tasks mostly wait, else the number of CPUs (Celery).",
  ),
  worker_state_db: setting(nullable(text), null, "File that keeps revoked ids over restarts of the worker."),
  worker_pool_restarts: setting(bool, false, "Remote control may restart the pool: pool_restart."),
  worker_disable_rate_limits: setting(bool, false, "No rate limits, whatever tasks say."),
  worker_prefetch_multiplier: setting(count(), 4, "Messages taken ahead for each task in flight; 0: no limit."),
  worker_eta_task_limit: setting(
    nullable(positive),
    100_000,
    "Most tasks held for their ETA; null: no limit (Celery's default).",
  ),
  worker_soft_shutdown_timeout: setting(seconds(), 0, "Seconds running tasks may take before a cold shutdown."),
  worker_cancel_long_running_tasks_on_connection_loss: setting(
    bool,
    false,
    "Cancel late-acked tasks when the connection is lost.",
  ),
  worker_deduplicate_successful_tasks: setting(
    bool,
    false,
    "Skip a redelivered late-acked task whose result is SUCCESS.",
  ),

  // remote control and events
  worker_enable_remote_control: setting(bool, true, "Workers listen to control commands."),
  worker_send_task_events: setting(
    bool,
    false,
    "Workers send task events from the start (`-E`), not only when asked to.",
  ),
  task_send_sent_event: setting(bool, false, "Publishers send task-sent events."),
  control_exchange: setting(text, "celery", "Namespace of the exchanges and queues of control messages."),
  control_queue_ttl: setting(nullable(seconds()), 300, "Seconds a control message or reply may wait; null: for ever."),
  control_queue_expires: setting(
    nullable(seconds()),
    10,
    "Seconds without use after which the queues of control messages go; null: they stay.",
  ),
  control_queue_exclusive: setting(bool, true, "Queues of control messages belong to one connection."),
  control_queue_durable: setting(bool, false, "Queues of control messages survive a restart of the broker."),
  event_exchange: setting(text, "celeryev", "Exchange of events."),
  event_serializer: setting(serializer, "json", "How events are written."),
  event_queue_prefix: setting(text, "celeryev", "How the names of event receivers' queues begin."),
  event_queue_ttl: setting(nullable(seconds()), 5, "Seconds an event may wait for its receiver; null: for ever."),
  event_queue_expires: setting(
    nullable(seconds()),
    60,
    "Seconds without use after which a receiver's queue goes; null: it stays.",
  ),
  event_queue_exclusive: setting(bool, true, "Receivers' queues belong to one connection."),
  event_queue_durable: setting(bool, false, "Receivers' queues survive a restart of the broker."),

  // Lovage's own
  lovage_declare: setting(
    oneOf(["create", "passive", "never"]),
    "create",
    "Create queues as Celery does, only check them, or leave them alone.",
  ),
  lovage_max_message_bytes: setting(byteCount, 64 * MIB, "Longest message body that is read, in bytes."),
  lovage_max_message_depth: setting(positive, 1000, "Deepest nesting that is read."),
  lovage_max_decompressed_bytes: setting(byteCount, 256 * MIB, "Longest body after decompression, in bytes."),
  lovage_unknown_task: setting(
    oneOf(["reject", "requeue", "forward"]),
    "reject",
    "What happens to a task whose name the worker does not know.",
  ),
  lovage_unknown_task_delay: setting(seconds(), 5, "Seconds before an unknown task is requeued or forwarded."),
  lovage_unknown_task_queue: setting(nullable(text), null, "The queue unknown tasks are forwarded to."),
  lovage_unknown_task_max_forwards: setting(
    count(),
    10,
    "How often an unknown task is handed on before it is rejected.",
  ),
  lovage_exact_floats: setting(bool, false, "Keep Python's 1.0 and 1 apart when reading JSON."),
  lovage_validate_params: setting(bool, true, "Check parameters and results against their schemas."),
  lovage_fail_unreachable: setting(
    bool,
    true,
    "Fail results and chords that wait for a dropped step (ignored, expired, unregistered, …); false: they hang (Celery).",
  ),
  lovage_result_lost_after: setting(
    nullable(seconds()),
    null,
    "Seconds a client bears a result store that is away; null: for ever in waits, 20 for a chord that is to be sent.",
  ),
} as const;

type Table = typeof TABLE;
/** The settings that there are, by Celery's lower-case names; those of Lovage alone begin with `lovage_`. */
export type SettingName = keyof Table;
type OutOf<S> = S extends Setting<infer Out, unknown> ? Out : never;
type InOf<S> = S extends { kind: { readonly input?: infer In } } ? Exclude<In, undefined> : never;

/** All settings, checked and complete. */
export type Settings = { readonly [K in SettingName]: OutOf<Table[K]> };
/** Settings as code may write them. */
export type SettingsInput = { readonly [K in SettingName]?: InOf<Table[K]> };

export const SETTING_NAMES: readonly SettingName[] = Object.keys(TABLE).filter(isSettingName);

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(TABLE, name);
}
