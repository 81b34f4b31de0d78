/** What is found behind a failed task. */
import { expect, test } from "vitest";
import type { WireSignature } from "../../../protocol/celery/signature.ts";
import { linksOf } from "./links.ts";

const one = (id: string, more: Partial<WireSignature> = {}): WireSignature => ({
  task: "add",
  args: [],
  kwargs: {},
  options: { task_id: id, chord: { task: "outer" } },
  subtask_type: null,
  immutable: false,
  ...more,
});
const chord = (header: readonly WireSignature[], body: unknown) =>
  one("chord", { subtask_type: "chord", kwargs: { header, body } });
const group = (tasks: unknown) => one("group", { subtask_type: "group", kwargs: { tasks } });
const idsOf = (links: readonly WireSignature[]) => links.map(({ options }) => options.task_id);

test("a chord inside a chord's header, however deep, gives each of its parts once", () => {
  let nested = one("innermost");
  for (let depth = 1; depth <= 40; depth++) nested = chord([nested, one(`h${depth}`)], one(`b${depth}`));
  const found = idsOf(linksOf([nested], true));
  expect(found).toHaveLength(3 * 40 + 1);
  expect(new Set(found.filter((id) => id !== "chord")).size).toBe(2 * 40 + 1);
});

test("parts of a header that has not begun belong to no chord, those of a body do", () => {
  const found = linksOf([chord([group([one("member")])], group([one("follower")]))], true);
  const inChord = found.filter(({ options }) => options.chord !== undefined).map(({ options }) => options.task_id);
  expect(inChord).toEqual(["chord", "group", "follower"]);
  expect(idsOf(found)).toContain("member");
});

test("what is no signature inside a link hides none of the others", () => {
  const broken = [chord([one("a")], { no: "task" }), group("text"), group([one("b"), 5]), one("c")];
  expect(idsOf(linksOf(broken, true))).toEqual(["chord", "group", "group", "c", "a"]);
  expect(idsOf(linksOf(broken, false))).toEqual(["chord", "group", "group", "c"]);
});
