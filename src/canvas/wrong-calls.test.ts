/** What is no signature is refused where it is given, with what it should have been. */
import { describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { task } from "../tasks/definition.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature } from "./signature-from.ts";
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
    ["a map of a number", () => add.map(5), /add: map\(\): the items must be an array, not 5/],
    ["a starmap of a text", () => add.starmap("x"), /starmap\(\): the items must be an array/],
    ["chunks of null", () => add.chunks(null, 2), /chunks\(\): the items must be an array, not null/],
    ["chunks of none", () => add.chunks([], 0), /size of chunks must be a whole number of at least 1/],
  ])("%s", (_what, act, words) => {
    expect(act).toThrow(ImproperlyConfigured);
    expect(act).toThrow(words);
  });
});
