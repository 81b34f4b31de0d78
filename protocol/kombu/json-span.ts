/**
 * Finds where values lie inside JSON text, so that an envelope can be marked or lifted out of its record without being
 * read and written again: every other byte stays as the publisher wrote it (large integers, float spelling, key order).
 * It checks structure only as far as it walks; the text as a whole is judged by whoever decodes it.
 */
import { DecodeError } from "../errors.ts";

const QUOTE = 34;
const BACKSLASH = 92;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const COMMA = 44;
const COLON = 58;

/** Index of the first character at or after `at` that is not JSON white space. */
export function skipSpace(text: string, at: number): number {
  let code = text.charCodeAt(at);
  while (code === 32 || code === 10 || code === 13 || code === 9) code = text.charCodeAt(++at);
  return at;
}

/** Index just after the value that starts at `at`. */
export function endOfValue(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code === QUOTE) return endOfString(text, at);
  if (code === OPEN_BRACE || code === OPEN_BRACKET) return endOfContainer(text, at);
  let end = at;
  while (end < text.length && !isDelimiter(text.charCodeAt(end))) end++;
  if (end === at) throw malformed(at);
  return end;
}

/** Position of an object's member value, or null when the object at `at` has no such key. The last of several wins. */
export function memberValue(text: string, at: number, key: string): { start: number; end: number } | null {
  if (text.charCodeAt(at) !== OPEN_BRACE) return null;
  let found: { start: number; end: number } | null = null;
  let next = skipSpace(text, at + 1);
  while (text.charCodeAt(next) === QUOTE) {
    const keyEnd = endOfString(text, next);
    const isKey = keyEnd - next === key.length + 2 && text.startsWith(key, next + 1);
    const colon = skipSpace(text, keyEnd);
    if (text.charCodeAt(colon) !== COLON) throw malformed(colon);
    const start = skipSpace(text, colon + 1);
    const end = endOfValue(text, start);
    if (isKey) found = { start, end };
    next = skipSpace(text, end);
    if (text.charCodeAt(next) === COMMA) next = skipSpace(text, next + 1);
  }
  if (text.charCodeAt(next) !== CLOSE_BRACE) throw malformed(next);
  return found;
}

/** The text with `key` of the object at `at` set to `value` (JSON text): in its place, else as the last member. */
export function withMember(text: string, at: number, key: string, value: string): string {
  const present = memberValue(text, at, key);
  if (present !== null) return text.slice(0, present.start) + value + text.slice(present.end);
  const close = endOfValue(text, at) - 1;
  const isEmpty = skipSpace(text, at + 1) === close;
  return `${text.slice(0, close)}${isEmpty ? "" : ", "}"${key}": ${value}${text.slice(close)}`;
}

function endOfString(text: string, at: number): number {
  let quote = text.indexOf('"', at + 1);
  while (quote > 0) {
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote + 1;
    quote = text.indexOf('"', quote + 1);
  }
  throw malformed(at);
}

function endOfContainer(text: string, at: number): number {
  let depth = 0;
  let next = at;
  while (next < text.length) {
    const code = text.charCodeAt(next);
    if (code === QUOTE) {
      next = endOfString(text, next);
      continue;
    }
    next++;
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth--;
      if (depth === 0) return next;
    }
  }
  throw malformed(at);
}

function isDelimiter(code: number): boolean {
  return code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || code === COLON || code <= 32;
}

function malformed(at: number): DecodeError {
  return new DecodeError(`malformed JSON text at character ${at}`);
}
