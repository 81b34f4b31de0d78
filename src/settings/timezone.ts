/**
 * Instants as Python writes them: with the offset of the app's time zone, microseconds left out when zero, never `Z`.
 * wire: celery-wire 1.5; celery/app/base.py `Celery.timezone`, datetime.isoformat.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { didYouMean } from "./suggest.ts";

/** Offsets change at quarter hours at the finest, so one look-up serves that long. */
const QUARTER_MS = 900_000;

export interface Zone {
  /** IANA name, or `UTC`. */
  readonly name: string;
  /** Seconds to add to UTC at that instant. */
  offsetSeconds(epochMs: number): number;
  /** `2030-01-02T03:04:05.678000+01:00`. `micros` are the microseconds below the millisecond (0 to 999). */
  iso(epochMs: number, micros?: number): string;
}

/** The zone of `timezone` and `enable_utc`: a named one, else UTC, else (`enable_utc` false) the machine's. */
export function zoneOf(settings: { timezone: string | null; enable_utc: boolean }): Zone {
  if (settings.timezone !== null) return namedZone(settings.timezone);
  return settings.enable_utc ? UTC : namedZone(new Intl.DateTimeFormat().resolvedOptions().timeZone);
}

export const UTC: Zone = {
  name: "UTC",
  offsetSeconds: () => 0,
  iso: (epochMs, micros = 0) => isoText(epochMs, micros, 0),
};

/** Throws `ImproperlyConfigured`, with the nearest name, when no such zone is known. */
export function namedZone(name: string): Zone {
  if (/^(utc|etc\/utc|gmt)$/i.test(name)) return UTC;
  return new IntlZone(name);
}

class IntlZone implements Zone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;
  #quarter = Number.NaN;
  #offset = 0;

  constructor(name: string) {
    this.name = name;
    try {
      this.#format = new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset" });
    } catch (cause) {
      const hint = didYouMean(name, Intl.supportedValuesOf("timeZone"));
      throw new ImproperlyConfigured(`there is no time zone ${JSON.stringify(name)}${hint}`, { cause });
    }
  }

  offsetSeconds(epochMs: number): number {
    const quarter = Math.floor(epochMs / QUARTER_MS);
    if (quarter !== this.#quarter) {
      this.#offset = this.#lookUp(epochMs);
      this.#quarter = quarter;
    }
    return this.#offset;
  }

  iso(epochMs: number, micros = 0): string {
    return isoText(epochMs, micros, this.offsetSeconds(epochMs));
  }

  #lookUp(epochMs: number): number {
    const part = this.#format.formatToParts(epochMs).find((candidate) => candidate.type === "timeZoneName");
    const match = /^GMT(?:([+-])(\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(part?.value ?? "");
    if (match === null || match[1] === undefined) return 0;
    const size = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0);
    return match[1] === "-" ? -size : size;
  }
}

const FIRST_MS = Date.UTC(1, 0, 1) - (Date.UTC(1, 0, 1) - new Date("0001-01-01T00:00:00Z").getTime());
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Whether Python's datetime can hold the instant (years 1 to 9999). */
export function isPythonInstant(epochMs: number): boolean {
  return epochMs >= FIRST_MS && epochMs <= LAST_MS;
}

function isoText(epochMs: number, micros: number, offsetSeconds: number): string {
  const local = new Date(Math.floor(epochMs) + offsetSeconds * 1000).toISOString();
  const fraction = local.slice(20, 23) + String(Math.trunc(micros)).padStart(3, "0");
  return `${local.slice(0, 19)}${fraction === "000000" ? "" : `.${fraction}`}${offsetText(offsetSeconds)}`;
}

function offsetText(offsetSeconds: number): string {
  const size = Math.abs(offsetSeconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const rest = size % 60;
  const clock = `${two(Math.floor(size / 3600))}:${two(Math.floor((size % 3600) / 60))}${rest === 0 ? "" : `:${two(rest)}`}`;
  return (offsetSeconds < 0 ? "-" : "+") + clock;
}
