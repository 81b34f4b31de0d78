/**
 * The log of a process: pino's JSON lines, or readable lines in Celery's form when a person is watching.
 * Everything goes to standard error, so that what a command prints stays usable.
 */
import { pino } from "pino";
import { errorForLog } from "./cut-text.ts";
import type { Log } from "./log.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
/** From everything to nothing; `LOVAGE_LOG_LEVEL` takes the same words. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** For `consoleLog()`. */
export interface ConsoleLogOptions {
  /** @default "info" */
  level?: LogLevel;
  /** @default whether standard error is a terminal */
  readable?: boolean;
  /** @default whether standard error is a terminal, `NO_COLOR` is unset */
  color?: boolean;
  /** Where lines go. @default standard error */
  write?: (line: string) => void;
}

const LEVELS: Record<number, [name: string, color: string]> = {
  10: ["TRACE", "2"],
  20: ["DEBUG", "34"],
  30: ["INFO", "0"],
  40: ["WARNING", "33"],
  50: ["ERROR", "31"],
  60: ["CRITICAL", "35"],
};

/** A logger for this process. Errors are logged under `err`, with code, cause and stack. */
export function consoleLog(options: ConsoleLogOptions = {}): Log {
  const terminal = process.stderr.isTTY === true;
  const { level = "info", readable = terminal, color = terminal && !process.env.NO_COLOR } = options;
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const settings = { level, base: null, serializers: { err: errorFields } };
  return pino(settings, { write: readable ? (line: string) => write(readableLine(line, color)) : write });
}

/** A log line never throws, not even of an error whose own code does. */
function errorFields(error: Error): unknown {
  try {
    return pino.stdSerializers.errWithCause(errorForLog(error) as Error);
  } catch {
    return { type: "Error", message: "this error cannot be read", stack: "" };
  }
}

/**
 * `[2026-11-21 10:00:00,123: INFO] succeeded task=add id=…`. The stack of an error stands below; what is only a warning (a
 * connection that is tried again) says the error's message in its line.
 */
function readableLine(line: string, color: boolean): string {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { time, level, msg, err, ...fields } = entry;
  const [name, code] = LEVELS[Number(level)] ?? ["INFO", "0"];
  const at = new Date(Number(time)).toISOString().replace("T", " ").replace(".", ",").replace("Z", "");
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const thrown: object = typeof err === "object" && err !== null ? err : {};
  const why = Number(level) < 50 && "message" in thrown ? `: ${String(thrown.message)}` : "";
  const stack = why === "" && "stack" in thrown ? `\n${String(thrown.stack)}` : "";
  const head = `[${at}: ${name}]`;
  return `${color ? `\u001b[${code}m${head}\u001b[0m` : head} ${String(msg ?? "")}${why}${rest.join("")}${stack}\n`;
}
