/** Calendar arithmetic of the proleptic Gregorian calendar that Python and JavaScript share, without a time zone. */

const DAY_MS = 86_400_000;

/** Milliseconds since 1970 of a day's midnight in UTC. `Date.UTC` alone reads years below 100 as 19xx. */
export function msFromDate(year: number, month: number, day: number): number {
  return year >= 100 ? Date.UTC(year, month - 1, day) : new Date(0).setUTCFullYear(year, month - 1, day);
}

/** Month is 1 to 12. */
export function dateFromMs(ms: number): [year: number, month: number, day: number] {
  const date = new Date(ms);
  return [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
}

export function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Milliseconds since 1970 of an ISO week day; weeks may run past the year. Day 1 is Monday. */
export function isoWeekDate(year: number, week: number, day: number): number {
  const fourth = msFromDate(year, 1, 4); // Always in week 1.
  const monday = fourth - ((new Date(fourth).getUTCDay() + 6) % 7) * DAY_MS;
  return monday + ((week - 1) * 7 + (day - 1)) * DAY_MS;
}

/** Has this ISO year a week 53? */
export function hasWeek53(year: number): boolean {
  return dateFromMs(isoWeekDate(year, 53, 4))[0] === year;
}
