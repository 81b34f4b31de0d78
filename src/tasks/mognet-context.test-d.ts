/** What the context of a Mognet task knows of the types of the tasks that it runs. */
import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import { task } from "./definition.ts";
import { isMognetContext, type MognetContext, type MognetSubmitted, mognetContext } from "./mognet-context.ts";
import { ClassService } from "./mognet-services.ts";

const resize = task("resize", { params: { url: z.string(), width: z.number().default(1) }, returns: z.string() });
const plain = task("plain", (a: number, b: number) => a + b);

class Prices extends ClassService<(item: string) => number> {
  call() {
    return (item: string) => item.length;
  }
}

test("calls of children are checked against their definitions, and so are their values", () => {
  task("parent", { params: {} }, async (_params, ctx) => {
    const mognet = mognetContext(ctx);
    expectTypeOf(mognet).toEqualTypeOf<MognetContext>();
    expectTypeOf(await mognet.run(resize, { url: "x" })).toEqualTypeOf<string>();
    expectTypeOf(await mognet.run(plain, [1, 2])).toEqualTypeOf<number>();
    expectTypeOf(await mognet.run("by.name")).toEqualTypeOf<unknown>();
    const one = await mognet.submit(resize, { url: "x", width: 3 }, { priority: 7, deadline: "PT5S" });
    expectTypeOf(one).toEqualTypeOf<MognetSubmitted<string>>();
    const two = await mognet.submit(plain, [1, 2]);
    expectTypeOf(await mognet.gather([one, two, "an-id"])).toEqualTypeOf<[string, number, unknown]>();
    expectTypeOf(mognet.getService(Prices)).toEqualTypeOf<(item: string) => number>();
    expectTypeOf(mognet.getService((context: MognetContext) => context.id)).toEqualTypeOf<string>();
    expectTypeOf(await mognet.state.get("k", 0)).toEqualTypeOf<number>();
    expectTypeOf(await mognet.state.get<number>("k")).toEqualTypeOf<number | undefined>();
    expectTypeOf(await mognet.state.pop<number>("k")).toEqualTypeOf<number | undefined>();
    // @ts-expect-error a parameter is missing
    await mognet.run(resize, {});
    // @ts-expect-error a parameter of the wrong type
    await mognet.run(resize, { url: 5 });
    if (isMognetContext(ctx)) expectTypeOf(ctx.nodeId).toEqualTypeOf<string>();
  });
});
