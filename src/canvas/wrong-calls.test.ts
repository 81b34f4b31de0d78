/** What is no signature is refused where it is given, with what it should have been. */
import { describe, expect, test } from "vitest";
import { planApply } from "../../protocol/celery/canvas/apply.ts";
import { EncodeError, ImproperlyConfigured, InvalidTaskError } from "../../protocol/errors.ts";
import { task } from "../tasks/definition.ts";
import { wireOf } from "../tasks/signature.ts";
import type { AnySignature } from "../tasks/signature-types.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature, signatureFrom } from "./signature-from.ts";
import { workflowGraph } from "./workflow-graph.ts";

/** Plain JavaScript: the types would not let these calls through. */
// biome-ignore lint/suspicious/noExplicitAny: wrong calls are what is tested
type Untyped = any;
const add: Untyped = task("add", (x: number, y: number) => x + y);
const [chains, groups, chords, made]: Untyped[] = [chain, group, chord, signature];

describe("a wrong call of a builder names what it wants:", () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      "a task as a step",
      () => chains(add.s(1), add),
      /chain\(\): each step must be a signature.*add is a task.*s\(…\)/,
    ],
    ["nothing as a step", () => chains(add.s(1), undefined), /each step must be a signature, not undefined/],
    ["a number as a member", () => groups([add.s(1), 5]), /group\(\): each member must be a signature, not 5/],
    ["a task as a header", () => chords(add, add.s()), /chord\(\): the header must be a signature.*add is a task/],
    ["a task in a header", () => chords([add], add.s()), /each member of the header must be a signature/],
    ["no body", () => chords([add.s(1)]), /chord\(\): the body must be a signature, not undefined/],
    ["a text to follow", () => add.s(1).pipe("x"), /pipe\(\): the next step must be a signature, not "x"/],
    ["a task as a callback", () => add.s(1).link(add), /link\(\): the callback must be a signature/],
    ["null as an errback", () => add.s(1).linkError(null), /linkError\(\): the errback must be a signature, not null/],
    ["a task as a workflow", () => workflowGraph(add), /workflowGraph\(\): the workflow must be a signature/],
    ["a number as a task", () => made(5), /signature\(\): the task must be a task or the name of one, not 5/],
    ["an object as a task", () => made({}), /signature\(\): the task must be/],
    ["keywords as a text", () => made("x", { kwargs: "x" }), /option kwargs must be an object, not "x"/],
    ["arguments as a task", () => made("x", { args: add }), /option args must be an array/],
    ["an unknown part", () => add.signature({ argz: [] }), /add: signature\(\): unknown option "argz"; did you mean/],
    ["options as a text", () => add.s(1).set("x"), /set\(\): the options must be an object, not "x"/],
    ["immutable as a text", () => add.s(1).set({ immutable: "yes" }), /immutable must be/],
    ["a clone of a number", () => add.s(1).clone(5), /clone\(\): the options must be an object, not 5/],
    ["stamps of nothing", () => add.s(1).stamp(null), /stamp\(\): the stamps must be an object, not null/],
    [
      "a stamp called like an option",
      () => add.s(1).stamp({ task_id: "x" }),
      /stamp\(\): task_id is an option of every task/,
    ],
    [
      "one of a visitor",
      () => add.s(1).stampWith({ onSignature: () => ({ chord: 1 }) }),
      /onSignature answers: chord is an option/,
    ],
    ["one among options", () => add.s(1).set({ stamps: { link: 1 } }), /stamps.*link is an option of every task/],
    ["no visitor", () => add.s(1).stampWith(null), /stampWith\(\): the visitor must be an object, not null/],
    ["a visit that is none", () => add.s(1).stampWith({ onSignature: 5 }), /onSignature must be a function, not 5/],
    ["a stamp that is a function", () => add.s(1).stamp({ x: () => 1 }), /the stamp x is a function/],
    [
      "no object of a visitor",
      () => add.s(1).stampWith({ onSignature: () => 5 }),
      /onSignature answers must be an object, not 5/,
    ],
    ["a group of a text", () => groups("ab"), /each member must be a signature, not "ab"/],
    ["a header of texts", () => chords(["ab"], add.s()), /each member of the header must be a signature, not "ab"/],
    ["a map of a number", () => add.map(5), /add: map\(\): the items must be an array or another iterable, not 5/],
    ["a starmap of a text", () => add.starmap("x"), /starmap\(\): the items must be an array/],
    [
      "chunks of null",
      () => add.chunks(null, 2),
      /chunks\(\): the items must be an array or another iterable, not null/,
    ],
    ["chunks of none", () => add.chunks([], 0), /size of chunks must be a whole number of at least 1/],
  ])("%s", (_what, act, words) => {
    expect(act).toThrow(ImproperlyConfigured);
    expect(act).toThrow(words);
  });
});

test("what contains itself is refused where it enters, or where it is sent, and never with a RangeError", () => {
  const list: unknown[] = [];
  list.push(list);
  const loop: Untyped = { task: "celery.chain", kwargs: { tasks: [] }, subtask_type: "chain" };
  loop.kwargs.tasks.push(loop);
  const linked: Untyped = { task: "add", options: { link: [] } };
  linked.options.link.push(linked);
  const acts: (() => unknown)[] = [
    () => add.s(list),
    () => add.signature({ kwargs: { list } }),
    () => add.map([list]),
    () => add.s(1).clone({ args: [list] }),
    () => add.s(1).set({ headers: { list } }),
    () => add.s(1).set({ link: [linked] }),
    () => add.s(1).stamp({ list }),
    () => signatureFrom(loop),
    () => signatureFrom(linked),
  ];
  for (const act of acts) expect(act).toThrow(EncodeError);
  const context = { newId: () => "id", replyTo: "" };
  expect(() => planApply(loop, {}, context)).toThrow(InvalidTaskError);
  expect(() => planApply(linked, {}, { ...context, own: true })).toThrow(InvalidTaskError);
  let deep = group([add.s(1, 2)]) as AnySignature;
  for (let level = 0; level < 20_000; level++) deep = group([deep, add.s(1, 2)]) as AnySignature;
  expect(() => planApply(wireOf(deep, ""), {}, context)).toThrow(InvalidTaskError);
});
