/** What a typed Mognet call is held to when it is compiled; checked by `npm run check`, never run. */
import { z } from "zod";
import { task } from "../tasks/definition.ts";
import { Request } from "../tasks/mognet-request.ts";
import { Mognet } from "./mognet.ts";

const score = task("score", { params: { text: z.string(), n: z.int().default(1) }, returns: z.number() });
const add = task("add", (x: number, y: number) => x + y);
const beat = task("beat", { params: {}, returns: z.string() });

export async function calls(app: Mognet): Promise<number> {
  await app.submit(score, ["by", 2]);
  await app.submit(beat);
  // @ts-expect-error no such parameter
  await app.submit(score, { text: "a", bogus: 1 });
  // @ts-expect-error another type
  await app.submit(score, { text: 5 });
  // @ts-expect-error a parameter is missing
  await app.submit(score, { n: 5 });
  // @ts-expect-error nothing was passed
  await app.submit(score);
  // @ts-expect-error not an option
  await app.submit(add, [1, 2], { deadlin: 1 });
  // @ts-expect-error not a deadline
  await app.submit(add, [1, 2], { deadline: true });
  const sum: number = await (await app.submit(add, [1, 2], { deadline: "PT5S", priority: 3 })).get({ timeout: 5 });
  const made: Request<number> = await app.createRequest(score, { text: "a" });
  const submitted: number = await (await app.submit(made)).get();
  const ran: number = await app.run(score, { text: "a" }, { metadata: { by: "me" } }, { timeout: 5 });
  const request: number = await app.run(new Request<number>({ name: "score", kwargs: { text: "a" } }), { timeout: 5 });
  const known = await app.getResult("6f3b7b52-26a1-4a0f-9c6b-6d3c8f4f8f0e", score);
  // @ts-expect-error what is not known by definition is unknown
  const wrong: number = await (await app.submit("score", { text: "a" })).get();
  return sum + submitted + ran + request + wrong + ((await known?.get()) ?? 0);
}

// @ts-expect-error an unknown key of the configuration
export const app = new Mognet("types", { tasks: [score, add], config: { broker: { amqp: { uri: "" } } } });
