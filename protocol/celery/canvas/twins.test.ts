/** Tasks of a group that are alike are planned like the one before them; the plan is the same as if each were planned for itself. */
import { expect, test } from "vitest";
import { encodeSignature, type WireSignature } from "../signature.ts";
import { planApply } from "./apply.ts";
import { chainOf, chordOf, groupOf } from "./compose.ts";
import type { CanvasPlan, Given, PlanContext } from "./plan.ts";

const context = (more: Partial<PlanContext>): PlanContext => {
  let last = 0;
  return { newId: () => `id-${++last}`, replyTo: "oid", ...more };
};

let serial = 0;
/** With `marked`, no two are alike. */
const task = (
  marked: boolean,
  options: Record<string, unknown> = {},
  more: Partial<WireSignature> = {},
): WireSignature =>
  encodeSignature({
    task: "add",
    args: [1],
    options: marked ? { ...options, mark: serial++ } : { ...options },
    ...more,
  });

const members = (marked: boolean): WireSignature[] => {
  const one = (options?: Record<string, unknown>, more?: Partial<WireSignature>) => task(marked, options, more);
  const own = { task_id: "own", root_id: "own" };
  const link = [encodeSignature({ task: "linked" })];
  return [
    one(),
    one(),
    one({}, { immutable: true }),
    one({}, { args: [2], task: "other" }),
    one({ queue: "q" }),
    one({ queue: "q" }),
    one({ task_id: "a" }),
    one({ task_id: "b", group_index: 9 }),
    one({ task_id: "c", group_index: 4 }),
    one(own),
    one({ ...own, task_id: "other" }),
    one({ group_id: "of its own" }),
    one({ group_id: "of its own" }),
    one({ link }),
    one({ link }),
    one({ stamped_headers: ["by"], by: "me" }),
    one({ stamped_headers: ["by"], by: "me" }),
    groupOf([one(), one()]),
    one(),
    chainOf([one(), one()]),
    one(),
    one(),
  ];
};

/** Without the marks, and without what says that two are alike. */
function unmarked(plan: CanvasPlan): unknown {
  return JSON.parse(
    JSON.stringify(plan, (name, value: unknown) => (name === "mark" || name === "like" ? undefined : value)),
  );
}

const body = encodeSignature({ task: "body" });

test.each<[string, (marked: boolean) => WireSignature]>([
  ["a group", (marked) => groupOf(members(marked))],
  ["a group with options", (marked) => ({ ...groupOf(members(marked)), options: { task_id: "group", priority: 3 } })],
  ["a chord", (marked) => chordOf(members(marked), body)],
  ["a chord in a chain", (marked) => chainOf([task(false), chordOf(members(marked), body)])],
  ["a group in a group", (marked) => groupOf([groupOf(members(marked)), task(marked)])],
])("%s", (_what, signature) => {
  const givens: Given[] = [
    {},
    { args: [7], kwargs: { k: 1 }, options: { queue: "given", root_id: "root", shadow: null } },
    { options: { stamped_headers: ["to"], to: "you", task_id: "mine" } },
  ];
  const contexts: Partial<PlanContext>[] = [{}, { own: true }, { parent: { id: "parent", rootId: "its root" } }];
  for (const given of givens) {
    for (const more of contexts) {
      expect(unmarked(planApply(signature(false), given, context(more)))).toEqual(
        unmarked(planApply(signature(true), given, context(more))),
      );
    }
  }
});
