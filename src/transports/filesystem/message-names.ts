/**
 * Names of message files: unique, and in the order of publishing. wire: celery-wire 7.1, `<int ms>_<uuid4>.<queue>.msg`; readers
 * take them in textual order. The clock is Python's `time.monotonic()`, which on Linux is CLOCK_MONOTONIC, as is Node's
 * `process.hrtime`, so that files of both interleave as they were written on one machine.
 *
 * Within a millisecond Kombu's order is that of random UUIDs. The UUIDs made here begin with the nanoseconds instead, so that one
 * publisher's messages keep their order.
 */
import { messageFileName } from "../../../protocol/kombu/filesystem-names.ts";
import { newId } from "../../runtime/ids.ts";

const nanosPerMs = 1_000_000;
let lastMs = 0;
let lastNanos = 0;

/** The next file name for `queue`; later calls give later names. Throws `ImproperlyConfigured` for a queue that is no file name. */
export function nextMessageName(queue: string): string {
  const [seconds, nanos] = process.hrtime();
  let ms = seconds * 1000 + Math.floor(nanos / nanosPerMs);
  let rest = nanos % nanosPerMs;
  // half up, as Python rounds: the nanoseconds then count from half a millisecond before
  rest += nanosPerMs / 2;
  if (rest >= nanosPerMs) {
    ms += 1;
    rest -= nanosPerMs;
  }
  if (ms < lastMs || (ms === lastMs && rest <= lastNanos)) {
    ms = lastMs;
    rest = lastNanos + 1;
    if (rest >= nanosPerMs) {
      ms += 1;
      rest = 0;
    }
  }
  lastMs = ms;
  lastNanos = rest;
  return messageFileName(ms, rest.toString(16).padStart(5, "0") + newId().slice(5), queue);
}

/**
 * The order of publishing: by milliseconds as a number, then by text. Python sorts the whole as text, which differs only where
 * the number of digits changes (and there the number is right).
 */
export function compareMessageNames(a: string, b: string): number {
  const length = a.indexOf("_") - b.indexOf("_");
  if (length !== 0 && isDigit(a) && isDigit(b)) return length;
  return a < b ? -1 : a > b ? 1 : 0;
}

function isDigit(text: string): boolean {
  const first = text.charCodeAt(0);
  return first >= 0x30 && first <= 0x39;
}
