/**
 * `known-failing.txt`: one line for each case that is known to fail, `<version> <stores> <direction> <case> # <reason>`, where `*`
 * stands for all and a case may end in `*`. A listed case that passes fails the run, so that the list stays true.
 */
import { readFileSync } from "node:fs";
import { HarnessError } from "../../src/testing/index.ts";
import { matches } from "../features.ts";

export interface KnownFailure {
  version: string;
  stores: string;
  direction: string;
  case: string;
  reason: string;
}

export function readKnownFailures(): KnownFailure[] {
  const text = readFileSync(new URL("../known-failing.txt", import.meta.url), "utf8");
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const parts = /^(\S+) (\S+) (\S+) (.+?) # (.+)$/.exec(line);
    if (parts === null) throw new HarnessError("BAD_LINE", `known-failing.txt, line ${index + 1}: not understood`);
    const [, version = "", stores = "", direction = "", name = "", reason = ""] = parts;
    return [{ version, stores, direction, case: name, reason }];
  });
}

/** Why the case is known to fail there; null: it has to pass. */
export function knownFailure(
  known: readonly KnownFailure[],
  name: string,
  version: string,
  stores: string,
  direction: string,
): string | null {
  const is = (pattern: string, value: string) => pattern === "*" || pattern === value;
  const found = known.find(
    (entry) =>
      is(entry.version, version) &&
      is(entry.stores, stores) &&
      is(entry.direction, direction) &&
      matches(entry.case, name),
  );
  return found?.reason ?? null;
}
