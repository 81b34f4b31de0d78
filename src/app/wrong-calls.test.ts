/** A call that cannot be right is refused with a sentence that names the option, what it should be and what was given. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { Celery } from "../app.ts";
import { InvalidEvent } from "../events/errors.ts";
import { newId } from "../runtime/ids.ts";
import { silentLog } from "../runtime/log.ts";
import { task } from "../tasks/definition.ts";
import { Worker } from "./worker.ts";

/** Plain JavaScript: the types would not let these calls through. */
// biome-ignore lint/suspicious/noExplicitAny: wrong calls are what is tested
type Untyped = any;

const settings = { broker_url: "memory://", result_backend: "cache+memory://" } as const;
const base = { settings, log: silentLog, env: {} };
const add = task("wrong.add", (x: number, y: number) => x + y);

let app: Celery;
const untyped = (): Untyped => app;
beforeEach(() => {
  app = new Celery(`wrong-${newId()}`, { ...base, tasks: [add] });
});
afterEach(() => app.close());

async function refusal(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    expect(error).toBeInstanceOf(ImproperlyConfigured);
    return (error as Error).message;
  }
  throw new ImproperlyConfigured("the wrong call was not refused");
}

const make = (options: unknown) => () => new Celery("a", options as Untyped);
const work = (options: unknown) => () => new Worker(app, options as Untyped);
const result = () => app.result(newId()) as Untyped;

test("the variables of the process are no settings, and what only looks like one is refused", () => {
  const { log: _log, ...options } = base;
  const env = { LOVAGE_APP: "./app.js", LOVAGE_LOG_LEVEL: "silent", LOVAGE_LOG_FORMAT: "%(message)s" };
  expect(() => new Celery("a", { ...options, env })).not.toThrow();
  expect(() => new Celery("a", { ...options, env: { ...env, LOVAGE_LOG_FROMAT: "x" } })).toThrow("LOVAGE_LOG_FROMAT");
});

describe("a wrong call names the option, what it should be, and what was given:", () => {
  test.each<[string, () => unknown, RegExp]>([
    ["send of a name", () => untyped().send("x"), /app\.send\(\).*task definition.*not "x"; .*sendTask/],
    ["send of nothing", () => untyped().send(undefined), /app\.send\(\).*task definition.*not undefined/],
    ["send of null", () => untyped().send(null), /task definition.*not null/],
    ["send of an object", () => untyped().send({ name: "x" }), /task definition.*not an object/],
    ["task of a number", () => untyped().task(5), /app\.task\(\).*task definition.*not 5/],
    ["register of a name", () => untyped().register("x"), /task definition.*not "x"/],
    ["an app's options as a text", make("x"), /app a: the options must be an object, not "x"/],
    ["an app's null options", make(null), /app a: the options must be an object, not null/],
    ["tasks as a number", make({ tasks: 5 }), /option tasks must be an array of task definitions, not 5/],
    ["a task that is none", make({ tasks: [5] }), /option tasks\[0\] must be a task definition.*not 5/],
    ["a task by its name", make({ tasks: [add, "x"] }), /option tasks\[1\] must be a task definition.*not "x"/],
    ["errors null", make({ errors: null }), /option errors must be an array of error classes, not null/],
    ["an error that is no class", make({ ...base, errors: [5] }), /errors must be an error class, not 5/],
    ["settings as a text", make({ settings: "x" }), /option settings must be an object, not "x"/],
    ["a log that cannot log", make({ log: {} }), /option log must be a logger.*not an object/],
    ["an unknown option of an app", make({ task: [add] }), /app a: unknown option "task"; did you mean "tasks"\?/],
    ["Celery's name of an option", make({ result_backend: "x" }), /unknown option "result_backend"/],
    ["a worker without an app", () => new Worker(5 as Untyped), /new Worker\(\): the app must be a Celery app, not 5/],
    ["a worker of nothing", () => new Worker(undefined as Untyped), /must be a Celery app, not undefined/],
    [
      "a pool that is not there",
      work({ pool: "thread" }),
      /pool must be one of "async", "threads", "processes".*did you mean "threads"/,
    ],
    ["a pool of children without their module", work({ pool: "threads" }), /pool "threads" needs the option module/],
    [
      "a module that is no path",
      work({ pool: "threads", module: 5 }),
      /module must be the path or URL of a module, not 5/,
    ],
    [
      "an autoscale without a maximum",
      work({ autoscale: { min: 1 } }),
      /autoscale must be \{ max, min \} with min up to max/,
    ],
    [
      "an autoscale upside down",
      work({ autoscale: { max: 1, min: 3 } }),
      /autoscale must be \{ max, min \} with min up to max/,
    ],
    [
      "ten thousand processes",
      work({ pool: "processes", module: "x", concurrency: 10_000 }),
      /concurrency 10000: a pool of processes has at most 1024 slots.*run more workers/,
    ],
    [
      "an autoscale to ten thousand threads",
      work({ pool: "threads", module: "x", autoscale: { max: 10_000, min: 1 } }),
      /a pool of threads has at most 1024 slots/,
    ],
    ["a misspelt autoscale", work({ autoscale: { maximum: 1, min: 3 } }), /unknown option "maximum"/],
    ["a rate that is none", () => task("t", { rateLimit: "ten" } as Untyped), /rateLimit must be a rate such as 10\/s/],
    ["a rate in days", () => task("t", { rateLimit: "10/d" } as Untyped), /rateLimit must be a rate such as 10\/s/],
    ["a worker's options as a number", work(5), /new Worker\(\): the options must be an object, not 5/],
    ["queues as a text", work({ queues: "x" }), /option queues must be an array.*not "x"/],
    ["a queue that is no name", work({ queues: [5] }), /option queues\[0\] must be a text, not 5/],
    ["a mistyped worker option", work({ concurency: 3 }), /unknown option "concurency"; did you mean "concurrency"\?/],
    ["no concurrency", work({ concurrency: 0 }), /option concurrency must be a whole number, at least 1.*not 0/],
    ["a worker's name as a number", work({ name: 5 }), /option name must be a text, not 5/],
    ["handleSignals as a text", work({ handleSignals: "yes" }), /handleSignals must be true or false, not "yes"/],
    ["a way to stop", () => work({})().stop("hot" as Untyped), /mode must be one of "warm", "cold", not "hot"/],
    ["a way to start", () => work({})().start(5 as Untyped), /signal must be an AbortSignal, not 5/],
    ["get of a number", () => result().get(5), /result\.get\(\): the options must be an object, not 5/],
    ["get of null", () => result().get(null), /the options must be an object, not null/],
    [
      "get with a mistyped option",
      () => result().get({ timout: 3 }),
      /unknown option "timout"; did you mean "timeout"\?/,
    ],
    ["get with a signal that is none", () => result().get({ signal: 5 }), /signal must be an AbortSignal, not 5/],
    [
      "get with a timeout as text",
      () => result().get({ timeout: "3" }),
      /timeout must be a number of milliseconds.*"3"/,
    ],
    ["get with a negative timeout", () => result().get({ timeout: -1 }), /timeout must be.*at least 0, not -1/],
    [
      "get with propagate as text",
      () => result().get({ propagate: "no" }),
      /propagate must be true or false, not "no"/,
    ],
    ["get with onUpdate as text", () => result().get({ onUpdate: "f" }), /onUpdate must be a function, not "f"/],
    ["a selected queue that is no name", () => untyped().selectQueues([5]), /names\[0\] must be a queue's name, not 5/],
    ["selected queues as a text", () => untyped().selectQueues("x"), /the names must be an array.*not "x"/],
    ["a result by number", () => untyped().result(5), /app\.result\(\): the id must be the id of a task, not 5/],
    ["a result by nothing", () => untyped().result(""), /the id must be the id of a task, not ""/],
    ["a group by nothing", () => untyped().restoreGroup(undefined), /restoreGroup\(\): the id must be.*not undefined/],
    ["a group by number", () => untyped().restoreGroup(5), /the id must be the id of a group, not 5/],
    ["a result with a name", () => untyped().result("i", "x"), /app\.result\(\): the second argument.*not "x"/],
    ["sendTask of a number", () => untyped().sendTask(5), /sendTask\(\): the name must be a text, not 5/],
    ["sendTask of a definition", () => untyped().sendTask(add), /name must be a text, not an object; .* send\(task/],
    [
      "an option of a call",
      () => untyped().send(add, [1, 2], { que: "x" }),
      /unknown option "que"; did you mean "queue"/,
    ],
    ["the options of a call", () => untyped().send(add, [1, 2], 5), /wrong\.add: the options must be an object, not 5/],
  ])("%s", async (_what, act, sentence) => {
    expect(await refusal(act)).toMatch(sentence);
  });
});

/** The error with which a task ends whose body makes the wrong call. */
async function inTask(body: (ctx: Untyped) => unknown): Promise<Error> {
  const wrong = task("wrong.inside", { params: {} }, (_params, ctx) => body(ctx) as undefined);
  app.register(wrong);
  await using worker = new Worker(app, { concurrency: 1 });
  await worker.start();
  const sent = await app.send(wrong);
  const value = await sent.get({ propagate: false, timeout: 5_000 });
  expect(value).toBeInstanceOf(Error);
  return value as unknown as Error;
}

const inspect = () => untyped().control.inspect();
const control = () => untyped().control;
const events = () => untyped().events;

describe("a wrong command is refused before it can reach the fleet:", () => {
  const to = { destination: ["w@h"] };
  test.each<[string, () => unknown, RegExp]>([
    ["options among the limits", () => control().timeLimit("t", { hard: 1, ...to }), /"destination"; options such as/],
    ["a mistyped limit", () => control().timeLimit("t", { hrad: 1 }), /unknown limit "hrad"; did you mean "hard"/],
    ["no limits", () => control().timeLimit("t", undefined), /must be an object, not undefined/],
    ["a limit that is none", () => control().timeLimit("t", { hard: "1" }), /hard must be a number of seconds.*"1"/],
    ["a soft limit after the hard one", () => control().timeLimit("t", { hard: 1, soft: 5 }), /soft must be less/],
    [
      "options as a number of slots",
      () => control().poolGrow(to),
      /number of slots.*options such as destination come l/,
    ],
    ["slots as a text", () => control().poolShrink("2"), /must be a whole number of slots/],
    ["a part of a slot", () => control().poolGrow(1.5), /must be a whole number of slots/],
    ["autoscale upside down", () => control().autoscale(1, 5), /max 1 is less than min 5/],
    ["autoscale of options", () => control().autoscale(to), /max must be.*options such as destination/],
    ["ids as a number", () => control().revoke(5), /ids must be the id of a task, or an array of ids, not 5/],
    ["ids as an object", () => control().revoke({ ...to }), /ids must be.*options such as destination come last/],
    ["ids null", () => control().terminate(null), /ids must be .*not null/],
    ["ids with a number", () => control().revoke([null, 5]), /ids must be .*not an array/],
    ["stamps as a text", () => control().revokeByStampedHeaders("a=b"), /headers must be an object of stamps/],
    ["a rate NaN", () => control().rateLimit("t", Number.NaN), /rate must be a rate such as 10\/s.*not NaN/],
    ["an endless rate", () => control().rateLimit("t", Number.POSITIVE_INFINITY), /rate must be a rate/],
    ["a negative rate", () => control().rateLimit("t", "-1/s"), /rate must be a rate.*"-1\/s"/],
    ["no rate", () => control().rateLimit("t", to), /rate must be.*options such as destination come last/],
    ["a task by its definition", () => control().rateLimit(add, "1/s"), /must be the name of a task, not an object/],
    ["a queue by nothing", () => control().addConsumer("", to), /must be the name of a queue, not ""/],
    ["a queue of options", () => control().cancelConsumer(to), /name of a queue.*options such as destination/],
    ["options that are none", () => control().shutdown(5), /shutdown\(\): the options must be an object, not 5/],
    ["options null", () => control().shutdown(null), /the options must be an object, not null/],
    ["an option of another command", () => control().shutdown({ terminate: true }), /unknown option "terminate"/],
    ["a destination that is none", () => control().shutdown({ destination: 5 }), /destination is an array of node/],
    ["a node without a name", () => control().shutdown({ destination: [""] }), /destination is an array of node/],
    ["a callback that is none", () => control().ping({ callback: "x" }), /callback must be a function, not "x"/],
    ["a signal that is none", () => control().ping({ signal: {} }), /signal must be an AbortSignal, not an object/],
    ["a matcher", () => control().ping({ pattern: "w", matcher: "zzz" }), /matcher must be one of "glob", "pcre"/],
    ["a pattern", () => control().ping({ pattern: "w_(", matcher: "pcre" }), /option pattern: .*Unterminated group/],
    ["arguments as an array", () => control().broadcast("x", { arguments: [1] }), /arguments must be an object of/],
    ["an inspection's arguments", () => inspect().request("x", [1]), /arguments must be an object of/],
    ["an id to inspect", () => inspect().queryTask(5), /queryTask\(\): an id must be/],
    ["who says hello", () => inspect().hello(5), /hello\(\): the node must be a text/],
    ["samples", () => inspect().memdump(-1), /samples must be a whole number/],
    ["whom to ping", () => inspect().ping({ timeout: 1 }), /destination is .*options such as timeout/],
    ["a state's size", () => events().state({ maxTasks: -1 }), /maxTasks must be a whole number/],
    ["a state's option", () => events().state({ maxTask: 1 }), /unknown option "maxTask"; did you mean "maxTasks"/],
    ["a listener that is none", () => events().listen(), /the first argument must be a function, not undefined/],
    ["an option of listen", () => events().listen(() => 0, { key: "x" }), /listen\(\): unknown option "key"/],
    ["a signal of receive", () => events().receive({ signal: {} }), /signal must be an AbortSignal/],
  ])("%s", async (_what, act, sentence) => {
    expect(await refusal(act)).toMatch(sentence);
  });
});

test("what is no event is refused by a picture of the cluster", () => {
  const state = app.events.state();
  for (const wrong of [null, {}, { type: 5 }, "task-sent"]) {
    expect(() => state.event(wrong as never)).toThrow(InvalidEvent);
  }
  expect(state.eventCount).toBe(0);
});

describe("a wrong call inside of a task fails the task and says which option:", () => {
  test.each<[string, (ctx: Untyped) => unknown, RegExp]>([
    ["of retry", (ctx) => ctx.retry({ nope: 1 }), /unknown option \\?"nope\\?" of retry\(\)/],
    [
      "of the message of retry",
      (ctx) => ctx.retry({ options: { prority: 1 } }),
      /"prority\\?"; did you mean \\?"priority/,
    ],
    ["no options of retry", (ctx) => ctx.retry({ options: 5 }), /options of retry\(\) must be an object, not 5/],
    ["the value of an option of retry", (ctx) => ctx.retry({ options: { priority: "x" } }), /option priority must be/],
    ["a state that is no text", (ctx) => ctx.updateState(5), /state must be a text that is not empty, not 5/],
    ["a task by its name", (ctx) => ctx.send("x"), /ctx\.send\(\).*task definition.*not \\?"x/],
  ])("%s", async (_what, body, sentence) => {
    const error = await inTask(body);
    expect(`${error.name} ${error.message}`).toMatch(/ImproperlyConfigured/);
    expect(error.message).toMatch(sentence);
  });
});

describe("starting a worker", () => {
  test("twice is one start", async () => {
    const worker = new Worker(app);
    const [one, two] = await Promise.all([worker.start(), worker.start()]);
    expect(one).toBe(worker);
    expect(two).toBe(worker);
    const sent = await app.send(add, [1, 2]);
    expect(await sent.get({ timeout: 5_000 })).toBe(3);
    expect(worker.stats.received).toBe(1);
    await worker.stop();
  });

  test("after it was stopped says that a new one is needed", async () => {
    const worker = new Worker(app);
    await worker.start();
    await worker.stop();
    expect(await refusal(() => worker.start())).toMatch(/was stopped .*make a new Worker/);
  });

  test("whose app is closed stops it first, warm: what it runs is stored", async () => {
    let finish: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      const slow = task("wrong.slow", async () => {
        resolve();
        await new Promise<void>((done) => {
          finish = done;
        });
        return (await app.send(add, [1, 2])).id === "" ? "" : "kept";
      });
      app.register(slow);
    });
    const asking = new Celery(app.name, { ...base });
    await new Worker(app).start();
    const sent = await asking.sendTask("wrong.slow");
    await begun;
    const closing = app.close();
    finish();
    await closing;
    expect(await sent.get({ timeout: 5_000 })).toBe("kept");
    await asking.close();
  });

  test("that fails leaves nothing open: a new one is needed", async () => {
    const worker = new Worker(app);
    const reason = new ImproperlyConfigured("not now");
    await expect(worker.start(AbortSignal.abort(reason))).rejects.toBe(reason);
    await worker.finished;
    expect(await refusal(() => worker.start())).toMatch(/was stopped .*make a new Worker/);
  });
});
