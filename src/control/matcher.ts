/**
 * Which nodes a request addresses by pattern: `glob` (fnmatch) or `pcre` (a regular expression from the start of the name).
 * wire: kombu/matcher.py; behaviour 3.2.
 */
import { fnmatch } from "../settings/fnmatch.ts";
import { CommandError } from "./errors.ts";

/** Longer patterns are refused: a name has at most 255 characters. */
const LONGEST = 1_000;

/** Throws `CommandError` for a matcher that does not exist and a pattern that cannot be read. */
export function matches(name: string, pattern: string, matcher: string): boolean {
  if (pattern.length > LONGEST)
    throw new CommandError("ValueError", [`the pattern is longer than ${LONGEST} characters`]);
  if (matcher === "glob") return fnmatch(pattern)(name);
  if (matcher === "pcre") return expression(pattern).test(name);
  throw new CommandError("MatcherNotInstalled", [`No matcher installed for ${matcher}`]);
}

/** Python's expression in JavaScript's words; what differs beyond that is refused by `RegExp` itself. */
function expression(pattern: string): RegExp {
  const ours = pattern
    .replaceAll("(?P<", "(?<")
    .replace(/\(\?P=(\w+)\)/g, "\\k<$1>")
    .replaceAll("\\A", "^")
    .replaceAll("\\Z", "$");
  try {
    return new RegExp(`^(?:${ours})`);
  } catch (cause) {
    throw new CommandError("error", [`the pattern ${JSON.stringify(pattern)} cannot be read`], { cause });
  }
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
