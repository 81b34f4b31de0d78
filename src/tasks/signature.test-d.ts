// Types of signatures, checked by the compiler alone.
import { z } from "zod";
import { task } from "./definition.ts";
import type { Signature } from "./signature.ts";
import type { AnySignature } from "./signature-types.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const yes = <T extends true>(_proof?: T) => undefined;
const any = (_signature: AnySignature) => undefined;

const add = task("add", (x: number, y: number) => x + y);
const scale = task("scale", (x: number, factor?: number) => x * (factor ?? 1));
const total = task("total", (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0));
const spread = task("spread", (first: string, ...rest: number[]) => `${first}${rest.length}`);
const shout = task("shout", (text: string) => text.toUpperCase());
const python = task("python.task");
const thumbnail = task("images.thumbnail", {
  params: { url: z.string(), width: z.int().default(320) },
  returns: z.object({ key: z.string() }),
});
const pair = task("pair", { params: { a: z.string(), b: z.string() }, returns: z.number() });

const full = add.s(1, 2);
yes<Equal<typeof full, Signature<[], number, "task">>>();
const partial = add.s(2);
yes<Equal<typeof partial, Signature<[number], number, "task">>>();
const none = add.s();
yes<Equal<typeof none, Signature<[number, number], number, "task">>>();
const either = scale.s(2);
yes<Equal<typeof either, Signature<[] | [number], number, "task">>>();
const rest = spread.s(1, 2);
any(rest);
const fullSpread = spread.s("a", 2);
any(fullSpread);
// @ts-expect-error no call of add ends in a text
add.s("2");
// @ts-expect-error too many
add.s(1, 2, 3);

any(full);
any(partial);
any(python.s(1));

const completed = add.s(2).partial(1);
yes<Equal<typeof completed, Signature<[], number, "task">>>();
const less = add.s().partial(1);
yes<Equal<typeof less, Signature<[number], number, "task">>>();
full.partial();
python.s(1).partial(2, "a");
add.si(1, 2).partial(3);
(full as AnySignature).partial(3);
either.partial(1);
// @ts-expect-error it is complete
full.partial(3);
// @ts-expect-error no call of add begins with a text
add.s(2).partial("1");
// @ts-expect-error one too many
add.s(2).partial(1, 2);

const chained = full.pipe(add.s(3));
yes<Equal<typeof chained, Signature<[], number, "task">>>();
// @ts-expect-error shout takes a text, add gives a number
full.pipe(shout.s());
// @ts-expect-error add.s(1, 2) takes nothing in front
full.pipe(add.s(1, 2));
full.pipe(add.si(1, 2)).pipe(total.si([1]));
full.pipe(python.s()).pipe(add.s(1));

const named = thumbnail.s({ url: "u" });
yes<Equal<typeof named, Signature<[] | [number], { key: string }, "task">>>();
const open = thumbnail.s({ width: 3 });
yes<Equal<typeof open, Signature<[string], { key: string }, "task">>>();
const bare = thumbnail.s();
yes<Equal<typeof bare, Signature<[string], { key: string }, "task">>>();
// @ts-expect-error not a parameter
thumbnail.s({ url: "u", heigth: 3 });
// @ts-expect-error not what the parameter takes
thumbnail.s({ url: 5 });
shout.s("u").pipe(thumbnail.s({ width: 5 }));
// @ts-expect-error a number is no url
full.pipe(thumbnail.s({ width: 5 }));
shout.s("u").pipe(pair.s({ b: "x" }));
// @ts-expect-error two parameters are missing, one result comes
shout.s("u").pipe(pair.s());

full.link(add.s(1)).set({ countdown: 3 }).pipe(add.s(2)).linkError(python.s());
// @ts-expect-error not an option
full.set({ contdown: 3 });
const more = add.s().partial(1);
yes<Equal<typeof more, Signature<[number], number, "task">>>();
