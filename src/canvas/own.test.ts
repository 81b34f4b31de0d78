/** A signature is a value: nothing that callers do with what they gave, or with what they got, changes it. */
import { expect, test } from "vitest";
import { task } from "../tasks/definition.ts";
import type { AnySignature } from "../tasks/signature-types.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature, signatureFrom } from "./signature-from.ts";

const echo = task("echo");
const add = task("add", (x: number, y: number) => x + y);

function text(made: AnySignature): string {
  return JSON.stringify(made);
}

test("arrays and objects that were passed may change afterwards", () => {
  const list = [1, [2]];
  const record = { deep: { list } };
  const members = [echo.s(1), echo.s(2)];
  const link = [echo.s()];
  const stamps = { tags: ["a"] };
  const json = { task: "echo", args: [list], kwargs: record, options: { headers: record } };
  const made = [
    echo.s(list, record),
    echo.si(list),
    echo.signature({ args: [list], kwargs: record, options: { headers: record, link } }),
    signature("echo", { args: [list], kwargs: record }),
    signatureFrom(json),
    echo.s().partial(list),
    echo.s().clone({ args: [list], kwargs: record, options: { headers: record } }),
    echo.s().set({ link, headers: record }),
    echo.s().stamp(stamps),
    echo.map([list]),
    echo.starmap([list]),
    echo.chunks([list], 1),
    group(members),
    chain(members),
    chord(members, echo.s()),
    echo.s().stampWith({ onSignature: () => stamps }),
  ];
  const before = made.map(text);
  (list[1] as number[]).push(3);
  list.push(4);
  Object.assign(record.deep, { more: true });
  members.pop();
  link.pop();
  stamps.tags.push("b");
  json.args.push([5]);
  expect(made.map(text)).toEqual(before);
});

test("what it shows of itself is a copy", () => {
  const made = chain(echo.s([1]).set({ headers: { a: 1 } }), echo.s());
  const before = text(made);
  const shown = [made.toJSON(), { kwargs: made.kwargs, options: made.options, args: made.args }];
  for (const { kwargs, options } of shown) {
    (kwargs.tasks as { args: unknown[] }[])[0]?.args.push(2);
    (kwargs.tasks as unknown[]).pop();
    options.queue = "elsewhere";
  }
  expect(text(made)).toBe(before);
});

test("anything iterable gives members, steps, headers and items", () => {
  function* numbers() {
    yield* [1, 2, 3];
  }
  function* pairs() {
    for (const n of numbers()) yield [n, n] as const;
  }
  function* signatures() {
    for (const n of numbers()) yield add.s(n, n);
  }
  const array = [add.s(1, 1), add.s(2, 2), add.s(3, 3)];
  expect(text(group(signatures()))).toBe(text(group(array)));
  expect(text(group(new Set(array)))).toBe(text(group(array)));
  expect(text(chain(new Set(array) as never))).toBe(text(chain(array as never)));
  expect(text(chord(signatures(), echo.s()))).toBe(text(chord(array, echo.s())));
  expect(text(echo.map(numbers()))).toBe(text(echo.map([1, 2, 3])));
  expect(text(echo.map(new Set([1, 2, 3])))).toBe(text(echo.map([1, 2, 3])));
  expect(text(add.starmap(pairs()))).toBe(text(add.starmap([...pairs()])));
  expect(text(add.starmap(new Map([[1, 2]])))).toBe(text(add.starmap([[1, 2]])));
  expect(text(add.chunks(pairs(), 2))).toBe(text(add.chunks([...pairs()], 2)));
});

test.each([
  [true, true],
  [1, true],
  [-1, true],
  ["no", true],
  [[0], true],
  [{ a: 0 }, true],
  [Number.NaN, true],
  [false, false],
  [0, false],
  [-0, false],
  ["", false],
  [[], false],
  [{}, false],
  [null, false],
  [undefined, false],
])("immutable: %j of a foreign signature is %j, as in Python", (immutable, truth) => {
  expect(signatureFrom({ task: "echo", immutable }).immutable).toBe(truth);
});
