/** The router, the options and the list of settings against the real Celery, case by case (python-fixtures/check_routes.py). */
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { beforeAll, describe, expect, test } from "vitest";
import { encodeTask } from "../../protocol/celery/task-encoder.ts";
import { ImproperlyConfigured, LovageError } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/message.ts";
import type { Queue } from "../../protocol/routing.ts";
import { jsonSerializer } from "../../protocol/serialization.ts";
import { PyDateTime } from "../../protocol/values.ts";
import { CELERY_SETTINGS, newName, OLD_NAMES } from "../settings/celery-names.ts";
import { isPlainObject } from "../settings/kinds.ts";
import { parseSettings, type Settings } from "../settings/settings.ts";
import { zoneOf } from "../settings/timezone.ts";
import { camelCase } from "../settings/words.ts";
import type { TaskBehaviour } from "../tasks/behaviour.ts";
import { checkOptions } from "../tasks/call-options.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { Queues } from "./queues.ts";
import { type Destination, type Routed, Router } from "./router.ts";
import { type CallBy, routeOptions, taskMessage, withTaskDefaults } from "./task-call.ts";

const python = process.env.LOVAGE_TEST_PYTHON;
if (python === undefined && process.env.CI === "true") {
  throw new ImproperlyConfigured("LOVAGE_TEST_PYTHON must name a Python with Celery 5.7");
}

type Json = Record<string, unknown>;
interface Call {
  by: CallBy;
  name: string;
  options?: Json;
}
interface Case {
  about: string;
  conf: Json;
  tasks?: Record<string, Json>;
  calls: Call[];
}

const NOW = "2030-03-01T10:20:30.250000+00:00";
const by =
  (how: CallBy) =>
  (name: string, options: Json = {}) => ({ by: how, name, options });
const named = by("name");
const defined = by("definition");
const both = (name: string, options: Json = {}) => [named(name, options), defined(name, options)];
const plain = { "t.one": {}, "t.two": {}, "other.one": {} };
const media = { media: { exchange: "media", exchange_type: "topic", routing_key: "media.#" }, plain: {} };

const CASES: Case[] = [
  {
    about: "no settings at all",
    conf: {},
    tasks: plain,
    calls: [
      ...both("t.one"),
      ...both("t.one", { queue: "q" }),
      ...both("t.one", { queue: "q", priority: 3 }),
      ...both("t.one", { exchange: "x" }),
      ...both("t.one", { exchange: "x", routing_key: "rk" }),
      ...both("t.one", { routing_key: "rk" }),
      ...both("t.one", { queue: "q", exchange: "x" }),
      ...both("t.one", { queue: "q", exchange: "x", routing_key: "rk" }),
      ...both("t.one", { queue: "q", routing_key: "rk" }),
      ...both("t.one", { exchange_type: "topic" }),
      ...both("t.one", { exchange_type: "topic", routing_key: "a.b" }),
      ...both("t.one", { exchange: "x", exchange_type: "fanout" }),
      ...both("t.one", { queue: "q", exchange: "x", exchange_type: "topic" }),
      ...both("t.one", { exchange: { name: "x", type: "topic" }, routing_key: "rk" }),
      ...both("t.one", { exchange: { name: "x", type: "topic" } }),
      ...both("t.one", { queue: { name: "own", exchange: { name: "e", type: "topic" }, routing_key: "k.#" } }),
      ...both("t.one", { queue: { name: "own" } }),
      ...both("t.one", { delivery_mode: 1 }),
      ...both("t.one", { delivery_mode: "transient" }),
      ...both("t.one", { expiration: 1.5 }),
      ...both("t.one", { retry: false, retry_policy: { max_retries: 9 } }),
      ...both("t.one", { priority: null }),
      ...both("t.one", { queue: null }),
    ],
  },
  {
    about: "the default queue under other names",
    conf: { task_default_queue: "jobs", task_default_priority: 4, task_queue_max_priority: 10 },
    tasks: plain,
    calls: [...both("t.one"), ...both("t.one", { queue: "q" }), ...both("t.one", { exchange_type: "topic" })],
  },
  {
    about: "default exchange and routing key of their own, topic",
    conf: {
      task_default_queue: "jobs",
      task_default_exchange: "ex",
      task_default_exchange_type: "topic",
      task_default_routing_key: "jobs.default",
      task_default_delivery_mode: "transient",
    },
    tasks: plain,
    calls: [
      ...both("t.one"),
      ...both("t.one", { routing_key: "jobs.special" }),
      ...both("t.one", { queue: "q" }),
      ...both("t.one", { exchange: "other" }),
    ],
  },
  {
    about: "quorum queues",
    conf: { task_default_queue_type: "quorum", task_create_missing_queue_type: "quorum" },
    calls: [named("t.one"), named("t.one", { queue: "q" })],
  },
  {
    about: "exchange type of queues made on demand",
    conf: { task_create_missing_queue_exchange_type: "topic", task_queue_max_priority: 5 },
    tasks: plain,
    calls: [...both("t.one", { queue: "q" }), ...both("t.one", { queue: "q", routing_key: "rk" }), ...both("t.one")],
  },
  {
    about: "queues as a mapping",
    conf: {
      task_queues: {
        ...media,
        celery: {},
        nameless: { exchange_type: "topic", routing_key: "n.#" },
        bound: { binding_key: "b", routing_key: "r", exchange: "be" },
        limited: { max_priority: 7, expires: 2.5, message_ttl: 60, max_length: 5, max_length_bytes: 500 },
        transient: { durable: false, auto_delete: true, delivery_mode: 1, exchange: "tmp" },
        mixed: { queue_durable: false, exchange_durable: true, queue_auto_delete: true },
        args: { queue_arguments: { "x-queue-type": "quorum" } },
        alone: { exclusive: true },
        modal: { exchange: "modal", delivery_mode: "transient" },
      },
    },
    tasks: plain,
    calls: [
      ...[
        "media",
        "plain",
        "celery",
        "nameless",
        "bound",
        "limited",
        "transient",
        "mixed",
        "args",
        "alone",
        "modal",
      ].flatMap((queue) => both("t.one", { queue })),
      ...both("t.one"),
      ...both("t.one", { queue: "media", routing_key: "media.video" }),
      ...both("t.one", { queue: "media", exchange: "x" }),
      ...both("t.one", { queue: "media", exchange: "x", routing_key: "k" }),
      ...both("t.one", { queue: "modal", delivery_mode: 2 }),
      ...both("t.one", { queue: "missing" }),
    ],
  },
  {
    about: "queues as a list",
    conf: {
      task_queues: [
        { name: "a" },
        { name: "b", exchange: "bx", routing_key: "bk" },
        { name: "c", exchange: { name: "cx", type: "topic", delivery_mode: 1 }, routing_key: "c.#" },
        { name: "d", max_priority: 3, queue_arguments: { "x-max-priority": 9 } },
      ],
      task_default_queue: "a",
      task_queue_max_priority: 6,
    },
    calls: ["a", "b", "c", "d", "e"].map((queue) => named("t.one", { queue })).concat(named("t.one")),
  },
  {
    about: "missing queues refused",
    conf: {
      task_queues: { a: {} },
      task_default_queue: "a",
      task_create_missing_queues: false,
      task_routes: { "t.two": "b" },
    },
    tasks: plain,
    calls: [...both("t.one"), ...both("t.one", { queue: "a" }), ...both("t.one", { queue: "b" }), ...both("t.two")],
  },
  {
    about: "the default queue is not among the queues",
    conf: { task_queues: { a: {} }, task_create_missing_queues: false },
    calls: [named("t.one"), named("t.one", { queue: "a" }), named("t.one", { exchange: "x", routing_key: "k" })],
  },
  {
    about: "names before globs, globs in order",
    conf: {
      task_routes: {
        "t.*": { queue: "glob" },
        "t.one": { queue: "exact" },
        "*.one": { queue: "late" },
        "[ab]?*": { queue: "set" },
        "c?d": { queue: "no-glob" },
        "[!tabo]*": "negated",
      },
    },
    calls: ["t.one", "t.two", "other.one", "ab", "a", "bxyz", "cxd", "c?d", "zzz", "T.two", "", "*"].map((name) =>
      named(name),
    ),
  },
  {
    about: "odd globs",
    conf: {
      task_routes: {
        "x[]*": "bracket",
        "y[a-c]*": "range",
        "z[c-a]*": "backwards",
        "w[!]*": "negation",
        "v[^a]*": "caret",
        "u[a-]*": "dash",
        "s\\*": "backslash",
        "r**r*": "stars",
        "q.*.é*": "accent",
      },
    },
    calls: [
      ...[
        "x[]abc",
        "x[abc",
        "xa",
        "ya1",
        "yb",
        "yd",
        "zb",
        "zc",
        "z",
        "wa",
        "w[!]a",
        "v^",
        "va",
        "vb",
        "ua",
        "u-",
        "ub",
      ],
      ...["s\\x", "s*", "rr", "rxr", "r1r2", "rx", "q.a.é", "q.a.e", "q.\n.é"],
    ].map((name) => named(name)),
  },
  {
    about: "routes carry options, the call's win",
    conf: {
      task_queues: { ...media, celery: {} },
      task_routes: {
        "t.one": {
          queue: "media",
          routing_key: "media.one",
          priority: 7,
          delivery_mode: 1,
          headers: { custom: "route" },
        },
        "t.two": { priority: 2, serializer: "json", compression: "gzip", expiration: 3 },
        "other.one": { exchange: "ox", routing_key: "ok" },
        "null.one": { queue: null, priority: null },
        "empty.one": {},
        "empty.two": "",
        "rk.one": { routing_key: "rk" },
        "type.one": { queue: "plain", exchange_type: "fanout" },
        "retry.one": { retry: false, retry_policy: { max_retries: 1 } },
      },
    },
    tasks: { ...plain, "null.one": {}, "empty.one": {}, "rk.one": {}, "type.one": {} },
    calls: [
      ...both("t.one"),
      ...both("t.one", { queue: "plain" }),
      ...both("t.one", { queue: "plain", routing_key: "rk" }),
      ...both("t.one", { routing_key: "media.two", priority: 1, headers: { custom: "call" } }),
      ...both("t.one", { priority: null }),
      ...both("t.two"),
      ...both("t.two", { compression: null, expiration: 9 }),
      ...both("other.one"),
      ...both("other.one", { queue: "plain" }),
      ...both("other.one", { queue: "missing" }),
      ...both("null.one"),
      ...both("null.one", { queue: "plain" }),
      ...both("empty.one"),
      named("empty.two"),
      ...both("rk.one"),
      ...both("rk.one", { queue: "media" }),
      ...both("type.one"),
      named("retry.one"),
      named("retry.one", { retry: true, retry_policy: { max_retries: 5 } }),
      ...both("t.one", { route_name: "t.two" }).slice(0, 1),
    ],
  },
  {
    about: "several routers: the first answer counts, an empty one ends the search",
    conf: {
      task_routes: [
        { "t.one": "first", "e.*": {} },
        { $function: { "t.two": "fn", "f.obj": { queue: "fo", priority: 5 }, "f.empty": "", "t.one": "never" } },
        [
          [{ $regex: "^t\\." }, { queue: "regex" }],
          [{ $regex: "ther" }, { queue: "unanchored" }],
          [{ $regex: "o.*one" }, { queue: "regex2" }],
          ["p.*", "pair"],
        ],
        { "*": "last", "e.one": "e" },
      ],
    },
    tasks: plain,
    calls: ["t.one", "t.two", "t.three", "other.one", "f.obj", "f.empty", "e.one", "p.x", "any", "f.none"]
      .map((name) => named(name))
      .concat(defined("t.two"), defined("t.two", { queue: "q" }), defined("other.one", { priority: 1 })),
  },
  {
    about: "the task's own options",
    conf: {
      task_routes: { "own.*": { queue: "routed", priority: 6 } },
      task_default_priority: 2,
      task_time_limit: 30,
      task_soft_time_limit: 20,
      task_ignore_result: true,
    },
    tasks: {
      "own.queue": { queue: "mine" },
      "own.priority": { priority: 9 },
      "own.all": {
        queue: "mine",
        exchange: "mx",
        routing_key: "mk",
        expires: 60,
        compression: "zlib",
        time_limit: 5,
        soft_time_limit: 4,
        ignore_result: false,
      },
      "free.one": { priority: 1 },
      "free.two": {},
    },
    calls: ["own.queue", "own.priority", "own.all", "free.one", "free.two"].flatMap((name) => [
      ...both(name),
      ...both(name, { queue: "called" }),
      ...both(name, { time_limit: 1, ignore_result: true, expires: null, priority: 0 }),
      ...both(name, { time_limit: null, exchange: null }),
    ]),
  },
  ...["UTC", "Europe/Oslo", "Asia/Kolkata", "America/St_Johns"].map((timezone) => ({
    about: `times in ${timezone}`,
    conf: { timezone },
    tasks: plain,
    calls: [
      ...both("t.one", { countdown: 5 }),
      ...both("t.one", { countdown: 0 }),
      ...both("t.one", { countdown: 0.75 }),
      ...both("t.one", { countdown: 0.0001234 }),
      ...both("t.one", { countdown: -5 }),
      ...both("t.one", { countdown: 60 * 60 * 24 * 60 }),
      ...both("t.one", { expires: 10 }),
      ...both("t.one", { expires: 0 }),
      ...both("t.one", { expires: -3 }),
      ...both("t.one", { expires: 1.0005, countdown: 1 }),
      ...both("t.one", { expires: "2030-03-01T10:20:40+00:00" }),
      ...both("t.one", { expires: "2030-03-01T10:20:40" }),
      ...both("t.one", { expires: "2030-03-01T12:20:40.5Z" }),
      ...both("t.one", { expires: "2029-03-01T12:20:40Z" }),
      ...both("t.one", { eta: "2030-03-01T12:20:40Z" }),
      ...both("t.one", { eta: "2030-03-01T12:20:40Z", countdown: 0 }),
      ...both("t.one", { eta: "2030-03-01T12:20:40Z", countdown: 3 }),
      ...both("t.one", { eta: { $datetime: "2030-03-01T12:20:40.000123+05:30" } }),
      ...both("t.one", { eta: { $datetime: "2030-03-01T12:20:40.5" }, expires: { $datetime: "2030-03-02T00:00:00" } }),
      ...both("t.one", { expires: { $datetime: "2030-03-01T12:20:40.5+02:00" } }),
      ...both("t.one", { shadow: "sh", group_id: "g", retries: 2, headers: { custom: 1 } }),
    ],
  })),
];

const answers = new Map<string, Json[]>();
let pythonSettings: string[] = [];
let pythonOldNames: Record<string, string> = {};

describe.skipIf(python === undefined)("beside the real Celery", () => {
  beforeAll(async () => {
    const script = fileURLToPath(new URL("../../python-fixtures/check_routes.py", import.meta.url));
    const input = JSON.stringify({ now: NOW, cases: CASES });
    const { stdout } = await execa(python!, [script], { input });
    const found: unknown = JSON.parse(stdout);
    if (!isPlainObject(found) || !Array.isArray(found.results)) throw new TypeError("check_routes.py gave no results");
    for (const [index, { about }] of CASES.entries()) answers.set(about, found.results[index]);
    pythonSettings = found.settings as string[];
    pythonOldNames = found.oldNames as Record<string, string>;
  });

  for (const routeCase of CASES) {
    test(routeCase.about, () => {
      const expected = answers.get(routeCase.about)!;
      const settings = parseSettings({ code: tsConf(routeCase.conf), env: {} }).settings;
      const tasks = new Map(Object.entries(routeCase.tasks ?? {}).map(([name, own]) => [name, definition(name, own)]));
      for (const [index, call] of routeCase.calls.entries()) {
        const ours = outcome(settings, tasks, call);
        const says = `${call.by} ${call.name} ${JSON.stringify(call.options)}`;
        expect({ says, ...ours }).toEqual({ says, ...adjusted(expected[index]!) });
      }
    });
  }

  test("every setting of Celery is known by name", () => {
    expect([...CELERY_SETTINGS].sort()).toEqual(pythonSettings);
    for (const [old, today] of Object.entries(pythonOldNames)) expect(newName(old)).toBe(today);
    for (const [old, today] of OLD_NAMES) expect(pythonOldNames[old]).toBe(today);
  });
});

/** Where we differ on purpose: an error of ours is one kind, and a message without a target is refused instead of lost. */
function adjusted(theirs: Json): Json {
  if ("error" in theirs) return { error: true };
  const nowhere = theirs.exchange === "" && theirs.routingKey === "";
  return nowhere ? { error: true } : theirs;
}

function outcome(settings: Settings, tasks: ReadonlyMap<string, AnyTask>, call: Call): Json {
  try {
    const known = tasks.get(call.name) ?? null;
    const given = checkOptions(camelOptions(call.options ?? {}), { task: call.name });
    const options = withTaskDefaults(call.name, given, known, call.by, settings);
    const queues = new Queues(settings);
    const router = new Router(settings, queues);
    const routed = router.route(routeOptions(options), options.routeName ?? call.name, [], {}, known);
    const destination = router.destination(routed);
    const input = taskMessage(
      { name: call.name || "unnamed", id: "id", args: [], kwargs: {} },
      options,
      routed,
      destination,
      {
        settings,
        zone: zoneOf(settings),
        nowMs: Date.parse(NOW),
        serializer: jsonSerializer,
        origin: "gen1@here",
        replyTo: "oid",
      },
    );
    return summary(encodeTask(input), routed, destination, settings);
  } catch (error) {
    if (!(error instanceof LovageError)) throw error;
    return { error: true };
  }
}

function summary(message: Message, routed: Routed, { address, queue }: Destination, settings: Settings): Json {
  const { properties } = message;
  const headers = message.headers!;
  return {
    exchange: address.exchange,
    routingKey: address.routingKey,
    deliveryMode: properties.deliveryMode,
    declare: queue === null ? [] : [entity(queue)],
    priority: properties.priority ?? null,
    serializer: routed.serializer ?? settings.task_serializer,
    compression: routed.compression ?? settings.task_compression,
    expiration: properties.expiration ?? null,
    retry: routed.retry ?? settings.task_publish_retry,
    maxRetries: { ...settings.task_publish_retry_policy, ...routed.retryPolicy }.maxRetries,
    eta: headers.eta,
    expires: headers.expires,
    timelimit: headers.timelimit,
    ignoreResult: headers.ignore_result,
    custom: headers.custom ?? null,
    shadow: headers.shadow,
    group: headers.group,
    retries: headers.retries,
  };
}

function entity(queue: Queue): Json {
  return {
    name: queue.name,
    exchange: queue.exchange.name,
    type: queue.exchange.type,
    routingKey: queue.routingKey,
    durable: queue.durable ?? true,
    autoDelete: queue.autoDelete ?? false,
    exclusive: queue.exclusive ?? false,
    arguments: queue.arguments ?? {},
  };
}

function camelOptions(options: Json): Json {
  const entries = Object.entries(options).map(([key, value]) => {
    const date = isPlainObject(value) ? value.$datetime : undefined;
    return [camelCase(key), typeof date === "string" ? PyDateTime.fromIso(date) : value];
  });
  return Object.fromEntries(entries);
}

function definition(name: string, own: Json): AnyTask {
  const behaviour: TaskBehaviour = camelOptions(own);
  return task(name, { ...behaviour }, () => null);
}

function tsConf(conf: Json): Json {
  const routes = conf.task_routes;
  if (routes === undefined) return conf;
  return { ...conf, task_routes: Array.isArray(routes) ? routes.map(tsRouter) : tsRouter(routes) };
}

function tsRouter(value: unknown): unknown {
  if (isPlainObject(value) && isPlainObject(value.$function)) {
    const answers = value.$function;
    return (name: string) => (Object.hasOwn(answers, name) ? answers[name] : null);
  }
  if (!Array.isArray(value)) return value;
  return value.map(([key, route]: [unknown, unknown]) => [
    isPlainObject(key) ? new RegExp(String(key.$regex)) : key,
    route,
  ]);
}
