/**
 * Where Celery 5.6.3 does not do what 5.7.0 does. In a mixed fleet chance decides which of the two it is, so there the parts of a
 * report that depend on it are not compared; everything else is, and the fleets of one language are compared in full, but for
 * what Lovage does on purpose.
 */
import { matches } from "../features.ts";
import type { FleetName } from "./fleet.ts";
import type { NormalForm } from "./normal-form.ts";

interface Difference {
  /** Names of workflows; a `*` at the end stands for anything. */
  readonly workflows: readonly string[];
  readonly reason: string;
  /** Gives the report without what differs. */
  readonly without: (form: NormalForm) => NormalForm;
}

/** The report without some of its parts. */
const without =
  (...parts: readonly (keyof NormalForm)[]) =>
  (form: NormalForm): NormalForm => {
    const left: NormalForm = { ...form };
    for (const part of parts) Object.assign(left, { [part]: Array.isArray(left[part]) ? [] : null });
    return left;
  };

const bookkeeping = / \.[cds] (string|set) /;

/** A place, and a group with places of a header in it, whose own place is that of no member: the body of a chord. */
const isBody = (line: string): boolean => {
  const place = line.slice(0, line.indexOf(" "));
  const group = /"group":"\{([^}]*)\}"/.exec(line)?.[1]?.split(" ") ?? [];
  return !/[gh]\d+$/.test(place) && group.length > 1 && group.includes(place);
};

export const differences: readonly Difference[] = [
  {
    workflows: ["*"],
    reason: "5.6.3 knows no `.c` and no `.d`, and leaves `.s` when a chord has failed",
    without: (form) => ({ ...form, keys: form.keys.filter((key) => !bookkeeping.test(` ${key}`)) }),
  },
  {
    workflows: ["*"],
    reason:
      "a chord that a 5.6.3 worker starts has its body name the task that started it as parent; later it is a member of the header",
    without: (form) => {
      const line = (text: string) => (isBody(text) ? text.replace(/"parent":"[^"]*"/, '"parent":"?"') : text);
      return { ...form, ran: form.ran.map(line).sort(), stored: form.stored.map(line).sort() };
    },
  },
  {
    workflows: [
      "chain/a chord in it fails",
      "chain/a group in it fails",
      "chain/an errback on a chain with a chord in it",
      "chain/fails before a chord",
      "chain/fails before a group",
    ],
    reason: "5.6.3 stores no failure for what comes after a chord, nor for the body of a chord that is not reached",
    without: without("stored", "tuple"),
  },
  {
    workflows: ["chain/a chain as errback"],
    reason: "5.6.3 fails to send a chain as errback",
    without: without("stored", "ran", "outcome"),
  },
  {
    workflows: ["chord/one part fails, its body a group", "chord/an errback on it, its body a group"],
    reason: "5.6.3 revokes the members of a body that is a group, over their failures",
    without: without("stored", "ran", "outcome"),
  },
  {
    workflows: ["replace/by a chain, with a link"],
    reason: "5.6.3 links to the end of a chain that replaces a task twice",
    without: without("stored", "ran"),
  },
];

/** Where Lovage does on purpose what Celery does not: not compared when a TypeScript worker may have had a part in it. */
export const onPurpose: readonly Difference[] = [
  {
    workflows: ["chain/a chain as errback"],
    reason: "Celery fails to send a chain as errback (an EncodeError in its log); here it runs",
    without: without("ran", "stored"),
  },
];

/** Where Celery leaves waiting what Lovage ends by default. */
export const byDefault: readonly Difference[] = [
  {
    workflows: ["chain/fails before a chord", "chord/one part fails, its body a chord"],
    reason: "results that stay pending in Celery are stored, and with them their places are known",
    without: without("tuple", "stored"),
  },
  {
    workflows: ["chord/a chord in its header fails", "chord/an errback on one that holds another"],
    reason: "in Celery the outer chord waits for ever; by default it fails, and its errback is told",
    without: without("keys", "ran", "stored"),
  },
];

const differencesOf: Readonly<Record<FleetName, readonly Difference[]>> = {
  python: [],
  typescript: onPurpose,
  default: [...onPurpose, ...byDefault],
  mixed: [...differences, ...onPurpose],
  old: [...differences, ...onPurpose],
};

/** What is left of a report to compare in such a fleet. */
export function comparable(fleet: FleetName, workflow: string, form: NormalForm): NormalForm {
  let left = form;
  for (const { workflows, without: take } of differencesOf[fleet]) {
    if (workflows.some((pattern) => matches(pattern, workflow))) left = take(left);
  }
  return left;
}
