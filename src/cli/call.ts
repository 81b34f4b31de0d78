/** `lovage call`: sends one task by name. */
import { parseIso } from "../../protocol/iso-time.ts";
import { decodeJson } from "../../protocol/json.ts";
import type { ApplyAsyncOptions } from "../tasks/call-options.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, type Given, UsageError } from "./command.ts";
import { complain, print } from "./output.ts";
import { showResult } from "./show-result.ts";

export const call: Command = {
  name: "call",
  summary: "send a task by name",
  usage: "NAME [-a JSON] [-k JSON] [--queue Q] [--wait]",
  about: [
    "Sends a task to whoever runs it, in Python or TypeScript, and prints its id. With --wait it prints the result as JSON",
    "instead (the id goes to standard error), and ends with 1 when the task fails.",
  ].join("\n"),
  examples: [
    "lovage call reports.build -a '[2024, \"q3\"]' -k '{\"draft\": true}' --queue reports",
    "lovage call reports.build --countdown 60 --expires 3600",
    "lovage call add -a '[2, 3]' --wait --timeout 10",
  ],
  flags: {
    ...APP_FLAGS,
    args: { type: "string", short: "a", value: "JSON", help: "positional arguments, a JSON array" },
    kwargs: { type: "string", short: "k", value: "JSON", help: "keyword arguments, a JSON object" },
    eta: { type: "string", value: "TIME", help: "when to run, ISO 8601" },
    countdown: { type: "string", value: "SECONDS", help: "run this many seconds from now" },
    expires: { type: "string", value: "WHEN", help: "seconds from now, or ISO 8601, after which not to run any more" },
    serializer: { type: "string", value: "NAME", help: "json" },
    priority: { type: "string", value: "N", help: "message priority" },
    queue: { type: "string", value: "NAME", help: "queue to send to" },
    exchange: { type: "string", value: "NAME", help: "exchange to send to" },
    "routing-key": { type: "string", value: "KEY", help: "routing key" },
    "task-id": { type: "string", value: "ID", help: "id of the task (default: a fresh one)" },
    wait: { type: "boolean", help: "wait for the result and print it" },
    timeout: { type: "string", value: "SECONDS", help: "how long to wait (default: for ever)" },
  },
  async run(given) {
    const [name, ...more] = given.words;
    if (name === undefined) throw new UsageError("which task?");
    if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
    const args = json(given, "args", Array.isArray, "a JSON array") ?? [];
    const kwargs = json(given, "kwargs", isObject, "a JSON object") ?? {};
    const options = optionsOf(given);
    const timeout = given.number("timeout");
    const level = applyAppFlags(given, "warn");
    await using app = await openApp(given, level);
    if (given.on("wait") && app.backend === null) {
      throw new UsageError(
        "--wait needs a result backend, and none is configured (--result-backend URL); nothing was sent",
      );
    }
    const sent = await app.sendTask(name, args, kwargs, options);
    if (!given.on("wait")) {
      print(sent.id);
      return EXIT.ok;
    }
    complain(`${sent.id}\n`);
    return await showResult(sent, timeout);
  },
};

function optionsOf(given: Given): ApplyAsyncOptions {
  const expires = given.text("expires");
  const found: Record<string, unknown> = {
    eta: instant("eta", given.text("eta")),
    countdown: given.number("countdown"),
    expires:
      expires !== undefined && /^[+-]?\d+(\.\d+)?$/.test(expires) ? Number(expires) : instant("expires", expires),
    serializer: given.text("serializer"),
    priority: given.number("priority"),
    queue: given.text("queue"),
    exchange: given.text("exchange"),
    routingKey: given.text("routing-key"),
    taskId: given.text("task-id"),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

function instant(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const read = parseIso(text);
  if (read !== null && read !== "overflow") return text;
  throw new UsageError(`--${flag} is a time in ISO 8601, such as 2030-01-02T03:04:05+00:00, not ${text}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function json<T>(given: Given, name: string, is: (value: unknown) => value is T, what: string): T | undefined {
  const text = given.text(name);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = decodeJson(text);
  } catch (error) {
    throw new UsageError(`--${name} is ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!is(value)) throw new UsageError(`--${name} is ${what}`);
  return value;
}
