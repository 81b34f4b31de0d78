/** Numbers inside pickles. source: CPython Lib/pickle.py `encode_long`, `decode_long`. */

/** Big-endian double. */
export function floatBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value);
  return bytes;
}

export function readFloat(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(at);
}

/** Little-endian two's complement. */
export function readLong(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let at = bytes.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at]!);
  const signed = bytes.length > 0 ? BigInt.asIntN(bytes.length * 8, value) : 0n;
  const number = Number(signed);
  return Number.isSafeInteger(number) ? number : signed;
}
