/** What Lovage does on purpose otherwise than Mognet: not compared where a TypeScript worker, or client, may have had a part in it. */
import type { Form } from "./case.ts";
import type { FleetName, Language } from "./fleet.ts";

/** Who makes the difference: a worker or a client of ours, or chance. */
type Part = "worker" | "client" | "either";

interface Difference {
  /** Names of cases; a `*` at the end stands for anything. */
  readonly cases: readonly string[];
  readonly part: Part;
  readonly reason: string;
  readonly without: (form: Form) => Form;
}

/** The form with the value at a path (`left.value.expires`) gone. */
const without =
  (...paths: readonly string[]) =>
  (form: Form): Form =>
    paths.reduce((left, path) => omit(left, path.split(".")) as Form, form);

function omit(value: unknown, [key = "", ...rest]: readonly string[]): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value) || !(key in value)) return value;
  const { [key]: inner, ...others } = value as Record<string, unknown>;
  return rest.length === 0 ? others : { ...others, [key]: omit(inner, rest) };
}

export const differences: readonly Difference[] = [
  {
    cases: ["garbage/*"],
    part: "worker",
    reason:
      "a request that cannot be read leaves its result PENDING for ever in Mognet; here it ends INVALID, with the reason",
    without: () => ({}),
  },
  {
    cases: ["errors/custom"],
    part: "worker",
    reason:
      "a class that not every Python has is named in the result and raised as Exception: no pickle is written that may not load",
    without: without(
      "outcome.raised.type",
      "other.raised.type",
      "left.value.contents.raw_value.pickle",
      "left.value.contents.raw_value.raw_data_encoding",
    ),
  },
  {
    cases: ["errors/unpicklable"],
    part: "client",
    reason: "our client tells an error by its stored name; Python raises what it could pickle, an Exception",
    without: without("outcome.raised.type", "other.raised.type"),
  },
  {
    cases: ["revoke/a request that nobody has taken*"],
    part: "either",
    reason: "Mognet leaves the placeholder value of a revoked request without expiry; here it has one",
    without: without("left.value.expires"),
  },
];

/** What is left of a report to compare. */
export function comparable(fleet: FleetName, client: Language, name: string, form: Form): Form {
  let left = form;
  for (const { cases, part, without } of differences) {
    const applies =
      part === "either" || (part === "worker" && fleet !== "python") || (part === "client" && client === "typescript");
    if (applies && cases.some((pattern) => matches(pattern, name))) left = without(left);
  }
  return left;
}

export function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
}
