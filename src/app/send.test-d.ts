/** What a typed call is held to when it is compiled; checked by `npm run check`, never run. */
import { z } from "zod";
import { Celery } from "../app.ts";
import { task } from "../tasks/definition.ts";

const score = task("score", { params: { text: z.string(), n: z.int().default(1) }, returns: z.number() });
const add = task("add", (x: number, y: number) => x + y);

export async function calls(app: Celery): Promise<number> {
  await app.send(score, ["by", 2]);
  // @ts-expect-error no such parameter
  await app.send(score, { text: "a", bogus: 1 });
  // @ts-expect-error another type
  await app.send(score, { text: 5 });
  // @ts-expect-error a parameter is missing
  await app.send(score, { n: 5 });
  // @ts-expect-error an argument is missing
  await app.send(add, [1]);
  // @ts-expect-error not an option
  await app.send(add, [1, 2], { contdown: 1 });
  const sum: number = await (await app.send(add, [1, 2], { countdown: 1 })).get();
  return sum + (await (await app.send(score, { text: "a" })).get());
}

export const parent = task("parent", { params: {} }, async (_params, ctx): Promise<number> => {
  await ctx.send(score, ["by", 2]);
  // @ts-expect-error another type
  await ctx.send(score, { text: 5 });
  // @ts-expect-error an argument is missing
  await ctx.send(add, [1]);
  // @ts-expect-error not an option
  await ctx.send(add, [1, 2], { contdown: 1 });
  return (await (await ctx.send(add, [1, 2], { countdown: 1 })).get()) + 1;
});

export const app = new Celery("types", { tasks: [score, add] });
