/**
 * Control commands: a name, what it takes in Python's words, and what it does. The parameters are bound as Python would bind
 * them, so that a caller who gets them wrong reads the `TypeError` that Celery would have answered.
 * wire: celery/worker/control.py `Panel`, `controller_info_t`; behaviour 3.3.
 */
import { bindArguments, type ParamSpec, type Signature } from "../../protocol/binding.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "../settings/suggest.ts";
import { CommandError } from "./errors.ts";
import type { ControlState } from "./state.ts";

/** How the command line turns its words into arguments. */
export interface CommandLine {
  /** Named arguments in order, and what their text becomes. */
  readonly args?: readonly (readonly [name: string, type: "str" | "int" | "float" | "bool"])[];
  /** The name of the list that takes all further words. */
  readonly variadic?: string;
  /** As `--help` shows them: `<task_name> <rate_limit>`. */
  readonly signature?: string;
}

/** What a command is called, and how the command line shows it. */
export interface CommandInfo extends CommandLine {
  readonly name: string;
  /** `inspect` commands only look. */
  readonly kind: "inspect" | "control";
  readonly alias?: string;
  /** One sentence. */
  readonly help: string;
  /** Whether the command line lists it. @default true */
  readonly visible?: boolean;
  /** Seconds that callers wait for replies when they do not say. @default 1 */
  readonly defaultTimeout?: number;
}

/** The arguments of a call by name; those left to their defaults are absent. */
export type CommandArguments = Readonly<Record<string, unknown>>;

/** What a command returns is its reply; a promise is waited for. */
export type CommandHandler = (state: ControlState, args: CommandArguments) => unknown;

/** A command that workers answer, as `controlCommand()` makes it. */
export interface Command extends CommandInfo {
  readonly handler: CommandHandler;
  readonly signatureOf: Signature;
}

/**
 * A command of the worker. `parameters` as Python writes them, without `state`: `task_name, rate_limit=None, **kwargs`.
 * Without `**kwargs` unknown arguments are an error of the caller.
 */
export function command(info: CommandInfo & { parameters: string }, handler: CommandHandler): Command {
  const { parameters, ...rest } = info;
  return { ...rest, handler, signatureOf: { name: info.name, params: parametersOf(parameters) } };
}

function parametersOf(text: string): ParamSpec[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) =>
      part.startsWith("**")
        ? { name: part.slice(2), kind: "varKeyword", hasDefault: false }
        : {
            name: part.split("=")[0]!.trim(),
            kind: "positionalOrKeyword",
            hasDefault: part.includes("="),
          },
    );
}

/** The arguments by name; throws the `TypeError` of Python's call. */
export function bindCommand(bound: Command, given: CommandArguments): CommandArguments {
  const result = bindArguments(bound.signatureOf, [], given);
  if (!result.ok) throw new CommandError("TypeError", [result.message]);
  return { ...result.varKwargs, ...result.values };
}

/** For `controlCommand()`. Celery: `@control_command`, `@inspect_command`. */
export interface ControlCommandOptions extends CommandLine {
  /** @default "control" */
  kind?: "inspect" | "control";
  alias?: string;
  /** One sentence, for the command line. @default "" */
  help?: string;
  /** As in Python, without `state`: `n=1`. @default "**kwargs": any */
  parameters?: string;
  /** @default true */
  visible?: boolean;
  /** Seconds. @default 1 */
  defaultTimeout?: number;
}

const OPTION_NAMES = [
  "kind",
  "alias",
  "help",
  "parameters",
  "visible",
  "defaultTimeout",
  "args",
  "variadic",
  "signature",
] as const satisfies readonly (keyof ControlCommandOptions)[];

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * A control command of your own, as Celery's `@control_command` and `@inspect_command`; given to an app it is answered by that
 * app's workers. What the handler returns, or its promise gives, is the reply; what it throws is the reply's `error`.
 */
export function controlCommand(name: string, handler: CommandHandler): Command;
export function controlCommand(name: string, options: ControlCommandOptions, handler: CommandHandler): Command;
export function controlCommand(
  name: string,
  first: ControlCommandOptions | CommandHandler,
  second?: CommandHandler,
): Command {
  const options = typeof first === "function" ? {} : first;
  const handler = typeof first === "function" ? first : second;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new ImproperlyConfigured(`controlCommand(): ${JSON.stringify(name)} is no name that Python could call`);
  }
  const at = `controlCommand(${JSON.stringify(name)})`;
  if (typeof handler !== "function") throw new ImproperlyConfigured(`${at}: the handler is no function`);
  if (typeof options !== "object" || options === null) {
    throw new ImproperlyConfigured(`${at}: the options are no object`);
  }
  const names: readonly string[] = OPTION_NAMES;
  for (const key of Object.keys(options)) {
    if (!names.includes(key)) {
      throw new ImproperlyConfigured(`${at}: unknown option ${JSON.stringify(key)}${didYouMean(key, names)}`);
    }
  }
  const { kind = "control", help = "", parameters = "**kwargs", ...rest } = options;
  return command({ ...rest, name, kind, help, parameters }, handler);
}

/** Commands by name and alias. */
export class CommandRegistry {
  readonly #commands = new Map<string, Command>();
  readonly #names = new Map<string, Command>();

  constructor(commands: Iterable<Command>) {
    for (const one of commands) this.add(one);
  }

  /** The last of a name wins: a user may replace a command. */
  add(one: Command): void {
    this.#commands.set(one.name, one);
    this.#names.set(one.name, one);
    if (one.alias !== undefined) this.#names.set(one.alias, one);
  }

  get(name: string): Command | undefined {
    return this.#names.get(name);
  }

  /** Each once, by their own names, in alphabetical order. */
  list(kind?: "inspect" | "control"): Command[] {
    const all = [...this.#commands.values()].filter((one) => kind === undefined || one.kind === kind);
    return all.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
}
