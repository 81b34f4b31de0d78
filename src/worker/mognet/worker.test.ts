/** A Mognet worker over memory: what a request's life looks like from its app. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { Mognet, type MognetOptions } from "../../app/mognet.ts";
import { Worker, type WorkerOptions } from "../../app/worker.ts";
import { silentLog } from "../../runtime/log.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { mognetContext, Pause } from "../../tasks/mognet-context.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function makeApp(tasks: readonly AnyTask[], options: MognetOptions = {}): Mognet {
  const app = new Mognet(`app-${randomUUID()}`, {
    log: silentLog,
    env: {},
    tasks,
    ...options,
    config: {
      ...options.config,
      broker: { amqp: { url: "memory://" } },
      result_backend: { redis: { url: "memory://" } },
      state_backend: { redis: { url: "memory://" } },
    },
  });
  ends.push(() => app.close());
  return app;
}

async function serve(app: Mognet, options: WorkerOptions = {}): Promise<Worker> {
  return new Worker(app, options).start();
}

const add = task("add", { params: { a: z.number(), b: z.number().default(1) } }, ({ a, b }) => a + b);

describe("a request", () => {
  test("is carried out, and its result counts one start and one stop", async () => {
    const app = makeApp([add]);
    await serve(app);
    const result = await app.submit(add, { a: 1, b: 2 });
    expect(await result.get({ timeout: 5_000 })).toBe(3);
    expect(result.record).toMatchObject({
      state: "SUCCESS",
      numberOfStarts: 1,
      numberOfStops: 1,
      nodeId: app.config.node_id,
    });
  });

  test("that fails stores the error's class and words", async () => {
    const fail = task("fail", async () => {
      throw new TypeError("boom");
    });
    const app = makeApp([fail]);
    await serve(app);
    const result = await app.submit("fail");
    await expect(result.get({ timeout: 5_000 })).rejects.toThrow("boom");
    expect(result.state).toBe("FAILURE");
  });

  test("whose arguments do not fit is INVALID, with every complaint and where it stands", async () => {
    const app = makeApp([add]);
    await serve(app);
    const result = await app.submit("add", ["x", "y", 3]);
    await expect(result.get({ timeout: 5_000 })).rejects.toThrow(
      /^\[InvalidErrorInfo\(loc=\(1,\), msg='.*', type='invalid_type'\), InvalidErrorInfo\(loc=\(2,\), .*loc=\(3,\), msg='Unexpected positional argument', type='unexpected_positional_argument'\)\]$/,
    );
    expect(result.record).toMatchObject({ state: "INVALID", numberOfStarts: 1, numberOfStops: 1 });
  });

  test("for a task that nobody knows is INVALID without a start", async () => {
    const app = makeApp([add]);
    await serve(app);
    const result = await app.submit("nowhere");
    await expect(result.get({ timeout: 5_000 })).rejects.toThrow("Unknown task: 'nowhere'");
    expect(result.record).toMatchObject({ state: "INVALID", numberOfStarts: 0, numberOfStops: 1 });
  });

  test("that pauses comes again with its state, and counts each run", async () => {
    const pausing = task("pausing", { params: { times: z.number() } }, async ({ times }, ctx) => {
      const { state } = mognetContext(ctx);
      const done = await state.get("done", 0);
      if (done >= times) return done;
      await state.set("done", done + 1);
      throw new Pause();
    });
    const app = makeApp([pausing]);
    await serve(app);
    const result = await app.submit(pausing, { times: 3 });
    expect(await result.get({ timeout: 5_000 })).toBe(3);
    expect(result.record).toMatchObject({ numberOfStarts: 4, numberOfStops: 4 });
    expect(await app.client.store.state.get(result.id, "done")).toBeUndefined();
  });

  test("with a duration as deadline is REVOKED when it runs longer, and its signal aborts", async () => {
    let aborted: unknown = null;
    const slow = task("slow", { params: {} }, async (_params, ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      aborted = ctx.signal.reason;
    });
    const app = makeApp([slow]);
    await serve(app);
    const result = await app.submit(slow, {}, { deadline: 0.05 });
    await expect(result.get({ timeout: 5_000 })).rejects.toMatchObject({ reason: "expired" });
    expect(result.record).toMatchObject({ state: "REVOKED", numberOfStarts: 1, numberOfStops: 1 });
    expect(aborted).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});

describe("children", () => {
  test("leave their waiting parent's place to others, however deep", async () => {
    const down = task("down", { params: { depth: z.number() } }, async ({ depth }, ctx): Promise<number> => {
      if (depth === 0) return 0;
      return 1 + (await mognetContext(ctx).run<number>("down", { depth: depth - 1 }));
    });
    const app = makeApp([down], { config: { max_recursion: 100 } });
    await serve(app);
    expect(await app.run(down, { depth: 70 }, {}, { timeout: 15_000 })).toBe(70);
  });

  test("are revoked with their parent, whose place is free again", async () => {
    const started: string[] = [];
    const sleep = task("sleep", { params: {} }, async (_params, ctx) => {
      started.push(ctx.id);
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    });
    const parent = task("parent", { params: {} }, (_params, ctx) => mognetContext(ctx).run("sleep", {}));
    const app = makeApp([sleep, parent, add]);
    const worker = await serve(app);
    const result = await app.submit(parent, {});
    await expect.poll(() => started.length, { timeout: 5_000 }).toBe(1);
    await app.revoke(result.id);
    await expect(result.get({ timeout: 5_000 })).rejects.toMatchObject({ code: "TASK_REVOKED" });
    await expect.poll(() => worker.active, { timeout: 5_000 }).toBe(0);
    expect((await result.refresh()).record).toMatchObject({ numberOfStarts: 1, numberOfStops: 2 });
    expect(await app.run(add, { a: 1 }, {}, { timeout: 5_000 })).toBe(2);
  });
});
