/**
 * The kinds of values a setting may have: how each is checked, and how it is written in an environment variable.
 * A kind never converts in silence: `"4"` in code or in a file is a mistake, in the environment it is how 4 is written.
 */
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { maskUrl } from "../runtime/credentials.ts";
import { didYouMean } from "./suggest.ts";

export interface Kind<Out, In = Out> {
  /** Completes "must be …". */
  readonly what: string;
  /** `at` names the setting and where its value came from. Throws `ImproperlyConfigured`, or `UnsupportedValue`. */
  parse(value: unknown, at: string): Out;
  /** The raw value that an environment variable stands for. */
  fromText(text: string): unknown;
  /** Types only; never present. */
  readonly input?: In;
}

/** Celery knows the value and Lovage does not offer it: an error from code, a notice when Python shares the source. */
export class UnsupportedValue extends ImproperlyConfigured {}

export function mismatch(at: string, what: string, value: unknown): ImproperlyConfigured {
  return new ImproperlyConfigured(`${at} must be ${what}, not ${shown(value)}`);
}

/** A value for an error text: short, and without anything that may hold a credential. */
function shown(value: unknown): string {
  if (typeof value === "string") {
    const masked = maskUrl(value);
    return JSON.stringify(masked.length > 60 ? `${masked.slice(0, 60)}…` : masked);
  }
  if (value === null || typeof value !== "object") return typeof value === "function" ? "a function" : String(value);
  return Array.isArray(value) ? "an array" : "an object";
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

const asIs = (text: string): unknown => text;

/** The JSON in the text; text that is no JSON is given on as it is, for `parse` to refuse. */
function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const text: Kind<string> = {
  what: "a text",
  parse(value, at) {
    if (typeof value !== "string" || value === "") throw mismatch(at, this.what, value);
    return value;
  },
  fromText: asIs,
};

/** What Celery's `strtobool` reads. */
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ["1", true],
  ["true", true],
  ["yes", true],
  ["on", true],
  ["0", false],
  ["false", false],
  ["no", false],
  ["off", false],
]);

export const bool: Kind<boolean> = {
  what: "true or false",
  parse(value, at) {
    if (typeof value !== "boolean") throw mismatch(at, this.what, value);
    return value;
  },
  fromText: (given) => BOOLEANS.get(given.toLowerCase()) ?? given,
};

export interface NumberRange {
  min?: number;
  max?: number;
  integer?: boolean;
  /** What it counts, for the error text: `seconds`, `bytes`. */
  unit?: string;
}

export function number({ min, max, integer = false, unit }: NumberRange = {}): Kind<number> {
  const range =
    (min === undefined ? "" : max === undefined ? `, at least ${min}` : ` from ${min} to ${max}`) +
    (min === undefined && max !== undefined ? `, at most ${max}` : "");
  return {
    what: `a ${integer ? "whole " : ""}number${unit === undefined ? "" : ` of ${unit}`}${range}`,
    parse(value, at) {
      const right =
        typeof value === "number" &&
        Number.isFinite(value) &&
        (!integer || Number.isSafeInteger(value)) &&
        (min === undefined || value >= min) &&
        (max === undefined || value <= max);
      if (!right) throw mismatch(at, this.what, value);
      return value;
    },
    fromText: (given) => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(given) ? Number(given) : given),
  };
}

export const seconds = (range: NumberRange = {}): Kind<number> => number({ min: 0, unit: "seconds", ...range });
export const count = (range: NumberRange = {}): Kind<number> => number({ min: 0, integer: true, ...range });

/** Also takes null (`null` or `none` in the environment). */
export function nullable<Out, In>(kind: Kind<Out, In>): Kind<Out | null, In | null> {
  const what = `${kind.what}, or null`;
  // Its complaints shall name null too.
  const inner = { ...kind, what };
  return {
    what,
    parse: (value, at) => (value === null ? null : inner.parse(value, at)),
    fromText: (given) => (/^(null|none)$/i.test(given) ? null : kind.fromText(given)),
  };
}

/** One of a closed set. `unsupported` are values of Celery's that Lovage does not offer. */
export function oneOf<const T extends string | number>(
  values: readonly T[],
  unsupported: readonly (string | number)[] = [],
): Kind<T> {
  const names = values.map((value) => JSON.stringify(value));
  return {
    what: names.length === 1 ? names[0]! : `one of ${names.join(", ")}`,
    parse(value, at) {
      for (const candidate of values) if (candidate === value) return candidate;
      if (unsupported.some((candidate) => candidate === value)) {
        throw new UnsupportedValue(`${at}: ${JSON.stringify(value)} is not available in Lovage; use ${this.what}`);
      }
      const hint = typeof value === "string" ? didYouMean(value, values.map(String)) : "";
      throw new ImproperlyConfigured(`${mismatch(at, this.what, value).message}${hint}`);
    },
    fromText: (given) => values.find((value) => String(value) === given) ?? given,
  };
}

/** An array of texts; in the environment `a,b` or JSON. */
export function texts(item: Kind<string> = text): Kind<readonly string[]> {
  return {
    what: `an array, each of it ${item.what}`,
    parse(value, at) {
      if (!Array.isArray(value)) throw mismatch(at, this.what, value);
      return Object.freeze(value.map((entry: unknown, index) => item.parse(entry, `${at}[${index}]`)));
    },
    fromText: (given) =>
      given.trim().startsWith("[")
        ? asJson(given)
        : given
            .split(",")
            .map((part) => part.trim())
            .filter((part) => part !== ""),
  };
}

/** A plain object whose members belong to someone else (a transport, a driver). */
export const dict: Kind<Readonly<Record<string, unknown>>> = {
  what: "an object",
  parse(value, at) {
    if (!isPlainObject(value)) throw mismatch(at, this.what, value);
    return Object.freeze({ ...value });
  },
  fromText: asJson,
};

/** Anything that JSON can say; `parse` decides. */
export function structured<Out, In>(what: string, parse: (value: unknown, at: string) => Out): Kind<Out, In> {
  return { what, parse, fromText: asJson };
}

/** One URL, or several as an array or with `;` between them. */
export const urls: Kind<readonly string[], string | readonly string[]> = {
  what: "a URL, or several as an array or separated by `;`",
  parse(value, at) {
    const given: unknown[] = Array.isArray(value) ? value : [value];
    const found: string[] = [];
    for (const entry of given) {
      if (typeof entry !== "string") throw mismatch(at, this.what, entry);
      for (const part of entry.split(";")) {
        const url = part.trim();
        if (url === "") continue;
        // The text is not repeated: without a scheme, nobody can say where its password stands.
        if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) {
          throw new ImproperlyConfigured(`${at} must be a URL with a scheme, such as redis://host:6379/0`);
        }
        found.push(url);
      }
    }
    if (found.length === 0) throw mismatch(at, this.what, value);
    return Object.freeze(found);
  },
  fromText: (given) => (given.trim().startsWith("[") ? asJson(given) : given),
};

/** False, true, or an object of TLS options. */
export const tls: Kind<boolean | Readonly<Record<string, unknown>>> = {
  what: "true, false or an object of TLS options",
  parse(value, at) {
    if (typeof value === "boolean") return value;
    if (!isPlainObject(value)) throw mismatch(at, this.what, value);
    return Object.freeze({ ...value });
  },
  fromText: (given) => BOOLEANS.get(given.toLowerCase()) ?? asJson(given),
};
