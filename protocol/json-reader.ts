/**
 * The exact JSON reader: slower than `JSON.parse`, and reads what Python's `json.loads` reads. Kombu's tags are resolved
 * from the inside out, like Python's `object_hook`. It keeps its own stack, so no nesting can exhaust the real one.
 */
import { DecodeError } from "./errors.ts";
import { fromTagged, PyFloat } from "./values.ts";

/** See `decodeJson`. */
export function readJson(text: string, maxDepth: number, keepFloats: boolean, tags = true): unknown {
  return new JsonReader(text, maxDepth, keepFloats, tags).read();
}

// wire: CPython 3.11 refuses longer decimal integers (sys.get_int_max_str_digits).
const MAX_INTEGER_DIGITS = 4300;

/** Shorter strings are copies in V8. */
const SHORTEST_PIECE = 13;
/** A text that is kept for a piece of it: no longer than so many times the piece, and so many characters. */
const MUCH_LONGER = 16;
const KEPT_ANYWAY = 4096;

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const CONTROL = /[\x00-\x1f]/;

type Members = Record<string, unknown>;
type Container = unknown[] | Members;

class JsonReader {
  private readonly text: string;
  private readonly maxDepth: number;
  private readonly keepFloats: boolean;
  private readonly tags: boolean;
  private at = 0;
  private readonly open: Container[] = [];
  /** The name under which each open container's next value goes; unused for arrays. */
  private readonly names: string[] = [];

  constructor(text: string, maxDepth: number, keepFloats: boolean, tags: boolean) {
    this.text = text;
    this.maxDepth = maxDepth;
    this.keepFloats = keepFloats;
    this.tags = tags;
  }

  read(): unknown {
    if (this.text.startsWith("\ufeff")) throw new DecodeError("JSON text that starts with a byte order mark");
    for (;;) {
      let value = this.readValue();
      if (value === OPENED) continue;
      // A finished value goes into the innermost open container, which may finish that one too.
      for (;;) {
        const container = this.open.at(-1);
        if (container === undefined) {
          this.skipBlanks();
          if (this.at < this.text.length) this.fail("unexpected text behind the value");
          return value;
        }
        this.put(container, value);
        if (!this.closes(container)) break;
        value = this.finish();
      }
    }
  }

  /** A scalar, an empty container, or `OPENED` after going one level down. */
  private readValue(): unknown {
    this.skipBlanks();
    switch (this.text.charCodeAt(this.at)) {
      case 0x22:
        return this.readString();
      case 0x7b: {
        this.enter({});
        this.skipBlanks();
        if (this.text.charCodeAt(this.at) !== 0x7d) {
          this.readName();
          return OPENED;
        }
        this.at++;
        return this.finish();
      }
      case 0x5b: {
        this.enter([]);
        this.skipBlanks();
        if (this.text.charCodeAt(this.at) !== 0x5d) return OPENED;
        this.at++;
        return this.finish();
      }
      default:
        return this.readAtom();
    }
  }

  private enter(container: Container): void {
    if (this.open.length >= this.maxDepth) {
      throw new DecodeError(`JSON nested deeper than ${this.maxDepth} levels (character ${this.at})`);
    }
    this.open.push(container);
    this.names.push("");
    this.at++;
  }

  private finish(): unknown {
    const container = this.open.pop();
    this.names.pop();
    if (container === undefined || !this.tags || Array.isArray(container) || !isTag(container)) return container;
    return fromTagged(container.__type__, container.__value__);
  }

  private put(container: Container, value: unknown): void {
    if (Array.isArray(container)) {
      container.push(value);
      return;
    }
    const name = this.names[this.names.length - 1]!;
    if (name !== "__proto__") container[name] = value;
    else Object.defineProperty(container, name, { value, writable: true, enumerable: true, configurable: true });
  }

  /** Steps over the comma, and the name behind it, or over the closing bracket. */
  private closes(container: Container): boolean {
    this.skipBlanks();
    const code = this.text.charCodeAt(this.at);
    const isArray = Array.isArray(container);
    if (code === 0x2c) {
      this.at++;
      if (!isArray) {
        this.skipBlanks();
        this.readName();
      }
      return false;
    }
    if (code !== (isArray ? 0x5d : 0x7d)) this.fail("expected a comma or the end of the container");
    this.at++;
    return true;
  }

  private readName(): void {
    if (this.text.charCodeAt(this.at) !== 0x22) this.fail("expected a member name in double quotes");
    this.names[this.names.length - 1] = this.readString();
    this.skipBlanks();
    if (this.text.charCodeAt(this.at) !== 0x3a) this.fail("expected a colon");
    this.at++;
  }

  private readString(): string {
    const start = this.at;
    let end = this.text.indexOf('"', start + 1);
    while (end >= 0 && this.isEscaped(end)) end = this.text.indexOf('"', end + 1);
    if (end < 0) this.fail("a string without an end");
    this.at = end + 1;
    const inside = this.text.slice(start + 1, end);
    if (!inside.includes("\\")) {
      if (CONTROL.test(inside)) this.fail("a control character in a string", start + 1 + inside.search(CONTROL));
      return this.isPiece(inside) ? String(JSON.parse(this.text.slice(start, end + 1))) : inside;
    }
    try {
      return String(JSON.parse(this.text.slice(start, end + 1)));
    } catch {
      return this.fail("an invalid escape or a control character in the string", start);
    }
  }

  /** A piece of a long text keeps all of it in memory for as long as the piece is kept; a copy does not. */
  private isPiece(inside: string): boolean {
    return inside.length >= SHORTEST_PIECE && this.text.length > MUCH_LONGER * inside.length + KEPT_ANYWAY;
  }

  private isEscaped(quote: number): boolean {
    let slashes = 0;
    while (this.text.charCodeAt(quote - 1 - slashes) === 0x5c) slashes++;
    return slashes % 2 === 1;
  }

  private readAtom(): unknown {
    const code = this.text.charCodeAt(this.at);
    if ((code >= 0x30 && code <= 0x39) || (code === 0x2d && this.text[this.at + 1] !== "I")) return this.readNumber();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.fail("expected a value");
  }

  private readNumber(): unknown {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (found === null) return this.fail("expected a value");
    const literal = found[0];
    const value = Number(literal);
    const start = this.at;
    this.at += literal.length;
    if (found[1] !== undefined || found[2] !== undefined) {
      return this.keepFloats && Number.isInteger(value) ? new PyFloat(value) : value;
    }
    if (Number.isSafeInteger(value)) return value;
    if (literal.length > MAX_INTEGER_DIGITS + (literal.startsWith("-") ? 1 : 0)) {
      this.fail(`an integer of more than ${MAX_INTEGER_DIGITS} digits`, start);
    }
    return BigInt(literal);
  }

  private skipBlanks(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }

  private fail(what: string, at = this.at): never {
    throw new DecodeError(`invalid JSON: ${what} (character ${at} of ${this.text.length})`);
  }
}

const OPENED = Symbol("opened");

const WORDS: readonly (readonly [string, unknown])[] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

function isTag(members: Members): boolean {
  return Object.hasOwn(members, "__type__") && Object.hasOwn(members, "__value__") && Object.keys(members).length === 2;
}
