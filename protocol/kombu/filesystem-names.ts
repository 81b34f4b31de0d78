/**
 * File names and exchange tables of Kombu's filesystem transport. wire: celery-wire 7.1; kombu/transport/filesystem.py.
 * Names are checked because they come from peers and become paths.
 */
import { DecodeError, ImproperlyConfigured } from "../errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import { textOr } from "../records.ts";
import type { Binding } from "../routing.ts";

const MESSAGE_SUFFIX = ".msg";
/** `[[routing_key, pattern, queue], …]`: no deeper nesting is legal. */
const TABLE_DEPTH = 3;

/** `<ms>_<uuid>.<queue>.msg`. Readers take files in the textual order of their names. */
export function messageFileName(monotonicMs: number, uuid: string, queue: string): string {
  if (!isFileNamePart(queue) || !isFileNamePart(uuid)) {
    throw new ImproperlyConfigured(`a queue of the filesystem transport cannot be named ${JSON.stringify(queue)}`);
  }
  return `${Math.round(monotonicMs)}_${uuid}.${queue}${MESSAGE_SUFFIX}`;
}

/** The queue that a file in the data folder belongs to: all between the first dot and `.msg`; null for other files. */
export function queueOfFileName(name: string): string | null {
  const dot = name.indexOf(".");
  if (dot < 0 || !name.endsWith(MESSAGE_SUFFIX)) return null;
  const end = name.length - MESSAGE_SUFFIX.length;
  return end > dot ? name.slice(dot + 1, end) : null;
}

function isFileNamePart(text: string): boolean {
  return text !== "" && !/[/\\\0]/.test(text);
}

const EXCHANGE_NAME = /^[A-Za-z0-9._-]+$/;
const WINDOWS_DEVICE = /^(?:CON|PRN|AUX|NUL|COM[1-9]|LPT[1-9])$/i;

/** `<exchange>.exchange` in the control folder. Refuses the names that Kombu 5.7 refuses. */
export function exchangeFileName(exchange: string): string {
  if (exchange !== "" && !isExchangeName(exchange)) {
    throw new ImproperlyConfigured(
      `an exchange of the filesystem transport cannot be named ${JSON.stringify(exchange)}`,
    );
  }
  return `${exchange}.exchange`;
}

function isExchangeName(exchange: string): boolean {
  return (
    EXCHANGE_NAME.test(exchange) && !/^\.+$/.test(exchange) && !WINDOWS_DEVICE.test(exchange.split(".", 1)[0] ?? "")
  );
}

/**
 * Reads an exchange file, newest binding first. An empty text is an empty table: Python opens (and so empties) the file
 * before it takes the lock.
 */
export function readExchangeTable(text: string): Binding[] {
  if (text.trim() === "") return [];
  const table = decodeJson(text, { maxDepth: TABLE_DEPTH });
  if (!Array.isArray(table)) throw new DecodeError("an exchange file must hold an array");
  return table.map((row: unknown) => {
    if (!Array.isArray(row) || row.length !== 3 || !row.every((part) => typeof part === "string" || part === null)) {
      throw new DecodeError("a row of an exchange file must be [routing_key, pattern, queue]");
    }
    return { routingKey: textOr(row[0], ""), pattern: textOr(row[1], ""), queue: textOr(row[2], "") };
  });
}

/** Writes an exchange file as Python would. */
export function writeExchangeTable(table: readonly Binding[]): string {
  return encodeJson(table.map((binding) => [binding.routingKey, binding.pattern, binding.queue]));
}

/** The table with the binding in front; the same array when it is there already. */
export function withBinding(table: readonly Binding[], binding: Binding): readonly Binding[] {
  return table.some((row) => isSameBinding(row, binding)) ? table : [binding, ...table];
}

/** The table without the binding; the same array when it was not there. */
export function withoutBinding(table: readonly Binding[], binding: Binding): readonly Binding[] {
  const at = table.findIndex((row) => isSameBinding(row, binding));
  return at < 0 ? table : table.toSpliced(at, 1);
}

function isSameBinding(a: Binding, b: Binding): boolean {
  return a.routingKey === b.routingKey && a.pattern === b.pattern && a.queue === b.queue;
}
