/**
 * Header tables of message after message: what stood at the same place of the one before is copied, not written again. Messages of one
 * group differ in their ids and little else: as long as the texts keep their lengths, the table before is changed where it lies and
 * leaves in one copy. The bytes are those of `writeTable`.
 */
import { Buffer } from "node:buffer";
import { type ByteWriter, putU32 } from "./byte-writer.ts";
import { writeKey, writeValue } from "./field-table.ts";

/** A larger table is written plainly. */
const MOST_BYTES = 4 * 1024;
const LENGTH_BYTES = 4;
/** In front of a text (`S` and its length), and of a whole number of 32 bits (`I`). */
const TEXT_HEAD = 5;
const INT_HEAD = 1;

export class RepeatedTable {
  /** Of the table written last, its length included. */
  readonly #bytes = Buffer.allocUnsafeSlow(MOST_BYTES);
  readonly #names: string[] = [];
  readonly #values: unknown[] = [];
  /** Where in `#bytes` the value of each entry begins, and where it ends. */
  readonly #begins: number[] = [];
  readonly #ends: number[] = [];
  #count = 0;
  /** What of `#bytes` is the table. */
  #whole: Uint8Array = this.#bytes.subarray(0, 0);

  /** As `writeTable`. */
  write(out: ByteWriter, table: Readonly<Record<string, unknown>>): void {
    if (this.#count > 0 && this.#takes(table)) out.bytes(this.#whole);
    else this.#write(out, table);
  }

  /** Makes `#bytes` those of this table, if its entries have their places there; otherwise `#bytes` is still the table of `#values`. */
  #takes(table: Readonly<Record<string, unknown>>): boolean {
    let place = 0;
    for (const name in table) {
      const value = table[name];
      if (value === undefined) continue;
      if (place >= this.#count || this.#names[place] !== name) return false;
      if (!isSame(this.#values[place], value) && !this.#replace(place, value)) return false;
      place++;
    }
    return place === this.#count;
  }

  #replace(place: number, value: unknown): boolean {
    const begin = this.#begins[place]!;
    const known = this.#values[place];
    if (typeof value === "string") {
      const { length } = value;
      if (typeof known !== "string" || this.#ends[place]! - begin - TEXT_HEAD !== length) return false;
      if (Buffer.byteLength(value) !== length) return false;
      this.#bytes.write(value, begin + TEXT_HEAD, "latin1");
    } else {
      if (!isInt32(value) || !isInt32(known)) return false;
      putU32(this.#bytes, begin + INT_HEAD, value);
    }
    this.#values[place] = value;
    return true;
  }

  #write(out: ByteWriter, table: Readonly<Record<string, unknown>>): void {
    const known = this.#count;
    this.#count = 0;
    const start = out.mark();
    out.u32(0);
    let place = 0;
    // What lies between these in `#bytes` is to be copied.
    let from = LENGTH_BYTES;
    let to = LENGTH_BYTES;
    /** By how much later entries lie here than in `#bytes`. */
    let shift = 0;
    for (const name of Object.keys(table)) {
      const value = table[name];
      if (value === undefined) continue;
      const end = place < known ? this.#ends[place]! : to;
      const isNamed = place < known && this.#names[place] === name;
      if (isNamed && isSame(this.#values[place], value)) {
        to = end;
        this.#begins[place]! += shift;
      } else {
        if (isNamed) to = this.#begins[place]!;
        if (to > from) out.copy(this.#bytes, from, to);
        if (!isNamed) writeKey(out, name);
        this.#begins[place] = out.mark() - start;
        writeValue(out, name, value);
        shift = out.mark() - start - end;
        from = end;
        to = end;
        this.#names[place] = name;
        this.#values[place] = value;
      }
      this.#ends[place++] = end + shift;
    }
    if (to > from) out.copy(this.#bytes, from, to);
    const size = out.mark() - start;
    out.patchU32(start, size - LENGTH_BYTES);
    if (size > MOST_BYTES) return;
    out.read(start, this.#bytes);
    this.#count = place;
    if (this.#whole.length !== size) this.#whole = this.#bytes.subarray(0, size);
  }
}

/** Both ends of the range are written otherwise in one client or another, and zero may be negative: a fraction. */
function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value && !Object.is(value, -0) && value !== -2_147_483_648;
}

/** Would it be written alike? What can have changed since is never the same. */
function isSame(known: unknown, value: unknown): boolean {
  return Object.is(known, value) && (typeof value !== "object" || value === null || isConstant(value));
}

function isConstant(value: object): boolean {
  if (!Object.isFrozen(value)) return false;
  const isData = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  return isData && Object.values(value).every((part) => typeof part !== "object" || part === null);
}
