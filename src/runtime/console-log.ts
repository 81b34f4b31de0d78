/**
 * The log of a process: pino's JSON lines, or readable lines in Celery's form when a person is watching.
 * Everything goes to standard error, so that what a command prints stays usable.
 */
import { pino } from "pino";
import { errorForLog } from "./cut-text.ts";
import type { Log } from "./log.ts";
import { formatLogLine } from "./log-format.ts";

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
  /** Of Python's `logging`: `%(asctime)s:%(levelname)s:%(message)s`. @default the environment's `LOVAGE_LOG_FORMAT`, or none */
  format?: string | undefined;
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
  const { format = process.env.LOVAGE_LOG_FORMAT } = options;
  const shown = (line: string) => write(format ? formattedLine(line, format) : readableLine(line, color));
  return pino(settings, { write: readable || format ? shown : write });
}

/** A log line never throws, not even of an error whose own code does. */
function errorFields(error: Error): unknown {
  try {
    return pino.stdSerializers.errWithCause(errorForLog(error) as Error);
  } catch {
    return { type: "Error", message: "this error cannot be read", stack: "" };
  }
}

/** What a line says, apart from when. */
interface Said {
  readonly timeMs: number;
  readonly level: number;
  readonly words: string;
  /** Of an error, to stand below. */
  readonly stack: string;
}

/** What is only a warning (a connection that is tried again) says the error's message in its line. Null: no line of pino's. */
function readLine(line: string): Said | null {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { time, level, msg, err, ...fields } = entry;
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const thrown: object = typeof err === "object" && err !== null ? err : {};
  const why = Number(level) < 50 && "message" in thrown ? `: ${String(thrown.message)}` : "";
  const stack = why === "" && "stack" in thrown ? `\n${String(thrown.stack)}` : "";
  return { timeMs: Number(time), level: Number(level), words: `${String(msg ?? "")}${why}${rest.join("")}`, stack };
}

/** `[2026-11-21 10:00:00,123: INFO] succeeded task=add id=…`. */
function readableLine(line: string, color: boolean): string {
  const said = readLine(line);
  if (said === null) return line;
  const [name, code] = LEVELS[said.level] ?? ["INFO", "0"];
  const at = new Date(said.timeMs).toISOString().replace("T", " ").replace(".", ",").replace("Z", "");
  const head = `[${at}: ${name}]`;
  return `${color ? `\u001b[${code}m${head}\u001b[0m` : head} ${said.words}${said.stack}\n`;
}

function formattedLine(line: string, format: string): string {
  const said = readLine(line);
  if (said === null) return line;
  const { timeMs, level, words: message, stack } = said;
  // Python's levels are ten below pino's.
  const of = { timeMs, level: LEVELS[level]?.[0] ?? "INFO", levelNumber: Math.max(5, level - 10), message };
  return `${formatLogLine(format, of)}${stack}\n`;
}
