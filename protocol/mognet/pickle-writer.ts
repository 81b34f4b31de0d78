/**
 * Pickles of exceptions, so that Python callers catch the class they know. Only calls of classes that every Python (or every
 * Mognet) has are ever written. source: CPython Lib/pickletools.py, protocol 4.
 */
import { utf8Encode } from "../bytes.ts";
import { floatBytes } from "./pickle-numbers.ts";

/** What a pickle is made of: JSON values, and these. */
export type PickleItem =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly PickleItem[]
  | { readonly tuple: readonly PickleItem[] }
  | { readonly set: readonly PickleItem[] }
  | { readonly dict: readonly (readonly [PickleItem, PickleItem])[] }
  | PickledCall;

/** `module:Class(*args)`, then `__setstate__(state)`. With `bare` it is made without its `__init__`. */
export interface PickledCall {
  readonly call: string;
  readonly args: readonly PickleItem[];
  readonly bare?: boolean;
  readonly state?: PickleItem;
}

export function writePickle(item: PickleItem): Uint8Array {
  const out: number[] = [0x80, 4];
  put(out, item);
  out.push(0x2e);
  return Uint8Array.from(out);
}

function put(out: number[], item: PickleItem): void {
  if (item === null) out.push(0x4e);
  else if (typeof item === "boolean") out.push(item ? 0x88 : 0x89);
  else if (typeof item === "string") putText(out, item);
  else if (typeof item === "bigint") putInteger(out, item);
  else if (typeof item === "number") {
    if (Number.isSafeInteger(item)) putInteger(out, BigInt(item));
    else out.push(0x47, ...floatBytes(item));
  } else if (isList(item)) putMany(out, [0x5d], item, 0x65);
  else if ("tuple" in item) putTuple(out, item.tuple);
  else if ("set" in item) putMany(out, [0x8f], item.set, 0x90);
  else if ("dict" in item) putMany(out, [0x7d], item.dict.flat() as PickleItem[], 0x75);
  else putCall(out, item);
}

function isList(item: PickleItem): item is readonly PickleItem[] {
  return Array.isArray(item);
}

function putMany(out: number[], empty: readonly number[], items: readonly PickleItem[], end: number): void {
  out.push(...empty, 0x28);
  for (const item of items) put(out, item);
  out.push(end);
}

function putTuple(out: number[], items: readonly PickleItem[]): void {
  out.push(0x28);
  for (const item of items) put(out, item);
  out.push(0x74);
}

function putText(out: number[], text: string): void {
  // Python writes lone surrogates with `surrogatepass`; here they become replacement characters.
  const bytes = utf8Encode(text);
  const { length } = bytes;
  out.push(0x58, length & 255, (length >>> 8) & 255, (length >>> 16) & 255, length >>> 24);
  for (const byte of bytes) out.push(byte);
}

/** As text: `I` is decimal, of any length. */
function putInteger(out: number[], value: bigint): void {
  out.push(0x49);
  for (const character of value.toString()) out.push(character.charCodeAt(0));
  out.push(0x0a);
}

function putCall(out: number[], item: PickledCall): void {
  const [module = "", name = ""] = item.call.split(":");
  putText(out, module);
  putText(out, name);
  out.push(0x93);
  putTuple(out, item.args);
  out.push(item.bare === true ? 0x81 : 0x52);
  if (item.state === undefined) return;
  put(out, item.state);
  out.push(0x62);
}
