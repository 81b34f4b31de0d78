import { expect, test } from "vitest";
import { holdOutput } from "./held-output.ts";

function terminal(isTTY: boolean) {
  const written: string[] = [];
  const write = (chunk: string | Uint8Array) => written.push(String(chunk)) > 0;
  return { written, isTTY, write };
}

test("a log line reaches the view short, and not the terminal, until it is released", () => {
  const [stdout, stderr] = [terminal(true), terminal(true)];
  const lines: string[] = [];
  const held = holdOutput((line) => void lines.push(line), { stdout, stderr });
  stderr.write("\u001b[33m[2026-11-21 10:00:00,123: WARNING]\u001b[0m no connection; trying again: refused\nmore\n");
  stdout.write(new TextEncoder().encode("printed\n"));
  held.write("drawn");
  expect(lines).toEqual(["no connection; trying again: refused", "printed"]);
  expect([stdout.written, stderr.written]).toEqual([["drawn"], []]);
  held.release();
  stderr.write("after");
  expect(stderr.written).toEqual(["after"]);
});

test("a log that goes to a file goes on going there", () => {
  const [stdout, stderr] = [terminal(true), terminal(false)];
  holdOutput(() => undefined, { stdout, stderr });
  stderr.write("line");
  expect(stderr.written).toEqual(["line"]);
});
