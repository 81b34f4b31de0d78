/**
 * Workflows from sending to the last result, on one worker and a store that counts. Bodies are asked by their id alone: with its
 * parents a failed one gives the part's own error, as in Python.
 */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { type ResultTuple, readResultTuple } from "../../protocol/celery/result-tuple.ts";
import type { WireSignature } from "../../protocol/celery/signature.ts";
import type { Message } from "../../protocol/message.ts";
import { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { signature, signatureFrom } from "../canvas/signature-from.ts";
import { GroupResult } from "../client/group-result.ts";
import { Publisher } from "../client/publisher.ts";
import { silentLog } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { Ignore, Reject } from "../tasks/signals.ts";
import type { AnySignature } from "../tasks/signature-types.ts";
import { type TempFolder, tempFolder } from "../testing/temp-folder.ts";
import { ConnectionLost } from "../transports/errors.ts";
import { Worker } from "./worker.ts";

const add = task("add", (x: number, y: number) => x + y);
const total = task("total", (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0));
const echo = task("echo", (value: unknown) => value);
const fail = task("fail", (): number => {
  throw new RangeError("no");
});
const ignored = task("ignored", (): number => {
  throw new Ignore("not today");
});
const rejected = task("rejected", (): number => {
  throw new Reject("never", { requeue: true });
});

const open: { worker: Worker; app: Celery }[] = [];
afterEach(async () => {
  for (const { worker, app } of open.splice(0)) {
    await worker.stop("cold");
    await app.close();
  }
});

async function running(tasks: readonly AnyTask[] = [], settings: Record<string, unknown> = {}, backend = "memory://") {
  const app = new Celery(`workflow-${randomUUID()}`, {
    tasks: [add, total, echo, fail, ignored, rejected, ...tasks],
    broker: "memory://",
    backend,
    settings: { result_chord_retry_interval: 0.05, ...settings },
    log: silentLog,
    env: {},
  });
  const worker = await new Worker(app, { concurrency: 8 }).start();
  open.push({ worker, app });
  return { app, worker };
}

const folders: TempFolder[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder[Symbol.asyncDispose]();
});

const timeout = { timeout: 5_000 };

describe("a chord", () => {
  test("gives its body the results in the order of the header", async () => {
    const slowFirst = task("slow", async (value: number) => {
      if (value === 0) await new Promise((resolve) => setTimeout(resolve, 30));
      return value;
    });
    const { app } = await running([slowFirst]);
    const header = [0, 1, 2, 3].map((value) => slowFirst.s(value));
    const result = await app.apply(chord(header, echo.s()));
    expect(await result.get(timeout)).toEqual([0, 1, 2, 3]);
  });

  test("with one failed part fails its body with the part's error in Python's words", async () => {
    const { app } = await running();
    const result = await app.apply(chord([add.s(1, 2), fail.s().set({ taskId: "part" })], total.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({
      name: "ChordError",
      message: "Dependency part raised ValueError('no')",
    });
  });

  test("in a chord, at the end of a chain, is a part as its body ends", async () => {
    const { app } = await running();
    const inner = chain(add.s(1, 1), chord([add.s(1), add.s(2)], total.s()));
    const result = await app.apply(chord([inner, add.s(5, 5)], total.s()));
    expect(await result.get(timeout)).toBe(17);
  });

  test("that fails inside another chord fails that one too", async () => {
    const { app } = await running();
    const inner = chord([fail.s(), add.s(1, 1)], total.s());
    const result = await app.apply(chord([inner, add.s(5, 5)], total.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
  });

  test("whose header member ends in a group gets that group's results as a list", async () => {
    const { app } = await running();
    const result = await app.apply(chord([chain(add.s(1, 1), group([add.s(1), add.s(2)])), add.s(7, 7)], echo.s()));
    expect(await result.get(timeout)).toEqual([[3, 4], 14]);
  });

  test("of a thousand parts runs its body once", async () => {
    let bodies = 0;
    const body = task("body", (numbers: readonly number[]) => {
      bodies++;
      return numbers.length;
    });
    const { app } = await running([body]);
    const header = Array.from({ length: 1000 }, (_, index) => add.s(index, 1));
    const result = await app.apply(chord(header, body.s()));
    expect(await result.get(timeout)).toBe(1000);
    expect(bodies).toBe(1);
  });

  test("with a group as body fails every member with the part's own error", async () => {
    const { app } = await running();
    const result = await app.apply(chord([add.s(1, 2), fail.s()], group([total.s(), echo.s()])));
    await expect(result.get(timeout)).rejects.toMatchObject({ type: "ValueError", args: ["no"] });
  });
});

describe("a chord with a part that will never return", () => {
  const lost: [string, WireSignature][] = [
    ["ignored", ignored.s().toJSON()],
    ["rejected after its early ack", rejected.s().toJSON()],
    ["not registered", { ...add.s(1, 1).toJSON(), task: "unheard.of" }],
    ["behind an ignored one", chain(ignored.s(), add.s(1)).toJSON()],
    ["behind one that is not registered", chain(task("unheard.of").s(), add.s(1)).toJSON()],
  ];
  test.each(lost)("(%s) fails its body", async (_how, part) => {
    const { app } = await running();
    const result = await app.apply(chord([add.s(1, 1), signatureFrom(part)], echo.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
  });

  test("hangs as in Celery when the settings say so", async () => {
    const { app } = await running([], { lovage_fail_unreachable: false });
    const result = await app.apply(chord([add.s(1, 1), ignored.s()], total.s()));
    await expect(result.get({ timeout: 200 })).rejects.toMatchObject({ code: "TIMEOUT" });
  });
});

describe("what stands behind a step that is dropped fails with a word on that step", () => {
  const unknown = task("unheard.of");
  const gone = { taskId: "gone" };
  const ways: [string, WireSignature, object][] = [
    ["ignored", ignored.s().set(gone).toJSON(), revoked("ignored[gone] ignored")],
    [
      "expired",
      add
        .s(1, 1)
        .set({ ...gone, expires: new Date(0) })
        .toJSON(),
      revoked("add[gone] expired"),
    ],
    ["rejected after its early ack", rejected.s().set(gone).toJSON(), revoked("rejected[gone] rejected")],
    ["not registered", unknown.s().set(gone).toJSON(), { name: "NotRegistered" }],
  ];
  function revoked(how: string) {
    return { name: "TaskRevokedError", reason: `not run: ${how}` };
  }

  test.each(ways)("(%s) in a chain", async (_how, first, error) => {
    const { app } = await running();
    const last = await app.apply(chain(signatureFrom(first), echo.s(), echo.s()));
    await expect(app.result(last.id).get(timeout)).rejects.toMatchObject(error);
    await expect(app.result(last.parent!.id).get(timeout)).rejects.toMatchObject(error);
  });

  test.each(ways)("(%s) in a chain of a group, whose other members end well", async (_how, first, error) => {
    const { app } = await running();
    const sent = await app.apply(group([chain(signatureFrom(first), echo.s()), add.s(1, 1)]));
    const [failed, good] = sent.results;
    await expect(app.result(failed!.id).get(timeout)).rejects.toMatchObject(error);
    expect(await good!.get(timeout)).toBe(2);
  });

  test.each(ways)("(%s) down to groups, chords and their headers further on", async (_how, first, error) => {
    const { app } = await running();
    const further = [
      chord([echo.s(), chain(echo.s(), echo.s())], echo.s()),
      echo.s(),
      group([echo.s(), chain(echo.s(), echo.s())]),
    ];
    const { signature } = await app.freeze(chain(signatureFrom(first), ...further));
    const plan = JSON.stringify(signature);
    const leaves = [...plan.matchAll(/"task":"echo",[^{]*"kwargs":{},"options":{[^}]*"task_id":"([^"]+)"/g)];
    const ids = new Set(leaves.map(([, id]) => id!));
    expect(ids.size).toBe(8);
    await app.apply(signatureFrom(signature));
    for (const id of ids) await expect(app.result(id).get(timeout)).rejects.toMatchObject(error);
  });

  test("in the place of a task that was replaced", async () => {
    const fan = task("fan", (): number => currentTask()!.replace(chain(ignored.s(), add.s(1))));
    const { app } = await running([fan]);
    const sent = await app.apply(chain(fan.s(), echo.s()));
    for (const id of [sent.id, sent.parent!.id]) {
      await expect(app.result(id).get(timeout)).rejects.toMatchObject({ name: "TaskRevokedError" });
    }
  });

  test("but hangs as in Celery when the settings say so", async () => {
    const { app } = await running([], { lovage_fail_unreachable: false });
    const last = await app.apply(chain(ignored.s(), echo.s()));
    await expect(last.get({ timeout: 200 })).rejects.toMatchObject({ code: "TIMEOUT" });
  });

  test("and the ignored task itself keeps what it says of itself", async () => {
    const own = task("own", async (): Promise<number> => {
      await currentTask()!.updateState("SKIPPED", { why: "empty" });
      throw new Ignore();
    });
    const { app } = await running([own]);
    const last = await app.apply(chain(own.s(), echo.s()));
    await expect(app.result(last.id).get(timeout)).rejects.toMatchObject({ name: "TaskRevokedError" });
    expect(await app.result(last.parent!.id).state()).toBe("SKIPPED");
  });
});

describe("errbacks", () => {
  test("that take more than one argument are called here; others are sent with the failed id", async () => {
    const heard: unknown[] = [];
    const here = task("here", (request: { id: string }, error: Error, traceback: string) => {
      heard.push([request.id, error.message, typeof traceback, currentTask()?.id]);
    });
    const told = task("told", (id: string) => {
      heard.push(id);
    });
    const { app } = await running([here, told]);
    await app.apply(fail.s().set({ taskId: "one", linkError: [here.s().toJSON(), told.s().toJSON()] }));
    await expect.poll(() => heard).toEqual([["one", "no", "string", "one"], "one"]);
  });

  test("of a chord's body are told before the body has failed", async () => {
    const told = task("told", (id: string) => id);
    const heard: unknown[] = [];
    const here = task("here", (request: { id: string }, error: Error, _traceback: string) => {
      heard.push([request.id, String(error)]);
    });
    const { app } = await running([here, told]);
    const body = total.s().set({ taskId: "body", linkError: [here.s().toJSON()] });
    const result = await app.apply(chord([add.s(1, 2), fail.s().set({ taskId: "part" })], body));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
    expect(heard).toEqual([["body", expect.stringContaining("Dependency part raised ValueError('no')")]]);
  });
});

describe("replace", () => {
  const twice = task("twice", { params: { x: z.number() } }, ({ x }, ctx) => ctx.replace(add.s(x, x)));
  const fan = task("fan", { params: { x: z.number() } }, ({ x }, ctx) =>
    ctx.replace(group([add.s(x, 1), add.s(x, 2)])),
  );
  const steps = task("steps", { params: { x: z.number() } }, ({ x }, ctx) =>
    ctx.replace(chain(add.s(x, 1), add.s(10))),
  );

  test.each([
    ["a task", twice, 8],
    ["a group, whose results it collects", fan, [5, 6]],
    ["a chain", steps, 15],
  ])("by %s gives its result under the same id", async (_what, one, value) => {
    const { app } = await running([one]);
    const result = await app.apply(one.s({ x: 4 }));
    expect(await result.get(timeout)).toEqual(value);
  });

  describe.each([
    ["a chord", () => chord([add.s(1, 1), add.s(2, 2)], group([echo.s(), total.s()])), [[2, 4], 6]],
    ["a chord in a chord", () => chord([add.s(1, 1)], chord([echo.s()], group([echo.s(), echo.s()]))), [[[2]], [[2]]]],
    ["a chain", () => chain(echo.s(1), chord([echo.s()], group([echo.s(), echo.s()]))), [[1], [1]]],
  ] as [string, () => AnySignature, unknown][])("by %s whose body is a group", (_what, made, values) => {
    const ends = task("ends", (): unknown => currentTask()!.replace(signatureFrom(made())));

    test("collects that group's results", async () => {
      const { app } = await running([ends]);
      expect(await (await app.apply(ends.s())).get(timeout)).toEqual(values);
      expect(await (await app.apply(chain(ends.s(), echo.s()))).get(timeout)).toEqual(values);
      const member = await app.apply(chord([ends.s(), add.s(1, 1)], echo.s()));
      expect(await member.get(timeout)).toEqual([values, 2]);
      const linked = await app.apply(chain(add.s(1, 1), ends.si().link(echo.si(1))));
      expect(await linked.get(timeout)).toEqual(values);
    });
  });

  test.each([
    ["a header that fails", () => chord([fail.s(), add.s(1, 1)], group([echo.s(), echo.s()]))],
    ["a body of which a member fails", () => chord([add.s(1, 1)], group([echo.s(), fail.si()]))],
  ])("by a chord with %s, and a group as body, fails", async (_what, made) => {
    const ends = task("ends", (): unknown => currentTask()!.replace(signatureFrom(made())));
    const { app } = await running([ends]);
    for (const signature of [ends.s(), chain(ends.s(), echo.s()), chord([ends.s(), add.s(1, 1)], echo.s())]) {
      const result = await app.apply(signature);
      await expect(app.result(result.id).get(timeout)).rejects.toThrow(/raised/);
    }
  });

  test("by a chord whose body is a group leaves as Celery's where nothing unreachable is failed", async () => {
    const ends = task("ends", (): unknown => currentTask()!.replace(chord([echo.s(1)], group([done.s(), done.s()]))));
    let left = 2;
    let allRan = () => {};
    const ran = new Promise<void>((resolve) => {
      allRan = resolve;
    });
    const done = task("done", (_values: readonly unknown[]) => {
      if (--left === 0) allRan();
    });
    const { app, worker } = await running([ends, done], { lovage_fail_unreachable: false });
    const result = await app.apply(ends.s());
    await ran;
    await worker.stop();
    expect(await result.state()).toBe("PENDING");
  });

  test("keeps the place in a chain and in a chord", async () => {
    const { app } = await running([twice, fan, steps]);
    const result = await app.apply(
      chord([chain(twice.s({ x: 1 }), add.s(1)), steps.s({ x: 1 }), twice.s({ x: 3 })], total.s()),
    );
    expect(await result.get(timeout)).toBe(3 + 12 + 6);
  });

  test("refuses an empty chain", async () => {
    const empty = task("empty", { params: {} }, (_params, ctx) =>
      ctx.replace({ ...add.s(1, 1).toJSON(), subtask_type: "chain", kwargs: { tasks: [] } }),
    );
    const { app } = await running([empty]);
    const result = await app.apply(empty.s({}));
    await expect(result.get(timeout)).rejects.toMatchObject({ args: ["Cannot replace with an empty chain"] });
  });
});

describe("chunks as one link among others", () => {
  const pairs = [
    [1, 2],
    [3, 4],
  ] as [number, number][];
  const chunks = add.chunks(pairs, 1);
  const split = task("split", (): number[][] => currentTask()!.replace(chunks));
  const values = async (app: Celery, tuple: ResultTuple) =>
    Promise.all((tuple[1] ?? []).map(([[id]]) => app.result(id).get(timeout)));
  const unencodable = {
    type: "EncodeError",
    module: "kombu.exceptions",
    args: ["TypeError('Object of type GroupResult is not JSON serializable')"],
  };

  test("in the place of a task they answer for its id with the group's tuple, as they do at the end of a chain", async () => {
    const { app } = await running([split]);
    for (const signature of [split.s(), chain(add.s(1, 2), chunks)] as AnySignature[]) {
      const result = await app.apply(signature as ReturnType<typeof split.s>);
      const tuple: unknown = await result.get(timeout);
      expect(await values(app, readResultTuple(tuple))).toEqual([[3], [7]]);
    }
  });

  test("they are one part of a chord: as a member, in the place of one, and added to it", async () => {
    const more = task("more", async () => {
      await currentTask()!.addToChord(chunks);
      return 1;
    });
    const { app } = await running([split, more]);
    for (const member of [chunks, split.s(), more.s()] as AnySignature[]) {
      const result = await app.apply(chord([member as ReturnType<typeof more.s>, add.s(1, 1)], echo.s()));
      const parts = (await result.get(timeout)) as unknown[];
      expect(parts).toContain(2);
      const tuple = parts.find(Array.isArray);
      expect(await values(app, readResultTuple(tuple))).toEqual([[3], [7]]);
    }
  });

  test.each<[string, AnySignature]>([
    ["a task", echo.s()],
    ["a chain", chain(echo.s(), echo.si(1))],
    ["a group", group(echo.si(1), echo.s())],
    ["a chord", chord([echo.si(1), echo.s()], echo.si(2))],
  ])("they fail in Celery's words when %s would get their result, and so does that", async (_what, next) => {
    const { app } = await running([split]);
    for (const first of [chunks, split.s()] as AnySignature[]) {
      const loose = signatureFrom(chain(first as ReturnType<typeof echo.s>, next as ReturnType<typeof echo.s>));
      const result = await app.apply(loose);
      await expect(result.get(timeout)).rejects.toMatchObject(unencodable);
      if (!(result instanceof GroupResult))
        await expect(result.parent?.get(timeout)).rejects.toMatchObject(unencodable);
    }
    const linked = await app.apply(chain(add.s(1, 2), signatureFrom(chunks).link(signatureFrom(next))));
    await expect(linked.get(timeout)).rejects.toMatchObject(unencodable);
  });

  test("what follows without taking their result runs", async () => {
    const { app } = await running();
    for (const next of [add.si(1, 2), echo.map([1]), group(add.si(1, 1), add.si(2, 2))]) {
      const result = await app.apply(signatureFrom(chain(signatureFrom(chunks), signatureFrom(next))));
      await result.get(timeout);
      expect(await result.parent?.get(timeout)).toHaveLength(2);
    }
  });
});

test("a part may add another to its chord", async () => {
  const more = task("more", { params: { x: z.number() } }, async ({ x }, ctx) => {
    await ctx.addToChord(add.s(x, 100));
    return x;
  });
  const { app } = await running([more]);
  const result = await app.apply(chord([more.s({ x: 1 }), add.s(1, 1)], total.s()));
  expect(await result.get(timeout)).toBe(1 + 2 + 101);
});

test("a part may add a group to its chord, and the body gets all of it", async () => {
  const more = task("more", { params: { x: z.number() } }, async ({ x }, ctx) => {
    await ctx.addToChord(group([add.s(x, 100), add.s(x, 200), chain(add.s(x, 1), add.s(1000))]));
    await ctx.addToChord(chain(add.s(x, 1), group([add.s(5000), add.s(6000)])));
    return x;
  });
  const { app } = await running([more]);
  const result = await app.apply(chord([more.s({ x: 1 }), add.s(1, 1)], echo.s()));
  const values = (await result.get(timeout)) as number[];
  expect(values.toSorted((a, b) => a - b)).toEqual([1, 2, 101, 201, 1002, 5002, 6002]);
});

test.each<[string, AnySignature, RegExp]>([
  [
    "has no form",
    add
      .s(1)
      .set({ countdown: 1 })
      .clone({ args: [() => 1] as never[] }),
    /./,
  ],
  ["no queue takes", add.s(1, 2).set({ exchange: "nobody-listens", routingKey: "here" }), /nobody-listens/],
])("a part that is to be added to a chord and %s is not waited for", async (_how, member, words) => {
  const more = task("more", { params: {} }, async (_params, ctx) => {
    await expect(ctx.addToChord(member)).rejects.toThrow(words);
    return 1;
  });
  const { app } = await running([more]);
  const result = await app.apply(chord([more.s({}), add.s(1, 1)], total.s()));
  expect(await result.get(timeout)).toBe(3);
});

describe("a part that is added to a chord while the connection breaks", () => {
  /** The broker takes messages for `added`, and nobody hears of it. */
  function loseAnswers(): Disposable {
    const { publish, publishAll } = Publisher.prototype;
    const lose = (messages: readonly Message[]) => {
      if (messages.some(({ headers }) => headers?.task === "added")) throw new ConnectionLost("no answer");
    };
    const spies = [
      vi.spyOn(Publisher.prototype, "publish").mockImplementation(async function (this: Publisher, ...given) {
        await publish.apply(this, given);
        lose([given[0]]);
      }),
      vi.spyOn(Publisher.prototype, "publishAll").mockImplementation(async function (this: Publisher, ...given) {
        await publishAll.apply(this, given);
        lose(given[0]);
      }),
    ];
    return { [Symbol.dispose]: () => spies.forEach((spy) => void spy.mockRestore()) };
  }

  async function added(member: AnySignature, settings: Record<string, unknown> = {}) {
    using _lost = loseAnswers();
    let runs = 0;
    let bodies = 0;
    const counting = task("added", () => ++runs);
    const body = task("body", () => ++bodies);
    const more = task("more", { params: {} }, async (_params, ctx) => {
      await expect(ctx.addToChord(member)).rejects.toThrow("no answer");
      return 1;
    });
    const { app } = await running([counting, body, more], settings);
    const { id } = await app.apply(chord([more.s({}), add.s(1, 1)], signature("body")));
    const end = await app.result(id).get({ timeout: 2_000 }).catch(String);
    await expect.poll(() => runs).toBeGreaterThan(0);
    return { end, bodies };
  }

  const one = signature("added");
  test.each<[string, AnySignature]>([
    ["one task", one],
    ["a group", group([one, one])],
    ["a chain that ends in a group", chain(one, group([add.si(1, 1), add.si(2, 2)]))],
  ])("fails the chord, whose body never runs: %s", async (_what, member) => {
    const { end, bodies } = await added(member);
    expect(end).toMatch(/ChordError.*A part could not be added.*no answer/);
    expect(bodies).toBe(0);
  });

  test("is waited for as in Celery when the settings say so", async () => {
    expect(await added(one, { lovage_fail_unreachable: false })).toEqual({ end: 1, bodies: 1 });
  });
});

test("a retry inside a chord keeps its place", async () => {
  const second = task("second", { params: { x: z.number() }, maxRetries: 3 }, ({ x }, ctx) =>
    ctx.retries === 0 ? ctx.retry({ countdown: 0 }) : x,
  );
  const { app } = await running([second]);
  const result = await app.apply(chord([second.s({ x: 1 }), chain(second.s({ x: 2 }), add.s(3))], echo.s()));
  expect(await result.get(timeout)).toEqual([1, 5]);
});

describe("built-in tasks", () => {
  test("are not listed", async () => {
    const { worker } = await running();
    expect(worker.taskNames.filter((name) => name.startsWith("celery."))).toEqual([]);
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      "replaced by nothing",
      () => currentTask()?.replace(null as never),
      /ctx\.replace\(\).*must be a signature, not null/,
    ],
    ["replaced by a task", () => currentTask()?.replace(add as never), /must be a signature.*add is a task/],
    ["added as a number", () => currentTask()?.addToChord(5 as never), /ctx\.addToChord\(\).*a signature, not 5/],
    ["added and empty", () => currentTask()?.addToChord(group([])), /Cannot add an empty chain or group to a chord/],
  ])("what cannot follow a task is refused: %s", async (_what, act, words) => {
    const { app } = await running([task("wrong", () => act())]);
    const wrong = signature("wrong");
    const sent = await app.apply(chord([wrong], total.s() as never));
    await expect(app.result(sent.id).get(timeout)).rejects.toThrow(words);
  });

  test("an item of a map that asks for a retry, or to be replaced, fails the map: it has no message of its own", async () => {
    const again = task("again", (_value: number): number => currentTask()!.retry({ exc: new RangeError("gave up") }));
    const other = task("other", (_value: number): number => currentTask()!.replace(add.s(1, 2)));
    const { app } = await running([again, other]);
    await expect((await app.apply(again.map([1, 2]))).get(timeout)).rejects.toThrow("gave up");
    await expect((await app.apply(other.map([1, 2]))).get(timeout)).rejects.toThrow("cannot be replaced");
  });

  test("map and starmap call the task for each item", async () => {
    const { app } = await running();
    const starmap = await app.sendTask("celery.starmap", [
      add.s().toJSON(),
      [
        [1, 2],
        [3, 4],
      ],
    ]);
    expect(await starmap.get(timeout)).toEqual([3, 7]);
    const map = await app.sendTask("celery.map", [], { task: echo.s().toJSON(), it: [1, "two"] });
    expect(await map.get(timeout)).toEqual([1, "two"]);
    const unknown = await app.sendTask("celery.map", [{ task: "unheard.of" }, [1]]);
    await expect(unknown.get(timeout)).rejects.toMatchObject({ name: "NotRegistered" });
  });

  test("map, starmap and chunks go through texts and objects as Python does, and maps through maps", async () => {
    const { app } = await running();
    const each = async (name: string, args: unknown[]) => (await app.sendTask(name, args)).get(timeout);
    expect(await each("celery.map", [echo.s().toJSON(), "añ𝄞"])).toEqual(["a", "ñ", "𝄞"]);
    expect(await each("celery.map", ["echo", { a: 1, b: 2 }])).toEqual(["a", "b"]);
    expect(await each("celery.starmap", [add.s().toJSON(), ["ab", { c: 1, d: 2 }]])).toEqual(["ab", "cd"]);
    const chunks = await app.apply(
      signatureFrom({ task: "celery.chunks", kwargs: { task: echo.s().toJSON(), it: "abc", n: 2 } }),
    );
    expect(await chunks.get(timeout)).toEqual([["a", "b"], ["c"]]);
    const maps = [
      [echo.s().toJSON(), [1, 2]],
      [echo.s().toJSON(), [3]],
    ];
    expect(await each("celery.starmap", [{ task: "celery.map" }, maps])).toEqual([[1, 2], [3]]);
    expect(await each("celery.starmap", [{ task: "celery.accumulate" }, [[1, 2], []]])).toEqual([[1, 2], []]);
    await expect(each("celery.map", [echo.s().toJSON(), 5])).rejects.toMatchObject({ type: "TypeError" });
    await expect(each("celery.map", [echo.s().toJSON(), [1], 5])).rejects.toMatchObject({ type: "TypeError" });
  });

  test("accumulate gives its arguments, or one of them", async () => {
    const { app } = await running();
    expect(await (await app.sendTask("celery.accumulate", [1, 2])).get(timeout)).toEqual([1, 2]);
    expect(await (await app.sendTask("celery.accumulate", [1, 2], { index: 1 })).get(timeout)).toBe(2);
  });

  test("chunks is a group of starmaps", async () => {
    const { app } = await running();
    const sent = await app.sendTask("celery.chunks", [
      add.s().toJSON(),
      [
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      2,
    ]);
    const tuple = (await sent.get(timeout)) as [[string, null], [[string, null], null][]];
    const values = await Promise.all(tuple[1].map(([[id]]) => app.result(id).get(timeout)));
    expect(values).toEqual([[2, 4], [6]]);
  });

  test("chord starts a chord, chain is no task, cleanup has nothing to do", async () => {
    const { app } = await running();
    const sent = await app.sendTask("celery.chord", [[add.s(1).toJSON(), add.s(2).toJSON()], total.s().toJSON(), [10]]);
    const [[body]] = (await sent.get(timeout)) as [[string, null], null];
    expect(await app.result(body).get(timeout)).toBe(23);
    const none = await app.sendTask("celery.chain", []);
    await expect(none.get(timeout)).rejects.toMatchObject({ type: "NotImplementedError" });
    expect(await (await app.sendTask("celery.backend_cleanup", [])).get(timeout)).toBeNull();
  });
});

describe("where results are files, which nobody counts", () => {
  async function inFiles(settings: Record<string, unknown> = {}) {
    const folder = await tempFolder("unlock");
    folders.push(folder);
    return running([], settings, `file://${folder.path}`);
  }

  test("a chord is unlocked when its header has ended", async () => {
    const { app } = await inFiles();
    const result = await app.apply(chord([add.s(1, 1), chain(add.s(1, 1), group([add.s(1), add.s(2)]))], echo.s()));
    expect(await result.get(timeout)).toEqual([2, [3, 4]]);
  });

  test("a failed part fails the body with its own error's text", async () => {
    const { app } = await inFiles();
    const result = await app.apply(chord([add.s(1, 1), fail.s()], echo.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({
      name: "ChordError",
      message: "ValueError('no')",
    });
  });

  test("a part whose result is ignored is a part nevertheless, well or failed", async () => {
    const { app } = await inFiles();
    const quiet = { ignoreResult: true };
    const good = await app.apply(chord([add.s(1, 1).set(quiet), chain(add.s(1, 1), add.s(1).set(quiet))], echo.s()));
    expect(await good.get(timeout)).toEqual([2, 3]);
    const bad = await app.apply(chord([add.s(1, 1), fail.s().set(quiet)], echo.s()));
    await expect(app.result(bad.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
  });

  test("what stands behind a dropped part fails the body once", async () => {
    const { app, worker } = await inFiles();
    const result = await app.apply(chord([add.s(1, 1), chain(ignored.s(), add.s(1))], echo.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
    await expect.poll(() => worker.scheduled).toBe(0);
  });

  test("an ignored part fails the body, and nobody looks at the chord any more", async () => {
    const { app, worker } = await inFiles();
    const result = await app.apply(chord([add.s(1, 1), ignored.s()], echo.s()));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({ name: "ChordError" });
    await expect.poll(() => worker.scheduled).toBe(0);
    expect((await app.transport.inspectQueue("celery"))?.messages ?? 0).toBe(0);
  });
});
