import { expect, test } from "vitest";
import { canDraw } from "./events.ts";

test("the live view is for terminals that can place what they show", () => {
  const terminal = { isTTY: true };
  expect(canDraw({ stdin: terminal, stdout: terminal, env: { TERM: "xterm" } })).toBe(true);
  expect(canDraw({ stdin: terminal, stdout: terminal, env: { TERM: "dumb" } })).toBe(false);
  expect(canDraw({ stdin: {}, stdout: terminal, env: { TERM: "xterm" } })).toBe(false);
  expect(canDraw({ stdin: terminal, stdout: {}, env: { TERM: "xterm" } })).toBe(false);
});
