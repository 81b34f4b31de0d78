/** Options and stamps of workflows, results that nobody keeps, and the tasks that run others over a list. */
import type { Workflow } from "../shape.ts";
import { add, become, chain, chord, errback, fail, group, having, sum } from "./parts.ts";

const two = [add(1, 2), add(3, 4)];
const unkept = { ignore_result: true };
const quiet = { task: "quiet" };
const byHand = { at: "1" };

export const options: readonly Workflow[] = [
  { name: "map/alone", shape: { map: "add", it: [1, 2, 3] } },
  { name: "map/in a chain", shape: chain({ map: "add", it: [1, 2, 3] }, sum) },
  {
    name: "map/in a chord",
    shape: chord(
      [
        { map: "add", it: [1, 2] },
        { map: "add", it: [3] },
      ],
      sum,
    ),
  },
  { name: "map/fails", shape: chain({ map: "fail", it: [1] }, sum) },
  {
    name: "starmap/alone",
    shape: {
      starmap: "add",
      it: [
        [1, 2],
        [3, 4],
      ],
    },
  },
  {
    name: "starmap/in a chain",
    shape: chain(
      {
        starmap: "add",
        it: [
          [1, 2],
          [3, 4],
        ],
      },
      sum,
    ),
  },
  {
    name: "chunks/alone",
    shape: {
      chunks: "add",
      it: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      n: 2,
    },
  },
  {
    name: "chunks/as a group",
    shape: {
      chunks: "add",
      it: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      n: 2,
      asGroup: true,
    },
  },
  {
    name: "chunks/as a header",
    shape: chain(
      {
        chunks: "add",
        it: [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        n: 2,
        asGroup: true,
      },
      sum,
    ),
  },
  { name: "stamps/a task", shape: having(add(1, 2), { stamp: byHand }) },
  { name: "stamps/a chain", shape: having(chain(add(1, 2), add(3)), { stamp: byHand }) },
  { name: "stamps/a group", shape: having(group(...two), { stamp: byHand }) },
  { name: "stamps/a chord", shape: having(chord(two, sum), { stamp: byHand }) },
  { name: "stamps/a member of a chain", shape: chain(having(add(1, 2), { stamp: byHand }), add(3)) },
  {
    name: "stamps/links and errbacks",
    shape: having(chain(having(add(1, 2), { link: [add(100)] }), having(fail, { linkError: [errback] })), {
      stamp: byHand,
    }),
  },
  { name: "stamps/a task that is replaced", shape: having(become(add(1, 2)), { stamp: byHand }) },
  {
    name: "stamps/a chord of chains, nested",
    shape: having(chord([chain(add(1, 2), add(3)), chord(two, sum)], sum), { stamp: { a: "1", b: 2 } }),
  },
  { name: "priority/a chain", shape: chain(having(add(1, 2), { options: { priority: 3 } }), add(3)) },
  { name: "priority/a chain when applied", shape: chain(add(1, 2), add(3)), apply: { options: { priority: 4 } } },
  { name: "priority/a group when applied", shape: group(...two), apply: { options: { priority: 4 } } },
  { name: "priority/a chord when applied", shape: chord(two, sum), apply: { options: { priority: 4 } } },
  {
    name: "priority/parts and body of a chord",
    shape: chord(
      [having(add(1, 2), { options: { priority: 2 } }), add(3, 4)],
      having(sum, { options: { priority: 5 } }),
    ),
  },
  { name: "ignored results/a chain's middle", shape: chain(add(1, 2), having(add(3), { options: unkept }), add(4)) },
  { name: "ignored results/a chain's first, by its task", shape: chain(quiet, add(4)), apply: { args: [1] } },
  {
    name: "ignored results/a part of a chord",
    shape: chord([having(add(1, 2), { options: unkept }), add(3, 4)], sum),
    counting: true,
  },
  {
    name: "ignored results/a member of a group",
    shape: chain(add(1, 2), group(having(add(3), { options: unkept }), add(4)), sum),
    counting: true,
  },
  {
    name: "ignored results/a failing chain",
    ends: "ValueError",
    shape: having(chain(having(fail, { options: unkept }), add(4)), { linkError: [errback] }),
  },
  { name: "options/an id for a chain", shape: chain(add(1, 2), add(3)), apply: { options: { task_id: "$ID" } } },
  { name: "options/an id for a chord", shape: chord(two, sum), apply: { options: { task_id: "$ID" } } },
  {
    name: "options/a parent and a root",
    shape: chain(add(1, 2), add(3)),
    apply: { options: { parent_id: "$ID", root_id: "$ID" } },
  },
  { name: "options/a countdown for a chain", shape: chain(add(1, 2), add(3)), apply: { options: { countdown: 0.2 } } },
  { name: "options/a countdown for a group", shape: group(...two), apply: { options: { countdown: 0.2 } } },
  { name: "options/a countdown for a chord", shape: chord(two, sum), apply: { options: { countdown: 0.2 } } },
  { name: "options/a countdown in a member", shape: chain(add(1, 2), having(add(3), { options: { countdown: 0.2 } })) },
];
