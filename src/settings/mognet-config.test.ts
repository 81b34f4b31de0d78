import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tempFolder } from "../testing/temp-folder.ts";
import { isPlainObject } from "./kinds.ts";
import { type MognetConfigInput, parseMognetConfig, patienceS } from "./mognet-config.ts";

const parse = (code: MognetConfigInput = {}, env: NodeJS.ProcessEnv = {}) => parseMognetConfig({ code, env }).config;

describe("the configuration of a Mognet app", () => {
  test("has Mognet's defaults", () => {
    const { node_id, ...rest } = parse();
    expect(node_id).toMatch(new RegExp(`^${process.pid}@.`));
    expect(rest).toEqual({
      result_backend: {
        redis: {
          url: "redis://localhost:6379/",
          result_ttl: 1_814_400,
          result_value_ttl: 604_800,
          result_value_encoding: "gzip",
          retry_connect_attempts: 10,
          retry_connect_timeout: 30,
          max_connections: null,
        },
      },
      state_backend: { redis: { url: "redis://localhost:6379/", state_ttl: 7_200, max_connections: null } },
      broker: { amqp: { url: "amqp://localhost:5672/", retry_connect_attempts: 10, retry_connect_timeout: 30 } },
      imports: [],
      max_tasks: null,
      max_recursion: 64,
      max_retries: 3,
      default_task_route: "tasks",
      task_routes: {},
      task_queues: { include: [], exclude: [] },
      minimum_concurrency: 1,
      maximum_concurrency: null,
      services_settings: {},
      max_reconnect_retries: 5,
      reconnect_interval: 5,
      lovage: {
        max_message_bytes: 64 * 2 ** 20,
        max_decompressed_bytes: 256 * 2 ** 20,
        max_message_depth: 1000,
        exact_floats: false,
        validate_params: true,
        persistent_messages: false,
        broker_heartbeat: 60,
        broker_connection_timeout: 4,
        shutdown_grace: 5,
      },
    });
  });

  test("has no key that nobody reads, but for those that are Python's alone", () => {
    const sources = readdirSync(join(import.meta.dirname, ".."), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !/\.test|mognet-config/.test(path))
      .map((path) => readFileSync(join(import.meta.dirname, "..", path), "utf8"))
      .join("\n");
    const leaves = (value: unknown): string[] =>
      isPlainObject(value) && Object.keys(value).length > 0
        ? Object.entries(value).flatMap(([key, inner]) =>
            isPlainObject(inner) && Object.keys(inner).length > 0 ? leaves(inner) : [key],
          )
        : [];
    const pythons = new Set(["imports", "max_reconnect_retries"]);
    // Read by `patienceS` for whoever asks it, and by services themselves.
    const elsewhere = new Set(["retry_connect_attempts", "retry_connect_timeout", "services_settings"]);
    const unread = leaves(parse()).filter((key) => !pythons.has(key) && !elsewhere.has(key));
    expect(unread.filter((key) => !new RegExp(`\\b${key}\\b`).test(sources))).toEqual([]);
  });

  test("takes the environment before code, code before the file", async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, "mognet.json");
    writeFileSync(
      file,
      JSON.stringify({
        broker: { amqp: { url: "amqp://file/", retry_connect_attempts: 2 } },
        task_routes: { a: "file" },
        minimum_concurrency: 2,
        max_retries: 7,
        imports: ["shop.tasks"],
      }),
    );
    const { config, notices } = parseMognetConfig({
      file,
      code: { broker: { amqp: { url: "amqp://code/" } }, task_routes: { b: "code" }, minimum_concurrency: 3 },
      env: {
        LOVAGE_MOGNET_MINIMUM_CONCURRENCY: "4",
        LOVAGE_MOGNET_TASK_QUEUES_INCLUDE: "x, y",
        LOVAGE_MOGNET_NODE_ID: "n1",
      },
    });
    expect(config.broker.amqp).toMatchObject({ url: "amqp://code/", retry_connect_attempts: 2 });
    expect(config.task_routes).toEqual({ b: "code" });
    expect(config).toMatchObject({ minimum_concurrency: 4, max_retries: 7, node_id: "n1" });
    expect(config.task_queues.include).toEqual(["x", "y"]);
    expect(notices).toEqual([expect.stringContaining("imports names modules of Python's")]);
  });

  test.each<[string, unknown, string]>([
    [
      "an unknown key",
      { minimum_concurency: 2 },
      'unknown key minimum_concurency (code) in the configuration of a Mognet app; did you mean "minimum_concurrency"?',
    ],
    ["one that stands elsewhere", { result_ttl: 2 }, "it stands at result_backend.redis.result_ttl"],
    [
      "one inside a section",
      { broker: { amqp: { uri: "x" } } },
      'unknown key broker.amqp.uri (code) in the configuration of a Mognet app; did you mean "url"?',
    ],
    ["a section that is none", { broker: "amqp://x" }, "broker (code) must be an object"],
    ["a number as text", { max_retries: "3" }, 'max_retries (code) must be a whole number, at least 0, not "3"'],
    [
      "another broker",
      { broker: { amqp: { url: "redis://u:secret@x" } } },
      "broker.amqp.url (code) must be a URL that begins with amqp:// or amqps:// or memory://",
    ],
    [
      "both halves of the queues",
      { task_queues: { include: ["a"], exclude: ["b"] } },
      "task_queues cannot have both include and exclude",
    ],
    ["modules of Python's", { imports: ["a"] }, "give the app its tasks instead"],
  ])("refuses %s, with a hint", (_what, code, words) => {
    expect(() => parseMognetConfig({ code: code as MognetConfigInput, env: {} })).toThrow(words);
  });

  test("refuses an unknown variable, and never repeats a password", () => {
    expect(() => parse({}, { LOVAGE_MOGNET_BROKER_AMQP_URI: "x" })).toThrow(
      'did you mean "LOVAGE_MOGNET_BROKER_AMQP_URL"?',
    );
    const wrong = () => parse({}, { LOVAGE_MOGNET_BROKER_AMQP_URL: "http://u:secret@x" });
    expect(wrong).toThrow("environment LOVAGE_MOGNET_BROKER_AMQP_URL");
    expect(wrong).not.toThrow("secret");
  });

  test("bears an outage as long as Mognet's attempts add up to", () => {
    expect(patienceS(parse().broker.amqp)).toBe(1 + 2 + 4 + 8 + 16 + 5 * 30);
    expect(
      patienceS(parse({ broker: { amqp: { retry_connect_attempts: 3, retry_connect_timeout: 2 } } }).broker.amqp),
    ).toBe(5);
  });
});
