import { setTimeout as wait } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { planApply } from "../../protocol/celery/canvas/apply.ts";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { encodeTask } from "../../protocol/celery/task-encoder.ts";
import type { TaskMessageInput } from "../../protocol/celery/task-message.ts";
import type { Message } from "../../protocol/message.ts";
import type { Queue } from "../../protocol/routing.ts";
import { acceptedTypes, DEFAULT_LIMITS, jsonSerializer } from "../../protocol/serialization.ts";
import { createMemoryBackend } from "../result-backends/memory.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import "../runtime/bytes.ts";
import { newId } from "../runtime/ids.ts";
import { silentLog } from "../runtime/log.ts";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { UTC } from "../settings/timezone.ts";
import { currentTask, type RetryOptions } from "../tasks/context.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { Ignore, Reject } from "../tasks/signals.ts";
import { callOptionsOf } from "../tasks/signature-options.ts";
import { createMemoryTransport, MemoryHub } from "../transports/memory.ts";
import type { Delivery, Transport } from "../transports/transport.ts";
import { AsyncPool } from "./pools/async-pool.ts";
import { noEvents } from "./task-events.ts";
import { WorkerCore } from "./worker.ts";

const queue: Queue = { name: "work", exchange: { name: "work", type: "direct" }, routingKey: "work" };

interface Sent {
  name: string;
  args: readonly unknown[];
  kwargs: Readonly<Record<string, unknown>>;
  options: Record<string, unknown>;
}

interface Fleet {
  worker: WorkerCore;
  transport: Transport;
  backend: ResultBackend<ResultMeta>;
  sent: Sent[];
  order: string[];
  /** Its log: `level message`. */
  said: string[];
  /** Names of tasks that no message can be sent for. */
  unsendable: Set<string>;
  send(input: Partial<TaskMessageInput> & { task: string }): Promise<string>;
  raw(message: Message): Promise<void>;
  end(id: string): Promise<ResultMeta>;
  left(): Promise<number>;
}

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

/** A worker on a memory broker whose settling, storing and sending are written down in `order`. */
async function fleet(tasks: AnyTask[], settings: SettingsInput = {}, concurrency = 4): Promise<Fleet> {
  const hub = new MemoryHub();
  const transport = createMemoryTransport({ hub });
  const other = createMemoryTransport({ hub });
  const backend = createMemoryBackend({ codec: celeryRecordCodec() });
  const parsed = parseSettings({ code: settings, env: {} }).settings;
  const sent: Sent[] = [];
  const order: string[] = [];
  const said: string[] = [];
  const unsendable = new Set<string>();
  const note = (level: string) => (_fields: object, message?: string) => said.push(`${level} ${message}`);
  const log = { ...silentLog, info: note("info"), error: note("error"), isLevelEnabled: () => true };
  const consume = transport.consume.bind(transport);
  vi.spyOn(transport, "consume").mockImplementation((queues, options, onDelivery) =>
    consume(queues, options, (delivery) => {
      watchDelivery(delivery, order);
      onDelivery(delivery);
    }),
  );
  const store = backend.store.bind(backend);
  vi.spyOn(backend, "store").mockImplementation((id, record, route) => {
    order.push(`store ${record.status}`);
    return store(id, record, route);
  });
  const applyAsync = async (name: string, args: Sent["args"], kwargs: Sent["kwargs"], options: Sent["options"]) => {
    if (unsendable.has(name)) throw new TypeError(`no way for ${name}`);
    order.push(`publish ${name}`);
    sent.push({ name, args, kwargs, options });
    return { id: typeof options.taskId === "string" ? options.taskId : newId(), get: async () => null };
  };
  const worker = new WorkerCore({
    settings: parsed,
    transport,
    backend,
    tasks,
    queues: [queue],
    accept: acceptedTypes(parsed.accept_content),
    decode: DEFAULT_LIMITS,
    outbox: {
      applyAsync,
      sendTask: applyAsync,
      send: (one, args, options) => applyAsync(one.name, [args], {}, options),
      async apply(signature, given) {
        const { parent = null } = given;
        const plan = planApply(signature, given, { newId, replyTo: "ours", parent });
        for (const planned of plan.steps) {
          if (planned.kind === "task") {
            await applyAsync(planned.name, planned.args, planned.kwargs, callOptionsOf(planned.options));
          }
        }
        return plan;
      },
    },
    log,
    isoNow: () => UTC.iso(Date.now()),
    naiveToEpoch: (wall) => wall,
    events: noEvents,
    zone: UTC,
    pool: () => new AsyncPool(concurrency, parsed.lovage_validate_params),
  });
  await worker.start();
  await other.connect();
  open.push(async () => {
    await worker.stop("cold");
    await transport.close();
    await other.close();
    await backend.close();
  });
  const raw = (message: Message) => other.publish(message, { exchange: "", routingKey: "work" });
  return {
    worker,
    transport,
    backend,
    sent,
    order,
    said,
    unsendable,
    raw,
    async send(input) {
      const id = input.id ?? newId();
      await raw(encodeTask({ origin: "test", serializer: jsonSerializer, ...input, id }));
      return id;
    },
    end: (id) => backend.watch(id, { signal: AbortSignal.timeout(5000) }),
    left: async () => (await other.inspectQueue("work"))?.messages ?? 0,
  };
}

function watchDelivery(delivery: Delivery, order: string[]): void {
  const { ack, reject } = delivery;
  delivery.ack = () => {
    order.push("ack");
    ack.call(delivery);
  };
  delivery.reject = (options) => {
    order.push(options.requeue ? "requeue" : "reject");
    reject.call(delivery, options);
  };
}

const add = task("add", { params: { x: z.number(), y: z.number().default(10) } }, ({ x, y }) => x + y);

test("an abort listener, a timer or a promise that throws is known by its task where Node reports it, and the task ends", async () => {
  const kept = (["uncaughtException", "unhandledRejection"] as const).map((event) => {
    const listeners = process.listeners(event as "uncaughtException");
    process.removeAllListeners(event);
    return { event, listeners };
  });
  const strays: string[] = [];
  const note = (error: unknown) => void strays.push(`${String(error)} ${currentTask()?.name} ${currentTask()?.id}`);
  process.on("uncaughtException", note).on("unhandledRejection", note);
  try {
    const stray = task("stray", { params: {}, softTimeLimit: 0.05 }, async (_params, ctx) => {
      setTimeout(() => errorOf("timer"), 1);
      setTimeout(() => void Promise.resolve().then(() => errorOf("promise")), 2);
      ctx.signal.addEventListener("abort", () => errorOf("listener"));
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      return "done";
    });
    const { send, end } = await fleet([stray]);
    const id = await send({ task: "stray" });
    expect(await end(id)).toMatchObject({ status: "SUCCESS", result: "done" });
    await vi.waitUntil(() => strays.length === 3);
    const who = ["timer", "promise", "listener"].map((what) => `TypeError: a stray ${what} stray ${id}`);
    expect(strays).toEqual(who);
  } finally {
    process.off("uncaughtException", note).off("unhandledRejection", note);
    for (const { event, listeners } of kept) for (const listener of listeners) process.on(event, listener);
  }
});

test.each([
  [
    "in a compression that Node lacks",
    { compression: "application/x-bz2" },
    "[[1], {}, {}]",
    /bzip2 is not available in Node/,
  ],
])("a body %s fails for whoever waits: another worker might have read it", async (_what, headers, body, words) => {
  const { end, raw, worker, left } = await fleet([add]);
  const message = encodeTask({ task: "add", id: newId(), origin: "test", serializer: jsonSerializer });
  await raw({ ...message, headers: { ...message.headers, ...headers }, body: Buffer.from(body) });
  const { status, exception } = await end(message.properties.correlationId ?? "");
  expect(status).toBe("FAILURE");
  expect(exception?.type).toBe("InvalidTaskError");
  expect(exception?.args[0]).toMatch(words);
  await expect.poll(left).toBe(0);
  expect(worker.stats.refused).toBe(1);
});

test("what has no form as a result fails, counts as a failure, and is never said to have succeeded", async () => {
  const { send, end, worker, left, said } = await fleet([
    task("sparse", () => Object.assign([], { length: 4e9 })),
    add,
  ]);
  const { status, exception } = await end(await send({ task: "sparse" }));
  expect([status, exception?.type]).toEqual(["FAILURE", "EncodeError"]);
  await expect.poll(left).toBe(0);
  expect(worker.stats).toMatchObject({ succeeded: 0, failed: 1 });
  expect(said).toEqual(["info received", "error store-success failed", "error failed"]);
});

test("a next attempt that cannot be sent is a failure, and no retry", async () => {
  const again = task("again", { maxRetries: null }, () => currentTask()?.retry({ countdown: 0 }));
  const { send, end, worker, said, unsendable } = await fleet([again]);
  unsendable.add("again");
  const { status, exception } = await end(await send({ task: "again" }));
  expect([status, exception?.type]).toEqual(["FAILURE", "Reject"]);
  await expect.poll(() => said).toEqual(["info received", "error publish-retry failed", "error failed"]);
  expect(worker.stats).toMatchObject({ retried: 0, failed: 1 });
});

function errorOf(what: string): never {
  throw new TypeError(`a stray ${what}`);
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function errorWith(property: string, descriptor: PropertyDescriptor): Error {
  return Object.defineProperty(new Error("odd"), property, descriptor);
}

const throwing: PropertyDescriptor = {
  get() {
    throw new Error("a getter");
  },
};

describe("a handler that throws or returns what cannot be looked at", () => {
  const ends: Record<string, () => unknown> = {
    "an object without prototype": () => Object.create(null),
    "a text that throws": () => ({ toString: throwing.get }),
    "a revoked proxy": revokedProxy,
    "an error whose message throws": () => errorWith("message", throwing),
    "an error whose name throws": () => errorWith("name", throwing),
    "an error whose stack throws": () => errorWith("stack", throwing),
    "an error whose cause throws": () => errorWith("cause", throwing),
    "an error whose constructor throws": () => errorWith("constructor", throwing),
    "an error without constructor": () => errorWith("constructor", { value: null }),
    "an error without prototype": () => Object.setPrototypeOf(new Error("odd"), null),
    "an error whose message is a symbol": () => errorWith("message", { value: Symbol("odd") }),
  };
  const bodies = Object.entries(ends).flatMap(([what, make]): [string, () => unknown][] => [
    [
      `throws ${what}`,
      () => {
        throw make();
      },
    ],
    [`rejects with ${what}`, () => Promise.reject(make())],
  ]);
  test.each([
    ...bodies,
    ["returns a revoked proxy", revokedProxy],
    ["returns a then that cannot be read", () => Object.defineProperty({}, "then", throwing)],
    ["returns a thenable that throws", () => ({ then: throwing.get })],
  ])("%s: the task fails and the next one runs", async (_what, body) => {
    const { worker, send, end } = await fleet([add, task("odd", () => body())], {}, 1);
    expect(await end(await send({ task: "odd" }))).toMatchObject({ status: "FAILURE" });
    expect(await end(await send({ task: "add", args: [2] }))).toMatchObject({ result: 12 });
    expect(worker.active).toBe(0);
  });
});

describe("a handler that calls its context wrongly", () => {
  /** As a handler without types would. */
  const wrongly = (options: unknown) => options as RetryOptions;
  test.each([
    ["maxRetries", { maxRetries: Number.NaN, countdown: 0 }],
    ["maxRetries", { maxRetries: "3", countdown: 0 }],
    ["countdown", { countdown: "5" }],
    ["countdwon", { countdwon: 5 }],
    ["eta", { eta: "tomorrow" }],
    ["eta", { eta: new Date(Number.NaN) }],
    ["args", { args: 5 }],
    ["the options of retry", 5],
  ])("fails with the name of %s, and is not tried again", async (name, options) => {
    const { send, end, sent } = await fleet([
      task("odd", { params: {} }, (_params, context) => context.retry(wrongly(options))),
    ]);
    const { status, exception } = await end(await send({ task: "odd" }));
    expect(status).toBe("FAILURE");
    expect(exception?.args[0]).toContain(name);
    expect(sent).toEqual([]);
  });

  test("cannot store a state without a name", async () => {
    const { send, end } = await fleet([
      task("odd", { params: {} }, (_params, context) => context.updateState(5 as unknown as string)),
    ]);
    expect(await end(await send({ task: "odd" }))).toMatchObject({ status: "FAILURE" });
  });
});

describe("a task that succeeds", () => {
  test("runs with positional and named arguments bound as Python binds them", async () => {
    const { send, end } = await fleet([add]);
    expect(await end(await send({ task: "add", args: [2], kwargs: { y: 3 } }))).toMatchObject({
      status: "SUCCESS",
      result: 5,
    });
    expect(await end(await send({ task: "add", args: [2] }))).toMatchObject({ result: 12 });
  });

  test("is acked before it runs, and stored", async () => {
    const f = await fleet([task("note", () => void f.order.push("body"))]);
    await f.end(await f.send({ task: "note" }));
    expect(f.order).toEqual(["ack", "body", "store SUCCESS"]);
  });

  test("with late acks is stored before it is acked", async () => {
    const f = await fleet([task("note", { acksLate: true, trackStarted: true }, () => void f.order.push("body"))]);
    await f.end(await f.send({ task: "note" }));
    await expect.poll(() => f.order).toEqual(["store STARTED", "body", "store SUCCESS", "ack"]);
  });

  test("sends its callbacks and the next link of its chain before the result is visible", async () => {
    const f = await fleet([task("first", { acksLate: true }, () => 7)]);
    const link = (name: string, options = {}) => ({
      task: name,
      args: [1],
      kwargs: {},
      options,
      subtask_type: null,
      immutable: false,
    });
    const id = await f.send({
      task: "first",
      embed: {
        callbacks: [link("called")],
        chain: [link("third", { task_id: "t3" }), link("second", { task_id: "t2" })],
      },
    });
    const meta = await f.end(id);
    await expect.poll(() => f.order.at(-1)).toBe("ack");
    expect(f.order).toEqual(["publish called", "publish second", "store SUCCESS", "ack"]);
    expect(f.sent[1]).toMatchObject({ args: [7, 1], options: { taskId: "t2", parentId: id, rootId: id } });
    expect(f.sent[1]?.options.chain).toHaveLength(1);
    expect(meta.children).toHaveLength(2);
  });

  test("finds its context from anywhere below it", async () => {
    const f = await fleet([task("who", () => wait(1).then(() => currentTask()?.id))]);
    const id = await f.send({ task: "who" });
    expect((await f.end(id)).result).toBe(id);
  });

  test("stores nothing when the message says to ignore the result, whatever the task says", async () => {
    const f = await fleet([task("quiet", { ignoreResult: false, acksLate: true }, () => 1)]);
    await f.send({ task: "quiet", ignoreResult: true });
    await expect.poll(() => f.order).toEqual(["ack"]);
  });
});

describe("a task that fails", () => {
  test("is stored with its error as a Python exception and its stack as traceback", async () => {
    class PaymentFailed extends Error {
      static readonly python = "shop.errors.PaymentFailed";
    }
    const f = await fleet([
      task("pay", () => {
        throw new PaymentFailed("no money");
      }),
    ]);
    const meta = await f.end(await f.send({ task: "pay" }));
    expect(meta.exception).toEqual({ type: "PaymentFailed", module: "shop.errors", args: ["no money"] });
    expect(meta.traceback).toContain("worker.test.ts");
  });

  test("for wrong arguments has the words that a Python caller knows", async () => {
    const { send, end } = await fleet([add]);
    const meta = await end(await send({ task: "add", args: [1, 2, 3] }));
    expect(meta.exception).toEqual({
      type: "TypeError",
      module: "builtins",
      args: ["add() takes from 1 to 2 positional arguments but 3 were given"],
    });
  });

  test("passes the failure on to every later link of its chain", async () => {
    const f = await fleet([task("first", () => Promise.reject(new RangeError("bad")))]);
    const link = {
      task: "next",
      args: [],
      kwargs: {},
      options: { task_id: "later" },
      subtask_type: null,
      immutable: false,
    };
    await f.send({ task: "first", embed: { chain: [link] } });
    expect(await f.end("later")).toMatchObject({ status: "FAILURE", exception: { type: "ValueError", args: ["bad"] } });
  });

  test("is rejected when late acks are not for failures", async () => {
    const f = await fleet([
      task("fail", { acksLate: true, acksOnFailure: false }, () => Promise.reject(new Error("x"))),
    ]);
    await f.send({ task: "fail" });
    await expect.poll(() => f.order).toEqual(["store FAILURE", "reject"]);
  });

  test("with a value that has no form on the wire says so", async () => {
    const f = await fleet([task("odd", { acksLate: true }, () => ({ fn: () => 1 }))]);
    const meta = await f.end(await f.send({ task: "odd" }));
    expect(meta.exception).toMatchObject({ type: "EncodeError", module: "kombu.exceptions" });
  });
});

describe("steering", () => {
  test("retry sends the same id again with one more retry, stores RETRY, and acks", async () => {
    const again = task("again", { params: { n: z.number() }, acksLate: true, defaultRetryDelay: 7 }, (_params, ctx) =>
      ctx.retry({ exc: new RangeError("not yet") }),
    );
    const f = await fleet([again]);
    const id = await f.send({ task: "again", args: [1], shadow: "seen", headers: { tenant: "t1" }, priority: 3 });
    await expect.poll(() => f.order).toEqual(["publish again", "store RETRY", "ack"]);
    expect(f.sent[0]).toMatchObject({
      name: "again",
      args: [1],
      options: {
        taskId: id,
        retries: 1,
        countdown: 7,
        queue: "work",
        shadow: "seen",
        headers: { tenant: "t1" },
        priority: 3,
      },
    });
    expect((await f.backend.get(id))?.exception).toEqual({ type: "ValueError", module: "builtins", args: ["not yet"] });
  });

  test.each<[string, RetryOptions, object]>([
    ["an eta of null is none", { eta: null, countdown: 60 }, { countdown: 60 }],
    ["an eta of null alone leaves the default delay", { eta: null }, { countdown: 180 }],
    ["a countdown hides an eta", { eta: "2030-01-01T00:00:00", countdown: 60 }, { countdown: 60 }],
    ["a countdown of 0 does not", { eta: "2030-01-01T00:00:00", countdown: 0 }, { eta: "2030-01-01T00:00:00" }],
  ])("when to retry is read as Celery reads it: %s", async (_what, options, expected) => {
    const f = await fleet([task("again", { params: {} }, (_params, ctx) => ctx.retry(options))]);
    await f.send({ task: "again" });
    await expect.poll(() => f.sent.length).toBe(1);
    expect(f.sent[0]?.options).toMatchObject(expected);
  });

  test("the last retry throws its cause, or MaxRetriesExceededError", async () => {
    const bound = (exc?: Error) =>
      task(exc ? "with" : "without", { params: {}, maxRetries: 2 }, (_params, ctx) => ctx.retry(exc ? { exc } : {}));
    const f = await fleet([bound(), bound(new TypeError("cause"))]);
    const [one, two] = [await f.send({ task: "with", retries: 2 }), await f.send({ task: "without", retries: 2 })];
    expect((await f.end(one)).exception).toMatchObject({ type: "TypeError", args: ["cause"] });
    expect((await f.end(two)).exception).toMatchObject({
      type: "MaxRetriesExceededError",
      module: "celery.exceptions",
    });
  });

  test("Ignore acks and stores nothing", async () => {
    const f = await fleet([task("skip", { acksLate: true }, () => Promise.reject(new Ignore()))]);
    await f.send({ task: "skip" });
    await expect.poll(() => f.order).toEqual(["ack"]);
  });

  test("Reject stores a failure and rejects; with requeue the message goes back, marked redelivered", async () => {
    let runs = 0;
    const f = await fleet([
      task("reject", { acksLate: true }, () => Promise.reject(new Reject("bad"))),
      task("back", { acksLate: true }, () => {
        runs++;
        if (currentTask()?.deliveryInfo.redelivered) return "second";
        throw new Reject("later", { requeue: true });
      }),
    ]);
    const meta = await f.end(await f.send({ task: "reject" }));
    expect(meta.exception).toEqual({ type: "Reject", module: "celery.exceptions", args: ["bad", false] });
    await expect.poll(() => f.order.slice(0, 2)).toEqual(["store FAILURE", "reject"]);
    expect((await f.end(await f.send({ task: "back" }))).result).toBe("second");
    expect(runs).toBe(2);
  });

  test("progress is seen by who waits, and not after the end", async () => {
    let late: (() => Promise<void>) | undefined;
    const f = await fleet([
      task("work", { params: {} }, async (_params, ctx) => {
        await ctx.progress({ done: 1 });
        late = () => ctx.progress({ done: 2 });
        return "end";
      }),
    ]);
    const id = newId();
    const states: unknown[] = [];
    const ended = f.backend.watch(id, { onUpdate: (meta) => states.push([meta.status, meta.result]) });
    await f.send({ task: "work", id });
    expect((await ended).result).toBe("end");
    await late?.();
    expect((await f.backend.get(id))?.status).toBe("SUCCESS");
    expect(states).toEqual([["PROGRESS", { done: 1 }]]);
  });

  test("a task that sends tasks is their parent, and they are its children", async () => {
    const f = await fleet([
      task("parent", { params: {} }, async (_params, ctx) => (await ctx.sendTask("child", [1])).id),
    ]);
    const id = await f.send({ task: "parent", rootId: "root" });
    const meta = await f.end(id);
    expect(f.sent[0]?.options).toMatchObject({ rootId: "root", parentId: id });
    expect(meta.children).toEqual([[[meta.result, null], null]]);
  });
});

describe("time", () => {
  test("a task with an ETA waits for it without holding up others", async () => {
    const f = await fleet([add], { worker_prefetch_multiplier: 1 }, 1);
    const eta = new Date(Date.now() + 400).toISOString().replace("Z", "+00:00");
    const held = await Promise.all([1, 2, 3].map((x) => f.send({ task: "add", args: [x], eta })));
    await expect.poll(() => f.worker.scheduled).toBe(3);
    expect((await f.end(await f.send({ task: "add", args: [1] }))).result).toBe(11);
    expect(f.worker.scheduled).toBe(3);
    for (const id of held) expect((await f.end(id)).status).toBe("SUCCESS");
  });

  test("a task past its expires is revoked and not run", async () => {
    const f = await fleet([task("never", () => expect.unreachable())]);
    const meta = await f.end(await f.send({ task: "never", expires: "2020-01-01T00:00:00+00:00" }));
    expect(meta).toMatchObject({ status: "REVOKED", exception: { type: "TaskRevokedError", args: ["expired"] } });
    await expect.poll(() => f.order).toEqual(["store REVOKED", "ack"]);
  });

  test("the soft limit aborts the task's signal and is its failure", async () => {
    const f = await fleet([
      task("slow", { params: {}, softTimeLimit: 0.05 }, (_params, ctx) => wait(10_000, null, { signal: ctx.signal })),
    ]);
    expect((await f.end(await f.send({ task: "slow" }))).exception).toMatchObject({ type: "SoftTimeLimitExceeded" });
  });

  test("the hard limit settles a task that does not listen, once", async () => {
    const f = await fleet([task("deaf", { timeLimit: 0.05, acksLate: true }, () => wait(300))]);
    expect((await f.end(await f.send({ task: "deaf" }))).exception).toMatchObject({
      type: "TimeLimitExceeded",
      args: [0.05],
    });
    await wait(400);
    expect(f.order).toEqual(["store FAILURE", "ack"]);
  });

  test("a clock that is set meanwhile ends no task before its limit", async () => {
    let open: (value: string) => void = () => undefined;
    const gate = new Promise<string>((resolve) => {
      open = resolve;
    });
    let begun = 0;
    const long = task("long", { timeLimit: 600 }, () => {
      begun++;
      return gate;
    });
    const deaf = task("deaf", { timeLimit: 0.2 }, () => {
      begun++;
      return new Promise<never>(() => undefined);
    });
    const now = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now });
    try {
      const f = await fleet([long, deaf]);
      const whole = await f.send({ task: "long" });
      const cut = await f.send({ task: "deaf" });
      await vi.waitFor(() => expect(begun).toBe(2), 10_000);
      vi.setSystemTime(now + 3_600_000);
      expect((await f.end(cut)).status).toBe("FAILURE");
      open("whole");
      expect(await f.end(whole)).toMatchObject({ status: "SUCCESS", result: "whole" });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("what is no task to run here", () => {
  const body = (text: string) => new TextEncoder().encode(text);
  const json = { contentType: "application/json", contentEncoding: "utf-8", properties: {} };
  const good = "[[], {}, {}]";

  test.each<[name: string, message: Message, order: string[], type?: string]>([
    ["no headers at all", { ...json, headers: null, body: body(good) }, ["reject"]],
    ["neither protocol", { ...json, headers: {}, body: body('{"a": 1}') }, ["reject"]],
    ["protocol 1 that cannot be decoded", { ...json, headers: {}, body: body("{") }, ["ack"]],
    [
      "an unknown name",
      { ...json, headers: { task: "nobody", id: "t" }, body: body(good) },
      ["store FAILURE", "reject"],
      "NotRegistered",
    ],
    [
      "a content type that is not accepted",
      { ...json, contentType: "application/x-python-serialize", headers: { task: "add", id: "t" }, body: body("x") },
      ["reject"],
    ],
    ["a body that cannot be decoded", { ...json, headers: { task: "add", id: "t" }, body: body("[[1") }, ["ack"]],
    [
      "a body of another shape",
      { ...json, headers: { task: "add", id: "t" }, body: body("[[], {}]") },
      ["store FAILURE", "reject"],
      "InvalidTaskError",
    ],
    [
      "no content type",
      { headers: { task: "add", id: "t" }, body: body(good), properties: {} },
      ["store FAILURE", "reject"],
      "InvalidTaskError",
    ],
    ["no id", { ...json, headers: { task: "add" }, body: body(good) }, ["reject"]],
    [
      "an unknown type tag",
      { ...json, headers: { task: "add", id: "t" }, body: body('[[{"__type__": "x", "__value__": 1}], {}, {}]') },
      ["ack"],
    ],
    [
      "an eta that is no time",
      { ...json, headers: { task: "add", id: "t", eta: "soon" }, body: body(good) },
      ["reject"],
    ],
    ["what the transport refused", { ...json, headers: null, body: body(""), refused: "not an envelope" }, ["reject"]],
  ])("%s is answered as Celery answers it, and the worker lives", async (_name, message, order, type) => {
    const f = await fleet([add]);
    await f.raw(message);
    await expect.poll(() => f.order).toEqual(order);
    if (type !== undefined) expect((await f.end("t")).exception?.type).toBe(type);
    expect((await f.end(await f.send({ task: "add", args: [1] }))).result).toBe(11);
    expect(await f.left()).toBe(0);
  });

  test("a message whose body the transport refused fails for whoever waits, as far as its headers tell", async () => {
    const f = await fleet([add]);
    const id = newId();
    const whole = encodeTask({ origin: "test", serializer: jsonSerializer, task: "add", id });
    const settled: string[] = [];
    vi.mocked(f.transport.consume).mock.calls[0]?.[2]({
      message: { ...whole, body: body(""), refused: "the body is 10 bytes long; the limit is 5" },
      info: { exchange: "", routingKey: "work", redelivered: false, queue: "work" },
      lost: false,
      ack: () => void settled.push("ack"),
      reject: ({ requeue }) => void settled.push(requeue ? "requeue" : "reject"),
    });
    const meta = await f.end(id);
    expect(meta.status).toBe("FAILURE");
    expect(JSON.stringify(meta.exception)).toContain("the body is 10 bytes long; the limit is 5");
    await expect.poll(() => settled).toEqual(["reject"]);
  });

  test("a body over the limit is refused with a reason, and nothing else suffers", async () => {
    const f = await fleet([add], { lovage_max_message_bytes: 200 });
    const id = await f.send({ task: "add", args: ["x".repeat(500)] });
    expect((await f.end(id)).exception?.args[0]).toContain("lovage_max_message_bytes");
    expect((await f.end(await f.send({ task: "add", args: [1] }))).result).toBe(11);
  });

  test("an unknown task can be passed on to another queue, with a count", async () => {
    const f = await fleet([add], { lovage_unknown_task: "forward", lovage_unknown_task_queue: "python" });
    await f.transport.declare([{ ...queue, name: "python", routingKey: "python" }]);
    const passed = new Promise<Delivery>((resolve) => {
      f.transport.consume(["python"], { prefetch: 1 }, resolve);
    });
    const id = await f.send({ task: "python.only", args: [1] });
    expect((await passed).message.headers).toMatchObject({ id, task: "python.only", lovage_forwards: 1 });
    await expect.poll(() => f.order).toEqual(["ack"]);
  });

  test("an unknown task can be handed back after a delay", async () => {
    const f = await fleet([add], { lovage_unknown_task: "requeue", lovage_unknown_task_delay: 0.05 });
    await f.send({ task: "python.only" });
    await expect.poll(() => f.order.filter((act) => act === "requeue").length).toBeGreaterThanOrEqual(2);
    expect(new Set(f.order)).toEqual(new Set(["requeue"]));
  });
});

describe("stopping", () => {
  test("warm waits for what runs and gives back what does not", async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const f = await fleet([task("gate", { acksLate: true }, () => gate)], {}, 1);
    const first = await f.send({ task: "gate" });
    await f.send({ task: "gate" });
    await f.send({ task: "gate", eta: "2099-01-01T00:00:00+00:00" });
    await expect.poll(() => [f.worker.active, f.worker.scheduled]).toEqual([1, 1]);
    const stopped = f.worker.stop("warm");
    await expect.poll(() => f.left()).toBe(2);
    release();
    await stopped;
    expect((await f.end(first)).status).toBe("SUCCESS");
    expect(await f.left()).toBe(2);
  });

  test("cold gives running late-acked tasks back and aborts them", async () => {
    let aborted = false;
    const f = await fleet([
      task("long", { params: {}, acksLate: true }, (_params, ctx) => {
        ctx.signal.addEventListener("abort", () => {
          aborted = true;
        });
        return new Promise(() => undefined);
      }),
    ]);
    await f.send({ task: "long" });
    await expect.poll(() => f.worker.active).toBe(1);
    await f.worker.stop("cold");
    expect(aborted).toBe(true);
    expect(f.order).toEqual(["requeue"]);
    expect(await f.left()).toBe(1);
  });

  test("a soft shutdown ends as soon as nothing runs", async () => {
    const f = await fleet([task("brief", { acksLate: true }, () => wait(50, "done"))], {
      worker_soft_shutdown_timeout: 60,
    });
    const id = await f.send({ task: "brief" });
    await expect.poll(() => f.worker.active).toBe(1);
    await f.worker.stop("cold");
    expect((await f.backend.get(id))?.result).toBe("done");
  });
});

test("while the store is away results wait, nothing is acked, and no more is started than the bounds allow", async () => {
  let runs = 0;
  const f = await fleet([task("count", { acksLate: true }, () => ++runs)], { worker_prefetch_multiplier: 2 }, 2);
  let back: () => void = () => undefined;
  const away = new Promise<void>((resolve) => {
    back = resolve;
  });
  const store = f.backend.store;
  f.backend.store = (id, record, route) => away.then(() => store(id, record, route));
  const ids = await Promise.all(Array.from({ length: 50 }, () => f.send({ task: "count" })));
  await expect.poll(() => runs).toBe(4);
  await wait(50);
  expect(runs).toBe(4);
  expect(f.order).toEqual([]);
  back();
  for (const id of ids) expect((await f.end(id)).status).toBe("SUCCESS");
  expect(runs).toBe(50);
});

describe("a connection that is lost", () => {
  /** Hands the worker a message as a broker would, on a connection that the test can take away. */
  async function deliver(f: Fleet, id: string, redelivered: boolean, more: Partial<TaskMessageInput> = {}) {
    const message = encodeTask({ origin: "test", serializer: jsonSerializer, task: "late", id, ...more });
    const settled: string[] = [];
    const delivery = {
      message,
      info: { exchange: "", routingKey: "work", redelivered, queue: "work" },
      lost: false,
      ack: () => void settled.push("ack"),
      reject: () => void settled.push("reject"),
    };
    vi.mocked(f.transport.consume).mock.calls[0]?.[2](delivery);
    return { delivery, settled };
  }

  test("while a late-acked task runs, or its result waits, leads to no second run: the copy is acked in its place", async () => {
    let runs = 0;
    const ends: (() => void)[] = [];
    const late = () => new Promise<number>((resolve) => ends.push(() => resolve(++runs)));
    const f = await fleet([task("late", { acksLate: true }, late)]);
    let stored: () => void = () => undefined;
    const away = new Promise<void>((resolve) => {
      stored = resolve;
    });
    const store = f.backend.store;
    f.backend.store = (id, record, route) => away.then(() => store(id, record, route));
    const lose = (one: Awaited<ReturnType<typeof deliver>>) => {
      one.delivery.lost = true;
      f.worker.connectionLost();
    };

    const first = await deliver(f, "a", false);
    lose(first);
    const whileRunning = await deliver(f, "a", true);
    lose(whileRunning);
    ends[0]?.();
    await expect.poll(() => f.worker.active).toBe(0);
    const whileStoring = await deliver(f, "a", true);
    expect([ends.length, whileStoring.settled]).toEqual([1, []]);
    lose(whileStoring);
    stored();
    await f.end("a");
    await expect.poll(() => whileStoring.settled).toEqual(["ack"]);
    // That ack went nowhere, and neither did the next one.
    const after = await deliver(f, "a", true);
    expect(after.settled).toEqual(["ack"]);
    lose(after);
    expect((await deliver(f, "a", true)).settled).toEqual(["ack"]);
    expect([ends.length, runs]).toEqual([1, 1]);
  });

  test("while two tasks run under one id leads to no third run: each takes over a message", async () => {
    let runs = 0;
    const ends: (() => void)[] = [];
    const late = () => new Promise<number>((resolve) => ends.push(() => resolve(++runs)));
    const f = await fleet([task("late", { acksLate: true }, late)]);
    const begun = [await deliver(f, "a", false), await deliver(f, "a", false)];
    await expect.poll(() => ends.length).toBe(2);
    for (const { delivery } of begun) delivery.lost = true;
    f.worker.connectionLost();
    const again = [await deliver(f, "a", true), await deliver(f, "a", true)];
    for (const end of ends) end();
    await expect.poll(() => again.map(({ settled }) => settled)).toEqual([["ack"], ["ack"]]);
    expect([ends.length, runs]).toEqual([2, 2]);
  });

  test.each<[string, boolean, Partial<TaskMessageInput>]>([
    ["what took the place of a task, whose id it has", true, { replacedTaskNesting: 1, parentId: "b" }],
    ["the end of a chain that took its place", true, { parentId: "b" }],
    ["another task under its id", true, { task: "other" }],
    ["its id given to a call with other arguments of that length", true, { args: [2026] }],
    ["the same task, sent once more under its id", false, {}],
  ])("makes no copy of %s: it runs", async (_what, redelivered, more) => {
    const runs: string[] = [];
    const noting = (name: string) => task(name, { acksLate: true }, () => void runs.push(name));
    const f = await fleet([noting("late"), noting("other")]);
    const first = await deliver(f, "a", false, { args: [2025] });
    await expect.poll(() => first.settled).toEqual(["ack"]);
    first.delivery.lost = true;
    f.worker.connectionLost();
    // A RabbitMQ that has crashed calls everything redelivered.
    const second = await deliver(f, "a", redelivered, { args: [2025], ...more });
    await expect.poll(() => second.settled).toEqual(["ack"]);
    expect(runs).toEqual(["late", more.task ?? "late"]);
  });
});
