/** What the live view draws. */
import { expect, test } from "vitest";
import { State } from "../../events/state.ts";
import { type Place, screenLines } from "./screen.ts";

const AT: Place = { chosen: null, filter: "", prompt: null, notice: "", help: false };

test("a name of wide characters moves no column, and makes no line wider than the terminal", () => {
  const state = new State({ now: () => 1_000_000 });
  const base = { hostname: "w@h", pid: 1, clock: 1, timestamp: 1000, utcoffset: 0, localReceived: 1000 };
  state.event({ ...base, type: "task-received", fields: { uuid: "u", name: "中文.täsk😀", args: "文".repeat(100) } });
  const line = screenLines(state, AT, { columns: 60, rows: 20 }).find((one) => one.includes("中文.")) ?? "";
  // Three wide characters: as many letters fewer before the same column.
  expect(line.indexOf("RECEIVED")).toBe(2 + 26 + 1 - 3 + "😀".length - 1);
  const args = screenLines(state, AT, { columns: 150, rows: 20 }).find((one) => one.includes("中文.")) ?? "";
  expect([...args].filter((character) => character === "文").length).toBeLessThan(30);
});
