/** What a command is, how its flags are read, and how it ends. */
import { parseArgs } from "node:util";
import { LovageError } from "../../protocol/errors.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { didYouMean } from "../settings/suggest.ts";
import { celeryOnlyFlag } from "./celery-only.ts";

/** Exit codes of Celery's command line: done, failed, used wrongly; sysexits' EX_UNAVAILABLE when no worker, or no broker, answers. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 69 } as const;

export interface Flag {
  type: "string" | "boolean";
  short?: string;
  /** May be given several times. */
  multiple?: boolean;
  /** What stands for the value in the help text. */
  value?: string;
  /** What `--help` says; null for a flag that is read and not shown. */
  help: string | null;
}

export type Flags = Readonly<Record<string, Flag>>;

/** What the command line said: values by flag name, and the words that are no flags. */
export interface Given {
  text(name: string): string | undefined;
  texts(name: string): string[];
  /** Several values, also in one separated by commas. */
  list(name: string): string[];
  number(name: string): number | undefined;
  on(name: string): boolean;
  words: readonly string[];
}

export interface Command {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** How it is written, after `lovage name`. */
  usage: string;
  /** A short paragraph, and examples that can be copied. */
  about: string;
  examples: readonly string[];
  flags: Flags;
  run(given: Given): Promise<number>;
  /** It asks workers: a broker that cannot be reached ends it as workers do that do not answer. */
  remote?: true;
  /** Instead of `run`, for a command whose options are partly another's. */
  raw?(args: readonly string[]): Promise<number>;
}

/** The command line cannot be understood; exit code 2. */
export class UsageError extends LovageError {
  constructor(message: string) {
    super("USAGE", message);
  }
}

export function readFlags(args: readonly string[], { name: command, flags }: Pick<Command, "name" | "flags">): Given {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    const options = Object.fromEntries(
      Object.entries(flags).map(([name, { type, short, multiple }]) => [
        name,
        { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
      ]),
    );
    parsed = parseArgs({ args: withNegatives(args, flags), options, allowPositionals: true, strict: true });
  } catch (error) {
    throw notRead(error, command, flags);
  }
  const { values } = parsed;
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  const texts = (name: string): string[] => {
    const value = values[name];
    return Array.isArray(value) ? value.map(String) : typeof value === "string" ? [value] : [];
  };
  return {
    text,
    texts,
    list: (name) =>
      texts(name)
        .flatMap((value) => value.split(","))
        .map((part) => part.trim())
        .filter((part) => part !== ""),
    number: (name) => {
      const value = text(name);
      if (value === undefined) return undefined;
      const number = Number(value);
      if (value.trim() === "" || !Number.isFinite(number)) throw new UsageError(`--${name} is a number, not ${value}`);
      return number;
    },
    on: (name) => values[name] === true,
    words: parsed.positionals,
  };
}

function flagOf(word: string, flags: Flags): [name: string, flag: Flag] | undefined {
  return Object.entries(flags).find(([name, { short }]) => word === `--${name}` || word === `-${short}`);
}

/** A negative number behind a flag is its value, as Celery reads it; `parseArgs` takes it for another flag. */
function withNegatives(args: readonly string[], flags: Flags): string[] {
  const words: string[] = [];
  const end = args.indexOf("--");
  for (let index = 0; index < args.length; index++) {
    const word = args[index]!;
    const next = args[index + 1] ?? "";
    const found = end >= 0 && index >= end ? undefined : flagOf(word, flags);
    if (found?.[1].type === "string" && /^-(\d|\.\d)/.test(next)) {
      words.push(`--${found[0]}=${next}`);
      index++;
    } else words.push(word);
  }
  return words;
}

/** `parseArgs`' complaint in a line of ours. */
function notRead(error: unknown, command: string, flags: Flags): UsageError {
  const text = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? error.code : null;
  const flag = /'(-[^'\s]*)/.exec(text)?.[1] ?? "";
  if (code === "ERR_PARSE_ARGS_UNKNOWN_OPTION") {
    const known = Object.keys(flags).map((name) => `--${name}`);
    return new UsageError(celeryOnlyFlag(flag, command) ?? `no such option: ${flag}${didYouMean(flag, known)}`);
  }
  const found = code === "ERR_PARSE_ARGS_INVALID_OPTION_VALUE" ? flagOf(flag.replace(/,$/, ""), flags) : undefined;
  if (found?.[1].type === "string") {
    const [name, { value = "TEXT" }] = found;
    return new UsageError(
      `${flag.replace(/,$/, "")} needs a value; one that begins with a dash is written --${name}=${value}`,
    );
  }
  return new UsageError(maskUrl(text.split("\n", 1)[0] ?? text));
}

export function helpOf(command: Command): string {
  const rows = Object.entries(command.flags).flatMap(([name, flag]): [string, string][] => {
    if (flag.help === null) return [];
    const value = flag.type === "boolean" ? "" : ` ${flag.value ?? "TEXT"}`;
    return [[`${flag.short === undefined ? "    " : `-${flag.short}, `}--${name}${value}`, flag.help]];
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `Usage: lovage ${command.name} ${command.usage}`,
    "",
    command.about,
    "",
    "Options:",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    "",
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}
