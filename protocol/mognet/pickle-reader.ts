/**
 * What a pickle says, as data: nothing is imported, called or built. Python's stored exceptions bear their arguments only
 * there. Classes and calls become `PickledObject`s; whatever the reader does not know or finds too large makes it give up.
 * source: CPython Lib/pickletools.py, protocols 0 to 5.
 */
import { utf8DecodeOrNull } from "../bytes.ts";
import { readFloat, readLong } from "./pickle-numbers.ts";

/** An instance or a class, by name only. */
export class PickledObject {
  /** `module:Class`. */
  readonly className: string;
  /** Arguments of the call that would make it; null: the class itself. */
  readonly args: readonly unknown[] | null;
  /** What `__setstate__` would get. */
  state: unknown;

  constructor(className: string, args: readonly unknown[] | null) {
    this.className = className;
    this.args = args;
    this.state = undefined;
  }
}

/** What a pickle may cost to look at. */
export interface PickleLimits {
  /** @default 1_048_576 */
  maxBytes?: number;
  /** @default 100_000 */
  maxOpcodes?: number;
}

/** Null: not a pickle, or one beyond this reader. It never throws. Objects may refer to one another, in circles too. */
export function describePickle(bytes: Uint8Array, limits: PickleLimits = {}): { value: unknown } | null {
  if (bytes.length > (limits.maxBytes ?? 1_048_576)) return null;
  try {
    return { value: new PickleReader(bytes, limits.maxOpcodes ?? 100_000).read() };
  } catch (error) {
    if (error instanceof Beyond) return null;
    throw error;
  }
}

class Beyond {}

const MARK = Symbol("mark");
/** Longest int that is read. */
const MAX_LONG_BYTES = 1024;

class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #maxOpcodes: number;
  #at = 0;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();

  constructor(bytes: Uint8Array, maxOpcodes: number) {
    this.#bytes = bytes;
    this.#maxOpcodes = maxOpcodes;
  }

  read(): unknown {
    for (let count = 0; count < this.#maxOpcodes; count++) {
      const code = this.#byte();
      if (code === 0x2e) return this.#pop();
      const act = OPCODES[code];
      if (act === undefined) throw new Beyond();
      act(this);
    }
    throw new Beyond();
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    return this.#pop();
  }

  #pop(): unknown {
    if (this.#stack.length === 0) throw new Beyond();
    const value = this.#stack.pop();
    if (value === MARK) throw new Beyond();
    return value;
  }

  mark(): void {
    this.#stack.push(MARK);
  }

  /** Everything above the last mark, which goes too. */
  popMark(): unknown[] {
    const at = this.#stack.lastIndexOf(MARK);
    if (at < 0) throw new Beyond();
    const items = this.#stack.splice(at);
    items.shift();
    return items;
  }

  top(): unknown {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw new Beyond();
    return value;
  }

  drop(): void {
    if (this.#stack.length === 0) throw new Beyond();
    this.#stack.pop();
  }

  memoize(at = this.#memo.size): void {
    this.#memo.set(at, this.#stack.at(-1));
  }

  recall(at: number): void {
    if (!this.#memo.has(at)) throw new Beyond();
    this.#stack.push(this.#memo.get(at));
  }

  #byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw new Beyond();
    this.#at++;
    return value;
  }

  /** Little-endian, unsigned. */
  uint(size: number): number {
    let value = 0;
    for (let shift = 0; shift < size; shift++) value += this.#byte() * 2 ** (8 * shift);
    return value;
  }

  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Beyond();
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  text(length: number): string {
    const text = utf8DecodeOrNull(this.take(length));
    if (text === null) throw new Beyond();
    return text;
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new Beyond();
    const text = this.text(end - this.#at);
    this.#at = end + 1;
    return text;
  }
}

type Act = (reader: PickleReader) => void;

function long(reader: PickleReader, length: number): void {
  if (length > MAX_LONG_BYTES) throw new Beyond();
  reader.push(readLong(reader.take(length)));
}

function classNamed(module: unknown, name: unknown): PickledObject {
  if (typeof module !== "string" || typeof name !== "string") throw new Beyond();
  return new PickledObject(`${module}:${name}`, null);
}

function called(reader: PickleReader): void {
  const args = reader.pop();
  const target = reader.pop();
  if (!(target instanceof PickledObject) || !Array.isArray(args)) throw new Beyond();
  // `copyreg._reconstructor(cls, base, state)` and `copyreg.__newobj__(cls, ...)` make an instance of their first argument.
  const first: unknown = args[0];
  if (target.className.startsWith("copyreg:") && first instanceof PickledObject) {
    reader.push(new PickledObject(first.className, args.slice(1)));
  } else reader.push(new PickledObject(target.className, args));
}

function setItems(target: unknown, items: readonly unknown[]): void {
  if (!(target instanceof Map) || items.length % 2 !== 0) throw new Beyond();
  for (let at = 0; at < items.length; at += 2) target.set(items[at], items[at + 1]);
}

function append(target: unknown, items: readonly unknown[]): void {
  if (!Array.isArray(target)) throw new Beyond();
  for (const item of items) target.push(item);
}

function build(reader: PickleReader): void {
  const state = reader.pop();
  const target = reader.top();
  if (target instanceof PickledObject) target.state = state;
}

function integerLine(reader: PickleReader): void {
  const text = reader.line();
  if (text === "00" || text === "01") reader.push(text === "01");
  else if (/^-?\d{1,1024}L?$/.test(text)) {
    const value = BigInt(text.replace("L", ""));
    const number = Number(value);
    reader.push(Number.isSafeInteger(number) ? number : value);
  } else throw new Beyond();
}

function memoLine(reader: PickleReader): number {
  const text = reader.line();
  if (!/^\d{1,9}$/.test(text)) throw new Beyond();
  return Number(text);
}

function tupleOf(count: number): Act {
  return (reader) => {
    const items: unknown[] = [];
    for (let left = count; left > 0; left--) items.unshift(reader.pop());
    reader.push(items);
  };
}

const OPCODES: Readonly<Record<number, Act>> = {
  128: (r) => void r.uint(1), // PROTO
  149: (r) => void r.uint(8), // FRAME
  78: (r) => r.push(null),
  136: (r) => r.push(true),
  137: (r) => r.push(false),
  74: (r) => r.push(r.uint(4) | 0), // BININT
  75: (r) => r.push(r.uint(1)),
  77: (r) => r.push(r.uint(2)),
  138: (r) => long(r, r.uint(1)),
  139: (r) => long(r, r.uint(4)),
  73: integerLine,
  76: integerLine,
  71: (r) => r.push(readFloat(r.take(8), 0)),
  70: (r) => r.push(Number(r.line())),
  88: (r) => r.push(r.text(r.uint(4))),
  140: (r) => r.push(r.text(r.uint(1))),
  141: (r) => r.push(r.text(r.uint(8))),
  86: (r) => r.push(r.line()),
  66: (r) => r.push(r.take(r.uint(4)).slice()),
  67: (r) => r.push(r.take(r.uint(1)).slice()),
  142: (r) => r.push(r.take(r.uint(8)).slice()),
  93: (r) => r.push([]),
  41: (r) => r.push([]),
  125: (r) => r.push(new Map()),
  143: (r) => r.push(new Set()),
  40: (r) => r.mark(),
  48: (r) => r.drop(),
  49: (r) => void r.popMark(),
  50: (r) => r.push(r.top()),
  116: (r) => r.push(r.popMark()),
  133: tupleOf(1),
  134: tupleOf(2),
  135: tupleOf(3),
  108: (r) => r.push(r.popMark()),
  100: (r) => {
    const items = r.popMark();
    const map = new Map();
    setItems(map, items);
    r.push(map);
  },
  97: (r) => {
    const item = r.pop();
    append(r.top(), [item]);
  },
  101: (r) => {
    const items = r.popMark();
    append(r.top(), items);
  },
  115: (r) => {
    const value = r.pop();
    const key = r.pop();
    setItems(r.top(), [key, value]);
  },
  117: (r) => {
    const items = r.popMark();
    setItems(r.top(), items);
  },
  144: (r) => {
    const items = r.popMark();
    const target = r.top();
    if (!(target instanceof Set)) throw new Beyond();
    for (const item of items) target.add(item);
  },
  145: (r) => r.push(new Set(r.popMark())),
  99: (r) => {
    const module = r.line();
    r.push(classNamed(module, r.line()));
  },
  147: (r) => {
    const name = r.pop();
    r.push(classNamed(r.pop(), name));
  },
  82: called,
  129: called,
  98: build,
  148: (r) => r.memoize(),
  113: (r) => r.memoize(r.uint(1)),
  114: (r) => r.memoize(r.uint(4)),
  112: (r) => r.memoize(memoLine(r)),
  104: (r) => r.recall(r.uint(1)),
  106: (r) => r.recall(r.uint(4)),
  103: (r) => r.recall(memoLine(r)),
};
