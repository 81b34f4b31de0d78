/** Finds the command that a command line names, prints help, turns errors into exit codes. */
import { LovageError } from "../../protocol/errors.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { version } from "../runtime/version.ts";
import { didYouMean } from "../settings/suggest.ts";
import { TransportError } from "../transports/errors.ts";
import { inFlagNames } from "./app-flags.ts";
import { call } from "./call.ts";
import { celeryOnlyCommand } from "./celery-only.ts";
import { type Command, EXIT, helpOf, readFlags, UsageError } from "./command.ts";
import { doctor } from "./doctor.ts";
import { events } from "./events.ts";
import { graph } from "./graph.ts";
import { list } from "./list.ts";
import { logtool } from "./logtool.ts";
import { mognet } from "./mognet.ts";
import { multi } from "./multi.ts";
import { complain, print } from "./output.ts";
import { purge } from "./purge.ts";
import { control, inspect, status } from "./remote.ts";
import { report } from "./report.ts";
import { result } from "./result.ts";
import { shell } from "./shell.ts";
import { worker } from "./worker.ts";

export const COMMANDS: readonly Command[] = [
  worker,
  call,
  result,
  status,
  inspect,
  control,
  events,
  purge,
  list,
  mognet,
  shell,
  multi,
  graph,
  logtool,
  report,
  doctor,
];

/** Flags that Celery takes before the command, and whether they take a value; they are moved behind it. */
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
  ["-q", false],
  ["--quiet", false],
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
    "lovage COMMAND --help explains one. -A names the module that exports your app; commands that need no tasks work",
    "without it. The broker comes from the app, -b, LOVAGE_BROKER_URL or CELERY_BROKER_URL; with none at all, messages and",
    "results are files under .lovage/ in this folder, where Python finds them too.",
    "",
  ].join("\n");
}

/** Splits `-A app worker -c 4` into the command's name, what stands before it and what behind. */
function split(args: readonly string[]): { name: string | undefined; before: string[]; behind: string[] } {
  const before: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    const short = /^-[Ab]./.test(arg) ? arg.slice(0, 2) : arg;
    const [flag = arg] = short.split("=", 1);
    const takesValue = BEFORE.get(flag);
    if (takesValue === undefined) return { name: arg, before, behind: args.slice(index + 1) };
    before.push(arg);
    const separate = arg === flag;
    if (takesValue && separate && index + 1 < args.length) before.push(args[++index]!);
  }
  return { name: undefined, before, behind: [] };
}

/** Runs a command line and gives its exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const { name, before, behind } = split(args);
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const about = COMMANDS.find((command) => command.name === behind[0]);
    const text = about === undefined ? overview() : helpOf(about);
    if (name === undefined) complain(text);
    else print(text.trimEnd());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === "--version" || name === "version") {
    print(version());
    return EXIT.ok;
  }
  const command = COMMANDS.find((one) => one.name === name);
  try {
    if (command === undefined) throw unknownCommand(name);
    if (asksForHelp(behind)) {
      print(helpOf(command).trimEnd());
      return EXIT.ok;
    }
    return await (command.raw?.([...behind, ...before]) ?? command.run(readFlags([...before, ...behind], command)));
  } catch (error) {
    return explain(error, command);
  }
}

/** `--help` counts only where flags are read, not behind `--`. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const flags = end < 0 ? args : args.slice(0, end);
  return flags.includes("--help") || flags.includes("-h");
}

function unknownCommand(name: string): UsageError {
  const known = COMMANDS.map((one) => one.name);
  if (name.startsWith("-")) return new UsageError(`${maskUrl(name)} does not stand before a command`);
  return new UsageError(celeryOnlyCommand(name) ?? `no such command: ${maskUrl(name)}${didYouMean(name, known)}`);
}

function explain(error: unknown, command: Command | undefined): number {
  if (error instanceof UsageError) {
    complain(`lovage: ${error.message}\nTry: lovage ${command === undefined ? "" : `${command.name} `}--help\n`);
    return EXIT.usage;
  }
  if (error instanceof LovageError) complain(`lovage: ${inFlagNames(error.message)}\n`);
  else complain(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return command?.remote === true && error instanceof TransportError ? EXIT.unavailable : EXIT.failed;
}
