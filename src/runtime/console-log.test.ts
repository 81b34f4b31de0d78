import { expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { consoleLog } from "./console-log.ts";

function readable(say: (log: ReturnType<typeof consoleLog>) => void): string {
  const lines: string[] = [];
  say(consoleLog({ readable: true, color: false, write: (line) => lines.push(line) }));
  return lines.join("");
}

test("a warning says its error in one line, an error shows the stack", () => {
  const err = new ImproperlyConfigured("out of luck");
  expect(readable((log) => log.warn({ err, delayMs: 5 }, "trying again"))).toMatch(
    /^\[.*: WARNING\] trying again: out of luck delayMs=5\n$/,
  );
  expect(readable((log) => log.error({ err, id: "a" }, "failed"))).toMatch(
    /^\[.*: ERROR\] failed id=a\nImproperlyConfigured: out of luck\n {4}at /,
  );
});

test("a JSON line carries the error with its type, message, code and cause", () => {
  const lines: string[] = [];
  const err = new ImproperlyConfigured("out of luck", { cause: new RangeError("why") });
  consoleLog({ readable: false, write: (line) => lines.push(line) }).warn({ err }, "trying again");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    msg: "trying again",
    err: { message: "out of luck", code: "IMPROPERLY_CONFIGURED", cause: { message: "why" } },
  });
});
