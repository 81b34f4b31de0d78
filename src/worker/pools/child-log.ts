/** The log of a task in a child: lines go to the worker's own log. */
import { inspect } from "node:util";
import type { Log } from "../../runtime/log.ts";
import type { LogLevelName } from "./messages.ts";

export type SayLine = (level: LogLevelName, fields: object, message: string | undefined) => void;

export const LOG_LEVEL_NAMES: readonly LogLevelName[] = ["trace", "debug", "info", "warn", "error", "fatal"];

export class ChildLog implements Log {
  readonly #levels: readonly LogLevelName[];
  readonly #say: SayLine;
  readonly #bound: object;

  constructor(levels: readonly LogLevelName[], say: SayLine, bound: object = {}) {
    this.#levels = levels;
    this.#say = say;
    this.#bound = bound;
  }

  trace(fields: object, message?: string): void {
    this.#line("trace", fields, message);
  }
  debug(fields: object, message?: string): void {
    this.#line("debug", fields, message);
  }
  info(fields: object, message?: string): void {
    this.#line("info", fields, message);
  }
  warn(fields: object, message?: string): void {
    this.#line("warn", fields, message);
  }
  error(fields: object, message?: string): void {
    this.#line("error", fields, message);
  }
  fatal(fields: object, message?: string): void {
    this.#line("fatal", fields, message);
  }

  isLevelEnabled(level: string): boolean {
    return this.#levels.some((name) => name === level);
  }

  child(fields: object): Log {
    return new ChildLog(this.#levels, this.#say, { ...this.#bound, ...fields });
  }

  #line(level: LogLevelName, fields: object, message: string | undefined): void {
    if (!this.isLevelEnabled(level)) return;
    // As pino takes it: a text alone, or fields and a text.
    if (typeof fields === "string") return this.#say(level, this.#bound, fields);
    const all = fields instanceof Error ? { ...this.#bound, err: fields } : { ...this.#bound, ...fields };
    try {
      this.#say(level, all, message);
    } catch {
      // Something in it cannot be cloned.
      const shown = Object.entries(all).map(([name, value]) => [name, isPlain(value) ? value : inspect(value)]);
      this.#say(level, Object.fromEntries(shown), message);
    }
  }
}

function isPlain(value: unknown): boolean {
  return value === null || ["string", "number", "boolean", "bigint", "undefined"].includes(typeof value);
}
