/**
 * Log lines in a format of Python's `logging`, such as `%(asctime)s:%(name)s:%(levelname)s:%(message)s`, which Mognet's command line
 * takes. source: CPython Lib/logging/__init__.py `PercentStyle`, `LogRecord`.
 */
export interface LogLine {
  /** Unix milliseconds. */
  readonly timeMs: number;
  readonly level: string;
  /** Python's: 20 is INFO. */
  readonly levelNumber: number;
  readonly message: string;
}

const FIELDS: Readonly<Record<string, (line: LogLine) => string | number>> = {
  asctime: ({ timeMs }) => localTime(new Date(timeMs)),
  created: ({ timeMs }) => timeMs / 1000,
  msecs: ({ timeMs }) => timeMs % 1000,
  relativeCreated: ({ timeMs }) => timeMs - performance.timeOrigin,
  levelname: ({ level }) => level,
  levelno: ({ levelNumber }) => levelNumber,
  message: ({ message }) => message,
  name: () => "lovage",
  module: () => "lovage",
  process: () => process.pid,
  processName: () => "MainProcess",
  thread: () => 0,
  threadName: () => "MainThread",
};

const PLACE = /%(?:\((\w+)\)([-+ 0#]*)(\d{0,3})(?:\.(\d{1,2}))?([sdf])|(%))/g;

/** What is wrong with a format, in words; null: nothing. */
export function logFormatProblem(format: string): string | null {
  let places = 0;
  for (const [, field] of format.matchAll(PLACE)) {
    if (field === undefined) continue;
    places++;
    if (!Object.hasOwn(FIELDS, field)) return `no such field: ${field} (${Object.keys(FIELDS).join(", ")})`;
  }
  if (places === 0) return "it names no field, such as %(message)s";
  const rest = format.replace(PLACE, "");
  return rest.includes("%") ? `what follows % is not understood: ${rest.slice(rest.indexOf("%"), 20)}` : null;
}

/** The line, without its end. A field that is not known is left as it stands. */
export function formatLogLine(format: string, line: LogLine): string {
  return format.replace(PLACE, (all, field: string | undefined, flags = "", width = "", precision = "", kind = "s") => {
    if (field === undefined) return "%";
    const value = Object.hasOwn(FIELDS, field) ? FIELDS[field]?.(line) : undefined;
    if (value === undefined) return all;
    let text = shown(value, kind, precision === "" ? null : Number(precision));
    if (kind !== "s" && flags.includes("+") && !text.startsWith("-")) text = `+${text}`;
    if (flags.includes("-")) return text.padEnd(Number(width));
    return text.padStart(Number(width), kind !== "s" && flags.includes("0") ? "0" : " ");
  });
}

function shown(value: string | number, kind: string, precision: number | null): string {
  if (kind === "s") return precision === null ? String(value) : String(value).slice(0, precision);
  const number = Number(value);
  return kind === "d" ? String(Math.trunc(number)) : number.toFixed(precision ?? 6);
}

/** `2026-11-21 10:00:00,123`, in the zone of the process. */
function localTime(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time},${String(date.getMilliseconds()).padStart(3, "0")}`;
}
