import { describe, expect, test } from "vitest";
import { ImproperlyConfigured, InvalidTaskError } from "../../errors.ts";
import { encodeSignature, type WireSignature } from "../signature.ts";
import { planApply } from "./apply.ts";
import { chainOf, chordOf, groupOf } from "./compose.ts";
import { planFreeze } from "./freeze-plan.ts";
import type { PlanContext, PlannedChord, PlannedTask } from "./plan.ts";
import { planAddToChord, planReplace, type Replaced } from "./replace.ts";

function context(more: Partial<PlanContext> = {}): PlanContext {
  let last = 0;
  return { newId: () => `id-${++last}`, replyTo: "oid", ...more };
}

const add = (...args: unknown[]): WireSignature => encodeSignature({ task: "add", args });
const many = (count: number) => Array.from({ length: count }, (_, n) => add(n));

const alone: Replaced = {
  id: "self",
  rootId: "root",
  group: null,
  groupIndex: null,
  replacedTaskNesting: 0,
  embed: { callbacks: null, errbacks: null, chain: null, chord: null },
};

describe("large canvases", () => {
  test("a chain of 1,000 links is one message, planned in linear time", () => {
    const plan = planApply(chainOf(many(1000)), {}, context());
    expect(plan.steps).toHaveLength(1);
    expect((plan.steps[0] as PlannedTask).options.chain).toHaveLength(999);
  });

  test("fifty times as many take the time of as many, not of their square", () => {
    // A square would be minutes: the time limit of the test is the assertion.
    const [first] = planApply(chainOf(many(50_000)), {}, context()).steps as PlannedTask[];
    expect(first?.options.chain).toHaveLength(49_999);
    expect(planApply(chordOf(many(50_000), chainOf(many(50))), {}, context()).steps).toHaveLength(50_001);
  });

  test("the header tasks of a chord share one body, whatever its size", () => {
    const plan = planApply(chordOf(many(10_000), chainOf(many(500))), {}, context());
    const bodies = new Set(plan.steps.filter((step) => step.kind === "task").map((step) => step.options.chord));
    const chords = plan.steps.filter((step): step is PlannedChord => step.kind === "chord");
    expect(chords.map((chord) => [chord.size, chord.complex])).toEqual([[10_000, false]]);
    expect([...bodies]).toEqual([chords[0]?.body]);
    expect(bodies.has(chords[0]?.body)).toBe(true);
  });

  test("a size is known before the last member of the header is sent", () => {
    const plan = planApply(chordOf(many(5), add()), {}, context());
    expect(plan.steps.map((step) => step.kind)).toEqual(["task", "task", "task", "task", "chord", "task"]);
  });

  test("a replacement in front of 1,000 links that are left", () => {
    const { signature } = planFreeze(chainOf(many(1000)), {}, context());
    const chain = (signature.kwargs.tasks as WireSignature[]).toReversed();
    const { plan } = planReplace(add("new"), { ...alone, embed: { ...alone.embed, chain } }, context());
    const [first] = plan.steps as PlannedTask[];
    expect(first?.options.task_id).toBe("self");
    expect(first?.options.chain).toHaveLength(1000);
  });

  test("a nested canvas may be wider than a call has arguments", () => {
    const wide = many(130_000);
    expect(planApply(chainOf([add(), chainOf(wide)]), {}, context()).steps).toHaveLength(1);
    const { result } = planFreeze(groupOf([groupOf(wide)]), {}, context());
    expect(result[1]).toHaveLength(130_000);
  });

  test("deeply nested groups do not multiply", () => {
    let nested = groupOf(many(2));
    for (let depth = 0; depth < 200; depth++) nested = groupOf([nested, add(depth)]);
    expect(planApply(nested, {}, context()).steps).toHaveLength(202);
  });
});

test("a chord in a callback is looked for in the caller's own signatures, not in what comes from a message", () => {
  const later = encodeSignature({
    task: "celery.chord",
    subtask_type: "chord",
    kwargs: { header: [add()], body: add() },
  });
  const linked = encodeSignature({ task: "add", options: { link_error: [chainOf([add(), later])] } });
  expect(planApply(linked, {}, { ...context(), own: true }).needsChords).toBe(true);
  expect(planApply(linked, {}, context()).needsChords).toBe(false);
});

describe("what has no plan", () => {
  test("callbacks of a group", () => {
    for (const option of ["link", "link_error"]) {
      expect(() => planApply(groupOf(many(2)), { options: { [option]: [add()] } }, context())).toThrow(
        ImproperlyConfigured,
      );
    }
  });

  test("data that is no signature, inside or outside", () => {
    const broken: WireSignature[] = [
      encodeSignature({ task: "celery.group", subtask_type: "group", kwargs: { tasks: "ab" } }),
      encodeSignature({ task: "celery.group", subtask_type: "group", kwargs: { tasks: [7] } }),
      encodeSignature({ task: "celery.chord", subtask_type: "chord", kwargs: { header: [add()] } }),
      encodeSignature({ task: "x", subtask_type: "tornado" }),
    ];
    for (const signature of broken) expect(() => planApply(signature, {}, context())).toThrow(InvalidTaskError);
  });

  test("an empty chain: nothing is sent and nothing promised", () => {
    expect(planApply(chainOf([]), {}, context())).toEqual({
      steps: [],
      result: null,
      children: [],
      needsChords: false,
    });
  });

  test("a replacement that is in a chord already, and an empty one", () => {
    const inChord = encodeSignature({ task: "add", options: { chord: add() } });
    expect(() => planReplace(inChord, alone, context())).toThrow("must not be part of a chord");
    expect(() => planReplace(chainOf([]), alone, context())).toThrow("Cannot replace with an empty chain");
    expect(() => planAddToChord(add(), alone, context())).toThrow("not member of any chord");
  });
});

describe("ids", () => {
  test("the parent's are taken over, unless the options name some", () => {
    const parent = { id: "parent", rootId: "root" };
    const ids = (options: Record<string, unknown>) => {
      const [step] = planApply(add(), { options }, context({ parent })).steps as PlannedTask[];
      return [step?.options.task_id, step?.options.root_id, step?.options.parent_id, step?.options.reply_to];
    };
    expect(ids({})).toEqual(["id-1", "root", "parent", "oid"]);
    expect(ids({ task_id: "t", root_id: "r", parent_id: "p", reply_to: "q" })).toEqual(["t", "r", "p", "q"]);
  });

  test("names from the wire never reach a prototype", () => {
    const options = JSON.parse('{"__proto__": {"queue": "evil"}, "stamped_headers": ["__proto__"]}') as Record<
      string,
      unknown
    >;
    const kwargs = JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>;
    const signature = encodeSignature({ task: "add", kwargs, options });
    const plan = planApply(chainOf([signature, add()]), { kwargs: { a: 1 }, options }, context());
    const [step] = plan.steps as PlannedTask[];
    expect(step?.options.queue).toBeUndefined();
    expect(step?.kwargs.polluted).toBeUndefined();
    expect(Object.hasOwn(step?.kwargs ?? {}, "__proto__")).toBe(true);
  });

  test("the signature that was given is not changed", () => {
    const signature = chordOf([groupOf(many(2)), chainOf(many(2))], chainOf(many(2)), { link: [add()] });
    const before = structuredClone(signature);
    planApply(signature, { options: { link_error: [add()] } }, context());
    planApply(signature, {}, context({ own: true }));
    planFreeze(signature, {}, context());
    expect(signature).toEqual(before);
  });
});
