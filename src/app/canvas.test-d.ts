// Types of what apply gives, checked by the compiler alone.
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import type { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import type { LooseSignature } from "../canvas/signature-from.ts";
import type { AnyResult, AsyncResult } from "../client/async-result.ts";
import type { GroupResult } from "../client/group-result.ts";
import { task } from "../tasks/definition.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const yes = <T extends true>(_proof?: T) => undefined;

const add = task("add", (x: number, y: number) => x + y);
const text = task("text", (value: number) => `${value}`);
const total = task("total", (numbers: readonly number[]) => numbers.length);

export async function types(app: Celery, loose: LooseSignature): Promise<void> {
  const one = await app.apply(add.s(1, 2), { countdown: 3 });
  yes<Equal<typeof one, AsyncResult<number>>>();
  const line = await app.apply(chain(add.s(1, 2), text.s()));
  yes<Equal<typeof line, AsyncResult<string>>>();
  const both = await app.apply(group(add.s(1, 2), text.s(3)));
  yes<Equal<typeof both, GroupResult<[number, string]>>>();
  const values = await both.get();
  yes<Equal<typeof values, [number, string]>>();
  const settled = await both.get({ propagate: false });
  yes<Equal<typeof settled, [number | Error, string | Error]>>();
  const joined = await both.join({ propagate: false });
  yes<Equal<typeof joined, [number | Error, string | Error]>>();
  const ends = await app.apply(chain(add.s(1, 2), group([1, 2].map((n) => add.s(n)))));
  yes<Equal<typeof ends, GroupResult<number[]>>>();
  const summed = await app.apply(chord([add.s(1, 2), add.s(3, 4)], total.s()));
  yes<Equal<typeof summed, AsyncResult<number>>>();
  const chunked = await app.apply(add.chunks([[1, 2]], 1));
  yes<Equal<typeof chunked, GroupResult<number[][]>>>();
  const tuple = await app.apply(chain(add.s(1, 2), add.chunks([[1, 2]], 1)));
  yes<Equal<typeof tuple, AsyncResult<ResultTuple>>>();
  const any: AnyResult = await app.apply(loose);
  // @ts-expect-error an argument is missing
  await app.apply(add.s(1));
  // @ts-expect-error so it is in the first step
  await app.apply(chain(add.s(1), text.s()));
  // @ts-expect-error and in a member
  await app.apply(group(add.s(1, 2), add.s(1)));
  // @ts-expect-error not an option
  await app.apply(add.s(1, 2), { contdown: 1 });
  const frozen = await app.freeze(chain(add.s(1, 2), text.s()));
  yes<Equal<typeof frozen.result, AsyncResult<string>>>();
  await any.forget();
}
