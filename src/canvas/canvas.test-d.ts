// Types of chains, groups and chords, checked by the compiler alone.
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import { task } from "../tasks/definition.ts";
import type { Signature } from "../tasks/signature.ts";
import { chain } from "./chain.ts";
import { chord } from "./chord.ts";
import { group } from "./group.ts";
import { signature, signatureFrom } from "./signature-from.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const yes = <T extends true>(_proof?: T) => undefined;

const add = task("add", (x: number, y: number) => x + y);
const total = task("total", (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0));
const shout = task("shout", (text: string) => text.toUpperCase());
const mixed = task("mixed", (both: readonly [number, string]) => both.length);

const steps = chain(add.s(1, 2), add.s(3), add.s(4));
yes<Equal<typeof steps, Signature<[], number, "task">>>();
const list = chain([add.s(1, 2), add.s(3)]);
yes<Equal<typeof list, Signature<[], number, "task">>>();
// @ts-expect-error shout takes a text
chain(add.s(1, 2), shout.s());
// @ts-expect-error the third step does not follow
chain(add.s(1, 2), add.s(3), shout.s());
// @ts-expect-error nor does it in an array
chain([add.s(1, 2), shout.s()]);
const open = chain(add.s(1), add.s(2));
yes<Equal<typeof open, Signature<[number], number, "task">>>();

const tuple = group(add.s(1, 2), shout.s("a"));
yes<Equal<typeof tuple, Signature<[], [number, string], "group">>>();
const array = group([1, 2, 3].map((n) => add.s(n, n)));
yes<Equal<typeof array, Signature<[], number[], "group">>>();
const nested = group(group(add.s(1, 2), shout.s("b")), add.s(3, 4));
yes<Equal<typeof nested, Signature<[], [number, string, number], "group">>>();
const fed = group(add.s(1), add.s(2));
yes<Equal<typeof fed, Signature<[number], [number, number], "group">>>();
add.s(1, 2).pipe(fed);
// @ts-expect-error its members take a number
shout.s("a").pipe(fed);

const summed = chord([add.s(1, 2), add.s(3, 4)], total.s());
yes<Equal<typeof summed, Signature<[], number, "task">>>();
chord(array, total.s());
chord(tuple, mixed.s());
// @ts-expect-error the body gets numbers and texts
chord(tuple, total.s());
// @ts-expect-error the body gets an array
chord([add.s(1, 2)], add.s(3));
chord(new Set([add.s(1, 2)]), total.s());
// @ts-expect-error nor from an iterable that is no array
chord(new Set([shout.s("a")]), total.s());
const iterated = chord(new Set([add.s(1)]), total.s());
yes<Equal<typeof iterated, Signature<[number], number, "task">>>();
const upgraded = chain(group(add.s(1, 2), add.s(3, 4)), total.s(), add.s(1));
yes<Equal<typeof upgraded, Signature<[], number, "task">>>();
const one = chain(group(add.s(1, 2)), add.s(1));
yes<Equal<typeof one, Signature<[], number, "task">>>();
const ends = chain(add.s(1, 2), group(add.s(1), add.s(2)));
yes<Equal<typeof ends, Signature<[], [number, number], "grouped">>>();
const twice = group(ends, add.s(1, 2));
yes<Equal<typeof twice, Signature<[], [[number, number], number], "group">>>();

chain(signature("python.task", { args: [1] }), add.s(2), signatureFrom({ task: "x" }), add.s(1));
const mapped = total.map([[1], [2]]);
yes<Equal<typeof mapped, Signature<unknown[], number[], "task">>>();
mapped.pipe(total.s());
add.starmap([[1, 2]]).pipe(total.s());
// @ts-expect-error not arguments of add
add.chunks([["a", 2]], 10);
const chunked = add.chunks([[1, 2]], 10);
yes<Equal<typeof chunked, Signature<unknown[], number[][], "chunks">>>();
const chunksLast = chain(add.s(1, 2), chunked);
yes<Equal<typeof chunksLast, Signature<[], ResultTuple, "task">>>();
const chunksPiped = add.s(1, 2).pipe(chunked);
yes<Equal<typeof chunksPiped, Signature<[], ResultTuple, "task">>>();
const chunksMember = group(chunked, add.s(1, 2));
yes<Equal<typeof chunksMember, Signature<unknown[] & [], [ResultTuple, number], "group">>>();
const chunksBody = chord([add.s(1, 2)], chunked);
yes<Equal<typeof chunksBody, Signature<[], ResultTuple, "task">>>();
chain(chunked, add.si(1, 2));
const lists = task("lists", (values: readonly (readonly number[])[]) => values.length);
// @ts-expect-error the step gets ids, not numbers
chain(chunked, lists.s());
// @ts-expect-error nor does it when piped
chunked.pipe(lists.s());
// @ts-expect-error nor as a body
chord(chunked, lists.s());
// @ts-expect-error nor as a body of several
chord([chunked, chunked], lists.s());
// @ts-expect-error nor as a callback
chunked.link(lists.s());
