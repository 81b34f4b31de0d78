/** Text out of received bytes, quickly: what comes in message after message is compared, not decoded again. */
import { Buffer, isUtf8 } from "node:buffer";

/** The text seen last at each place. */
export class KnownTexts {
  readonly #bytes: Buffer[] = [];
  readonly #texts: string[] = [];

  read(bytes: Buffer, from: number, to: number, place: number): string {
    const known = this.#bytes[place];
    if (known !== undefined && same(known, bytes, from, to)) return this.#texts[place]!;
    const text = bytes.toString("utf8", from, to);
    if (place < MAX_PLACES) {
      this.#bytes[place] = Buffer.from(bytes.subarray(from, to));
      this.#texts[place] = text;
    }
    return text;
  }
}

const MAX_PLACES = 64;

function same(known: Buffer, bytes: Buffer, from: number, to: number): boolean {
  const length = to - from;
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== bytes[from + i]) return false;
  return true;
}

/** Null when the bytes are not UTF-8. */
export function strictText(bytes: Buffer, from: number, to: number): string | null {
  const text = bytes.toString("utf8", from, to);
  // Only text with a replacement character can come from broken bytes; it may also have been sent as such.
  return text.includes("\ufffd") && !isUtf8(bytes.subarray(from, to)) ? null : text;
}
