/** Points in time as pydantic 2 reads and writes them. wire: pydantic-core `input/datetime.rs`; speedate `DateTime::parse_bytes`. */
import { daysInMonth, msFromDate } from "../calendar.ts";
import { formatClock, formatOffset, MAX_PYTHON_MS, MIN_PYTHON_MS } from "../iso-time.ts";
import { PyDateTime, PyFloat } from "../values.ts";

/** The text for a moment in UTC: `2026-11-21T09:07:38.679014Z`. `micros` (0 to 999) add to `epochMs`, whose fraction counts too. */
export function mognetTimestamp(epochMs: number, micros = 0): string {
  const whole = Math.floor(epochMs);
  const rest = micros + Math.floor((epochMs - whole) * 1000);
  return `${formatClock(whole, rest)}Z`;
}

/** As pydantic writes a datetime: `Z` for UTC, no fraction when it is zero, offsets without seconds. */
export function pydanticTime(time: Date): string {
  if (!(time instanceof PyDateTime)) return mognetTimestamp(time.getTime());
  const offset = time.offsetMinutes;
  const text = new PyDateTime(time.getTime(), { micros: time.micros, offsetMinutes: offset }).iso;
  if (offset === null) return text;
  const clock = text.slice(0, text.length - formatOffset(offset).length);
  const minutes = Math.trunc(offset);
  return clock + (minutes === 0 ? "Z" : formatOffset(minutes));
}

const DATE_TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt _](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:([Zz])|([+\-\u2212])(\d\d):?(\d\d))?)?$/;
const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)$/;
/** wire: speedate `MS_WATERSHED`: larger numbers are milliseconds. */
const MS_WATERSHED = 2e10;

/** What pydantic makes of a text or a number where a datetime belongs; null where it refuses. A naive time stays naive. */
export function readPydanticTime(value: unknown): PyDateTime | null {
  if (value instanceof PyFloat) return fromUnix(value.value);
  if (typeof value === "number") return fromUnix(value);
  if (typeof value === "bigint") return fromUnix(Number(value));
  if (typeof value !== "string") return null;
  const found = DATE_TIME.exec(value);
  if (found === null) return NUMBER.test(value) ? fromUnix(Number(value)) : null;
  const part = (at: number) => Number(found[at] ?? 0);
  const [year, month, day] = [part(1), part(2), part(3)];
  const [hour, minute, second] = [part(4), part(5), part(6)];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  const offset = part(10) * 60 + part(11);
  if (part(11) > 59 || offset >= 1440) return null;
  const micros = Number((found[7] ?? "").slice(0, 6).padEnd(6, "0"));
  const naive = found[8] === undefined && found[9] === undefined;
  const offsetMinutes = naive ? null : found[9] === undefined || found[9] === "+" ? offset : 0 - offset;
  const wallMs = msFromDate(year, month, day) + ((hour * 60 + minute) * 60 + second) * 1000 + Math.floor(micros / 1000);
  return new PyDateTime(wallMs - (offsetMinutes ?? 0) * 60_000, { micros: micros % 1000, offsetMinutes });
}

function fromUnix(value: number): PyDateTime | null {
  if (!Number.isFinite(value)) return null;
  // Milliseconds are kept apart: a quotient would not hold them exactly.
  const unit = Math.abs(value) > MS_WATERSHED ? 1000 : 1;
  const whole = Math.floor(value / unit);
  const rest = Math.round((value - whole * unit) * (1e6 / unit));
  const epochMs = whole * 1000 + Math.floor(rest / 1000);
  if (epochMs < MIN_PYTHON_MS || epochMs > MAX_PYTHON_MS) return null;
  return new PyDateTime(epochMs, { micros: rest % 1000, offsetMinutes: 0 });
}

const USUAL = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z$/;

/** A peer's time as the text that Mognet would write; null: not a time. */
export function mognetTimeText(value: unknown): string | null {
  const time = readPydanticTime(value);
  if (time === null) return null;
  return typeof value === "string" && USUAL.test(value) && !value.endsWith(".000000Z") ? value : pydanticTime(time);
}

/** A time of a result or deadline as a `Date` with microseconds; a naive one counts as UTC there. Null for null and for no time. */
export function mognetTime(text: string | null): PyDateTime | null {
  return text === null ? null : readPydanticTime(text);
}
