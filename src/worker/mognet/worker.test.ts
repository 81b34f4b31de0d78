/** A Mognet worker over memory: what a request's life looks like from its app. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { encodeMognetRequest } from "../../../protocol/mognet/message.ts";
import { Mognet, type MognetOptions } from "../../app/mognet.ts";
import { Worker, type WorkerOptions } from "../../app/worker.ts";
import { silentLog } from "../../runtime/log.ts";
import { type AnyTask, task } from "../../tasks/definition.ts";
import { type MognetContext, mognetContext, Pause } from "../../tasks/mognet-context.ts";
import type { MognetMiddleware } from "../../tasks/mognet-middleware.ts";
import { messageOf } from "../../tasks/mognet-publication.ts";
import { ClassService } from "../../tasks/mognet-services.ts";

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

  test("with a duration as deadline is not late because the clock was set meanwhile; with an instant it is", async () => {
    let begun = 0;
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const gated = task("gated", { params: {} }, async () => {
      begun++;
      await gate;
      return "whole";
    });
    const deaf = task("deaf", { params: {} }, () => new Promise<never>(() => undefined));
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      const app = makeApp([gated, deaf]);
      await serve(app, { concurrency: 3 });
      const span = await app.submit(gated, {}, { deadline: 600 });
      const instant = await app.submit(gated, {}, { deadline: new Date(Date.now() + 600_000) });
      await expect.poll(() => begun).toBe(2);
      vi.setSystemTime(Date.now() + 3_600_000);
      // Its timer looks at what is due.
      const short = await app.submit(deaf, {}, { deadline: 0.05 });
      await expect(short.get({ timeout: 5_000 })).rejects.toMatchObject({ reason: "expired" });
      open();
      expect(await span.get({ timeout: 5_000 })).toBe("whole");
      await expect(instant.get({ timeout: 5_000 })).rejects.toMatchObject({ reason: "expired" });
    } finally {
      vi.useRealTimers();
    }
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

describe("gather", () => {
  test("gives values in order, and errors in their places when asked", async () => {
    const fail = task("fail", () => {
      throw new RangeError("no");
    });
    const both = task("both", { params: {} }, async (_params, ctx) => {
      const mognet = mognetContext(ctx);
      const good = await mognet.submit(add, { a: 1 });
      const bad = await mognet.submit("fail");
      const [value, error, again] = await mognet.gather([good, bad, good.id.toUpperCase()], { returnErrors: true });
      const message = error instanceof Error ? error.message : "none";
      await expect(mognet.gather(["no id"])).rejects.toThrow("each must be a result or the id of one");
      return [value, message, again];
    });
    const strict = task("strict", { params: {} }, async (_params, ctx) => {
      const mognet = mognetContext(ctx);
      return mognet.gather([await mognet.submit("fail")]);
    });
    const app = makeApp([add, fail, both, strict]);
    await serve(app);
    const result = await app.submit(both, {});
    expect(await result.get({ timeout: 5_000 })).toEqual([2, "ValueError: no", 2]);
    expect(await result.children.count()).toBe(2);
    await expect(app.run(strict, {}, {}, { timeout: 5_000 })).rejects.toThrow("no");
  });
});

describe("middleware", () => {
  test("hears of a life and of each task in Mognet's order, and what it throws changes nothing", async () => {
    const heard: string[] = [];
    const middleware: MognetMiddleware = {
      onAppStarting: () => void heard.push("starting"),
      onAppStarted: () => void heard.push("started"),
      onAppStopping: () => void heard.push("stopping"),
      onAppStopped: () => void heard.push("stopped"),
      onRequestSubmitting: (request, { context }) => void heard.push(`submit ${request.name} ${context}`),
      onRunningTaskCountChanged: (count) => void heard.push(`count ${count}`),
      onTaskStarting: (context) => void heard.push(`task ${(context as MognetContext).name}`),
      onTaskCompleted: (result, { context }) => {
        heard.push(`end ${(result as { state: string }).state} ${(context as MognetContext).name}`);
        throw new TypeError("a hook that throws");
      },
    };
    const app = makeApp([add], { middleware: [middleware] });
    const worker = await serve(app);
    expect(await app.run(add, { a: 1 }, {}, { timeout: 5_000 })).toBe(2);
    await expect.poll(() => heard.at(-1), { timeout: 5_000 }).toBe("count 0");
    await worker.stop();
    await app.close();
    expect(heard).toEqual([
      "starting",
      "started",
      "submit add null",
      "count 1",
      "task add",
      "end SUCCESS add",
      "count 0",
      "stopping",
      "stopped",
    ]);
  });
});

test("a worker that stops takes nothing while a stop hook takes its time", async () => {
  let end: () => void = () => undefined;
  const onAppStopping = () => new Promise<void>((resolve) => (end = resolve));
  const app = makeApp([add], { middleware: [{ onAppStopping }] });
  const worker = await serve(app);
  const stopping = worker.stop();
  await expect.poll(async () => (await app.queueStats("tasks")).consumerCount, { timeout: 5_000 }).toBe(0);
  const result = await app.submit(add, { a: 1 });
  end();
  await stopping;
  expect((await result.refresh()).state).toBe("PENDING");
  expect((await app.queueStats("tasks")).messageCount).toBe(1);
});

describe("services", () => {
  test("are functions called with the context, or one instance of a class for each app, closed with the worker", async () => {
    const log: string[] = [];
    class Greeter extends ClassService<string> {
      constructor(config: ConstructorParameters<typeof ClassService>[0]) {
        super(config);
        log.push("made");
      }
      call(context: MognetContext, name: string): string {
        return `${JSON.stringify(this.config.services_settings)} ${name} ${context.name}`;
      }
      override close(): void {
        log.push("closed");
      }
    }
    const taskName = (context: MognetContext): string => context.name;
    const greet = task("greet", { params: {} }, (_params, ctx) => {
      const mognet = mognetContext(ctx);
      return [mognet.getService(Greeter, "Ann"), mognet.getService(taskName)];
    });
    const app = makeApp([greet], { config: { services_settings: { tone: "kind" } } });
    const worker = await serve(app);
    expect(await app.run(greet, {}, {}, { timeout: 5_000 })).toEqual(['{"tone":"kind"} Ann greet', "greet"]);
    await app.run(greet, {}, {}, { timeout: 5_000 });
    app.services.set(taskName, () => "a stand-in");
    expect(await app.run(greet, {}, {}, { timeout: 5_000 })).toEqual(['{"tone":"kind"} Ann greet', "a stand-in"]);
    await worker.stop();
    expect(log).toEqual(["made", "closed"]);
  });
});

describe("a context", () => {
  test("of a run that is over changes nothing any more", async () => {
    let late: unknown = null;
    let told: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      told = resolve;
    });
    const stubborn = task("stubborn", { params: {} }, async (_params, ctx) => {
      const mognet = mognetContext(ctx);
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      late = await mognet.state.set("x", 1).catch((error: unknown) => error);
      told();
      return "late";
    });
    const app = makeApp([stubborn]);
    await serve(app);
    const result = await app.submit(stubborn, {}, { deadline: 0.03 });
    await result.wait({ timeout: 5_000 });
    await ended;
    expect(late).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await app.client.store.state.get(result.id, "x")).toBeUndefined();
    expect((await result.refresh()).state).toBe("REVOKED");
  });

  test("says what only Celery's protocol can do, and what to do instead", async () => {
    const retries = task("retries", { params: {} }, (_params, ctx) => ctx.retry());
    const app = makeApp([retries]);
    await serve(app);
    await expect(app.run(retries, {}, {}, { timeout: 5_000 })).rejects.toThrow("Mognet has no retry(); ctx.pause()");
  });
});

describe("a request handed back while its begin is on its way", () => {
  /** A worker that has asked the store to begin a request, and is stopping; `answer` lets it hear of it. */
  async function stopped(change: (app: Mognet, id: string) => Promise<unknown> = async () => undefined) {
    const ran: string[] = [];
    const once = task("once", { params: {} }, async () => {
      ran.push("a body");
      return "done";
    });
    const app = makeApp([once]);
    const { store } = app.client;
    const begin = store.begin.bind(store);
    let answer: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      store.begin = async (id, options) => {
        await change(app, id);
        const begun = await begin(id, options);
        resolve();
        await new Promise<void>((answered) => {
          answer = answered;
        });
        return begun;
      };
    });
    const worker = await serve(app);
    const result = await app.submit(once, {});
    await asked;
    const stopping = worker.stop();
    await expect.poll(async () => (await app.queueStats("tasks")).consumerCount, { timeout: 5_000 }).toBe(0);
    await new Promise((resolve) => setImmediate(resolve));
    answer();
    await stopping;
    store.begin = begin;
    return { app, result, ran };
  }

  test("counts the start that the store knows of, and its body runs once, elsewhere", async () => {
    const { app, result, ran } = await stopped();
    expect(ran).toEqual([]);
    expect((await result.refresh()).record).toMatchObject({ state: "SUSPENDED", numberOfStarts: 1, numberOfStops: 1 });
    expect((await app.queueStats("tasks")).messageCount).toBe(1);
    await serve(app);
    expect(await result.get({ timeout: 5_000 })).toBe("done");
    expect(ran.length).toBe(1);
    expect(result.record).toMatchObject({ numberOfStarts: 2, numberOfStops: 2 });
  });

  test("and has not begun after all goes back as it was", async () => {
    const { app, result, ran } = await stopped(async (app, id) => {
      const record = await app.client.store.get(id);
      if (record === null) return;
      await app.client.store.put({
        result: { ...record, state: "SUSPENDED", numberOfStarts: 1, numberOfStops: 1 },
      });
    });
    expect(ran).toEqual([]);
    expect((await result.refresh()).record).toMatchObject({ numberOfStarts: 1, numberOfStops: 1 });
    await serve(app);
    expect(await result.get({ timeout: 5_000 })).toBe("done");
    expect(result.record).toMatchObject({ numberOfStarts: 2, numberOfStops: 2 });
  });

  test("and was revoked meanwhile stays revoked", async () => {
    const { app, result, ran } = await stopped((app, id) => app.revoke(id));
    await serve(app);
    await expect(result.get({ timeout: 5_000 })).rejects.toMatchObject({ code: "TASK_REVOKED" });
    await expect.poll(async () => (await app.queueStats("tasks")).messageCount, { timeout: 5_000 }).toBe(0);
    expect(ran).toEqual([]);
  });
});

describe("two messages of one id", () => {
  test("are carried out once: the second finds the result done", async () => {
    let runs = 0;
    const count = task("count", { params: {} }, async () => {
      runs++;
      await new Promise((resolve) => setImmediate(resolve));
    });
    const app = makeApp([count], { config: { minimum_concurrency: 2 } });
    const request = await app.createRequest(count, {});
    const result = await app.submit(request);
    const to = { exchange: app.queues.direct.name, routingKey: app.names.taskQueue("tasks") };
    await app.client.transport.publish(messageOf(encodeMognetRequest(request)), to);
    const worker = await serve(app);
    await result.wait({ timeout: 5_000 });
    await expect.poll(() => worker.stats.received, { timeout: 5_000 }).toBeGreaterThanOrEqual(2);
    await expect.poll(() => worker.active, { timeout: 5_000 }).toBe(0);
    expect(runs).toBe(1);
    expect((await result.refresh()).record).toMatchObject({ numberOfStarts: 1, numberOfStops: 1 });
  });
});

describe("more crashes than max_retries", () => {
  test("end the task with TooManyRetries, without a start", async () => {
    const app = makeApp([add]);
    const result = await app.submit(add, { a: 1 });
    await app.client.store.put({ result: { ...result.record, state: "RUNNING", numberOfStarts: 4 } });
    await serve(app);
    await expect(result.get({ timeout: 5_000 })).rejects.toMatchObject({ code: "TOO_MANY_RETRIES" });
    expect(result.record).toMatchObject({ state: "FAILURE", numberOfStarts: 4, numberOfStops: 1 });
    const once = await app.submit(add, { a: 1 });
    await app.client.store.put({ result: { ...once.record, state: "RUNNING", numberOfStarts: 3 } });
  });
});
