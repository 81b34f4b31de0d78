/**
 * A request's deadline: a duration of each run, or an instant. wire: Mognet 2.0.0 primitives/request.py
 * `deadline: Optional[Union[timedelta, datetime]]` as pydantic 2 reads and writes it; speedate `Duration::parse_bytes`.
 */
import { DecodeError, EncodeError } from "../errors.ts";
import { PyDateTime, PyFloat } from "../values.ts";
import { pydanticTime, readPydanticTime } from "./times.ts";

/** Until when a request may run: so long from each start, or to an instant. */
export type MognetDeadline =
  /** How long a run may take, counted from the start of each run. Seconds, to the microsecond. */
  | { readonly kind: "duration"; readonly seconds: number }
  /** `iso` as Mognet writes it; `epochMs` has a fraction for microseconds, and is null for a naive time (the reader's local time). */
  | { readonly kind: "instant"; readonly iso: string; readonly epochMs: number | null };

/** A deadline of so many seconds for each run. Throws `EncodeError` for what Python's `timedelta` cannot hold. */
export function mognetDeadlineAfter(seconds: number): MognetDeadline {
  return duration(seconds) ?? encodeFailure(`a deadline of ${seconds} seconds`);
}

/** A deadline at an instant. A naive `PyDateTime` is read by the worker in its local time. */
export function mognetDeadlineAt(time: Date): MognetDeadline {
  return Number.isNaN(time.getTime()) ? encodeFailure("an invalid date as a deadline") : instant(time);
}

function encodeFailure(what: string): never {
  throw new EncodeError(`${what} has no form in Python`);
}

function instant(time: Date): MognetDeadline {
  const micros = time instanceof PyDateTime ? time.micros : 0;
  const naive = time instanceof PyDateTime && time.offsetMinutes === null;
  return { kind: "instant", iso: pydanticTime(time), epochMs: naive ? null : time.getTime() + micros / 1000 };
}

/** How many parts of a second a double of this size holds: beyond some hundred years no microseconds. */
function partsHeld(seconds: number): number {
  return seconds < 9e9 ? 1e6 : seconds < 9e11 ? 1e4 : seconds < 9e13 ? 100 : 1;
}

const DAY = 86_400;
const MAX_SECONDS = 999_999_999 * DAY + 86_399.999999;

function duration(seconds: number): MognetDeadline | null {
  if (!(Math.abs(seconds) <= MAX_SECONDS)) return null;
  const unit = partsHeld(Math.abs(seconds));
  const exact = Math.round(seconds * unit) / unit;
  return { kind: "duration", seconds: exact + 0 };
}

/** The JSON of a deadline: a text. Throws `EncodeError` for what is none: Python would lose the request. */
export function encodeMognetDeadline(deadline: MognetDeadline): string {
  if (deadline.kind === "instant" && readPydanticTime(deadline.iso) !== null) return deadline.iso;
  if (deadline.kind === "duration" && duration(deadline.seconds) !== null) return formatDuration(deadline.seconds);
  return encodeFailure("a deadline that is neither a duration nor an instant");
}

/** `PT5S`, `P1DT2H1.5S`, `-PT1S`, `P1Y35D` (a year is 365 days). */
export function formatDuration(seconds: number): string {
  const size = Math.abs(seconds);
  let whole = Math.floor(size);
  const unit = partsHeld(size);
  let micros = Math.round((size - whole) * unit) * (1e6 / unit);
  if (micros === 1_000_000) [whole, micros] = [whole + 1, 0];
  if (whole === 0 && micros === 0) return "PT0S";
  const days = Math.floor(whole / DAY);
  const clock = whole % DAY;
  const [years, hours, minutes] = [Math.floor(days / 365), Math.floor(clock / 3600), Math.floor(clock / 60) % 60];
  let text = seconds < 0 ? "-P" : "P";
  if (years > 0) text += `${years}Y`;
  if (days % 365 > 0) text += `${days % 365}D`;
  if (clock === 0 && micros === 0) return text;
  text += "T";
  if (hours > 0) text += `${hours}H`;
  if (minutes > 0) text += `${minutes}M`;
  const rest = clock % 60;
  if (micros > 0) text += `${rest}.${String(micros).padStart(6, "0").replace(/0+$/, "")}S`;
  else if (rest > 0) text += `${rest}S`;
  return text;
}

/**
 * Reads whatever a peer put there: ISO and clock-like durations, numbers (seconds), ISO instants, and numeric texts, which
 * are instants. What Python refuses is a `DecodeError`.
 */
export function decodeMognetDeadline(value: unknown): MognetDeadline {
  const found = numeric(value) ?? (typeof value === "string" ? readDuration(value) : null);
  if (found !== null) return found;
  const time = readPydanticTime(value);
  if (time === null) throw new DecodeError(`not a deadline: ${JSON.stringify(value)?.slice(0, 60) ?? typeof value}`);
  return instant(time);
}

function numeric(value: unknown): MognetDeadline | null {
  if (typeof value === "number") return duration(value);
  if (value instanceof PyFloat) return duration(value.value);
  if (typeof value === "boolean" || typeof value === "bigint") return duration(Number(value));
  return null;
}

const CLOCK = /^(\d{1,9}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?$/;
const DAYS = /^(\d+) ?d(?:ays?)?(?:,? ?(\d.*)|,? ?)?$/i;
const UNITS = { Y: 365 * DAY, M: 30 * DAY, W: 7 * DAY, D: DAY } as const;
/** wire: speedate counts the seconds of a day part in 32 bits. */
const MAX_CLOCK = 2 ** 32;
const CLOCK_UNITS = { H: 3600, M: 60, S: 1 } as const;

function readDuration(text: string): MognetDeadline | null {
  const sign = text.startsWith("-") ? -1 : 1;
  const inner = text.replace(/^[+-]/, "");
  const seconds = inner.startsWith("P") ? readIsoDuration(inner.slice(1)) : readClockDuration(inner);
  return seconds === null ? null : duration(sign * seconds);
}

/** Units may come in any order and more than once; only the last quantity of all may have a fraction. */
function readIsoDuration(text: string): number | null {
  const at = text.indexOf("T");
  const date = at < 0 ? text : text.slice(0, at);
  const clock = at < 0 ? "" : text.slice(at + 1);
  if (date === "" && clock === "") return null;
  const days = sumOf(date, UNITS);
  const rest = sumOf(clock, CLOCK_UNITS);
  if (days === null || rest === null || (days.fraction && clock !== "")) return null;
  if (rest.seconds > MAX_CLOCK) return null;
  return days.seconds + rest.seconds;
}

function sumOf(text: string, units: Readonly<Record<string, number>>): { seconds: number; fraction: boolean } | null {
  let seconds = 0;
  let fraction = false;
  let rest = text;
  while (rest !== "") {
    const found = /^(\d{1,10})(?:[.,](\d*))?([A-Z])/.exec(rest);
    const unit = found === null ? undefined : units[found[3]!];
    if (found === null || unit === undefined || fraction) return null;
    seconds += Number(found[1]) * unit;
    if (found[2] !== undefined) {
      fraction = true;
      seconds += Math.round(Number(`0.${found[2]}`) * unit * 1e6) / 1e6;
    }
    rest = rest.slice(found[0].length);
  }
  return { seconds, fraction };
}

/** `1 day, 0:00:01`, `00:00:05`: what Python prints of a `timedelta`. */
function readClockDuration(text: string): number | null {
  const days = DAYS.exec(text);
  if (days !== null) {
    const clock = days[2] === undefined ? 0 : readClock(days[2], 23);
    return clock === null ? null : Number(days[1]) * DAY + clock;
  }
  return readClock(text, 999_999_999);
}

function readClock(text: string, maxHours: number): number | null {
  const found = CLOCK.exec(text);
  // Hours of one digit need seconds too.
  if (found === null || (found[1]!.length === 1 && found[3] === undefined)) return null;
  const [hours, minutes, seconds] = [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)];
  if (hours > maxHours || minutes > 59 || seconds > 59) return null;
  return hours * 3600 + minutes * 60 + seconds + Number((found[4] ?? "").slice(0, 6).padEnd(6, "0")) / 1e6;
}
