/** Calls of a Mognet app that cannot be meant as they are, and what a handle says of a result that has changed since. */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import type { Message } from "../../protocol/message.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { isMognetContext, mognetContext } from "../tasks/mognet-context.ts";
import type { MognetMiddleware } from "../tasks/mognet-middleware.ts";
import { Mognet, type MognetOptions } from "./mognet.ts";
import { Worker } from "./worker.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function appOf(options: MognetOptions = {}): Mognet {
  const memory = { redis: { url: "memory://" } };
  const app = new Mognet(`app-${randomUUID()}`, {
    log: silentLog,
    env: {},
    ...options,
    config: {
      ...options.config,
      broker: { amqp: { url: "memory://" } },
      result_backend: memory,
      state_backend: memory,
    },
  });
  ends.push(() => app.close());
  return app;
}

const wrong = { code: "IMPROPERLY_CONFIGURED" };

describe("arguments by name", () => {
  class Order {
    readonly x = 1;
  }
  test.each([new Map([["x", 1]]), new Set([1]), new Date(0), new Order(), Promise.resolve({ x: 1 })])(
    "are a plain object or an array: %s is refused, and nothing is submitted",
    async (given) => {
      const app = appOf();
      // As JavaScript would call it.
      const refusal = { ...wrong, message: expect.stringMatching(/^t: the arguments/) };
      for (const call of [app.submit, app.run, app.createRequest]) {
        await expect(Reflect.apply(call, app, ["t", given])).rejects.toMatchObject(refusal);
      }
      await app.connect();
      expect(await app.queueStats("tasks")).toMatchObject({ messageCount: 0 });
    },
  );

  test("may have no prototype", async () => {
    const args: Record<string, unknown> = Object.assign(Object.create(null), { x: 1 });
    expect((await appOf().createRequest("t", args)).kwargs).toEqual({ x: 1 });
  });
});

test("getResults() wants an array of ids", async () => {
  const app = appOf();
  for (const ids of ["abc", undefined, null, 5]) {
    await expect(Reflect.apply(app.getResults, app, [ids])).rejects.toMatchObject({
      ...wrong,
      message: expect.stringContaining("app.getResults(): the ids"),
    });
  }
});

test("no context is no Mognet context, whatever is in its place", () => {
  for (const nothing of [null, undefined, 5, "ctx", {}]) {
    expect(Reflect.apply(isMognetContext, null, [nothing])).toBe(false);
  }
  expect(() => Reflect.apply(mognetContext, null, [null])).toThrow("no task runs here");
});

describe("middleware", () => {
  test("with a hook that is no function, or a name that is nearly a hook's, is refused", () => {
    const app = appOf();
    const given: [unknown, string][] = [
      [{ onTaskStartin: () => undefined }, 'there is no hook onTaskStartin; did you mean "onTaskStarting"?'],
      [{ onTaskStarting: 5 }, "onTaskStarting must be a function"],
      [
        new (class {
          onTaskComplete() {}
        })(),
        'did you mean "onTaskCompleted"?',
      ],
      [null, "an object of hooks"],
    ];
    for (const [middleware, words] of given) {
      expect(() => app.addMiddleware(middleware as MognetMiddleware)).toThrow(words);
      expect(() => appOf({ middleware: [middleware as MognetMiddleware] })).toThrow(words);
    }
  });

  test("may have members of its own", () => {
    class Counting {
      online = true;
      onTaskStarting(): void {}
      once(): void {}
      on_everything(): void {}
    }
    const app = appOf({ middleware: [new Counting(), { onAppStarted: undefined } as MognetMiddleware] });
    expect(app.middleware).toHaveLength(2);
  });
});

test("a worker of a queue that no route leads to says so, with the one that was meant, and serves it all the same", async () => {
  const said: { queue?: unknown; words: string | undefined }[] = [];
  const ok = task("ok", () => "ok");
  const app = appOf({
    tasks: [ok],
    config: { task_routes: { other: "images" } },
    log: { ...silentLog, warn: (fields, words) => void said.push({ ...fields, words }) },
  });
  await new Worker(app, { queues: ["imagse"] }).start();
  expect(said).toMatchObject([{ queue: "imagse", words: expect.stringContaining('did you mean "images"?') }]);
  expect(await app.run("ok", [], { queueName: "imagse" }, { timeout: 5_000 })).toBe("ok");
});

test("a handle of a result that was revoked by force since raises Revoked, and its state says so", async () => {
  const app = appOf({ tasks: [task("ok", () => "ok")] });
  await new Worker(app).start();
  const handles = await Promise.all([1, 2, 3].map(() => app.submit("ok")));
  for (const handle of handles) expect(await handle.get({ timeout: 5_000 })).toBe("ok");
  for (const { id } of handles) await app.revoke(id, { force: true });
  const [first, second, third] = handles as [(typeof handles)[0], (typeof handles)[0], (typeof handles)[0]];
  await expect(first.get()).rejects.toMatchObject({ code: "TASK_REVOKED" });
  await expect(second.get({ wait: false })).rejects.toMatchObject({ code: "TASK_REVOKED" });
  await third.wait();
  for (const handle of handles) expect(handle.state).toBe("REVOKED");
});

test.each([
  [false, 1],
  [true, 2],
])(
  "requests of an app whose lovage.persistent_messages is %s are published with delivery mode %i",
  async (persistent, mode) => {
    const app = appOf({ config: { lovage: { persistent_messages: persistent } } });
    const { transport } = app.client;
    await app.connect();
    const { id } = await app.submit("t");
    const message = await new Promise<Message>((resolve) => {
      void transport.consume([app.queues.task("tasks").name], { prefetch: 1 }, (delivery) => {
        delivery.ack();
        resolve(delivery.message);
      });
    });
    expect(message.properties).toMatchObject({ deliveryMode: mode, messageId: id });
  },
);
