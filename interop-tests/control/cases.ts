/**
 * Every control and inspect command, as data: what it is given, and how far the answers of a TypeScript and of a Python worker have
 * to agree. Celery's own registry is asked whether one is missing.
 */

/** How a worker was started: `-P` with a fixed number of slots, or with `--autoscale` and `worker_pool_restarts`. */
export type Manner = "fixed" | "scaled";

export interface ControlCase {
  readonly command: string;
  /** The arguments as they travel. @default none */
  readonly given?: Readonly<Record<string, unknown>>;
  /** The same on the command line, after the command's name; null: it has no words for it. @default null with `given`, else none */
  readonly words?: readonly string[] | null;
  /** `value`: both workers answer the same; `kind`: the same members, of the same types. @default "value" */
  readonly alike?: "value" | "kind";
  /** Members, by dotted path, that are a worker's own affair, and why. */
  readonly apart?: Readonly<Record<string, string>>;
  /** Of a list of texts those that count: each worker has tasks of its own beside those that both have. */
  readonly lines?: RegExp;
  /** What our worker answers where Python's is without a library of its own. */
  readonly ours?: RegExp;
  /** Asked again, they answer otherwise: how often it was asked is part of the answer. @default false */
  readonly wears?: boolean;
  /** @default "fixed" */
  readonly manner?: Manner;
}

/** Tasks that both workers have. */
const shared = /^(fleet|celery)\./;
const unlikeStats = {
  pool: "what runs the tasks is each worker's own affair",
  total: "tasks by name",
  "broker.transport_options": "as each was configured",
  "broker.credential_provider": "Kombu before 5.5 has none",
};
const unlikeConf = {
  deprecated_settings: "Celery notes them in its settings",
  imports: "how the test loads Python's tasks",
  include: "modules that Celery's worker has loaded",
  worker_disable_prefetch: "set by Celery's worker itself",
};

export const cases: readonly ControlCase[] = [
  { command: "ping" },
  { command: "ping", given: { x: 1 } },
  { command: "report", alike: "kind" },
  { command: "report", given: { x: 1 } },
  { command: "clock", alike: "kind" },
  { command: "clock", given: { x: 1 }, alike: "kind" },
  { command: "stats", alike: "kind", apart: unlikeStats },
  { command: "conf", alike: "kind", apart: unlikeConf },
  { command: "dump_conf", alike: "kind", apart: unlikeConf },
  { command: "memsample", ours: /^\d+(\.\d+)?(MB|GB)$/ },
  { command: "memdump", ours: /^(- rss \(sample\):\n(- {4}> [\d.]+[MG]B,\n)+)?- rss \(end\): [\d.]+[MG]B\.\n$/ },
  { command: "memdump", given: { samples: 3 }, words: ["3"], ours: /^- rss/ },
  { command: "objgraph" },
  { command: "objgraph", given: { type: "Request", num: 5, max_depth: 2 }, words: ["Request", "5", "2"] },
  { command: "objgraph", given: { types: "Request" } },
  {
    command: "hello",
    given: { from_node: "other@fleet", revoked: ["h-1"] },
    alike: "kind",
    apart: { revoked: "5.4.0 sends times, too" },
  },
  {
    command: "hello",
    given: { from_node: "other@fleet" },
    alike: "kind",
    apart: { revoked: "5.4.0 sends times, too" },
  },
  { command: "hello", words: null },
  { command: "election", given: { id: "e" } },

  { command: "enable_events", wears: true },
  { command: "enable_events", given: { what: 1 } },
  { command: "disable_events", wears: true },
  { command: "disable_events", given: { what: 1 } },
  { command: "heartbeat" },
  { command: "heartbeat", given: { x: 1 } },

  { command: "rate_limit", given: { task_name: "nope", rate_limit: "1/s" }, words: ["nope", "1/s"] },
  { command: "rate_limit", given: { task_name: "nope", rate_limit: "abc/s" }, words: ["nope", "abc/s"] },
  { command: "rate_limit", given: { task_name: "nope", rate_limit: "1/y" }, words: ["nope", "1/y"] },
  { command: "rate_limit", given: { bogus: 1 } },
  { command: "rate_limit", given: { task_name: "fleet.add" }, words: ["fleet.add"] },
  { command: "rate_limit", given: { task_name: "fleet.add", rate_limit: "100/m" }, words: ["fleet.add", "100/m"] },
  { command: "rate_limit", given: { task_name: "fleet.add", rate_limit: 5000 } },
  { command: "rate_limit", given: { task_name: "fleet.add", rate_limit: "0" }, words: ["fleet.add", "0"] },
  { command: "rate_limit", given: { task_name: "fleet.add", rate_limit: 0 } },
  { command: "rate_limit", given: { task_name: "fleet.add", rate_limit: null } },
  { command: "time_limit", given: { task_name: "nope", hard: 20, soft: 10 }, words: ["nope", "10", "20"] },
  { command: "time_limit", given: {}, words: [] },
  {
    command: "time_limit",
    given: { task_name: "fleet.add", hard: 600, soft: 500 },
    words: ["fleet.add", "500", "600"],
  },
  { command: "time_limit", given: { task_name: "fleet.add" }, words: ["fleet.add"] },
  { command: "time_limit", given: { task_name: "fleet.add", hard: null, soft: null, x: 1 } },

  { command: "revoke", given: { task_id: ["r-1"] }, words: ["r-1"] },
  { command: "revoke", given: { task_id: "r-1" } },
  { command: "revoke", given: { task_id: "zz", terminate: true, signal: "SIGTERM" } },
  { command: "revoke", given: { task_id: "zz", terminate: true, signal: null } },
  { command: "revoke", given: { task_id: "zz", terminate: true, signal: "NOPE" } },
  { command: "revoke", given: { id: "zz" } },
  { command: "terminate", given: { signal: "KILL", task_id: ["zz2"] }, words: ["KILL", "zz2"] },
  { command: "terminate", given: { signal: "KILL" } },
  { command: "revoke", given: { task_id: [["zz"]] } },
  { command: "revoke", given: { task_id: "zz", terminate: [] } },
  { command: "terminate", given: { signal: "1", task_id: "zz" } },
  {
    command: "revoke_by_stamped_headers",
    given: { headers: { mtask_id: ["1", "2"] }, terminate: false, signal: null },
  },
  { command: "revoke_by_stamped_headers", given: { headers: ["a=b"], terminate: true } },
  { command: "revoke_by_stamped_headers", given: { headers: ["a=b", "c=d"] }, words: ["a=b", "c=d"] },
  { command: "revoke_by_stamped_headers", given: { headers: ["a"] }, words: ["a"] },
  { command: "revoke_by_stamped_headers", given: {} },
  { command: "revoke_by_stamped_headers", given: { headers: [1] } },
  { command: "revoke_by_stamped_headers", given: { headers: "a=b" } },
  { command: "revoked" },
  { command: "dump_revoked" },

  { command: "active" },
  { command: "active", given: { safe: true } },
  { command: "dump_active" },
  { command: "reserved" },
  { command: "dump_reserved" },
  { command: "scheduled" },
  { command: "dump_schedule" },
  { command: "query_task", given: { ids: ["nope", "neither"] }, words: ["nope", "neither"] },
  { command: "query_task", given: { ids: "nope" } },
  { command: "query_task", given: { ids: null } },
  { command: "query_task", given: {} },
  { command: "registered", lines: shared },
  { command: "dump_tasks", lines: shared },
  {
    command: "registered",
    given: { taskinfoitems: ["rate_limit", "max_retries"] },
    words: ["rate_limit", "max_retries"],
    lines: shared,
  },
  {
    command: "registered",
    given: {
      taskinfoitems: [
        ...["acks_late", "ignore_result", "priority", "reject_on_worker_lost", "send_events"],
        ...["serializer", "soft_time_limit", "time_limit", "track_started", "typing", "store_errors_even_if_ignored"],
        ...["name", "queue", "expires", "nope", "acks_on_failure_or_timeout", "throws", "compression", "_secret"],
      ],
      builtins: true,
    },
    lines: shared,
  },
  { command: "registered", given: { taskinfoitems: ["_secret"], builtins: true }, lines: shared },
  { command: "registered", given: { taskinfoitems: "rate_limit", builtins: [] }, lines: shared },
  { command: "registered", given: { taskinfoitems: 5 } },

  { command: "active_queues", alike: "kind" },
  { command: "active_queues", given: { x: 1 } },
  { command: "add_consumer", given: { queue: "extra" }, words: ["extra"] },
  { command: "cancel_consumer", given: { queue: "extra" }, words: ["extra"] },
  { command: "cancel_consumer", given: { queue: "never" }, words: ["never"] },
  { command: "add_consumer", given: {} },
  { command: "cancel_consumer", given: {} },

  { command: "pool_grow", given: { n: 1 }, words: ["1"] },
  { command: "pool_shrink", given: { n: 1 }, words: ["1"] },
  { command: "pool_grow" },
  { command: "pool_shrink" },
  { command: "pool_grow", given: { n: 1, x: 1 } },
  { command: "pool_shrink", given: { n: 1, x: 1 } },
  { command: "pool_restart" },
  { command: "pool_restart", given: { modules: null, reload: false, reloader: null } },
  { command: "autoscale", given: { max: 10, min: 2 }, words: ["10", "2"] },
  { command: "autoscale", given: { most: 10 } },

  { command: "pool_grow", given: { n: 1 }, words: ["1"], manner: "scaled" },
  { command: "pool_shrink", given: { n: 1 }, words: ["1"], manner: "scaled" },
  { command: "autoscale", given: { max: 3, min: 1 }, words: ["3", "1"], manner: "scaled" },
  { command: "autoscale", given: { max: 2 }, words: ["2"], manner: "scaled" },
  { command: "autoscale", given: { min: 1 }, manner: "scaled" },
  { command: "stats", alike: "kind", apart: unlikeStats, manner: "scaled" },

  { command: "no_such_command", words: null },
  { command: "__init__", words: null },
];

/** What is tried apart (`scenes.ts`): asked of a whole fleet, nobody would be left to ask the rest. */
export const apartFromCases: readonly string[] = ["shutdown"];

export const nameOf = ({ command, given, manner }: ControlCase): string =>
  [command, ...(given === undefined ? [] : [JSON.stringify(given)]), ...(manner === "scaled" ? ["(scaled)"] : [])].join(
    " ",
  );
