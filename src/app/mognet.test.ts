/** The client half of a Mognet app, on a broker and a store in memory: the test is the worker. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { mognetExceptionValue } from "../../protocol/mognet/exception.ts";
import { decodeMognetEnvelope } from "../../protocol/mognet/message.ts";
import { finishedResult, startedResult } from "../../protocol/mognet/result.ts";
import type { MognetDoneState } from "../../protocol/mognet/states.ts";
import { mognetTimestamp } from "../../protocol/mognet/times.ts";
import { type MognetValue, mognetValueOf } from "../../protocol/mognet/value.ts";
import { ResultLost } from "../result-backends/errors.ts";
import { newId } from "../runtime/ids.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { RemoteTaskError, TaskValidationError, TimeoutError } from "../tasks/errors.ts";
import {
  CouldNotSubmit,
  InvalidTaskArguments,
  ResultNotReady,
  ResultValueLost,
  Revoked,
} from "../tasks/mognet-errors.ts";
import { Request } from "../tasks/mognet-request.ts";
import { PublishError, QueueNotFound } from "../transports/errors.ts";
import { Mognet, type MognetOptions } from "./mognet.ts";
import { Worker } from "./worker.ts";

const add = task("add", { params: { x: z.number(), y: z.number().default(1) }, returns: z.number() });
const mail = task("mail", { params: { to: z.string() }, queue: "mail", priority: 9 });

function memoryApp(options: MognetOptions = {}): Mognet {
  const name = `app-${newId()}`;
  return new Mognet(name, {
    tasks: [add, mail],
    log: silentLog,
    env: {},
    ...options,
    config: {
      node_id: "node",
      broker: { amqp: { url: "memory://" } },
      result_backend: { redis: { url: "memory://" } },
      state_backend: { redis: { url: "memory://" } },
      ...options.config,
    },
  });
}

const now = () => mognetTimestamp(Date.now());

/** What a worker writes at the end of a run. */
async function finish(app: Mognet, id: string, state: MognetDoneState, value?: MognetValue): Promise<void> {
  const { store } = app.client;
  const record = await store.get(id);
  if (record === null) throw new ResultLost(id, "nothing to finish");
  const ended = finishedResult(startedResult(record, "worker", now()), state, now());
  await store.put(value === undefined ? { result: ended } : { result: ended, value });
}

async function messages(app: Mognet, queue: string) {
  const transport = app.consumerTransport();
  await transport.connect();
  await transport.declare([app.queues.task(queue)]);
  const found: { payload: Record<string, unknown>; properties: unknown }[] = [];
  const { messages: waiting } = (await transport.inspectQueue(`${app.name}.${queue}`)) ?? { messages: 0 };
  await new Promise<void>((resolve) => {
    if (waiting === 0) return resolve();
    void transport.consume([`${app.name}.${queue}`], { prefetch: 0 }, (delivery) => {
      found.push({
        payload: decodeMognetEnvelope(delivery.message.body).payload,
        properties: delivery.message.properties,
      });
      delivery.ack();
      if (found.length === waiting) resolve();
    });
  });
  await transport.close();
  return found;
}

describe("submit", () => {
  test("writes the result, with metadata, before the message, and sends what was asked", async () => {
    const seen: unknown[] = [];
    await using app = memoryApp({
      middleware: [
        {
          onRequestSubmitting: async (request) => {
            const known = await app.getResult(request.id);
            seen.push([known?.state, await known?.getMetadata()]);
            request.kwargs = { ...request.kwargs, y: 5 };
          },
        },
      ],
    });
    const result = await app.submit(add, { x: 1 }, { metadata: { by: "me" }, deadline: 2.5, priority: 7 });
    expect(seen).toEqual([["PENDING", { by: "me" }]]);
    expect(result).toMatchObject({ state: "PENDING", name: "add", requestKwargsRepr: "x=1", done: false });
    const [message] = await messages(app, "tasks");
    expect(message?.payload).toEqual({
      id: result.id,
      name: "add",
      args: [],
      kwargs: { x: 1, y: 5 },
      stack: [],
      metadata: { by: "me" },
      deadline: "PT2.5S",
      queue_name: null,
      kwargs_repr: "x=1",
      priority: 7,
    });
    expect(message?.properties).toMatchObject({ deliveryMode: 1, priority: 7, messageId: result.id });
  });

  test("takes names, requests and positional arguments; a definition's queue and priority hold where nothing else is said", async () => {
    await using app = memoryApp();
    await app.submit("any.name", [1, "two"], { queueName: "tasks" });
    await app.submit(mail, { to: "x" });
    await app.submit(new Request({ name: "add", args: [1], deadline: "2030-01-02T03:04:05Z" }));
    expect((await messages(app, "tasks")).map(({ payload }) => [payload.name, payload.args, payload.deadline])).toEqual(
      [
        ["any.name", [1, "two"], null],
        ["add", [1], "2030-01-02T03:04:05Z"],
      ],
    );
    expect((await messages(app, "mail")).map(({ payload }) => [payload.name, payload.priority])).toEqual([["mail", 9]]);
  });

  test("fails for a queue that nobody has declared, and its result does not stay PENDING", async () => {
    await using app = memoryApp();
    const request = new Request({ name: "add", args: [1], queueName: "taks" });
    const failure = await app.submit(request).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CouldNotSubmit);
    expect(failure).toMatchObject({ requestId: request.id, cause: expect.any(PublishError) });
    expect(String(failure)).toContain(`.taks", and no route of this app leads there (routes: mail, tasks)`);
    const stored = await app.getResult(request.id);
    expect(stored?.state).toBe("FAILURE");
    await expect(stored?.get()).rejects.toThrow(CouldNotSubmit);
  });

  test("says at the call what is wrong with it, and stores nothing", async () => {
    await using app = memoryApp();
    const id = newId();
    // @ts-expect-error wrong on purpose
    await expect(app.submit(add, { x: "1" }, { id })).rejects.toThrow(TaskValidationError);
    // @ts-expect-error wrong on purpose
    await expect(app.submit(add, { x: 1 }, { prority: 1 })).rejects.toThrow('did you mean "priority"?');
    await expect(app.submit(add, { x: 1 }, { priority: 11 })).rejects.toThrow("from 0 to 10");
    await expect(app.submit(add, { x: 1 }, { deadline: "5" })).rejects.toThrow("write the number 5 for a duration");
    await expect(app.submit(add, { x: 1 }, { deadline: "soon" })).rejects.toThrow("ISO 8601");
    const instant = { kind: "instant", iso: "soon", epochMs: 5 } as const;
    await expect(app.submit(add, { x: 1 }, { deadline: instant })).rejects.toThrow("ISO 8601");
    await expect(app.submit("add", [Symbol("x")], { id })).rejects.toThrow(CouldNotSubmit);
    await expect(app.getResult("nonsense")).rejects.toThrow("must be a UUID");
    expect(await app.getResult(id)).toBeNull();
  });
});

describe("results", () => {
  test("wait for the end, and give the value that the definition promises", async () => {
    await using app = memoryApp();
    const result = await app.submit(add, { x: 1 });
    await expect(result.get({ wait: false })).rejects.toThrow(ResultNotReady);
    await expect(result.get({ timeout: 1 })).rejects.toThrow(TimeoutError);
    const waiting = result.get();
    await finish(app, result.id, "SUCCESS", mognetValueOf(3));
    expect(await waiting).toBe(3);
    expect(result).toMatchObject({
      state: "SUCCESS",
      successful: true,
      failed: false,
      nodeId: "worker",
      numberOfStarts: 1,
    });
    expect(result.duration).toBeGreaterThanOrEqual(0);
    expect(await result.value.getValueHolder()).toEqual({ valueType: "builtins:int", rawValue: 3 });
    const other = await app.submit(add, { x: 1 });
    await finish(app, other.id, "SUCCESS", mognetValueOf("three"));
    await expect(other.get()).rejects.toThrow(TaskValidationError);
  });

  test("throw what the task failed with, as data or as the class that stands for it", async () => {
    class OutOfStock extends Error {
      static readonly python = "shop.errors.OutOfStock";
    }
    await using app = memoryApp({ errors: [OutOfStock] });
    const failed = async (name: string, message: string, state: MognetDoneState = "FAILURE") => {
      const { id } = await app.submit(add, { x: 1 });
      await finish(
        app,
        id,
        state,
        mognetExceptionValue({
          name,
          message,
          traceback: "trace",
          rawData: "gAR9",
          rawDataEncoding: "application/python-pickle",
        }),
      );
      const result = await app.getResult(id);
      return result?.get().catch((error: unknown) => error);
    };
    const plain = await failed("builtins:ValueError", "no");
    expect(plain).toBeInstanceOf(RemoteTaskError);
    expect(plain).toMatchObject({ type: "ValueError", module: "builtins", args: ["no"], traceback: "trace" });
    expect(await failed("shop.errors:OutOfStock", "tea")).toBeInstanceOf(OutOfStock);
    expect(await failed("mognet.exceptions.task_exceptions:InvalidTaskArguments", "[…]", "INVALID")).toBeInstanceOf(
      InvalidTaskArguments,
    );
    expect(await failed("builtins:TimeoutError", "", "REVOKED")).toMatchObject({
      constructor: Revoked,
      reason: "expired",
    });
    const { id } = await app.submit(add, { x: 1 });
    await finish(app, id, "SUCCESS");
    await expect((await app.getResult(id))?.get()).rejects.toThrow(ResultValueLost);
  });

  test("of requests that nobody knows are null, and those that vanish are lost", async () => {
    await using app = memoryApp();
    expect(await app.getResult(newId())).toBeNull();
    const result = await app.submit(add, { x: 1 });
    await result.delete();
    await expect(result.refresh()).rejects.toThrow(ResultLost);
    await expect(result.wait()).rejects.toThrow(ResultLost);
  });

  test("have metadata that is merged, and a lifetime", async () => {
    await using app = memoryApp();
    const result = await app.submit(add, { x: 1 }, { metadata: { a: 1 } });
    await result.setMetadata({ b: [2] });
    expect(await result.getMetadata()).toEqual({ a: 1, b: [2] });
    await result.setTtl(60);
    await expect(result.setTtl(0)).rejects.toThrow("at least 1");
  });
});

async function family(app: Mognet, width: number): Promise<{ root: string; children: string[] }> {
  const { submitter } = app.client;
  const root = new Request({ name: "root" });
  await submitter.submit(root);
  const children: string[] = [];
  for (let at = 0; at < width; at++) {
    const child = new Request({ name: `child-${at}` });
    await submitter.submit(child, { id: root.id, stack: [] });
    await submitter.submit(new Request({ name: "grandchild" }), { id: child.id, stack: [root.id] });
    children.push(child.id);
  }
  return { root: root.id, children };
}

describe("a tree of results", () => {
  test("is read level by level, within its limits", async () => {
    await using app = memoryApp();
    const { root, children } = await family(app, 3);
    const result = await app.getResult(root);
    expect(await result?.children.count()).toBe(3);
    const ids: string[] = [];
    for await (const id of result?.children.iterIds() ?? []) ids.push(id);
    expect(ids.sort()).toEqual([...children].sort());
    const tree = await result?.tree();
    expect(tree?.children.map((child) => [child.result.name, child.children.length, child.truncated])).toEqual([
      ["child-0", 1, false],
      ["child-1", 1, false],
      ["child-2", 1, false],
    ]);
    expect(tree?.toJSON().children[0]?.result).toMatchObject({
      parent_id: root,
      state: "PENDING",
      number_of_starts: 0,
    });
    const narrow = await result?.tree({ maxWidth: 2, maxDepth: 2 });
    expect([narrow?.truncated, narrow?.children.map(({ truncated }) => truncated)]).toEqual([true, [true, true]]);
  });

  test("of a result that is its own ancestor ends", async () => {
    await using app = memoryApp();
    const { root, children } = await family(app, 1);
    await app.client.store.addChildren(children[0] ?? "", [root]);
    const tree = await (await app.getResult(root))?.tree({ maxDepth: 50 });
    expect(tree?.children[0]?.truncated).toBe(true);
    await app.revoke(root);
    expect((await app.getResult(children[0] ?? ""))?.state).toBe("REVOKED");
  });

  test("is revoked with all its children; what is done stays, unless forced", async () => {
    await using app = memoryApp();
    const { root, children } = await family(app, 3);
    await finish(app, children[0] ?? "", "SUCCESS", mognetValueOf(1));
    const revoked = await app.revoke(root);
    expect(revoked).toMatchObject({ state: "REVOKED", revoked: true });
    await expect(revoked.get()).rejects.toThrow(Revoked);
    expect((await app.getResults(children)).map(({ state }) => state)).toEqual(["SUCCESS", "REVOKED", "REVOKED"]);
    expect((await app.revoke(children[0] ?? "")).state).toBe("SUCCESS");
    expect((await app.revoke(children[0] ?? "", { force: true })).state).toBe("REVOKED");
    const tombstone = await app.revoke(newId());
    expect(tombstone).toMatchObject({ state: "REVOKED", name: null });
  });
});

describe("queues and nodes", () => {
  test("are counted, purged and refused when there are none", async () => {
    await using app = memoryApp({ config: { task_routes: { a: "images" } } });
    await app.connect();
    await app.submit("a");
    await app.submit("b");
    expect(await app.queueStats("images")).toEqual({ queueName: "images", messageCount: 1, consumerCount: 0 });
    await expect(app.queueStats("nothing")).rejects.toThrow(QueueNotFound);
    expect(await app.purgeTaskQueues()).toEqual({ images: 1, mail: 0, tasks: 1 });
    expect(await app.purgeControlQueue()).toBe(0);
  });

  test("that nobody answers for are none", async () => {
    await using app = memoryApp();
    expect(await app.nodeStatus({ timeout: 5 })).toEqual([]);
  });

  test("are waited for as long as the caller likes, be it for ever", async () => {
    await using app = memoryApp();
    const stop = new AbortController();
    let ended = false;
    const endless = app.nodeStatus({ timeout: Number.POSITIVE_INFINITY, signal: stop.signal }).then((nodes) => {
      ended = true;
      return nodes;
    });
    await app.nodeStatus({ timeout: 20 });
    expect(ended).toBe(false);
    stop.abort();
    expect(await endless).toEqual([]);
  });

  test("follow include and exclude", () => {
    const consumed = (task_queues: object) =>
      memoryApp({ config: { task_routes: { a: "x", b: "y" }, task_queues } }).queues.consumed;
    expect(consumed({})).toEqual(["x", "y", "mail", "tasks"]);
    expect(consumed({ include: ["y", "z"] })).toEqual(["y"]);
    expect(consumed({ exclude: ["y"] })).toEqual(["x", "mail", "tasks"]);
  });
});

test("stop hooks are called in order when an app that was used closes, and what one throws stops nothing", async () => {
  const calls: string[] = [];
  const app = memoryApp();
  app.addMiddleware({
    onAppStopping: () => {
      calls.push("stopping");
      throw new TypeError("no");
    },
  });
  app.addMiddleware({ onAppStopping: () => calls.push("stopping 2"), onAppStopped: () => calls.push("stopped") });
  await app.submit("x");
  await app.close();
  await app.close();
  expect(calls).toEqual(["stopping", "stopping 2", "stopped"]);
  await expect(app.submit("x")).rejects.toThrow("is closed");
});

test("servers that stay away fail a call within the time that the configuration gives, and say where they should be", async () => {
  const nowhere = { retry_connect_attempts: 1, retry_connect_timeout: 1 };
  const app = new Mognet("away", {
    log: silentLog,
    env: {},
    config: {
      broker: { amqp: { url: "amqp://u:secret@127.0.0.1:1/", ...nowhere } },
      result_backend: { redis: { url: "memory://" } },
      state_backend: { redis: { url: "memory://" } },
    },
  });
  const failure = await app.submit("x").catch((error: unknown) => error);
  expect(failure).toMatchObject({
    constructor: CouldNotSubmit,
    retryable: true,
    message: expect.stringContaining("127.0.0.1:1"),
  });
  expect(String(failure)).not.toContain("secret");
  await expect(app.queueStats("tasks")).rejects.toThrow("no connection to");
  await app.close();
  const storeless = new Mognet("away", {
    log: silentLog,
    env: {},
    config: {
      broker: { amqp: { url: "memory://" } },
      result_backend: { redis: { url: "redis://127.0.0.1:1/", ...nowhere } },
      state_backend: { redis: { url: "redis://127.0.0.1:1/" } },
    },
  });
  await expect(storeless.submit("x")).rejects.toThrow("the result store did not answer within 1 s");
  await storeless.close();
}, 20_000);

describe("a worker of Mognet apps alone", () => {
  test.each([
    [{ autoscale: { max: 2, min: 1 } }, /autoscale is for Celery apps/],
    [{ events: true }, /events is for Celery apps/],
    [{ heartbeatInterval: 3 }, /heartbeatInterval is for Celery apps/],
    [{ pool: "threads" as const }, /pool "threads" needs the option module/],
  ])("names what it cannot do: %j", async (options, words) => {
    await using app = memoryApp();
    expect(() => new Worker(app, options)).toThrow(words);
  });

  test("takes what switches things of Celery's off", async () => {
    await using app = memoryApp();
    const worker = new Worker(app, { events: false, gossip: false, mingle: false, heartbeat: false, pool: "async" });
    expect([worker.pool, worker.concurrency]).toEqual(["async", Number.POSITIVE_INFINITY]);
    await worker.stop();
  });
});
