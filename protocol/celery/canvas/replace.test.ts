/** What replaces a task, or joins its chord, may be chords whose bodies are chords. */
import { expect, test } from "vitest";
import { encodeSignature, type WireSignature } from "../signature.ts";
import { chordOf } from "./compose.ts";
import type { PlanContext } from "./plan.ts";
import { planAddToChord, planReplace, type Replaced } from "./replace.ts";

const task = (name: string) => encodeSignature({ task: name });
const request: Replaced = {
  id: "running",
  rootId: "root",
  group: "group",
  groupIndex: 0,
  replacedTaskNesting: 0,
  embed: { callbacks: null, errbacks: null, chain: null, chord: task("outer") },
};

test("twenty chords, each the body of the one before, are planned as fast as they are written", () => {
  let last = 0;
  const context: PlanContext = { newId: () => `id-${++last}`, replyTo: "oid" };
  let nested: WireSignature = task("last");
  for (let depth = 0; depth < 20; depth++) nested = chordOf([task("a"), task("b")], nested);
  for (const { plan } of [planReplace(nested, request, context), planAddToChord(nested, request, context)]) {
    expect(plan.steps.map((step) => (step.kind === "task" ? step.name : step.kind))).toEqual(["a", "chord", "b"]);
    expect(JSON.stringify(plan.steps).length).toBeLessThan(100_000);
  }
});
