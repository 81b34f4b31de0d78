import { expect, test } from "vitest";
import { limitedLog } from "./limited-log.ts";
import { type Log, silentLog } from "./log.ts";

function kept() {
  const lines: { fields: Record<string, unknown>; message: string | undefined }[] = [];
  const log: Log = {
    ...silentLog,
    debug: (fields, message) => lines.push({ fields: { ...fields }, message }),
    warn: (fields, message) => lines.push({ fields: { ...fields }, message }),
  };
  return { lines, log };
}

test("lines of one kind are written so many times in a period, and the rest are counted", () => {
  const { lines, log } = kept();
  let now = 0;
  const limited = limitedLog(log, { lines: 3, periodMs: 1_000, now: () => now });
  for (let index = 0; index < 10; index++) limited.warn({ index }, "odd");
  limited.warn({}, "other");
  expect(lines.map(({ message }) => message)).toEqual(["odd", "odd", "odd", "other"]);
  expect(lines[2]?.fields.limit).toMatch(/further lines like this are counted/);
  now = 1_000;
  limited.warn({ index: 10 }, "odd");
  expect(lines.at(-1)).toEqual({ fields: { index: 10, silenced: 7 }, message: "odd" });
});

test("debug lines are not limited", () => {
  const { lines, log } = kept();
  const limited = limitedLog(log, { lines: 1 });
  for (let index = 0; index < 5; index++) limited.debug({}, "seen");
  expect(lines).toHaveLength(5);
});

test("texts of strangers' own do not add up", () => {
  const { lines, log } = kept();
  const limited = limitedLog(log, { lines: 1, now: () => 0 });
  for (let index = 0; index < 1_000; index++) limited.warn({}, `text ${index}`);
  expect(lines).toHaveLength(1_000);
});
