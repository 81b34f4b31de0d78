/**
 * The short, bounded text of arguments and results that headers, events and logs show. wire: celery-wire 1.6;
 * celery/utils/saferepr.py (5.7): a budget of characters, at most three levels, and brackets that always close.
 *
 * Celery walks a stream of tokens; here the same tokens are written as they are met. Lengths count code points, as
 * Python's do. Values show as what Python receives: `true` is True, a plain object a dict, an object with `toJSON` its JSON.
 */
import { utf8DecodeOrNull } from "./bytes.ts";
import { floatRepr, numberRepr } from "./python-numbers.ts";
import { isContainer, reprKnown, reprOther, unrepresentable } from "./python-repr.ts";
import { PyFloat } from "./values.ts";

export { pyRepr, reprException, reprTuple } from "./python-repr.ts";

/** How much of a value is shown. */
export interface SafereprOptions {
  /** Characters; null: no limit, which Celery uses where it logs. Setting: none. @default 1024 */
  maxLen?: number | null;
  /** Levels of containers that are opened; 0: all. Setting: `task_repr_maxlevels`. @default 3 */
  maxLevels?: number;
  /** Prints the outermost array as a tuple: `(2, 3)`. @default false */
  asTuple?: boolean;
}

/** Celery's `saferepr`. Never throws, not even where the value's own code does. */
export function saferepr(value: unknown, options?: SafereprOptions): string {
  const maxLen = options?.maxLen === undefined ? 1024 : (options.maxLen ?? Number.POSITIVE_INFINITY);
  try {
    const simple = maxLen < LEAST_BUDGET ? null : reprSimple(value, options?.asTuple === true);
    if (simple !== null) return simple;
    const printer = new Printer(maxLen, options?.maxLevels ?? 3);
    if (options?.asTuple === true && Array.isArray(value))
      printer.sequence(value, "(", value.length === 1 ? ",)" : ")");
    else printer.print(value);
    return printer.text;
  } catch {
    return unrepresentable(value); // A getter or `toJSON` threw, or there is no limit and the stack had one.
  }
}

/** Characters that `reprSimple` never exceeds. */
const LEAST_BUDGET = 512;
const MOST_ITEMS = 8;
const MOST_CHARACTERS = 40;
const NOTHING_TO_ESCAPE = /^[ -&(-~]*$/;

/** Most arguments: none, or a few small numbers and short texts, for which no budget need be kept. Null: not that simple. */
function reprSimple(value: unknown, asTuple: boolean): string | null {
  if (typeof value !== "object" || value === null) return null;
  if (!Array.isArray(value)) return Object.getPrototypeOf(value) === Object.prototype && isEmpty(value) ? "{}" : null;
  if (value.length > MOST_ITEMS) return null;
  let text = asTuple ? "(" : "[";
  for (let at = 0; at < value.length; at++) {
    const item: unknown = value[at];
    if (at > 0) text += ", ";
    if (typeof item === "number" && (item | 0) === item) text += `${item}`;
    else if (typeof item === "string" && item.length <= MOST_CHARACTERS && NOTHING_TO_ESCAPE.test(item))
      text += `'${item}'`;
    else if (item === null) text += "None";
    else if (typeof item === "boolean") text += item ? "True" : "False";
    else return null;
  }
  if (!asTuple) return `${text}]`;
  return value.length === 1 ? `${text},)` : `${text})`;
}

function isEmpty(members: object): boolean {
  for (const _name in members) return false;
  return true;
}

class Printer {
  text = "";
  /** Characters left; tokens met at zero or less are not printed any more. */
  private left: number;
  private readonly maxLevels: number;
  /** The containers that are open now. */
  private readonly open: object[] = [];
  /** The budget ran out: from here on only the brackets that are open get closed. */
  private cut = false;

  constructor(maxLen: number, maxLevels: number) {
    this.left = maxLen;
    this.maxLevels = maxLevels;
  }

  print(value: unknown): void {
    switch (typeof value) {
      case "string":
        return this.quoted(value);
      case "number":
        return this.word(numberRepr(value));
      case "boolean":
        return this.word(value ? "True" : "False");
      case "bigint":
        return this.word(value.toString());
      case "object":
        return value === null ? this.word("None") : this.object(value);
      default:
        return this.word(reprOther(value));
    }
  }

  sequence(items: readonly unknown[], start: string, end: string): void {
    if (!this.enter(items, start, end, "list")) return;
    for (let at = 0; at < items.length && !this.cut; at++) {
      if (at > 0 && !this.literal(", ")) break;
      this.print(items[at]);
    }
    this.leave(end);
  }

  private object(value: object): void {
    if (Array.isArray(value)) return this.sequence(value, "[", "]");
    if (value instanceof Set) return value.size === 0 ? this.word("set()") : this.sequence([...value], "{", "}");
    if (isContainer(value)) return this.dict(value);
    if (value instanceof Uint8Array) return this.bytes(value);
    if (value instanceof PyFloat) return this.word(floatRepr(value.value));
    const known = reprKnown(value);
    // Python's signatures are dicts, and print as such.
    if (known === null && "toJSON" in value && typeof value.toJSON === "function") return this.print(value.toJSON(""));
    return this.word(known ?? reprOther(value));
  }

  private dict(members: object): void {
    if (!this.enter(members, "{", "}", "dict")) return;
    const start = this.text.length;
    if (members instanceof Map) {
      for (const [key, value] of members) if (!this.member(key, value, start)) break;
    } else {
      const plain = members as Record<string, unknown>;
      for (const key of Object.keys(plain)) if (!this.member(key, plain[key], start)) break;
    }
    this.leave("}");
  }

  /** False when the budget is used up. Undefined members do not travel and are not shown. */
  private member(key: unknown, value: unknown, start: number): boolean {
    if (value === undefined) return true;
    if (this.text.length > start && !this.literal(", ")) return false;
    if (!this.key(key) || !this.literal(": ")) return false;
    this.print(value);
    return !this.cut;
  }

  private enter(container: object, start: string, end: string, type: string): boolean {
    if (this.maxLevels !== 0 && this.open.length >= this.maxLevels) {
      this.literal(`${start}...${end}`);
      return false;
    }
    if (this.open.includes(container)) {
      this.word(`<Recursion on ${type}>`);
      return false;
    }
    if (!this.literal(start)) return false;
    this.open.push(container);
    return true;
  }

  /** Closing brackets are printed whatever is left. */
  private leave(end: string): void {
    this.open.pop();
    this.text += end;
    if (this.left > 0) this.left -= end.length;
  }

  /** A token that is never shortened. False when the budget is used up. */
  private literal(text: string): boolean {
    if (this.spent()) return false;
    this.text += text;
    this.left -= text.length;
    return true;
  }

  private word(text: string): void {
    if (!this.spent()) this.write(truncate(text, this.left));
  }

  private quoted(text: string): void {
    if (!this.spent()) this.write(`'${truncate(text, this.left).replaceAll("'", "\\'")}'`);
  }

  /** A key has a budget of its own, as large as what is left. */
  private key(key: unknown): boolean {
    if (this.spent()) return false;
    if (typeof key === "string") {
      this.quoted(key);
      return true;
    }
    const inner = new Printer(this.left, this.maxLevels);
    inner.print(key);
    this.write(inner.text);
    return true;
  }

  private bytes(value: Uint8Array): void {
    if (this.spent()) return;
    const long = value.length > this.left;
    const shown = long ? value.subarray(0, this.left) : value;
    const text = utf8DecodeOrNull(shown) ?? Array.from(shown, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.write(`b'${text}${long ? "..." : ""}'`);
  }

  private write(text: string): void {
    this.text += text;
    this.left -= codePoints(text);
  }

  private spent(): boolean {
    if (this.left > 0) return false;
    if (!this.cut) this.text += ", ...";
    this.cut = true;
    return true;
  }
}

const ASTRAL = /[\ud800-\udbff][\udc00-\udfff]/;

function codePoints(text: string): number {
  return ASTRAL.test(text) ? [...text].length : text.length;
}

/** celery/utils/text.py `truncate`: cut at the length, then back to the last space. */
function truncate(text: string, maxLen: number): string {
  if (text.length < maxLen) return text;
  // Twice the length in code units holds enough code points, however long the text is.
  const head = text.slice(0, 2 * maxLen);
  if (!ASTRAL.test(head)) return cutAtSpace(text.slice(0, maxLen));
  const characters = [...head];
  return characters.length < maxLen ? text : cutAtSpace(characters.slice(0, maxLen).join(""));
}

function cutAtSpace(text: string): string {
  const space = text.lastIndexOf(" ");
  return `${space < 0 ? text : text.slice(0, space)}...`;
}
