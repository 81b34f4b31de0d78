/**
 * JavaScript values for what JSON lacks, and the tags they travel under. wire: celery-wire 3.2; kombu/utils/json.py
 * `register_type`. Bytes are plain `Uint8Array`; integers beyond 2**53 are `bigint`. A plain `Date` leaves as an aware
 * UTC datetime; what arrives as a datetime is a `PyDateTime`, so that microseconds and offset survive the way back.
 */
import { base64Decode, base64Encode, hasLoneSurrogate, utf8DecodeOrNull, utf8Encode } from "./bytes.ts";
import { dateFromMs, daysInMonth, msFromDate } from "./calendar.ts";
import { DecodeError, EncodeError } from "./errors.ts";
import { formatClock, formatIso, formatOffset, parseIso } from "./iso-time.ts";
import { canonicalDecimal } from "./python-decimal.ts";
import { type PythonClock, type PythonDate, readPythonDateTime, readPythonTime } from "./python-isoformat.ts";
import { floatJson } from "./python-numbers.ts";

/**
 * A Python datetime. As a `Date` it is the instant, to the millisecond; a naive datetime counts as UTC there.
 * `micros` (0 to 999) go beyond the millisecond; `offsetMinutes` is null for a naive datetime, and has a fraction for the
 * rare offsets with seconds.
 */
export class PyDateTime extends Date {
  readonly micros: number;
  readonly offsetMinutes: number | null;

  constructor(epochMs: number, options: { micros?: number; offsetMinutes?: number | null } = {}) {
    super(epochMs);
    this.micros = options.micros ?? 0;
    this.offsetMinutes = options.offsetMinutes === undefined ? 0 : options.offsetMinutes;
  }

  /** Reads ISO text as Python's `datetime.fromisoformat` or Celery's `isoparse` does; otherwise `DecodeError`. */
  static fromIso(text: string): PyDateTime {
    const found = readPythonDateTime(text);
    if (found !== null) return PyDateTime.of(found);
    const time = parseIso(text);
    if (time === null || time === "overflow") throw new DecodeError(`not a datetime: ${quoted(text)}`);
    return new PyDateTime(time.epochMs, time);
  }

  /** From the clock reading in its own zone. */
  static of(found: PythonDate & PythonClock): PyDateTime {
    const offset = found.offsetMicros ?? 0;
    const micros = found.microsecond - offset;
    const days = msFromDate(found.year, found.month, found.day);
    const seconds = found.hour * 3600 + found.minute * 60 + found.second;
    return new PyDateTime(days + seconds * 1000 + Math.floor(micros / 1000), {
      micros: ((micros % 1000) + 1000) % 1000,
      offsetMinutes: found.offsetMicros === null ? null : offset / 60e6,
    });
  }

  /** Python's `isoformat()`. Outside the years 1 to 9999 it throws `EncodeError`. */
  get iso(): string {
    const offset = this.offsetMinutes ?? 0;
    if (Number.isInteger(offset)) return formatIso(this.getTime(), this.micros, this.offsetMinutes);
    const micros = this.micros + Math.round(offset * 60e6);
    const rest = ((micros % 1000) + 1000) % 1000;
    return formatClock(this.getTime() + Math.floor(micros / 1000), rest) + formatOffset(this.offsetMinutes);
  }

  /** The clock reading in the datetime's own zone. */
  get fields(): PythonDate & PythonClock {
    const found = readPythonDateTime(this.iso);
    if (found === null) throw new EncodeError("an invalid datetime");
    return found;
  }

  override toJSON(): string {
    return this.iso;
  }
}

/** A Python date: `YYYY-MM-DD`. */
export class PyDate {
  readonly iso: string;
  readonly year: number;
  readonly month: number;
  readonly day: number;

  /** Anything but `YYYY-MM-DD` within the years 1 to 9999 is a `DecodeError`. */
  constructor(iso: string) {
    const [year, month, day] = /^\d{4}-\d\d-\d\d$/.test(iso) ? iso.split("-").map(Number) : [];
    if (year === undefined || month === undefined || day === undefined || !isDay(year, month, day)) {
      throw new DecodeError(`not a date: ${quoted(iso)}`);
    }
    this.iso = iso;
    this.year = year;
    this.month = month;
    this.day = day;
  }

  /** The day that a `Date` shows in UTC. */
  static fromDate(date: Date): PyDate {
    const [year, month, day] = dateFromMs(date.getTime());
    return PyDate.of(year, month, day);
  }

  /** Month 1 to 12. */
  static of(year: number, month: number, day: number): PyDate {
    return new PyDate(`${pad(year, 4)}-${pad(month)}-${pad(day)}`);
  }

  toString(): string {
    return this.iso;
  }

  toJSON(): string {
    return this.iso;
  }
}

/** A Python time of day, with an offset or without. */
export class PyTime {
  /** Python's `isoformat()`. */
  readonly iso: string;
  readonly fields: PythonClock;

  /** Reads what `time.fromisoformat` reads; otherwise `DecodeError`. */
  constructor(text: string) {
    const fields = readPythonTime(text);
    if (fields === null) throw new DecodeError(`not a time: ${quoted(text)}`);
    this.fields = fields;
    const fraction = fields.microsecond === 0 ? "" : `.${pad(fields.microsecond, 6)}`;
    const offset = formatOffset(fields.offsetMicros === null ? null : fields.offsetMicros / 60e6);
    this.iso = `${pad(fields.hour)}:${pad(fields.minute)}:${pad(fields.second)}${fraction}${offset}`;
  }

  toString(): string {
    return this.iso;
  }

  toJSON(): string {
    return this.iso;
  }
}

/** A Python Decimal, kept as its text: `1.10` stays `1.10`. */
export class PyDecimal {
  /** Python's `str()`. */
  readonly text: string;

  /** Reads what `decimal.Decimal` reads; otherwise `DecodeError`. */
  constructor(value: string | number | bigint) {
    const text = canonicalDecimal(String(value));
    if (text === null) throw new DecodeError(`not a decimal: ${quoted(String(value))}`);
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** A UUID. */
export class PyUuid {
  /** 32 lower-case hex digits. */
  readonly hex: string;

  /** Reads what `uuid.UUID` reads: dashes, braces and `urn:uuid:` are fine; otherwise `DecodeError`. */
  constructor(text: string) {
    const hex = text
      .replaceAll("urn:", "")
      .replaceAll("uuid:", "")
      .replace(/^[{}]+|[{}]+$/g, "")
      .replaceAll("-", "");
    if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new DecodeError(`not a UUID: ${quoted(text)}`);
    this.hex = hex.toLowerCase();
  }

  /** With dashes. */
  toString(): string {
    const hex = this.hex;
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A number that leaves as a float even when it is whole: `new PyFloat(1)` is `1.0`. Computes like its number. */
export class PyFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  valueOf(): number {
    return this.value;
  }

  toString(): string {
    return floatJson(this.value);
  }

  toJSON(): number {
    return this.value;
  }
}

/** How a type of the application travels. Names are shared with Python's `register_type`. */
export interface JsonType<T> {
  /** The `__type__`; null: the encoded value travels without a tag, and `decode` is never called. */
  name: string | null;
  /** Is the value of this type? Asked only for objects that are neither arrays nor plain objects. */
  matches: (value: object) => value is T & object;
  /** Makes a value of JSON and of other types with a form. */
  encode: (value: T) => unknown;
  /** Makes the value again from what `encode` gave. A throw refuses the whole message. */
  decode?: (encoded: unknown) => T;
}

interface Registered {
  name: string | null;
  /** Undefined: not of this type. */
  tryEncode: (value: object) => { encoded: unknown } | undefined;
}

const customTypes: Registered[] = [];
const customDecoders = new Map<string, (encoded: unknown) => unknown>();

/**
 * Gives a type a form in JSON for this whole process, as Kombu's `register_type` does; it is asked before the built-in ones.
 * Returns a function that takes it back.
 *
 * @example
 * registerJsonType<Set<unknown>>({
 *   name: "set", matches: (v): v is Set<unknown> => v instanceof Set, encode: (s) => [...s], decode: (v) => new Set(v as unknown[]),
 * });
 */
export function registerJsonType<T>(type: JsonType<T>): () => void {
  const { name, matches, encode, decode } = type;
  const entry: Registered = {
    name,
    tryEncode: (value) => (matches(value) ? { encoded: encode(value) } : undefined),
  };
  customTypes.push(entry);
  const replaced = name === null ? undefined : customDecoders.get(name);
  if (name !== null && decode !== undefined) customDecoders.set(name, decode);
  return () => {
    const at = customTypes.indexOf(entry);
    if (at < 0) return;
    customTypes.splice(at, 1);
    if (name === null || customDecoders.get(name) !== decode) return;
    if (replaced === undefined) customDecoders.delete(name);
    else customDecoders.set(name, replaced);
  };
}

/** A value's form under a tag; `name` null: untagged. */
export interface Tagged {
  name: string | null;
  encoded: unknown;
}

/** The form of an object that JSON lacks, or null when it has none of its own. */
export function toTagged(value: object): Tagged | null {
  for (const type of customTypes) {
    const found = type.tryEncode(value);
    if (found !== undefined) return { name: type.name, encoded: found.encoded };
  }
  if (value instanceof Uint8Array) return bytesForm(value);
  if (value instanceof PyDateTime) return { name: "datetime", encoded: value.iso };
  if (value instanceof Date) return { name: "datetime", encoded: formatIso(value.getTime()) };
  if (value instanceof PyDate) return { name: "date", encoded: value.iso };
  if (value instanceof PyTime) return { name: "time", encoded: value.iso };
  if (value instanceof PyDecimal) return { name: "decimal", encoded: value.text };
  if (value instanceof PyUuid) return { name: "uuid", encoded: { hex: value.hex } };
  return null;
}

/** What `{"__type__": name, "__value__": encoded}` stands for. An unknown name or a bad value is a `DecodeError`. */
export function fromTagged(name: unknown, encoded: unknown): unknown {
  if (typeof name !== "string") throw new DecodeError("a __type__ that is not a string");
  const custom = customDecoders.get(name);
  if (custom !== undefined) {
    try {
      return custom(encoded);
    } catch (cause) {
      throw new DecodeError(`the registered type ${quoted(name)} refused its value`, { cause });
    }
  }
  switch (name) {
    case "datetime":
      return PyDateTime.of(pythonDateTime(string(name, encoded)));
    case "date": {
      const { year, month, day } = pythonDateTime(string(name, encoded));
      return PyDate.of(year, month, day);
    }
    case "time":
      return new PyTime(string(name, encoded));
    case "decimal":
      return new PyDecimal(string(name, encoded));
    case "uuid":
      return new PyUuid(uuidHex(encoded));
    case "bytes":
      return bytesFromText(string(name, encoded));
    case "base64":
      return new Uint8Array(base64Decode(string(name, encoded)));
    default:
      throw new DecodeError(`unknown __type__ ${quoted(name)}`);
  }
}

function bytesForm(bytes: Uint8Array): Tagged {
  const text = utf8DecodeOrNull(bytes);
  return text === null ? { name: "base64", encoded: base64Encode(bytes) } : { name: "bytes", encoded: text };
}

// The copies keep a runtime's shared buffer pool out of the application's hands.
function bytesFromText(text: string): Uint8Array {
  if (hasLoneSurrogate(text)) throw new DecodeError("bytes given as text with a lone surrogate");
  return new Uint8Array(utf8Encode(text));
}

function pythonDateTime(text: string): PythonDate & PythonClock {
  const found = readPythonDateTime(text);
  if (found === null) throw new DecodeError(`not a datetime: ${quoted(text)}`);
  return found;
}

function uuidHex(encoded: unknown): string {
  const hex = typeof encoded === "object" && encoded !== null && "hex" in encoded ? encoded.hex : undefined;
  return string("uuid", hex);
}

function string(name: string, encoded: unknown): string {
  if (typeof encoded !== "string") throw new DecodeError(`a value of __type__ ${name} that is not text`);
  return encoded;
}

function isDay(year: number, month: number, day: number): boolean {
  return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
}

function pad(value: number, width = 2): string {
  return String(value).padStart(width, "0");
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}
