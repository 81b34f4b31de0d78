/**
 * Long chains in a message body without reading them. Every message of a chain carries all links behind it, the next one last; a task
 * needs that one and passes the others on. Read and written again at each of a thousand links they cost seconds; as text they are only
 * copied. wire: celery-wire 1.4; celery/app/trace.py `trace_task` (`chain.pop()`).
 *
 * What is passed on is looked at by whoever it concerns: a link that is no signature, or no JSON, fails there.
 */
import { DecodeError } from "../errors.ts";
import { decodeJson, type JsonDecodeOptions } from "../json.ts";
import { JsonText } from "../json-text.ts";
import { isRecord } from "../records.ts";
import { readSignatureList, type WireSignature } from "./signature.ts";

/** Characters; shorter chains are read as a whole. */
const WORTHWHILE = 4096;
// What Kombu's JSON of an embed says around its chain, when no chord is behind it.
const BEFORE = '"chain": [';
const AFTER = '], "chord": null}]';

/** The links behind the next one, last step first, as the text of an array. */
export class ChainRest extends JsonText {
  readonly #options: JsonDecodeOptions;

  constructor(text: string, options: JsonDecodeOptions) {
    super(text);
    this.#options = options;
  }

  /** Read after all. Throws `DecodeError` or `InvalidTaskError`. */
  links(): WireSignature[] {
    return readSignatureList(decodeJson(this.text, this.#options)) ?? [];
  }
}

/** A chain of which only the next link has been decoded. */
export class ChainTail {
  readonly next: unknown;
  readonly rest: ChainRest;

  constructor(next: unknown, rest: ChainRest) {
    this.next = next;
    this.rest = rest;
  }
}

/**
 * As `decodeJson`, for the body of a task: a long chain at the place of Celery's is a `ChainTail`. Whatever does not look exactly like
 * that, or may have a part of a chord among the links, is decoded as a whole.
 */
export function decodeTaskBody(text: string, options: JsonDecodeOptions): unknown {
  return withTail(text, options) ?? decodeJson(text, options);
}

function withTail(text: string, options: JsonDecodeOptions): unknown[] | null {
  const end = text.length - AFTER.length;
  if (end < WORTHWHILE || !text.endsWith(AFTER)) return null;
  const key = text.indexOf(BEFORE);
  const first = key + BEFORE.length;
  if (key < 0 || end - first < WORTHWHILE) return null;
  const last = lastItem(text, first, end);
  if (last < 0) return null;
  const chord = text.indexOf('"chord"', first);
  if (chord < last) return null;
  try {
    const body = decodeJson(`${text.slice(0, key)}"chain": null, "chord": null}]`, options);
    if (!Array.isArray(body) || body.length !== 3 || !isEmbed(body[2])) return null;
    const next = decodeJson(text.slice(last, end), options);
    const rest = new ChainRest(`[${text.slice(first, text.lastIndexOf(",", last))}]`, options);
    return [body[0], body[1], { ...body[2], chain: new ChainTail(next, rest) }];
  } catch (error) {
    // Read as a whole it is understood, or refused with the place in it.
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

function isEmbed(value: unknown): value is Record<string, unknown> {
  return isRecord(value) && Object.keys(value).join() === "callbacks,errbacks,chain,chord";
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

/** Where, in the text of an array's items, the last one begins, found from its end. -1: there is only one, or they are broken. */
function lastItem(text: string, from: number, end: number): number {
  let depth = 0;
  for (let at = end - 1; at > from; at--) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = openingQuote(text, at);
        break;
      case 0x7d:
      case 0x5d:
        depth++;
        break;
      case 0x7b:
      case 0x5b:
        if (--depth < 0) return -1;
        break;
      case COMMA:
        if (depth === 0) return at + 1;
    }
  }
  return -1;
}

/** The quote that begins the string whose closing quote stands at `closing`: the one before it that is not escaped. */
function openingQuote(text: string, closing: number): number {
  let at = text.lastIndexOf('"', closing - 1);
  while (at > 0 && isEscaped(text, at)) at = text.lastIndexOf('"', at - 1);
  return at;
}

function isEscaped(text: string, at: number): boolean {
  let before = at - 1;
  while (text.charCodeAt(before) === BACKSLASH) before--;
  return (at - before) % 2 === 0;
}
