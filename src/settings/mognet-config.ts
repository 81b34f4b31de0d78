/**
 * Mognet's `AppConfig` by its own keys, from code, a JSON file that `AppConfig.from_file` can load too, and the environment
 * (`LOVAGE_MOGNET_BROKER_AMQP_URL`). First found wins: environment, code, file, default. pydantic passes unknown keys over in
 * silence; here one is an error with the key that was meant. wire: mognet/app/app_config.py, backend/backend_config.py,
 * state/state_backend_config.py, broker/broker_config.py. Keys of our own stand under `lovage`, where Python does not look.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { DecodeError, ImproperlyConfigured } from "../../protocol/errors.ts";
import { decodeJson } from "../../protocol/json.ts";
import {
  bool,
  count,
  dict,
  isPlainObject,
  type Kind,
  mismatch,
  nullable,
  number,
  oneOf,
  seconds,
  structured,
  text,
  texts,
} from "./kinds.ts";
import { didYouMean } from "./suggest.ts";
import { TABLE } from "./table.ts";

/** Mognet's `AppConfig`, complete. Durations are seconds. */
export interface MognetConfig {
  /** Name of this process among the nodes of the app; unique, or revokes reach only one of them. @default `{pid}@{hostname}` */
  readonly node_id: string;
  readonly result_backend: {
    readonly redis: {
      /** @default redis://localhost:6379/ */
      readonly url: string;
      /** How long results are kept; null: for ever. @default 1_814_400 (21 days) */
      readonly result_ttl: number | null;
      /** How long values are kept; null: for ever. @default 604_800 (7 days) */
      readonly result_value_ttl: number | null;
      /** How values are written; both forms are read. @default gzip */
      readonly result_value_encoding: "gzip" | null;
      /** How long a store that is away is borne: attempts, and the longest wait between two. @default 10 */
      readonly retry_connect_attempts: number;
      /** @default 30 */
      readonly retry_connect_timeout: number;
      /** Python's connection pool; Lovage needs two connections, whatever is in flight. @default null */
      readonly max_connections: number | null;
    };
  };
  readonly state_backend: {
    readonly redis: {
      /** @default redis://localhost:6379/ */
      readonly url: string;
      /** @default 7200 */
      readonly state_ttl: number;
      /** As above. @default null */
      readonly max_connections: number | null;
    };
  };
  readonly broker: {
    readonly amqp: {
      /** Several separated by `;` fail over (Python takes one). @default amqp://localhost:5672/ */
      readonly url: string;
      /** How long a submit bears a broker that is away: attempts, and the longest wait between two. @default 10 */
      readonly retry_connect_attempts: number;
      /** @default 30 */
      readonly retry_connect_timeout: number;
    };
  };
  /** Modules that Python imports for their tasks; here tasks are given to the app. @default [] */
  readonly imports: readonly string[];
  /** Tasks that a worker runs before it stops, null: no end (Python reads it and does not use it). @default null */
  readonly max_tasks: number | null;
  /** Deepest nesting of tasks that run tasks. @default 64 */
  readonly max_recursion: number;
  /** Runs that may end in a crash before the task fails with `TooManyRetries`. @default 3 */
  readonly max_retries: number;
  /** The queue of tasks without a route. @default tasks */
  readonly default_task_route: string;
  /** Task name to queue. @default {} */
  readonly task_routes: Readonly<Record<string, string>>;
  /** Which of these queues a worker consumes: only `include`, or all but `exclude`. */
  readonly task_queues: { readonly include: readonly string[]; readonly exclude: readonly string[] };
  /** Tasks at a time on one node, besides those that wait for children. @default 1 */
  readonly minimum_concurrency: number;
  /** Never more than this, which can deadlock deep recursion; null: no cap. @default null */
  readonly maximum_concurrency: number | null;
  /** For services, by whatever names they look for. @default {} */
  readonly services_settings: Readonly<Record<string, unknown>>;
  /** Python reads it and does not use it; here reconnecting never ends either. @default 5 */
  readonly max_reconnect_retries: number;
  /** Longest wait between two attempts of a worker to reconnect. @default 5 */
  readonly reconnect_interval: number;
  /** Lovage's own; Python passes this section over. */
  readonly lovage: {
    /** Longest message that is read, in bytes. @default 64 MiB */
    readonly max_message_bytes: number;
    /** Longest value after decompression, in bytes. @default 256 MiB */
    readonly max_decompressed_bytes: number;
    /** Deepest nesting that is read. @default 1000 */
    readonly max_message_depth: number;
    /** Keep Python's 1.0 and 1 apart when reading JSON. @default false */
    readonly exact_floats: boolean;
    /** Check parameters and results against their schemas. @default true */
    readonly validate_params: boolean;
    /** Seconds that a warm stop gives running tasks to end, before they are handed back to their queues. @default 5 */
    readonly shutdown_grace: number;
    /** Requests that this app submits outlive a restart of RabbitMQ; Mognet's do not, nor do ours unless told. @default false */
    readonly persistent_messages: boolean;
    /** Seconds between heartbeats; 0: none. @default 60 */
    readonly broker_heartbeat: number;
    /** Seconds that one attempt to connect may take. @default 4 */
    readonly broker_connection_timeout: number;
  };
}

/** What may be left out is left out, at every level. */
export type MognetConfigInput = DeepPartial<MognetConfig>;

type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? string extends keyof T
      ? T
      : { readonly [K in keyof T]?: DeepPartial<T[K]> }
    : T;

interface Row {
  readonly kind: Kind<unknown>;
  readonly default: () => unknown;
}

const row = <T>(kind: Kind<T, unknown>, value: NoInfer<T>): Row => ({ kind, default: () => value });

function url(schemes: readonly string[]): Kind<string> {
  const what = `a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`;
  return {
    what,
    parse(value, at) {
      // The text is not repeated: it may hold a password.
      const parts = typeof value === "string" ? value.split(";").map((part) => part.trim()) : [];
      const right =
        parts.length > 0 && parts.every((part) => schemes.includes(/^([a-z+]+):\/\//i.exec(part)?.[1] ?? ""));
      if (!right || typeof value !== "string") throw new ImproperlyConfigured(`${at} must be ${what}`);
      return value;
    },
    fromText: (given) => given,
  };
}

const brokerUrl = url(["amqp", "amqps", "memory"]);
const storeUrl = url(["redis", "rediss", "redis+socket", "unix", "sentinel", "memory"]);
const positive = (most?: number) => count({ min: 1, ...(most === undefined ? {} : { max: most }) });

const routes: Kind<Readonly<Record<string, string>>> = structured("an object of task name to queue", (value, at) => {
  if (!isPlainObject(value)) throw mismatch(at, "an object of task name to queue", value);
  const read: [string, string][] = Object.entries(value).map(([task, queue]) => [
    task,
    text.parse(queue, `${at}: ${task}`),
  ]);
  return Object.freeze(Object.fromEntries(read));
});

const ROWS: Readonly<Record<string, Row>> = {
  node_id: { kind: text, default: () => `${process.pid}@${hostname()}` },
  "result_backend.redis.url": row(storeUrl, "redis://localhost:6379/"),
  "result_backend.redis.result_ttl": row(nullable(positive()), 1_814_400),
  "result_backend.redis.result_value_ttl": row(nullable(positive()), 604_800),
  "result_backend.redis.result_value_encoding": row(nullable(oneOf(["gzip"])), "gzip"),
  "result_backend.redis.retry_connect_attempts": row(positive(), 10),
  "result_backend.redis.retry_connect_timeout": row(seconds(), 30),
  "result_backend.redis.max_connections": row(nullable(positive()), null),
  "state_backend.redis.url": row(storeUrl, "redis://localhost:6379/"),
  "state_backend.redis.state_ttl": row(positive(), 7_200),
  "state_backend.redis.max_connections": row(nullable(positive()), null),
  "broker.amqp.url": row(brokerUrl, "amqp://localhost:5672/"),
  "broker.amqp.retry_connect_attempts": row(positive(), 10),
  "broker.amqp.retry_connect_timeout": row(seconds(), 30),
  imports: row(texts(), []),
  max_tasks: row(nullable(positive()), null),
  max_recursion: row(count(), 64),
  max_retries: row(count(), 3),
  default_task_route: row(text, "tasks"),
  task_routes: row(routes, Object.freeze({})),
  "task_queues.include": row(texts(), []),
  "task_queues.exclude": row(texts(), []),
  minimum_concurrency: row(positive(65_535), 1),
  maximum_concurrency: row(nullable(positive(65_535)), null),
  services_settings: row(dict, Object.freeze({})),
  max_reconnect_retries: row(count(), 5),
  reconnect_interval: row(number({ min: 0 }), 5),
  "lovage.max_message_bytes": row(positive(), TABLE.lovage_max_message_bytes.default),
  "lovage.max_decompressed_bytes": row(positive(), TABLE.lovage_max_decompressed_bytes.default),
  "lovage.max_message_depth": row(positive(), TABLE.lovage_max_message_depth.default),
  "lovage.exact_floats": row(bool, false),
  "lovage.validate_params": row(bool, true),
  "lovage.shutdown_grace": row(number({ min: 0, unit: "seconds" }), 5),
  "lovage.persistent_messages": row(bool, false),
  "lovage.broker_heartbeat": row(seconds(), 60),
  "lovage.broker_connection_timeout": row(number({ min: 0.001, unit: "seconds" }), 4),
};

const PATHS = Object.keys(ROWS);
const PREFIX = "LOVAGE_MOGNET_";
const envName = (path: string) => `${PREFIX}${path.replaceAll(".", "_").toUpperCase()}`;
const BY_ENV_NAME: ReadonlyMap<string, string> = new Map(PATHS.map((path) => [envName(path), path]));

export interface MognetConfigSources {
  code?: MognetConfigInput;
  /** Path of a JSON file that holds one object. */
  file?: string;
  /** @default process.env */
  env?: NodeJS.ProcessEnv;
}

export interface ParsedMognetConfig {
  readonly config: MognetConfig;
  /** What a file shared with Python says and Lovage does not use, one sentence each. */
  readonly notices: readonly string[];
}

/** Throws `ImproperlyConfigured` for an unknown or mistyped key, with the one it may have been meant for. */
export function parseMognetConfig({ code, file, env = process.env }: MognetConfigSources = {}): ParsedMognetConfig {
  const values = new Map<string, unknown>();
  const notices: string[] = [];
  if (file !== undefined) read(readFile(file), "", `file ${file}`, values);
  const imports = values.get("imports");
  if (Array.isArray(imports) && imports.length > 0) {
    notices.push("imports names modules of Python's; the tasks of this app are those that it is given in code");
  }
  if (code !== undefined) {
    if (!isPlainObject(code)) throw mismatch("config", "an object by the keys of Mognet's AppConfig", code);
    if (code.imports !== undefined) {
      throw new ImproperlyConfigured(
        "imports names modules of Python's; give the app its tasks instead: { tasks: [add, resize] }",
      );
    }
    read(code, "", "code", values);
  }
  environment(env, values);
  const config: Record<string, unknown> = {};
  for (const [path, { default: byDefault }] of Object.entries(ROWS)) {
    put(config, path.split("."), values.has(path) ? values.get(path) : byDefault());
  }
  if (!isComplete(config)) throw new ImproperlyConfigured("a key of the configuration was not read");
  checkQueues(config);
  return { config, notices };
}

function isComplete(config: Record<string, unknown>): config is Record<string, unknown> & MognetConfig {
  return PATHS.every((path) => config[path.split(".", 1)[0] ?? ""] !== undefined);
}

function checkQueues({ task_queues: { include, exclude } }: MognetConfig): void {
  if (include.length > 0 && exclude.length > 0) {
    throw new ImproperlyConfigured("task_queues cannot have both include and exclude; choose one or none");
  }
}

function read(
  given: Readonly<Record<string, unknown>>,
  above: string,
  from: string,
  values: Map<string, unknown>,
): void {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const path = above === "" ? key : `${above}.${key}`;
    const found = Object.hasOwn(ROWS, path) ? ROWS[path] : undefined;
    if (found !== undefined) values.set(path, found.kind.parse(value, `${path} (${from})`));
    else if (PATHS.some((known) => known.startsWith(`${path}.`))) {
      if (!isPlainObject(value)) throw mismatch(`${path} (${from})`, "an object", value);
      read(value, path, from, values);
    } else unknown(key, path, above, from);
  }
}

function unknown(key: string, path: string, above: string, from: string): never {
  const depth = above === "" ? 0 : above.split(".").length;
  const beside = PATHS.filter((known) => above === "" || known.startsWith(`${above}.`)).map(
    (known) => known.split(".")[depth] ?? "",
  );
  const elsewhere = PATHS.filter((known) => known.endsWith(`.${key}`) || known === key);
  const hint = elsewhere.length > 0 ? `; it stands at ${elsewhere.join(" and ")}` : didYouMean(key, new Set(beside));
  throw new ImproperlyConfigured(`unknown key ${path} (${from}) in the configuration of a Mognet app${hint}`);
}

function environment(env: NodeJS.ProcessEnv, values: Map<string, unknown>): void {
  for (const [variable, content] of Object.entries(env)) {
    if (content === undefined || content === "" || !variable.startsWith(PREFIX)) continue;
    const path = BY_ENV_NAME.get(variable);
    const found = path === undefined ? undefined : ROWS[path];
    if (path === undefined || found === undefined) {
      throw new ImproperlyConfigured(
        `unknown key (environment ${variable})${didYouMean(variable, BY_ENV_NAME.keys())}`,
      );
    }
    values.set(path, found.kind.parse(found.kind.fromText(content), `${path} (environment ${variable})`));
  }
}

function put(target: Record<string, unknown>, [first = "", ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    target[first] = value;
    return;
  }
  const inner = target[first];
  const section = isPlainObject(inner) ? inner : {};
  target[first] = section;
  put(section, rest, value);
}

function readFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = decodeJson(readFileSync(path, "utf8"));
  } catch (cause) {
    // Our own reader says where a mistake is without quoting what may be a password.
    const reason = cause instanceof Error ? cause.message : String(cause);
    const options = cause instanceof DecodeError ? {} : { cause };
    throw new ImproperlyConfigured(`cannot read the configuration from ${path}: ${reason}`, options);
  }
  if (!isPlainObject(content)) throw new ImproperlyConfigured(`${path} must hold one JSON object`);
  return content;
}

/** Seconds that an outage is borne, as Mognet's attempts add up: waits of 1, 2, 4, … seconds, each at most `timeout`. */
export function patienceS({
  retry_connect_attempts: attempts,
  retry_connect_timeout: longest,
}: Pick<MognetConfig["broker"]["amqp"], "retry_connect_attempts" | "retry_connect_timeout">): number {
  let total = 0;
  for (let attempt = 0; attempt < attempts && total < 86_400; attempt++)
    total += Math.min(longest, 2 ** Math.min(attempt, 20));
  return Math.max(1, total);
}
