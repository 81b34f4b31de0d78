/** Remote control within one process, over the memory broker: what needs no peer to be true. */
import { describe, expect, test, vi } from "vitest";
import { Celery, type CeleryOptions } from "../app.ts";
import { group } from "../canvas/group.ts";
import { controlCommand } from "../control/command.ts";
import { Mailbox } from "../control/mailbox.ts";
import { matches } from "../control/matcher.ts";
import { mailboxSettings } from "../control/settings.ts";
import { Camera } from "../events/camera.ts";
import { silentLog } from "../runtime/log.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { waitFor } from "../testing/index.ts";
import { Worker, type WorkerOptions } from "./worker.ts";

let hubs = 0;

async function fleet(options: { tasks?: AnyTask[]; app?: CeleryOptions; worker?: WorkerOptions } = {}) {
  const app = new Celery(`control-${++hubs}`, {
    broker: "memory://",
    backend: "memory://",
    tasks: options.tasks ?? [],
    log: silentLog,
    env: {},
    ...options.app,
  });
  const worker = await new Worker(app, { name: "w@h", ...options.worker }).start();
  return { app, worker, [Symbol.asyncDispose]: () => app.close() };
}

describe("commands of one's own", () => {
  test("are answered with what they return, also by promise, with the worker at hand", async () => {
    const twice = controlCommand(
      "twice",
      { parameters: "n, by=2", kind: "inspect" },
      (_state, { n, by = 2 }) => Number(n) * Number(by),
    );
    const slow = controlCommand("slow", async ({ worker }) => ({
      queues: worker.queues.list().map(({ name }) => name),
    }));
    await using it = await fleet({ app: { controlCommands: [twice] } });
    it.app.control.register(slow);
    const inspect = it.app.control.inspect({ destination: ["w@h"] });
    expect(await inspect.request("twice", { n: 21 })).toEqual({ "w@h": 42 });
    expect(await inspect.request("slow")).toEqual({ "w@h": { queues: ["celery"] } });
    expect(await inspect.request("twice")).toEqual({
      "w@h": { error: `TypeError("twice() missing 1 required positional argument: 'n'")` },
    });
  });

  test("that throw, sooner or later, are answered with the exception as Python shows it", async () => {
    const bad = controlCommand("bad", () => {
      throw new RangeError("no");
    });
    const late = controlCommand("late", () => Promise.reject(new TypeError("later")));
    const unwritable = controlCommand("unwritable", () => ({ f: () => 1 }));
    await using it = await fleet({ app: { controlCommands: [bad, late, unwritable] } });
    const inspect = it.app.control.inspect({ destination: ["w@h"] });
    expect(await inspect.request("bad")).toEqual({ "w@h": { error: "ValueError('no')" } });
    expect(await inspect.request("late")).toEqual({ "w@h": { error: "TypeError('later')" } });
    expect(await inspect.request("unwritable")).toMatchObject({
      "w@h": { error: expect.stringMatching(/^EncodeError/) },
    });
  });

  test("that cannot be are refused where they are made", () => {
    expect(() => controlCommand("no name", () => 1)).toThrow("no name that Python could call");
    expect(() => controlCommand("x", { hlep: "" } as never, () => 1)).toThrow('did you mean "help"?');
    expect(() => controlCommand("x", {}, undefined as never)).toThrow("the handler is no function");
  });
});

test("wrong calls of app.control are named", async () => {
  await using it = await fleet();
  const { control } = it.app;
  await expect(control.broadcast("ping", { destinaton: [] } as never)).rejects.toThrow('did you mean "destination"?');
  await expect(control.broadcast("", {})).rejects.toThrow("named by a text");
  await expect(control.broadcast("ping", { pattern: "x" })).rejects.toThrow("pattern and matcher go together");
  await expect(control.broadcast("ping", { timeout: 0 })).rejects.toThrow("timeout is a number of seconds");
  await expect(control.broadcast("ping", { destination: [1] as never })).rejects.toThrow(
    "destination is an array of node names",
  );
});

test("a call without an end has an expiry that every worker can read", async () => {
  await using it = await fleet();
  const { settings, transport, clock } = it.app;
  const publish = vi.spyOn(transport, "publish");
  const mailbox = new Mailbox({ settings: mailboxSettings(settings), transport, clock, log: silentLog });
  const replies = await mailbox.call({ method: "ping" }, { timeoutMs: Number.POSITIVE_INFINITY, limit: 1 });
  await mailbox.close();
  expect(replies).toEqual([{ "w@h": { ok: "pong" } }]);
  const expires = publish.mock.calls.map(([message]) => message.headers?.expires).find(Boolean);
  expect(expires).toBeGreaterThan(Date.now() / 1000);
  expect(Number.isFinite(expires)).toBe(true);
});

test("what is no id is an error of the revoke that names it; what is one beside it is revoked", async () => {
  await using it = await fleet();
  const inspect = it.app.control.inspect({ destination: ["w@h"] });
  expect(await inspect.request("revoke", { task_id: ["an-id", 5] })).toEqual({
    "w@h": { error: "TypeError('sequence item 1: expected str instance, int found')" },
  });
  expect(await inspect.revoked()).toEqual({ "w@h": ["an-id"] });
});

test("results and groups of results are revoked", async () => {
  const sleeper = task("sleeper", {}, (_n: number) => new Promise(() => undefined));
  await using it = await fleet({ tasks: [sleeper], worker: { concurrency: 1 } });
  const running = await it.app.send(sleeper, [0]);
  await waitFor(() => it.worker.active === 1, { describe: "the first to run" });
  const members = await it.app.apply(group([sleeper.s(1), sleeper.s(2)]));
  await members.revoke({ wait: true });
  await expect(members.get({ timeout: 5_000 })).rejects.toThrow(/revoked/);
  await running.revoke({ terminate: true, wait: true });
  await expect(running.get({ timeout: 5_000 })).rejects.toThrow(/terminated/);
});

test("ten thousand control messages, half of them nonsense, are taken, and the worker is well", async () => {
  await using it = await fleet();
  const { control } = it.app;
  const casts: Promise<unknown>[] = [];
  for (let index = 0; index < 10_000; index++) {
    casts.push(control.broadcast(index % 2 === 0 ? "ping" : `nonsense_${index}`, { arguments: { index } }));
  }
  await Promise.all(casts);
  expect(await control.ping({ timeout: 5, limit: 1 })).toEqual([{ "w@h": { ok: "pong" } }]);
}, 30_000);

test("task events of a task's own, from the worker to a stream, a state and a camera", async () => {
  const worker = task("tells", {}, async () => {
    const { currentTask } = await import("../tasks/context.ts");
    await currentTask()?.sendEvent("task-progress", { done: 5 });
    await expect(currentTask()?.sendEvent("task-x", { clock: 1 })).rejects.toThrow("the field clock is set by Lovage");
    return 1;
  });
  const quiet = task("quiet", { sendEvents: false }, () => 1);
  await using it = await fleet({
    tasks: [worker, quiet],
    worker: { events: true },
    app: { settings: { task_send_sent_event: true } },
  });
  const stop = new AbortController();
  const stream = await it.app.events.receive({ signal: stop.signal }).start();
  const state = it.app.events.state();
  const shots: number[] = [];
  const camera = new Camera({
    state,
    onShutter: (seen) => shots.push(seen.eventCount),
    freq: 0.01,
    log: silentLog,
  }).install();
  await (await it.app.send(quiet, [])).get({ timeout: 5_000 });
  const sent = await it.app.send(worker, []);
  const types: string[] = [];
  for await (const event of stream) {
    state.event(event);
    if (event.fields.uuid === undefined) continue;
    types.push(`${event.type} ${event.fields.uuid === sent.id}`);
    if (event.type === "task-succeeded") stop.abort();
  }
  expect([...types].sort()).toEqual([
    "task-progress true",
    "task-received true",
    "task-sent true",
    "task-started true",
    "task-succeeded true",
  ]);
  expect(types.indexOf("task-started true")).toBeLessThan(types.indexOf("task-progress true"));
  expect(state.tasks.get(sent.id)).toMatchObject({ name: "tells", result: "1", extra: { done: 5 } });
  await waitFor(() => shots.length > 0, { describe: "a snapshot" });
  await camera.cancel();
});

test("soft time limits that can never come are named when the worker starts", async () => {
  const warn = vi.fn();
  const log = { ...silentLog, warn };
  const never = task("never", { softTimeLimit: 5, timeLimit: 5 }, () => 1);
  const right = task("right", { softTimeLimit: 4, timeLimit: 5 }, () => 1);
  await using it = await fleet({ tasks: [never, right], app: { log } });
  expect(it.worker.active).toBe(0);
  expect(warn).toHaveBeenCalledWith(
    { count: 1, tasks: ["never"] },
    expect.stringMatching(/soft time limits that never/),
  );
});

test("a callback that fails later than it returns is logged, and the replies come", async () => {
  const error = vi.fn();
  await using it = await fleet({ app: { log: { ...silentLog, error } } });
  const callback = async () => {
    throw new TypeError("late");
  };
  expect(await it.app.control.ping({ callback })).toEqual([{ "w@h": { ok: "pong" } }]);
  await waitFor(() => error.mock.calls.length === 1, { describe: "a line of the log" });
});

test("a rate below none is refused by the worker, whoever asks, and the rate stays", async () => {
  const limited = task("limited", { rateLimit: "5/s" }, () => 1);
  await using it = await fleet({ tasks: [limited] });
  for (const rate of ["-1/s", -1]) {
    const replies = await it.app.control.broadcast("rate_limit", {
      arguments: { task_name: "limited", rate_limit: rate },
      reply: true,
    });
    expect(replies?.[0]).toMatchObject({ "w@h": { error: expect.stringContaining("a rate is not negative") } });
  }
  expect(await it.app.control.inspect().registered("rate_limit")).toEqual({ "w@h": ["limited [rate_limit=5/s]"] });
});

test("a pool is not grown beyond what it may have, and goes on", async () => {
  await using it = await fleet();
  expect(await it.app.control.poolGrow(100_001, { reply: true })).toEqual([
    { "w@h": { error: "ValueError('a pool of async has at most 100000 slots, not 100017')" } },
  ]);
  expect(it.worker.concurrency).toBe(16);
});

describe("patterns", () => {
  test.each([
    ["celery@web1", "celery@*", "glob", true],
    ["celery@web1", "web", "glob", false],
    ["celery@web1", "cel", "pcre", true],
    ["celery@web1", "web", "pcre", false],
    ["celery@web1", "(?P<a>c)elery@", "pcre", true],
  ])("%s by %s as %s: %s", (name, pattern, matcher, fits) => {
    expect(matches(name, pattern, matcher)).toBe(fits);
  });

  test("that cannot be read, and matchers that are not there, are refused", () => {
    expect(() => matches("w", "(", "pcre")).toThrow("cannot be read");
    expect(() => matches("w", "x", "zz")).toThrow("No matcher installed for zz");
    expect(() => matches("w", "x".repeat(2_000), "glob")).toThrow("longer than");
  });
});
