#!/usr/bin/env node
/** The `lovage` command: finds the sub-command, prints help, turns errors into exit codes. */
import { LovageError } from "../../protocol/errors.ts";
import { didYouMean } from "../settings/suggest.ts";
import { call } from "./call.ts";
import { type Command, EXIT, helpOf, print, readFlags, UsageError } from "./command.ts";
import { doctor } from "./doctor.ts";
import { list } from "./list.ts";
import { purge } from "./purge.ts";
import { result } from "./result.ts";
import { version } from "./version.ts";
import { worker } from "./worker.ts";

const COMMANDS: readonly Command[] = [worker, call, result, purge, list, doctor];

/** Flags that Celery takes before the command; moved behind it. */
const BEFORE = new Map([
  ["-A", true],
  ["--app", true],
  ["-b", true],
  ["--broker", true],
  ["--result-backend", true],
  ["--config", true],
  ["--workdir", true],
  ["-C", false],
  ["--no-color", false],
]);

function overview(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "Usage: lovage [-A APP] [-b BROKER] COMMAND …",
    "",
    "Celery for Node: one task-queue fleet for TypeScript and Python.",
    "",
    "Commands:",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "lovage COMMAND --help explains one. Without -A, and for brokers without -b, the settings come from the environment",
    "(LOVAGE_BROKER_URL, CELERY_BROKER_URL, …); with no broker at all, messages are files under .lovage/ in this folder.",
    "",
  ].join("\n");
}

/** Splits `-A app worker -c 4` into the command's name and all flags. */
function split(args: readonly string[]): { name: string | undefined; rest: string[] } {
  const moved: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    const [flag = arg] = arg.split("=", 1);
    const takesValue = BEFORE.get(flag);
    if (takesValue === undefined) return { name: arg, rest: [...moved, ...args.slice(index + 1)] };
    moved.push(arg);
    if (takesValue && !arg.includes("=") && index + 1 < args.length) moved.push(args[++index]!);
  }
  return { name: undefined, rest: moved };
}

/** Runs a command line and gives its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { name, rest } = split(args);
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const about = COMMANDS.find((command) => command.name === rest[0]);
    print(about === undefined ? overview() : helpOf(about));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === "--version" || name === "version") {
    print(version());
    return EXIT.ok;
  }
  const command = COMMANDS.find((one) => one.name === name);
  try {
    if (command === undefined) {
      throw new UsageError(
        `no such command: ${name}${didYouMean(
          name,
          COMMANDS.map((one) => one.name),
        )}`,
      );
    }
    if (rest.includes("--help") || rest.includes("-h")) {
      print(helpOf(command));
      return EXIT.ok;
    }
    return await command.run(readFlags(rest, command.flags));
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`lovage: ${error.message}\nTry: lovage ${command?.name ?? ""} --help\n`);
      return EXIT.usage;
    }
    if (error instanceof LovageError) process.stderr.write(`lovage: ${error.message}\n`);
    else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return EXIT.failed;
  }
}

/** Started as a program, not imported. */
if (process.argv[1] !== undefined && /(?:^|[\\/])(?:lovage|main\.[jt]s)$/.test(process.argv[1])) {
  process.exitCode = await main(process.argv.slice(2));
}
