/** What tasks do to the workflow that they are in, and what is sent by hand from a task. */
import type { Workflow } from "../shape.ts";
import { add, become, chain, chord, errback, fail, group, having, sum } from "./parts.ts";

const joining = { task: "join", args: [1], shapes: { more: add(100, 200) } };

export const inside: readonly Workflow[] = [
  { name: "replace/a task by a task", shape: become(add(1, 2)) },
  { name: "replace/a task by a chain", shape: become(chain(add(1, 2), add(3))) },
  { name: "replace/a task by a group", shape: become(group(add(1, 2), add(3, 4))) },
  { name: "replace/a task by a chord", shape: become(chord([add(1, 2), add(3, 4)], sum)) },
  { name: "replace/a task by a failing one", shape: become(fail) },
  { name: "replace/twice", shape: become(become(add(1, 2))) },
  { name: "replace/the first of a chain", shape: chain(become(add(1, 2)), add(3)) },
  { name: "replace/the middle of a chain", shape: chain(add(1, 2), become(add(10, 20)), add(3), add(4)) },
  { name: "replace/the last of a chain", shape: chain(add(1, 2), become(add(10, 20))) },
  {
    name: "replace/the middle of a chain by a chain",
    shape: chain(add(1, 2), become(chain(add(10, 20), add(30))), add(3)),
  },
  {
    name: "replace/the middle of a chain by a group",
    shape: chain(add(1, 2), become(group(add(10, 20), add(30, 40))), sum),
  },
  {
    name: "replace/the middle of a chain by a chord",
    shape: chain(add(1, 2), become(chord([add(10, 20), add(30, 40)], sum)), add(3)),
  },
  { name: "replace/the middle of a chain by a failing task", shape: chain(add(1, 2), become(fail), add(3)) },
  { name: "replace/a member of a group", shape: group(become(add(1, 2)), add(3, 4)) },
  { name: "replace/a member of a group by a group", shape: group(become(group(add(1, 2), add(3, 4))), add(5, 6)) },
  { name: "replace/a part of a chord", shape: chord([become(add(1, 2)), add(3, 4)], sum) },
  { name: "replace/a part of a chord by a chain", shape: chord([become(chain(add(1, 2), add(3))), add(4, 5)], sum) },
  { name: "replace/a part of a chord by a group", shape: chord([become(group(add(1, 2), add(3, 4))), add(5, 6)], sum) },
  {
    name: "replace/a part of a chord by a chord",
    shape: chord([become(chord([add(1, 2), add(3, 4)], sum)), add(5, 6)], sum),
  },
  { name: "replace/a part of a chord by a failing task", shape: chord([become(fail), add(3, 4)], sum) },
  { name: "replace/the body of a chord", shape: chord([add(1, 2), add(3, 4)], become(add(5, 6))) },
  {
    name: "replace/the body of a chord by a chord",
    shape: chord([add(1, 2), add(3, 4)], become(chord([add(5, 6), add(7, 8)], sum))),
  },
  { name: "replace/with a link", shape: having(become(add(1, 2)), { link: [add(100)] }) },
  { name: "replace/with an errback", shape: having(become(fail), { linkError: [errback] }) },
  { name: "replace/by a chain, with a link", shape: having(become(chain(add(1, 2), add(3))), { link: [add(100)] }) },
  { name: "join/a task into its chord", shape: chord([joining, add(2, 3)], sum), counting: true, unordered: true },
  { name: "send/a task from a task", shape: { task: "spawn", shapes: { what: add(1, 2) } } },
  { name: "send/a chain from a task", shape: { task: "spawn", shapes: { what: chain(add(1, 2), add(3)) } } },
  { name: "send/a group from a task", shape: { task: "spawn", shapes: { what: group(add(1, 2), add(3, 4)) } } },
  { name: "send/a chord from a task", shape: { task: "spawn", shapes: { what: chord([add(1, 2), add(3, 4)], sum) } } },
  {
    name: "send/a chord from a member of a chain",
    shape: chain(add(1, 2), { task: "spawn", shapes: { what: chord([add(1, 2), add(3, 4)], sum) } }, { task: "echo" }),
  },
];
