/**
 * Instants as Python writes them: with the offset of the app's time zone, microseconds left out when zero, never `Z`.
 * wire: celery-wire 1.5; celery/app/base.py `Celery.timezone`, datetime.isoformat.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { formatIso } from "../../protocol/iso-time.ts";
import { didYouMean } from "./suggest.ts";

/** Offsets change at quarter hours at the finest, so one look-up serves that long. */
const QUARTER_MS = 900_000;
const DAY_MS = 86_400_000;

export interface Zone {
  /** IANA name, or `UTC`. */
  readonly name: string;
  /** Seconds to add to UTC at that instant. */
  offsetSeconds(epochMs: number): number;
  /**
   * `2030-01-02T03:04:05.678000+01:00`, `micros` (whole, any number of them) after `epochMs` (whole). Throws `EncodeError`
   * outside the years 1 to 9999.
   */
  iso(epochMs: number, micros?: number): string;
  /**
   * The instant of a clock reading in this zone, given as if it were UTC. A reading that happens twice is the first one, one
   * that is skipped is moved on by the gap (celery/utils/time.py `make_aware`).
   */
  fromWall(wallMs: number): number;
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
  fromWall: (wallMs) => wallMs,
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
    return isoText(epochMs, micros, this.offsetSeconds(epochMs + Math.floor(micros / 1000)));
  }

  fromWall(wallMs: number): number {
    const before = this.#lookUp(wallMs - DAY_MS);
    const after = this.#lookUp(wallMs + DAY_MS);
    if (before === after || this.#lookUp(wallMs - before * 1000) === before) return wallMs - before * 1000;
    const late = wallMs - after * 1000;
    return this.#lookUp(late) === after ? late : wallMs - before * 1000;
  }

  #lookUp(epochMs: number): number {
    const part = this.#format.formatToParts(epochMs).find((candidate) => candidate.type === "timeZoneName");
    const match = /^GMT(?:([+-])(\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(part?.value ?? "");
    if (match === null || match[1] === undefined) return 0;
    const size = Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0);
    return match[1] === "-" ? -size : size;
  }
}

function isoText(epochMs: number, micros: number, offsetSeconds: number): string {
  const more = Math.floor(micros / 1000);
  return formatIso(Math.floor(epochMs) + more, micros - more * 1000, offsetSeconds / 60);
}
