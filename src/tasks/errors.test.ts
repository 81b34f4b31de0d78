/** What a remote error says, of arguments that JSON has no form for. */
import { describe, expect, test } from "vitest";
import { RemoteTaskError } from "./errors.ts";

function messageOf(type: string, ...args: unknown[]): string {
  return new RemoteTaskError("id", { type, module: "builtins", args }, null).message;
}

describe("the message of a remote error", () => {
  test("shows bytes and odd numbers as Python does, wherever they stand", () => {
    const bytes = Buffer.from([0xff, 0x41]);
    expect(messageOf("UnicodeDecodeError", "utf8", bytes, 0, 1n)).toBe("UnicodeDecodeError: utf8, b'\\xffA', 0, 1");
    expect(messageOf("ValueError", new Uint8Array([0]))).toBe("ValueError: b'\\x00'");
    expect(messageOf("ValueError", Number.NaN)).toBe("ValueError: nan");
    expect(messageOf("ValueError", { at: [bytes, -Infinity] })).toBe('ValueError: {"at":["b\'\\\\xffA\'","-inf"]}');
  });

  test("does not hold the whole of what a decoder refused", () => {
    const text = messageOf("UnicodeDecodeError", "utf8", new Uint8Array(5_000_000), 0, 1, "invalid start byte");
    expect(text.length).toBeLessThan(1_000);
    expect(text).toMatch(/… 4999800 bytes more, 0, 1, invalid start byte$/);
  });

  test("of an exception that Python cannot make again is that one's", () => {
    const wrapped = messageOf("UnpickleableExceptionWrapper", "shop.errors", "Odd", ["x"], "Odd('x')");
    expect(wrapped).toBe("UnpickleableExceptionWrapper: Odd('x')");
    expect(messageOf("UnpickleableExceptionWrapper", "a")).toBe("UnpickleableExceptionWrapper: a");
  });
});
