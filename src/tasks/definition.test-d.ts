// Types of task definitions, checked by the compiler alone.
import { z } from "zod";
import { type CallOf, type ResultOf, task } from "./definition.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const yes = <T extends true>(_proof?: T) => undefined;

const thumbnail = task(
  "images.thumbnail",
  { params: { url: z.url(), width: z.int().default(320) }, returns: z.object({ key: z.string() }), softTimeLimit: 20 },
  async ({ url, width }, ctx) => {
    yes<Equal<typeof url, string>>();
    yes<Equal<typeof width, number>>();
    ctx.log.info({ width });
    return { key: url };
  },
);
yes<Equal<CallOf<typeof thumbnail>, { url: string; width?: number | undefined }>>();
yes<Equal<ResultOf<typeof thumbnail>, { key: string }>>();

const score = task("ml.score", { params: { text: z.string() }, returns: z.number() });
yes<Equal<CallOf<typeof score>, { text: string }>>();
yes<Equal<ResultOf<typeof score>, number>>();

const add = task("add", (x: number, y: number) => x + y);
yes<Equal<CallOf<typeof add>, [x: number, y: number]>>();
yes<Equal<ResultOf<typeof add>, number>>();

const inferred = task("inferred", { params: { x: z.number() } }, async ({ x }) => `${x}`);
yes<Equal<ResultOf<typeof inferred>, string>>();

const many = task(
  "many",
  { params: { first: z.string(), "*rest": z.number(), "**extra": z.boolean() } },
  ({ first, rest, extra }) => {
    yes<Equal<typeof rest, number[]>>();
    yes<Equal<typeof extra, Record<string, boolean>>>();
    return first;
  },
);
yes<Equal<CallOf<typeof many>["rest"], readonly number[] | undefined>>();

const joined = task("joined", { returns: z.string(), queue: "q" }, async (left: string, times: number = 2) =>
  left.repeat(times),
);
yes<Equal<CallOf<typeof joined>, [left: string, times?: number | undefined]>>();
yes<Equal<ResultOf<typeof joined>, string>>();

const pair = task(
  "pair",
  { params: { x: z.number() }, returns: z.tuple([z.string(), z.number()]) },
  async ({ x }): Promise<[string, number]> => [String(x), x],
);
yes<Equal<ResultOf<typeof pair>, [string, number]>>();
