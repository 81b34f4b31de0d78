/** What a command is, how its flags are read, and how it ends. */
import { parseArgs } from "node:util";
import { LovageError } from "../../protocol/errors.ts";

/** Exit codes of Celery's command line: 0 done, 1 failed, 2 used wrongly, 69 nobody answered. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 69 } as const;

export interface Flag {
  type: "string" | "boolean";
  short?: string;
  /** May be given several times. */
  multiple?: boolean;
  /** What stands for the value in the help text. */
  value?: string;
  help: string;
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
}

/** The command line cannot be understood; exit code 2. */
export class UsageError extends LovageError {
  constructor(message: string) {
    super("USAGE", message);
  }
}

export function readFlags(args: readonly string[], flags: Flags): Given {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    const options = Object.fromEntries(
      Object.entries(flags).map(([name, { type, short, multiple }]) => [
        name,
        { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
      ]),
    );
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
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
      if (value.trim() === "" || Number.isNaN(number)) throw new UsageError(`--${name} is a number, not ${value}`);
      return number;
    },
    on: (name) => values[name] === true,
    words: parsed.positionals,
  };
}

export function helpOf(command: Command): string {
  const rows = Object.entries(command.flags).map(([name, flag]): [string, string] => {
    const value = flag.type === "boolean" ? "" : ` ${flag.value ?? "TEXT"}`;
    return [`${flag.short === undefined ? "    " : `-${flag.short}, `}--${name}${value}`, flag.help];
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

/** Prints a line of result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
