/**
 * ISO 8601 on the wire of Celery. wire: celery-wire 1.5. Celery reads `eta`, `expires` and `date_done` with dateutil's
 * `isoparse` (2.9), so this reads exactly what that reads, oddities included (a field may be written `+1` or ` 1`), and
 * writes what Python's `datetime.isoformat` writes. For the datetime tags of Kombu's JSON see `python-isoformat.ts`.
 */
import { dateFromMs, daysInMonth, isoWeekDate, msFromDate } from "./calendar.ts";
import { EncodeError } from "./errors.ts";

/** A point in time, or with `offsetMinutes: null` a clock reading whose time zone the reader must know. */
export interface IsoTime {
  /** Whole milliseconds since 1970 in UTC; for a naive time, as if it were UTC. */
  epochMs: number;
  /** Microseconds beyond `epochMs`, 0 to 999. */
  micros: number;
  /** Minutes east of UTC; null: naive. */
  offsetMinutes: number | null;
}

/** The first and last whole millisecond of Python's years 1 to 9999. */
export const MIN_PYTHON_MS = -62_135_596_800_000;
/** The last millisecond of year 9999, where Python's `datetime` ends. Unix milliseconds. */
export const MAX_PYTHON_MS = 253_402_300_799_999;

const COMMON = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:(Z)|([+-])(\d\d):(\d\d))?$/;

/**
 * Null when dateutil refuses the text (`ValueError`), `"overflow"` when it runs past year 9999 (`OverflowError`, which
 * Celery's worker does not expect there).
 */
export function parseIso(text: string): IsoTime | "overflow" | null {
  const common = COMMON.exec(text);
  if (common === null) return parseUncommon(text);
  const offset = common[9] === undefined ? 0 : Number(common[10]) * 60 + Number(common[11]);
  if (common[9] !== undefined && (Number(common[10]) > 23 || Number(common[11]) > 59)) return null;
  const naive = common[8] === undefined && common[9] === undefined;
  return assemble(
    [Number(common[1]), Number(common[2]), Number(common[3])],
    [Number(common[4]), Number(common[5]), Number(common[6]), microseconds(common[7] ?? "")],
    naive ? null : common[9] === "-" ? 0 - offset : offset,
  );
}

/**
 * `YYYY-MM-DDTHH:MM:SS[.ffffff]` and the offset, as Python's `isoformat` writes it: never `Z`, no fraction when it is zero.
 * `micros` (0 to 999) adds to `epochMs`; `offsetMinutes` defaults to 0, null writes a naive time.
 * Outside Python's years 1 to 9999 it throws `EncodeError`.
 */
export function formatIso(epochMs: number, micros = 0, offsetMinutes: number | null = 0): string {
  return formatClock(epochMs + (offsetMinutes ?? 0) * 60_000, micros) + formatOffset(offsetMinutes);
}

/** The part before the offset. */
export function formatClock(wallMs: number, micros: number): string {
  if (!(wallMs >= MIN_PYTHON_MS && wallMs <= MAX_PYTHON_MS)) {
    throw new EncodeError(`the time ${wallMs} ms is outside the years 1 to 9999 that Python knows`);
  }
  const text = new Date(wallMs).toISOString();
  if (micros !== 0) return `${text.slice(0, 23)}${String(micros).padStart(3, "0")}`;
  return text.endsWith(".000Z") ? text.slice(0, 19) : `${text.slice(0, 23)}000`;
}

/** `+05:30`, `+00:00`; empty for a naive time. Python adds seconds and microseconds when an offset has them. */
export function formatOffset(offsetMinutes: number | null): string {
  if (offsetMinutes === null) return "";
  if (offsetMinutes === 0) return "+00:00";
  const micros = Math.round(Math.abs(offsetMinutes) * 60e6);
  const part = (unit: number, limit: number, width = 2): string =>
    String(Math.floor(micros / unit) % limit).padStart(width, "0");
  let text = `${offsetMinutes < 0 ? "-" : "+"}${part(3600e6, 100)}:${part(60e6, 60)}`;
  if (micros % 60e6 !== 0) text += `:${part(1e6, 60)}`;
  if (micros % 1e6 !== 0) text += `.${part(1, 1e6, 6)}`;
  return text;
}

type DateParts = [year: number, month: number, day: number];
type ClockParts = [hour: number, minute: number, second: number, microsecond: number];

/** dateutil's parser, step by step. */
function parseUncommon(text: string): IsoTime | "overflow" | null {
  if (!/^[\x00-\x7f]*$/.test(text)) return null;
  const date = readCommonDate(text) ?? readUncommonDate(text);
  if (date === null || date === "overflow") return date;
  if (text.length <= date.end) return assemble(date.parts, [0, 0, 0, 0], null);
  const clock = readClock(text.slice(date.end + 1));
  return clock === null ? null : assemble(date.parts, clock.parts, clock.offset);
}

interface ReadDate {
  parts: DateParts;
  end: number;
}

/** YYYY, YYYY-MM, YYYY-MM-DD, YYYYMMDD. */
function readCommonDate(text: string): ReadDate | null {
  if (text.length < 4) return null;
  const year = pythonInt(text.slice(0, 4));
  if (year === null) return null;
  if (text.length === 4) return { parts: [year, 1, 1], end: 4 };
  const dashed = text[4] === "-";
  let at = dashed ? 5 : 4;
  if (text.length - at < 2) return null;
  const month = pythonInt(text.slice(at, at + 2));
  if (month === null) return null;
  at += 2;
  if (at >= text.length) return dashed ? { parts: [year, month, 1], end: at } : null;
  if (dashed && text[at++] !== "-") return null;
  if (text.length - at < 2) return null;
  const day = pythonInt(text.slice(at, at + 2));
  return day === null ? null : { parts: [year, month, day], end: at + 2 };
}

/** ISO week dates and ordinal dates. */
function readUncommonDate(text: string): ReadDate | "overflow" | null {
  if (text.length < 4) return null;
  const year = pythonInt(text.slice(0, 4));
  if (year === null) return null;
  const dashed = text[4] === "-";
  let at = dashed ? 5 : 4;
  if (text[at] === "W") {
    const week = pythonInt(text.slice(at + 1, at + 3));
    if (week === null) return null;
    at += 3;
    let day: number | null = 1;
    if (text.length > at) {
      if ((text[at] === "-") !== dashed) return null;
      if (dashed) at++;
      day = pythonInt(text.slice(at, at + 1));
      at++;
    }
    if (day === null || week < 1 || week > 53 || day < 1 || day > 7 || year < 1 || year > 9999) return null;
    return bounded(isoWeekDate(year, week, day), at);
  }
  if (text.length - at < 3) return null;
  const ordinal = pythonInt(text.slice(at, at + 3));
  if (ordinal === null || year < 1 || year > 9999) return null;
  if (ordinal < 1 || ordinal > 337 + daysInMonth(year, 2)) return null;
  return bounded(msFromDate(year, 1, 1) + (ordinal - 1) * 86_400_000, at + 3);
}

function bounded(dayMs: number, end: number): ReadDate | "overflow" {
  if (dayMs < MIN_PYTHON_MS || dayMs > MAX_PYTHON_MS) return "overflow";
  return { parts: dateFromMs(dayMs), end };
}

function readClock(text: string): { parts: ClockParts; offset: number | null } | null {
  if (text.length < 2) return null;
  const parts: ClockParts = [0, 0, 0, 0];
  let offset: number | null = null;
  let at = 0;
  let colons = false;
  for (let field = 0; at < text.length && field <= 5; field++) {
    if ("-+Zz".includes(text[at]!)) {
      offset = readOffset(text.slice(at));
      if (offset === null) return null;
      at = text.length;
      break;
    }
    if (field === 1 && text[at] === ":") {
      colons = true;
      at++;
    } else if (field === 2 && colons) {
      if (text[at] !== ":") return null;
      at++;
    }
    if (field < 3) {
      const value = pythonInt(text.slice(at, at + 2));
      if (value === null) return null;
      parts[field] = value;
      at += 2;
    } else if (field === 3) {
      const fraction = /^[.,]([0-9]+)/.exec(text.slice(at));
      if (fraction === null) continue;
      parts[3] = microseconds(fraction[1]!);
      at += fraction[0].length;
    }
  }
  return at < text.length ? null : { parts, offset };
}

/** Minutes east of UTC, or null when malformed. */
function readOffset(text: string): number | null {
  if (text === "Z" || text === "z") return 0;
  if (text.length !== 3 && text.length !== 5 && text.length !== 6) return null;
  if (text[0] !== "+" && text[0] !== "-") return null;
  const hours = pythonInt(text.slice(1, 3));
  const minutes = text.length === 3 ? 0 : pythonInt(text.slice(text[3] === ":" ? 4 : 3));
  if (hours === null || minutes === null || minutes > 59 || hours > 23) return null;
  const total = hours * 60 + minutes;
  return text[0] === "-" ? 0 - total : total;
}

/** Up to six digits as microseconds; more are cut. */
function microseconds(digits: string): number {
  return Number(digits.slice(0, 6).padEnd(6, "0"));
}

/** Python's `int()` of a short ASCII text: blanks around, a sign and single underscores between digits are fine. */
function pythonInt(text: string): number | null {
  const found = /^[ \t\n\v\f\r]*([+-]?)(\d+(?:_\d+)*)[ \t\n\v\f\r]*$/.exec(text);
  if (found === null) return null;
  const value = Number(found[2]!.replaceAll("_", ""));
  return found[1] === "-" ? 0 - value : value;
}

function assemble(date: DateParts, clock: ClockParts, offset: number | null): IsoTime | "overflow" | null {
  const [year, month, day] = date;
  let [hour, minute, second, microsecond] = clock;
  const midnight = hour === 24;
  if (midnight) {
    if (minute !== 0 || second !== 0 || microsecond !== 0) return null;
    hour = 0;
  }
  if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return null;
  const wallMs =
    msFromDate(year, month, day) +
    (midnight ? 86_400_000 : 0) +
    hour * 3_600_000 +
    minute * 60_000 +
    second * 1000 +
    Math.floor(microsecond / 1000);
  if (wallMs > MAX_PYTHON_MS) return "overflow";
  return { epochMs: wallMs - (offset ?? 0) * 60_000, micros: microsecond % 1000, offsetMinutes: offset };
}
