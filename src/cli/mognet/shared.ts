/** What several `lovage mognet` commands have in common. */
import { setTimeout as sleep } from "node:timers/promises";
import { mognetIdOrNull } from "../../../protocol/mognet/names.ts";
import { LONGEST_TIMER_MS } from "../../runtime/timer-heap.ts";
import { type Given, UsageError } from "../command.ts";
import { DEFAULT_LABEL } from "./label.ts";

export function labelOf(given: Given): string {
  return given.text("text-label-format") ?? DEFAULT_LABEL;
}

/** Mognet's own default for `--format json`; one line for `--json`. */
export function indentOf(given: Given): number {
  return given.number("json-indent") ?? (given.on("json") ? 0 : 2);
}

export function formatOf(given: Given): "text" | "json" {
  const format = given.text("format") ?? (given.on("json") ? "json" : "text");
  if (format !== "text" && format !== "json") throw new UsageError(`--format is text or json, not ${format}`);
  return format;
}

export function wholeOf(given: Given, flag: string, byDefault: number): number {
  const value = given.number(flag) ?? byDefault;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new UsageError(`--${flag} is a whole number, at least 0, not ${given.text(flag)}`);
  }
  return value;
}

export function idOf(words: readonly string[]): string {
  const [given, ...more] = words;
  if (given === undefined) throw new UsageError("which task? Its id is missing");
  if (more.length > 0) throw new UsageError(`unexpected ${more.join(" ")}`);
  const id = mognetIdOrNull(given);
  if (id === null) throw new UsageError(`${given} is not a UUID`);
  return id;
}

/** Once, or every `--poll` seconds on a cleared screen, until the process is told to stop. */
export async function repeatedly(given: Given, act: () => Promise<void>): Promise<void> {
  const poll = given.number("poll");
  if (poll !== undefined && poll <= 0) throw new UsageError("--poll is a number of seconds above 0");
  for (;;) {
    if (poll !== undefined && process.stdout.isTTY) process.stdout.write("\u001b[2J\u001b[H");
    await act();
    if (poll === undefined) return;
    await sleep(Math.min(poll * 1000, LONGEST_TIMER_MS));
  }
}
