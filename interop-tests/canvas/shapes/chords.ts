import type { Workflow } from "../shape.ts";
import {
  add,
  again,
  chain,
  chord,
  echo,
  errback,
  fail,
  failing,
  giveUp,
  group,
  having,
  immutable,
  inlineErrback,
  pipe,
  sum,
  twice,
} from "./parts.ts";

const header = [add(1, 2), add(3, 4), add(5, 6)];
const two = [add(1, 2), add(3, 4)];
const broken = [add(1, 2), fail];

export const chords: readonly Workflow[] = [
  { name: "chord/of three", shape: chord(header, sum) },
  { name: "chord/of one", shape: chord([add(1, 2)], sum) },
  { name: "chord/empty", shape: chord([], sum) },
  { name: "chord/empty, its body a chain", shape: chord([], chain(sum, add(1))) },
  {
    name: "chord/of eleven",
    shape: chord(
      Array.from({ length: 11 }, (_, index) => add(index, 0)),
      echo,
    ),
  },
  { name: "chord/an immutable body", shape: chord(two, immutable(add(7, 8))) },
  { name: "chord/a body with arguments", shape: chord(two, { task: "echo", args: [1], kwargs: { more: 2 } }) },
  { name: "chord/given arguments", shape: chord([add(2), add(3)], sum), apply: { args: [1] } },
  { name: "chord/given keywords", shape: chord([echo, echo], echo), apply: { kwargs: { more: 1 } } },
  { name: "chord/a chain in its header", shape: chord([chain(add(1, 2), add(3)), add(4, 5)], sum) },
  { name: "chord/a group in its header", shape: chord([group(add(1, 2), add(3, 4)), add(5, 6)], sum) },
  { name: "chord/a chord in its header", shape: chord([chord(two, sum), add(5, 6)], sum) },
  { name: "chord/chords in its header", shape: chord([chord(two, sum), chord(two, sum)], sum) },
  {
    name: "chord/a chain that ends in a group in its header",
    shape: chord([chain(add(1, 2), group(add(3), add(4))), add(5, 6)], echo),
  },
  {
    name: "chord/a chain that ends in a chord in its header",
    shape: chord([chain(add(1, 2), chord([add(3), add(4)], sum)), add(5, 6)], echo),
  },
  { name: "chord/a chain as body", shape: chord(two, chain(sum, add(10))) },
  { name: "chord/a group as body", shape: chord(two, group(sum, sum)) },
  { name: "chord/a chord as body", shape: chord(two, chord([sum, sum], sum)) },
  { name: "chord/a chain with a group as body", shape: chord(two, chain(sum, group(add(10), add(20)))) },
  { name: "chord/a chain with a chord as body", shape: chord(two, chain(sum, chord([add(10), add(20)], sum))) },
  { name: "chord/three deep", shape: chord([chord([chord(two, sum), add(5, 6)], sum), add(7, 8)], sum) },
  { name: "chord/joined to a task", shape: pipe(chord(two, sum), add(10)) },
  { name: "chord/joined to a group", shape: pipe(chord(two, sum), group(add(10), add(20))) },
  { name: "chord/a task joined to it", shape: pipe(add(1, 2), chord([add(10), add(20)], sum)) },
  { name: "chord/one part fails", shape: chord([add(1, 2), failing("header"), add(3, 4)], sum) },
  { name: "chord/two parts fail", shape: chord([fail, fail, add(3, 4)], sum) },
  { name: "chord/a chain in its header fails", shape: chord([chain(add(1, 2), fail, add(3)), add(4, 5)], sum) },
  { name: "chord/a chord in its header fails", shape: chord([chord(broken, sum), add(4, 5)], sum) },
  { name: "chord/the body of a chord in its header fails", shape: chord([chord(two, fail), add(4, 5)], sum) },
  {
    name: "chord/a chain with a group in its header fails",
    ends: "ValueError",
    shape: chord([chain(fail, group(add(3), add(4))), add(5, 6)], echo),
  },
  { name: "chord/its body fails", shape: chord(two, fail) },
  { name: "chord/one part fails, its body a chain", shape: chord(broken, chain(sum, add(10))) },
  { name: "chord/one part fails, its body a group", shape: chord(broken, group(sum, sum)) },
  { name: "chord/one part fails, its body a chord", shape: chord(broken, chord([sum, sum], sum)) },
  { name: "chord/one part fails, a task joined to it", shape: pipe(chord(broken, sum), add(10)) },
  { name: "chord/a member of a group as body fails", shape: chord(two, group(sum, fail)) },
  { name: "chord/a part retries", shape: chord([again(1), add(2, 3)], sum) },
  { name: "chord/a part retries in vain", shape: chord([giveUp, add(2, 3)], sum) },
  { name: "chord/its body retries", shape: chord(two, again()) },
  { name: "chord/a link on it", shape: having(chord(two, sum), { link: [add(100)] }) },
  { name: "chord/a link on its body", shape: chord(two, having(sum, { link: [add(100)] })) },
  { name: "chord/a link on a part", shape: chord([having(add(1, 2), { link: [add(100)] }), add(3, 4)], sum) },
  { name: "chord/an errback on it, a part fails", shape: having(chord(broken, sum), { linkError: [errback] }) },
  { name: "chord/an errback on it, the body fails", shape: having(chord(two, fail), { linkError: [errback] }) },
  { name: "chord/an errback on its body, a part fails", shape: chord(broken, having(sum, { linkError: [errback] })) },
  {
    name: "chord/an inline errback on its body, a part fails",
    shape: chord(broken, having(sum, { linkError: [inlineErrback] })),
  },
  { name: "chord/an errback on a part", shape: chord([add(1, 2), having(fail, { linkError: [errback] })], sum) },
  {
    name: "chord/an errback on it, its body a chain",
    shape: having(chord(broken, chain(sum, add(10))), { linkError: [errback] }),
  },
  {
    name: "chord/an errback on it, its body a group",
    shape: having(chord(broken, group(sum, sum)), { linkError: [errback] }),
  },
  {
    name: "chord/an errback on one that holds another",
    shape: having(chord([chord(broken, sum), add(4, 5)], sum), { linkError: [errback] }),
  },
  {
    name: "chord/a value that is a list",
    shape: chord(
      [
        { task: "twice", args: [1] },
        { task: "twice", args: [2] },
      ],
      chain(twice, sum),
    ),
  },
  { name: "chord/a value that is null", shape: chord([{ task: "on_error" }, add(1, 2)], echo) },
  {
    name: "chord/twice nested in chains",
    shape: chain(add(1, 2), chord([chain(add(3), chord([add(4), add(5)], sum)), add(6)], sum), twice),
  },
];
