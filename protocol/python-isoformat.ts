/**
 * Reads what `datetime.fromisoformat` and `time.fromisoformat` read: Kombu's datetime, date and time tags are decoded with
 * them (kombu/utils/json.py). Follows CPython 3.11's C code, which accepts basic and week forms, `Z` and a lax end of the
 * clock before an offset; older Pythons read only what `isoformat` writes. Digits are ASCII only.
 */
import { dateFromMs, daysInMonth, hasWeek53, isoWeekDate } from "./calendar.ts";

/** A date as Python's `datetime.date` has it: years 1 to 9999, months and days from 1. */
export interface PythonDate {
  year: number;
  month: number;
  day: number;
}

/** A time of day as Python's `datetime.time` has it, with microseconds and perhaps an offset. */
export interface PythonClock {
  hour: number;
  minute: number;
  second: number;
  microsecond: number;
  /** East of UTC, strictly within a day; null: naive. */
  offsetMicros: number | null;
}

const USUAL = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?(?:([+-])(\d\d):(\d\d))?$/;

/** Null where Python raises `ValueError`. */
export function readPythonDateTime(text: string): (PythonDate & PythonClock) | null {
  const usual = USUAL.exec(text);
  if (usual !== null) {
    const sign = usual[8];
    const offset = sign === undefined ? null : (Number(usual[9]) * 60 + Number(usual[10])) * 60e6;
    const time: PythonDate & PythonClock = {
      year: Number(usual[1]),
      month: Number(usual[2]),
      day: Number(usual[3]),
      hour: Number(usual[4]),
      minute: Number(usual[5]),
      second: Number(usual[6]),
      microsecond: Number(usual[7] ?? 0),
      offsetMicros: sign === "-" && offset !== null ? 0 - offset : offset,
    };
    return dateInRange(time) && clockInRange(time) ? time : null;
  }
  if (text.length < 7) return null;
  const split = dateEnd(text);
  const date = split < 0 ? null : readDate(text.slice(0, split));
  if (date === null) return null;
  if (text.length === split) return checked(date, MIDNIGHT);
  // The separator may be any one character.
  const clockText = text.slice(split + (text.codePointAt(split)! > 0xffff ? 2 : 1));
  const clock = readClock(clockText);
  return clock === null ? null : checked(date, clock);
}

/** Null where Python raises `ValueError`. */
export function readPythonTime(text: string): PythonClock | null {
  const clock = readClock(text.startsWith("T") ? text.slice(1) : text);
  return clock !== null && clockInRange(clock) ? clock : null;
}

const MIDNIGHT: PythonClock = { hour: 0, minute: 0, second: 0, microsecond: 0, offsetMicros: null };
const DAY_MICROS = 86_400e6;

function checked(date: PythonDate, clock: PythonClock): (PythonDate & PythonClock) | null {
  return dateInRange(date) && clockInRange(clock) ? { ...date, ...clock } : null;
}

function dateInRange({ year, month, day }: PythonDate): boolean {
  return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
}

function clockInRange({ hour, minute, second, offsetMicros }: PythonClock): boolean {
  return hour <= 23 && minute <= 59 && second <= 59 && (offsetMicros === null || Math.abs(offsetMicros) < DAY_MICROS);
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;

/** Where the date part ends, or -1. */
function dateEnd(text: string): number {
  if (text.length === 7) return 7;
  if (text[4] === "-") {
    if (text[5] !== "W") return 10;
    if (text[8] !== "-") return 8;
    if (text.length === 9) return -1;
    return text.length > 10 && isDigit(text.charCodeAt(10)) ? 8 : 10;
  }
  if (text[4] !== "W") return 8;
  let end = 7;
  while (end < text.length && isDigit(text.charCodeAt(end))) end++;
  if (end < 9) return end;
  return end % 2 === 0 ? 7 : 8;
}

function readDate(text: string): PythonDate | null {
  const calendar = /^(\d{4})(-?)(\d\d)\2(\d\d)$/.exec(text);
  if (calendar !== null) return { year: Number(calendar[1]), month: Number(calendar[3]), day: Number(calendar[4]) };
  const weekly = /^(\d{4})(-?)W(\d\d)(?:\2(\d))?$/.exec(text);
  if (weekly === null) return null;
  const [year, week, day] = [Number(weekly[1]), Number(weekly[3]), Number(weekly[4] ?? 1)];
  if (year < 1 || week < 1 || week > 53 || day < 1 || day > 7 || (week === 53 && !hasWeek53(year))) return null;
  const [y, m, d] = dateFromMs(isoWeekDate(year, week, day));
  return { year: y, month: m, day: d };
}

function readClock(characters: string): PythonClock | null {
  // CPython walks UTF-8: a character beyond ASCII takes the place of several.
  const text = characters.replace(/[^\x00-\x7f]/gu, "\x80\x80");
  const zoneAt = text.search(/[-+Z]/);
  const fields = readFields(text, zoneAt < 0 ? text.length : zoneAt);
  if (fields === null || (zoneAt < 0 && fields.more)) return null;
  const [hour, minute, second, microsecond] = fields.values;
  if (zoneAt < 0) return { hour, minute, second, microsecond, offsetMicros: null };
  let offsetMicros = 0;
  if (text[zoneAt] === "Z") {
    if (zoneAt + 1 !== text.length) return null;
  } else {
    const zone = readFields(text.slice(zoneAt + 1), text.length - zoneAt - 1);
    if (zone === null || zone.more) return null;
    const seconds = zone.values[0] * 3600 + zone.values[1] * 60 + zone.values[2];
    // wire: CPython 3.11 takes an offset below one second for UTC.
    const size = seconds === 0 ? 0 : seconds * 1e6 + zone.values[3];
    offsetMicros = text[zoneAt] === "-" ? 0 - size : size;
  }
  return { hour, minute, second, microsecond, offsetMicros };
}

interface Fields {
  values: [number, number, number, number];
  /** Is there more text behind what was read? */
  more: boolean;
}

/** HH[:?MM[:?SS[{.,}f+]]], reading `text` up to `end` the way CPython's `parse_hh_mm_ss_ff` walks its buffer. */
function readFields(text: string, end: number): Fields | null {
  const values: Fields["values"] = [0, 0, 0, 0];
  let at = 0;
  let separated = true;
  for (let field = 0; field < 3; field++) {
    const value = digits(text, at, 2);
    if (value < 0) return null;
    values[field] = value;
    at += 2;
    const next = text[at];
    at++;
    if (field === 0) separated = next === ":";
    if (at >= end) return { values, more: next !== undefined };
    if (separated && next === ":") continue;
    if (next === "." || next === ",") break;
    if (separated) return null;
    at--;
  }
  const width = Math.min(6, end - at);
  const fraction = digits(text, at, width);
  if (fraction < 0) return null;
  values[3] = fraction * 10 ** (6 - width);
  at += width;
  while (isDigit(text.charCodeAt(at))) at++;
  return { values, more: at < text.length };
}

function digits(text: string, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const code = text.charCodeAt(i);
    if (!isDigit(code)) return -1;
    value = value * 10 + code - 48;
  }
  return value;
}
