import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { CELERY_SETTINGS } from "./celery-names.ts";
import { envName, parseSettings, type SettingsInput } from "./settings.ts";
import { SETTING_NAMES, TABLE } from "./table.ts";

function fromFile(content: unknown, env: NodeJS.ProcessEnv = {}, code?: SettingsInput) {
  const path = join(mkdtempSync(join(tmpdir(), "lovage-settings-")), "settings.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return parseSettings({ file: path, env, ...(code && { code }) });
}

/** As a JavaScript caller, or a JSON reader, may write it. */
function fromCode(code: Record<string, unknown>) {
  return parseSettings({ code, env: {} }).settings;
}

function fromEnv(env: NodeJS.ProcessEnv) {
  return parseSettings({ env }).settings;
}

describe("defaults", () => {
  test("are Celery's, but for those that say otherwise", () => {
    const { settings, notices, given } = parseSettings({ env: {} });
    expect(settings.task_default_queue).toBe("celery");
    expect(settings.result_expires).toBe(86_400);
    expect(settings.worker_prefetch_multiplier).toBe(4);
    expect(settings.broker_heartbeat).toBe(120);
    expect(settings.broker_connection_timeout).toBe(4);
    expect(settings.accept_content).toEqual(["json"]);
    expect(settings.broker_connection_max_retries).toBeNull();
    expect(settings.worker_eta_task_limit).toBe(100_000);
    expect(notices).toEqual([]);
    expect(given.size).toBe(0);
  });

  test("every setting is Celery's or begins with lovage_, and has a sentence about it", () => {
    for (const name of SETTING_NAMES) {
      expect(CELERY_SETTINGS.has(name) || name.startsWith("lovage_"), name).toBe(true);
      expect(TABLE[name].doc, name).toMatch(/\.$/);
    }
  });
});

describe("sources", () => {
  test("LOVAGE_ wins over CELERY_, over code, over the file", () => {
    const file = { task_default_queue: "file", task_acks_late: true, result_expires: 1, worker_concurrency: 9 };
    const env = {
      LOVAGE_TASK_DEFAULT_QUEUE: "lovage",
      CELERY_TASK_DEFAULT_QUEUE: "celery",
      CELERY_RESULT_EXPIRES: "3",
    };
    const { settings, given } = fromFile(file, env, { task_acks_late: false, result_expires: 2 });
    expect(settings.task_default_queue).toBe("lovage");
    expect(settings.result_expires).toBe(3);
    expect(settings.task_acks_late).toBe(false);
    expect(settings.worker_concurrency).toBe(9);
    expect(given.get("task_default_queue")).toBe("environment LOVAGE_TASK_DEFAULT_QUEUE");
    expect(given.get("task_acks_late")).toBe("code");
    expect(given.get("worker_concurrency")).toMatch(/^file /);
  });

  test("an empty variable is an unset one", () => {
    expect(fromEnv({ LOVAGE_TASK_DEFAULT_QUEUE: "", CELERY_BROKER_URL: "" }).task_default_queue).toBe("celery");
  });

  test("the variable of one of Lovage's own settings does not say lovage twice", () => {
    expect(envName("lovage_declare")).toBe("LOVAGE_DECLARE");
    expect(fromEnv({ LOVAGE_DECLARE: "passive" }).lovage_declare).toBe("passive");
  });

  test("variables of tests, of benchmarks and of others are left alone", () => {
    const env = { LOVAGE_TEST_REDIS_URL: "x", LOVAGE_BENCH_N: "1", LOVAGE_LOG_LEVEL: "debug", LOVAGE: "1" };
    expect(() => parseSettings({ env, otherEnv: ["LOVAGE_LOG_LEVEL"] })).not.toThrow();
  });

  test("undefined in code is not given", () => {
    expect(fromCode({ task_default_queue: undefined }).task_default_queue).toBe("celery");
  });

  test.each([
    ["LOVAGE_TASK_ACKS_LATE", "yes", "task_acks_late", true],
    ["LOVAGE_TASK_ACKS_LATE", "0", "task_acks_late", false],
    ["LOVAGE_RESULT_EXPIRES", "1.5e2", "result_expires", 150],
    ["LOVAGE_RESULT_EXPIRES", "None", "result_expires", null],
    ["LOVAGE_ACCEPT_CONTENT", "json,application/json", "accept_content", ["json", "application/json"]],
    ["LOVAGE_ACCEPT_CONTENT", '["json"]', "accept_content", ["json"]],
    ["LOVAGE_BROKER_URL", "amqp://a; amqp://b", "broker_url", ["amqp://a", "amqp://b"]],
    [
      "LOVAGE_BROKER_TRANSPORT_OPTIONS",
      '{"visibility_timeout": 60}',
      "broker_transport_options",
      { visibility_timeout: 60 },
    ],
    ["LOVAGE_BROKER_USE_SSL", "true", "broker_use_ssl", true],
    ["LOVAGE_TASK_DEFAULT_DELIVERY_MODE", "transient", "task_default_delivery_mode", 1],
    ["LOVAGE_TASK_DEFAULT_DELIVERY_MODE", "2", "task_default_delivery_mode", 2],
    ["LOVAGE_WORKER_CONCURRENCY", "8", "worker_concurrency", 8],
    ["LOVAGE_WORKER_CONCURRENCY", "auto", "worker_concurrency", null],
    ["LOVAGE_TASK_PROTOCOL", "2", "task_protocol", 2],
    ["LOVAGE_BROKER_FAILOVER_STRATEGY", "shuffle", "broker_failover_strategy", "shuffle"],
    ["LOVAGE_LOVAGE", "", "task_protocol", 2],
  ] as const)("%s=%s", (variable, content, name, value) => {
    expect(fromEnv({ [variable]: content })[name]).toEqual(value);
  });
});

describe("what cannot be", () => {
  test.each([
    [{ task_ack_late: true }, /unknown setting "task_ack_late" \(code\); did you mean "task_acks_late"\?/],
    [{ taskAcksLate: true }, /did you mean "task_acks_late"/],
    [{ CELERY_ACKS_LATE: true }, /its name today is "task_acks_late"/],
    [{ BROKER_URL: "x" }, /its name today is "broker_url"/],
    [{ CELERY_TASK_ALWAYS_EAGER: true }, /its name today is "task_always_eager"/],
    [{ CELERYD_CONCURRENCY: 4 }, /its name today is "worker_concurrency"/],
    [{ qwertyuiop: 1 }, /unknown setting "qwertyuiop" \(code\)$/],
    [{ task_acks_late: "true" }, /setting task_acks_late \(code\) must be true or false, not "true"/],
    [{ result_expires: "60" }, /must be a number of seconds, at least 0, or null/],
    [{ result_expires: Number.NaN }, /must be a number of seconds/],
    [{ result_expires: -1 }, /at least 0/],
    [{ worker_prefetch_multiplier: 1.5 }, /whole number/],
    [{ worker_concurrency: 0 }, /at least 1/],
    [{ task_default_priority: 300 }, /from 0 to 255/],
    [{ task_serializer: "jsno" }, /did you mean "json"/],
    [{ task_serializer: "pickle" }, /"pickle" is not available in Lovage/],
    [{ accept_content: ["json", "msgpack"] }, /"msgpack" is not available/],
    [{ accept_content: "json" }, /must be an array/],
    [{ task_protocol: 1 }, /must be 2/],
    [{ worker_pool: "prefork" }, /not available in Lovage; use "async"/],
    [{ worker_pool: "asinc" }, /must be "async"/],
    [{ timezone: "Europe/Olso" }, /no time zone "Europe\/Olso"; did you mean "Europe\/Oslo"/],
    [{ broker_url: "localhost" }, /must be a URL with a scheme/],
    [{ task_compression: "lzma" }, /not available/],
    [{ task_publish_retry_policy: { max_retry: 1 } }, /unknown name "max_retry"; did you mean "maxRetries"/],
    [{ task_publish_retry_policy: { max_retries: 1, maxRetries: 2 } }, /given twice/],
    [{ lovage_unknown_task: "requeu" }, /did you mean "requeue"/],
    [{ task_always_eager: true }, /is Celery's, and Lovage does not support it/],
    [{ broker_transport_options: [] }, /must be an object/],
    [
      { task_queues: { a: { maxPriorty: 1 } } },
      /task_queues \(code\)\.a: unknown name "maxPriorty"; did you mean "maxPriority"/,
    ],
    [{ task_queues: [{ name: "a" }, { name: "a" }] }, /given twice/],
    [{ task_queues: [{}] }, /\[0\]\.name must be a text/],
    [{ task_queues: ["a"] }, /must be an object with the queue's options/],
    [{ task_queues: { a: { exchange_type: "topik" } } }, /did you mean "topic"/],
    [{ task_routes: { "a.*": { que: "b" } } }, /unknown name "que"; did you mean "queue"/],
    [{ task_routes: { "a.*": 1 } }, /must be a queue's name or an object/],
    [{ task_routes: "proj.Router" }, /cannot run here; give a function/],
    [{ task_routes: [["a", "b", "c"]] }, /pair of pattern and route/],
  ])("%j", (code, message) => {
    expect(() => fromCode(code)).toThrow(ImproperlyConfigured);
    expect(() => fromCode(code)).toThrow(message);
  });

  test.each([
    [{ LOVAGE_BROKR_URL: "x" }, /LOVAGE_BROKR_URL.*did you mean "LOVAGE_BROKER_URL"/],
    [{ LOVAGE_TASK_ACKS_LATE: "perhaps" }, /environment LOVAGE_TASK_ACKS_LATE\) must be true or false/],
    [{ LOVAGE_TASK_ALWAYS_EAGER: "1" }, /does not support it/],
    [{ CELERY_TASK_ACKS_LATE: "perhaps" }, /must be true or false/],
    [{ LOVAGE_TASK_ROUTES: "{oops" }, /task_routes/],
  ])("%j", (env, message) => {
    expect(() => fromEnv(env)).toThrow(message);
  });

  test("a file that is missing, no JSON, or no object", () => {
    expect(() => parseSettings({ file: "/nowhere/settings.json", env: {} })).toThrow(/cannot read settings/);
    expect(() => fromFile("{")).toThrow(/cannot read settings/);
    expect(() => fromFile('{"broker_url": redis://:secret@host}')).toThrow(
      /settings\.json: (?!.*secret).*character 15/,
    );
    expect(() => fromFile([1])).toThrow(/one JSON object/);
  });

  test("no error text holds a password", () => {
    const codes = [
      { task_default_queue: ["redis://u:hunter2@h"] },
      { result_expires: "redis://u:hunter2@h/0" },
      { broker_url: "u:hunter2@host" },
    ];
    for (const code of codes) expect(messageOf(() => fromCode(code))).not.toContain("hunter2");
  });
});

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return String(error);
  }
  return expect.fail("nothing was thrown");
}

describe("what Python shares", () => {
  test("a setting of Celery's that Lovage lacks is a notice from a file and from CELERY_", () => {
    const { notices } = fromFile(
      { task_always_eager: true, beat_schedule: {} },
      { CELERY_WORKER_LOG_COLOR: "0", CELERY_FOO: "1" },
    );
    expect(notices).toHaveLength(3);
    expect(notices[0]).toMatch(/task_always_eager \(file .*\) is Celery's/);
    expect(notices[2]).toMatch(/worker_log_color \(environment CELERY_WORKER_LOG_COLOR\)/);
  });

  test("a value that only Celery has is passed over, so that one file serves both", () => {
    const { settings, notices } = fromFile({
      worker_pool: "prefork",
      accept_content: ["json", "pickle"],
      task_serializer: "json",
    });
    expect(settings.worker_pool).toBe("async");
    expect(settings.accept_content).toEqual(["json"]);
    expect(notices).toHaveLength(2);
    expect(notices[0]).toMatch(/passed over/);
  });

  test("a misspelt name in a file is still an error", () => {
    expect(() => fromFile({ task_ack_late: true })).toThrow(/did you mean "task_acks_late"/);
  });
});

describe("task_queues and task_routes", () => {
  test("names may be written in camelCase and with underscores", () => {
    const camel = fromCode({ task_queues: [{ name: "q", routingKey: "k", queueArguments: { a: 1 }, maxPriority: 3 }] });
    const snake = fromCode({
      task_queues: [{ name: "q", routing_key: "k", queue_arguments: { a: 1 }, max_priority: 3 }],
    });
    expect(camel.task_queues).toEqual(snake.task_queues);
    expect(camel.task_queues?.[0]?.arguments).toEqual({ a: 1, "x-max-priority": 3 });
  });

  test("keys from outside cannot reach a prototype", () => {
    const parsed = fromFile(
      '{"task_queues": {"__proto__": {"durable": false}}, "task_routes": {"__proto__": "q"}}',
    ).settings;
    expect(parsed.task_queues?.map((queue) => queue.name)).toEqual(["__proto__"]);
    expect(() => fromFile('{"__proto__": {"task_acks_late": true}}')).toThrow(/unknown setting "__proto__"/);
    expect({}).not.toHaveProperty("durable");
  });

  test("bindings of a queue are exchanges and keys", () => {
    const bindings = [
      { exchange: "e", exchangeType: "topic", routing_key: "k" },
      { exchange: { name: "f", type: "fanout" } },
    ];
    expect(fromCode({ task_queues: [{ name: "q", bindings }] }).task_queues?.[0]?.bindings).toEqual([
      { exchange: { name: "e", type: "topic" }, routingKey: "k" },
      { exchange: { name: "f", type: "fanout" }, routingKey: "" },
    ]);
  });

  test("a retry policy keeps the defaults of what it leaves out", () => {
    expect(fromCode({ task_publish_retry_policy: { max_retries: null } }).task_publish_retry_policy).toEqual({
      maxRetries: null,
      intervalStart: 0,
      intervalStep: 0.2,
      intervalMax: 1,
    });
  });

  test("settings cannot be changed afterwards", () => {
    expect(Object.isFrozen(fromCode({}))).toBe(true);
  });
});
