/**
 * The complaints of an `InvalidTaskArguments`, read back from its message: the `repr` of a list of `InvalidErrorInfo`.
 * wire: mognet/exceptions/task_exceptions.py; protocol mognet 3.4.
 */
import type { InvalidErrorInfo } from "../../tasks/mognet-errors.ts";

const TEXT = `'(?:[^'\\\\]|\\\\.)*'|"(?:[^"\\\\]|\\\\.)*"`;
const LOC = new RegExp(`${TEXT}|\\d+`, "gs");
const INFO = new RegExp(`InvalidErrorInfo\\(loc=\\(((?:${TEXT}|[\\d, ])*)\\), msg=(${TEXT}), type=(${TEXT})\\)`, "gs");
/** A message holds what its writer likes. */
const MOST = 1_000;

/** What cannot be read is left out; the message has it. */
export function invalidArgumentsIn(message: string): InvalidErrorInfo[] {
  const found: InvalidErrorInfo[] = [];
  for (const [, loc = "", msg = "", type = ""] of message.matchAll(INFO)) {
    if (found.length === MOST) break;
    const path = [...loc.matchAll(LOC)].map(([part]) => (/^\d/.test(part) ? Number(part) : unquoted(part)));
    found.push({ loc: path, msg: unquoted(msg), type: unquoted(type) });
  }
  return found;
}

const NAMED: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

function unquoted(repr: string): string {
  return repr
    .slice(1, -1)
    .replace(
      /\\(?:x([\da-f]{2})|u([\da-f]{4})|U([\da-f]{8})|(.))/gs,
      (_all, x?: string, u?: string, long?: string, char = "") => {
        const hex = x ?? u ?? long;
        if (hex === undefined) return NAMED[char] ?? char;
        const code = Number.parseInt(hex, 16);
        return code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
      },
    );
}
