/**
 * AMQP field tables, the form in which headers travel. wire: amqp/serialization.py `_write_item`, `_read_item` of py-amqp;
 * celery-wire 1.3.
 *
 * Written exactly as py-amqp writes: null `V`, whole numbers `I` (up to +-2147483647) or `L`, other numbers `d`, text and
 * bytes `S`, Decimal `D`, dates `T` (seconds), arrays `A`, objects `F`. Read is what any client sends: `s` and `U` are 16 bits
 * (RabbitMQ's errata; older py-amqp read `s` as text), `l` and `L` are signed 64 bits.
 */
import type { Buffer } from "node:buffer";
import { DecodeError, EncodeError } from "../../../protocol/errors.ts";
import { PyDateTime, PyDecimal, PyFloat } from "../../../protocol/values.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { KnownTexts, strictText } from "./texts.ts";

const MAX_DEPTH = 100;
const INT32 = 2_147_483_647;
const INT64 = 2n ** 63n;

/** Appends `table` with its length in front. A value without a form on the wire is an `EncodeError`. */
export function writeTable(out: ByteWriter, table: object, depth = 0): void {
  if (depth > MAX_DEPTH) throw new EncodeError("headers are nested too deeply, or in a circle");
  const mark = out.mark();
  out.u32(0);
  for (const key of Object.keys(table)) {
    const value: unknown = Reflect.get(table, key);
    if (value === undefined) continue;
    writeKey(out, key);
    writeValue(out, key, value, depth);
  }
  out.patchU32(mark, out.mark() - mark - 4);
}

/** Appends a name, behind which its value comes. */
export function writeKey(out: ByteWriter, key: string): void {
  const mark = out.mark();
  out.u8(0);
  const length = out.text(key);
  if (length > 255)
    throw new EncodeError(`the header name ${JSON.stringify(key.slice(0, 40))}… is over 255 bytes long`);
  out.patchU8(mark, length);
}

/** Appends a value; the name is for errors. */
export function writeValue(out: ByteWriter, key: string, value: unknown, depth = 0): void {
  switch (typeof value) {
    case "string": {
      out.u8(0x53); // S
      const mark = out.mark();
      out.u32(0);
      out.patchU32(mark, out.text(value));
      return;
    }
    case "number":
      return writeNumber(out, key, value);
    case "bigint":
      return writeInteger(out, key, value);
    case "boolean":
      out.u8(0x74); // t
      out.u8(value ? 1 : 0);
      return;
    case "undefined":
      out.u8(0x56);
      return;
    case "object":
      if (value === null)
        out.u8(0x56); // V
      else writeObject(out, key, value, depth);
      return;
    default:
      throw new EncodeError(`header ${JSON.stringify(key)} is a ${typeof value}, which AMQP cannot carry`);
  }
}

/** A number beyond the exact integers was a float, as everywhere in this code base (protocol/python-numbers.ts). */
function writeNumber(out: ByteWriter, key: string, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    writeFloat(out, key, value);
  } else if (value >= -INT32 && value <= INT32) {
    out.u8(0x49); // I
    out.u32(value);
  } else {
    out.u8(0x4c); // L
    out.i64(BigInt(value));
  }
}

/** RabbitMQ cannot parse NaN and Infinity, and ends the connection of who sends them (3.10.8: 541, Python's too). */
function writeFloat(out: ByteWriter, key: string, value: number): void {
  if (!Number.isFinite(value)) {
    throw new EncodeError(`header ${JSON.stringify(key)} is ${value}, which RabbitMQ cannot carry`);
  }
  out.u8(0x64); // d
  out.f64(value);
}

function writeInteger(out: ByteWriter, key: string, value: bigint): void {
  if (value >= INT64 || value < -INT64) {
    throw new EncodeError(`header ${JSON.stringify(key)} is an integer of more than 64 bits, which AMQP cannot carry`);
  }
  if (value >= -INT32 && value <= INT32) {
    out.u8(0x49);
    out.u32(Number(value));
  } else {
    out.u8(0x4c);
    out.i64(value);
  }
}

function writeObject(out: ByteWriter, key: string, value: object, depth: number): void {
  if (Array.isArray(value)) {
    if (depth > MAX_DEPTH) throw new EncodeError("headers are nested too deeply, or in a circle");
    out.u8(0x41); // A
    const mark = out.mark();
    out.u32(0);
    for (const item of value) writeValue(out, key, item, depth + 1);
    out.patchU32(mark, out.mark() - mark - 4);
  } else if (value instanceof Uint8Array) {
    out.u8(0x53); // py-amqp never writes x
    out.u32(value.length);
    out.bytes(value);
  } else if (value instanceof Date) {
    const seconds = Math.floor(value.getTime() / 1000);
    if (!(seconds >= 0)) throw new EncodeError(`header ${JSON.stringify(key)} is a date that AMQP cannot carry`);
    out.u8(0x54); // T
    out.u64(seconds);
  } else if (value instanceof PyDecimal) {
    writeDecimal(out, key, value.text);
  } else {
    writeOther(out, key, value, depth);
  }
}

function writeOther(out: ByteWriter, key: string, value: object, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    out.u8(0x46); // F
    writeTable(out, value, depth + 1);
    return;
  }
  if (value instanceof PyFloat) {
    writeFloat(out, key, value.value);
    return;
  }
  const primitive: unknown = value.valueOf();
  if (typeof primitive === "object") {
    throw new EncodeError(`header ${JSON.stringify(key)} is a ${value.constructor.name}, which AMQP cannot carry`);
  }
  writeValue(out, key, primitive, depth);
}

function writeDecimal(out: ByteWriter, key: string, text: string): void {
  const parts = /^(-?)(\d+)(?:\.(\d*))?(?:E([+-]\d+))?$/.exec(text);
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = parts ?? [];
  const places = fraction.length - Number(exponent);
  const digits = Number(`${sign}${whole}${fraction}`);
  if (!parts || places < 0 || places > 255 || Math.abs(digits) > INT32) {
    throw new EncodeError(`header ${JSON.stringify(key)} is the decimal ${text}, which AMQP cannot carry`);
  }
  out.u8(0x44); // D
  out.u8(places);
  out.u32(digits);
}

/** Reads tables. One reader for one connection: it remembers the names it saw last, which come again in every message. */
export class TableReader {
  readonly #names = new KnownTexts();
  #bytes!: Buffer;
  #at = 0;
  #end = 0;

  /** Reads the table whose length stands at `at`. What is not a table is a `DecodeError`. */
  read(bytes: Buffer, at: number): { table: Record<string, unknown>; end: number } {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = bytes.length;
    const end = this.#limit();
    const table = this.#table(end, 0);
    return { table, end };
  }

  /** Takes a length off and says where what it measures ends. */
  #limit(): number {
    this.#need(4);
    const length = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    this.#need(length);
    return this.#at + length;
  }

  #need(bytes: number): void {
    if (this.#at + bytes > this.#end) throw new DecodeError("a header table ends in the middle of a value");
  }

  #table(end: number, depth: number): Record<string, unknown> {
    if (depth > MAX_DEPTH) throw new DecodeError("headers are nested too deeply");
    const table: Record<string, unknown> = {};
    let ordinal = 0;
    while (this.#at < end) {
      this.#need(1);
      const length = this.#bytes[this.#at++]!;
      this.#need(length);
      const from = this.#at;
      this.#at += length;
      const key = depth === 0 ? this.#names.read(this.#bytes, from, this.#at, ordinal++) : this.#text(from, this.#at);
      const value = this.#value(depth);
      if (key === "__proto__") {
        Object.defineProperty(table, key, { value, enumerable: true, writable: true, configurable: true });
      } else {
        table[key] = value;
      }
    }
    if (this.#at !== end) throw new DecodeError("a header table is longer than it says");
    return table;
  }

  #text(from: number, to: number): string {
    return this.#bytes.toString("utf8", from, to);
  }

  #value(depth: number): unknown {
    this.#need(1);
    const bytes = this.#bytes;
    const tag = bytes[this.#at++]!;
    switch (tag) {
      case 0x53: {
        const end = this.#limit();
        const from = this.#at;
        this.#at = end;
        return strictText(bytes, from, end) ?? Uint8Array.from(bytes.subarray(from, end));
      }
      case 0x56:
        return null;
      case 0x49:
        this.#need(4);
        this.#at += 4;
        return bytes.readInt32BE(this.#at - 4);
      case 0x74:
        this.#need(1);
        return bytes[this.#at++] !== 0;
      case 0x4c: // L
      case 0x6c: {
        this.#need(8);
        const value = bytes.readBigInt64BE(this.#at);
        this.#at += 8;
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      }
      case 0x64:
        this.#need(8);
        this.#at += 8;
        return bytes.readDoubleBE(this.#at - 8);
      case 0x46:
        return this.#table(this.#limit(), depth + 1);
      case 0x41:
        return this.#array(this.#limit(), depth + 1);
      default:
        return this.#rareValue(tag);
    }
  }

  #array(end: number, depth: number): unknown[] {
    if (depth > MAX_DEPTH) throw new DecodeError("headers are nested too deeply");
    const items: unknown[] = [];
    while (this.#at < end) items.push(this.#value(depth));
    if (this.#at !== end) throw new DecodeError("a header array is longer than it says");
    return items;
  }

  #rareValue(tag: number): unknown {
    const bytes = this.#bytes;
    const at = this.#at;
    const take = (size: number) => {
      this.#need(size);
      this.#at += size;
    };
    switch (String.fromCharCode(tag)) {
      case "T":
        take(8);
        return new PyDateTime(Number(bytes.readBigUInt64BE(at)) * 1000, { offsetMinutes: null });
      case "D": {
        take(5);
        return new PyDecimal(`${bytes.readInt32BE(at + 1)}E-${bytes[at]!}`);
      }
      case "b":
        take(1);
        return bytes.readInt8(at);
      case "B":
        take(1);
        return bytes[at];
      case "s":
      case "U":
        take(2);
        return bytes.readInt16BE(at);
      case "u":
        take(2);
        return bytes.readUInt16BE(at);
      case "i":
        take(4);
        return bytes.readUInt32BE(at);
      case "f":
        take(4);
        return bytes.readFloatBE(at);
      case "x": {
        const end = this.#limit();
        const from = this.#at;
        this.#at = end;
        return Uint8Array.from(bytes.subarray(from, end));
      }
      default:
        throw new DecodeError(`a header has the unknown type ${JSON.stringify(String.fromCharCode(tag))}`);
    }
  }
}
