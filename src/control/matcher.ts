/**
 * Which nodes a request addresses by pattern: `glob` (fnmatch) or `pcre` (a regular expression from the start of the name).
 * wire: kombu/matcher.py; behaviour 3.2.
 */
import { createContext, Script } from "node:vm";
import { fnmatch } from "../settings/fnmatch.ts";
import { CommandError } from "./errors.ts";

/** Longer patterns are refused: a name has at most 255 characters. */
const LONGEST = 1_000;

/** Throws `CommandError` for a matcher that does not exist and a pattern that cannot be read. */
export function matches(name: string, pattern: string, matcher: string): boolean {
  if (pattern.length > LONGEST)
    throw new CommandError("ValueError", [`the pattern is longer than ${LONGEST} characters`]);
  if (matcher === "glob") return fnmatch(pattern)(name);
  if (matcher === "pcre") return test(expression(pattern), name);
  throw new CommandError("MatcherNotInstalled", [`No matcher installed for ${matcher}`]);
}

/** Python's expression in JavaScript's words, from the start of the name; what differs beyond that is refused by `RegExp` itself. */
function expression(pattern: string): string {
  const ours = pattern
    .replaceAll("(?P<", "(?<")
    .replace(/\(\?P=(\w+)\)/g, "\\k<$1>")
    .replaceAll("\\A", "^")
    .replaceAll("\\Z", "$");
  return `^(?:${ours})`;
}

/** What only Python reads: flags, comments, possessive repeats, conditions. */
const PYTHON_ONLY = /\(\?#[^)]*\)|\(\?[aiLmsux]+\)|\(\?\(\w+\)|(?<=\(\?)[aiLmsux-]+(?=:)|(?<=[*+?}])\+/g;

/** What is wrong with a pattern that is to be sent, or null. What Python alone can read is for Python's workers. */
export function checkPattern(pattern: string, matcher: "glob" | "pcre"): string | null {
  if (pattern.length > LONGEST) return `it is longer than ${LONGEST} characters`;
  if (matcher === "glob") return null;
  try {
    new RegExp(expression(pattern.replace(PYTHON_ONLY, (part) => (part.startsWith("(?(") ? "(?:" : ""))));
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Two repeats in a row, none around another, are done with a name in no time. */
const FEW_REPEATS = /^[^*+{]*[*+]?[^*+{]*[*+]?[^*+{]*$/;
/** Milliseconds that other expressions get: `(a+)+$` would take years, and nothing else would run meanwhile. */
const PATIENCE_MS = 250;
/** An expression that was too slow so often is not tried any more: the first time another process may have had the processor. */
const CHANCES = 2;
/** Expressions that were too slow, and how often. */
const slow = new Map<string, number>();
const MOST_SLOW = 100;

/** Where expressions are tried: what runs there can be interrupted. */
const space = createContext({ source: "", name: "" });
const trial = new Script("new RegExp(source).test(name)");

function test(source: string, name: string): boolean {
  try {
    if (FEW_REPEATS.test(source) && !/\)[*+]/.test(source)) return new RegExp(source).test(name);
    if ((slow.get(source) ?? 0) >= CHANCES) throw tooSlow();
    Object.assign(space, { source, name });
    return trial.runInContext(space, { timeout: PATIENCE_MS }) === true;
  } catch (cause) {
    if (cause instanceof CommandError) throw cause;
    if (Reflect.get(Object(cause), "code") !== "ERR_SCRIPT_EXECUTION_TIMEOUT") {
      throw new CommandError("error", [`the pattern ${JSON.stringify(source.slice(4, -1))} cannot be read`], { cause });
    }
    if (slow.size >= MOST_SLOW) slow.clear();
    slow.set(source, (slow.get(source) ?? 0) + 1);
    throw tooSlow();
  }
}

function tooSlow(): CommandError {
  return new CommandError("error", [`the pattern takes longer than ${PATIENCE_MS} ms`]);
}

/** Whether a request that is not addressed by name is meant for this node. */
export function addresses(
  name: string,
  {
    destination,
    pattern,
    matcher,
  }: { destination: readonly string[] | null; pattern: string | null; matcher: string | null },
): boolean {
  if (destination !== null) return destination.includes(name);
  if (pattern !== null && matcher !== null) return matches(name, pattern, matcher);
  return true;
}
