/**
 * `lovage status`, `lovage inspect` and `lovage control`: the workers of a fleet, Python's and ours, asked and steered from the
 * command line. Output and exit codes are Celery's. wire: celery/bin/control.py, celery/bin/base.py `pretty`; behaviour 6.2.
 */
import { encodeJson } from "../../protocol/json.ts";
import { isRecord } from "../../protocol/records.ts";
import { pyRepr } from "../../protocol/saferepr.ts";
import { flatReplies } from "../app/inspect.ts";
import type { Celery } from "../app.ts";
import type { Command as ControlCommand } from "../control/command.ts";
import type { Reply } from "../control/mailbox.ts";
import { didYouMean } from "../settings/suggest.ts";
import { APP_FLAGS, applyAppFlags, openApp } from "./app-flags.ts";
import { type Command, EXIT, type Given, UsageError } from "./command.ts";
import { complain, print } from "./output.ts";
import { paint } from "./paint.ts";
import { clean, cleanLines } from "./terminal-text.ts";

const REMOTE_FLAGS = {
  ...APP_FLAGS,
  timeout: {
    type: "string",
    short: "t",
    value: "SECONDS",
    help: "silence after which nobody else is waited for (default 1)",
  },
  destination: {
    type: "string",
    short: "d",
    multiple: true,
    value: "NODES",
    help: "node names, comma separated (default: all)",
  },
  json: { type: "boolean", short: "j", help: "one JSON document, and nothing else" },
} as const;

export const status: Command = {
  name: "status",
  summary: "show which workers are online",
  usage: "[-d nodes] [-t SECONDS] [--json]",
  about:
    "Pings the workers of the fleet, in whatever language they are written. Ends with 69 when none answers, or no broker.",
  examples: ["lovage status -A ./app.js", "lovage status -b amqp://guest:guest@localhost:5672// --json"],
  flags: REMOTE_FLAGS,
  remote: true,
  async run(given) {
    if (given.words.length > 0) throw new UsageError(`unexpected ${given.words.join(" ")}`);
    return asking(given, async (app) => {
      const replies = await ask(app, given, "ping", {}, false);
      if (given.on("json")) printDocument(flatReplies(replies, app.log));
      return replies;
    });
  },
};

export const inspect: Command = remote("inspect", "ask workers what they do", [
  "lovage inspect active -A ./app.js",
  "lovage inspect stats -d celery@web1 --json",
  "lovage inspect query_task 5c1d7c2e-…",
  "lovage inspect --list",
]);

export const control: Command = remote("control", "tell workers what to do", [
  "lovage control rate_limit images.thumbnail 10/m -A ./app.js",
  "lovage control add_consumer mail -d celery@web1",
  "lovage control pool_grow 2",
  "lovage control --list",
]);

function remote(kind: "inspect" | "control", summary: string, examples: readonly string[]): Command {
  return {
    name: kind,
    summary,
    usage: "COMMAND [arguments] [-d nodes] [-t SECONDS] [--json]",
    about: [
      `Sends one of Celery's ${kind} commands, or one of your app's own, to the workers and prints what they answer.`,
      "--list shows the commands and their arguments. Ends with 69 when no worker or no broker answers.",
    ].join("\n"),
    examples,
    remote: true,
    flags: { ...REMOTE_FLAGS, list: { type: "boolean", help: `list the ${kind} commands` } },
    async run(given) {
      const [name, ...words] = given.words;
      return asking(
        given,
        async (app) => {
          const known = app.control.commands.list(kind).filter((one) => one.visible !== false);
          if (given.on("list")) {
            if (given.on("json")) print(encodeJson(known.map(described)));
            else for (const line of listing(known)) print(line);
            return null;
          }
          const command = commandOf(kind, name, known);
          const replies = await ask(app, given, command.name, argumentsOf(command, words), true);
          if (given.on("json"))
            printDocument(kind === "inspect" || replies.length === 0 ? flatReplies(replies, app.log) : replies);
          return replies;
        },
        kind === "inspect",
      );
    },
  };
}

/** Runs `act` with an app; null: there was nothing to ask. */
async function asking(given: Given, act: (app: Celery) => Promise<Reply[] | null>, counts = true): Promise<number> {
  const level = applyAppFlags(given, "warn");
  await using app = await openApp(given, level);
  const replies = await act(app);
  if (replies === null) return EXIT.ok;
  if (replies.length === 0) {
    complain("Error: No nodes replied within time constraint\n");
    return EXIT.unavailable;
  }
  const nodes = new Set(replies.flatMap((reply) => Object.keys(reply))).size;
  if (counts && !given.on("json") && !given.on("quiet")) print(`\n${nodes} ${nodes === 1 ? "node" : "nodes"} online.`);
  return EXIT.ok;
}

/** Nothing where nobody answered: then there is the complaint alone. */
function printDocument(answers: unknown): void {
  if (answers !== null) print(encodeJson(answers));
}

async function ask(
  app: Celery,
  given: Given,
  command: string,
  words: Readonly<Record<string, unknown>>,
  showsReply: boolean,
): Promise<Reply[]> {
  const destination = given.list("destination");
  const timeout = given.number("timeout") ?? 1;
  if (timeout <= 0) throw new UsageError("--timeout is a number of seconds, above 0");
  const callback = given.on("json") ? null : (reply: Reply) => say(reply, showsReply);
  const replies = await app.control.broadcast(command, {
    arguments: words,
    reply: true,
    timeout,
    callback,
    ...(destination.length === 0 ? {} : { destination }),
  });
  return replies ?? [];
}

function commandOf(kind: string, name: string | undefined, known: readonly ControlCommand[]): ControlCommand {
  const names = known.map((one) => one.name);
  if (name === undefined) throw new UsageError(`which ${kind} command? There are: ${names.join(", ")}`);
  const found = known.find((one) => one.name === name || one.alias === name);
  if (found !== undefined) return found;
  throw new UsageError(
    `Command ${name} not recognized${didYouMean(name, names) || "."} Available ${kind} commands: ${names.join(", ")}`,
  );
}

const TRUE = new Set(["y", "yes", "t", "true", "on", "1"]);
const FALSE = new Set(["n", "no", "f", "false", "off", "0"]);

/** Words in the order of the command's arguments; a variadic command takes all that are left. */
export function argumentsOf(command: ControlCommand, words: readonly string[]): Record<string, unknown> {
  const { args = [], variadic, signature = "" } = command;
  if (words.length > args.length && variadic === undefined) {
    throw new UsageError(
      args.length === 0 ? `${command.name} takes no arguments` : `${command.name} takes arguments: ${signature}`,
    );
  }
  const given: Record<string, unknown> = {};
  for (const [index, [name, type]] of args.entries()) {
    const word = words[index];
    if (word !== undefined) given[name] = typed(`${command.name}: ${name}`, type, word);
  }
  if (variadic !== undefined) given[variadic] = words.slice(args.length);
  return given;
}

function typed(at: string, type: "str" | "int" | "float" | "bool", word: string): unknown {
  if (type === "str") return word;
  if (type === "bool") {
    if (TRUE.has(word.toLowerCase())) return true;
    if (FALSE.has(word.toLowerCase())) return false;
    throw new UsageError(`${at} is true or false, not ${word}`);
  }
  const number = Number(word);
  const right = word.trim() !== "" && (type === "int" ? Number.isSafeInteger(number) : Number.isFinite(number));
  if (!right) throw new UsageError(`${at} is ${type === "int" ? "a whole number" : "a number"}, not ${word}`);
  return number;
}

/** A command as data. */
function described({ name, alias, args = [], variadic, signature, help }: ControlCommand): Record<string, unknown> {
  return {
    name,
    alias: alias ?? null,
    arguments: args.map(([argument, type]) => ({ name: argument, type })),
    variadic: variadic ?? null,
    signature: signature ?? "",
    help,
  };
}

function listing(known: readonly ControlCommand[]): string[] {
  const rows = known.map((one) => [`${one.name} ${one.signature ?? ""}`.trimEnd(), one.help] as const);
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`.trimEnd());
}

function say(reply: Reply, showsReply: boolean): void {
  for (const [node, answer] of Object.entries(reply)) {
    const [state, body] = pretty(answer);
    print(
      `${paint("bold", "->")}  ${paint("cyan", `${clean(node)}: `)}${paint(state === "OK" ? "green" : "red", state)}`,
    );
    if (showsReply) print(indented(cleanLines(body), 4));
  }
}

/** Celery's `pretty`: lists as bullets, maps as JSON, texts as they are. */
export function pretty(answer: unknown): [state: "OK" | "ERROR", body: string] {
  if (Array.isArray(answer)) {
    return ["OK", answer.length === 0 ? "- empty -" : answer.map((item) => `* ${textOf(item)}`).join("\n")];
  }
  if (isRecord(answer)) {
    if (Object.hasOwn(answer, "ok")) return ["OK", indented(pretty(answer.ok)[1], 4)];
    if (Object.hasOwn(answer, "error")) return ["ERROR", indented(pretty(answer.error)[1], 4)];
    return ["OK", JSON.stringify(sorted(answer), null, 4)];
  }
  return ["OK", textOf(answer)];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : pyRepr(value);
}

/** Members by name, as Python prints them; bigints as numbers. */
function sorted(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRecord(value)) return value;
  const names = Object.keys(value).sort();
  return Object.fromEntries(names.map((name) => [name, sorted(value[name])]));
}

function indented(text: string, by: number): string {
  return text
    .split("\n")
    .map((line) => " ".repeat(by) + line)
    .join("\n");
}
