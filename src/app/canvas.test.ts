import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { chainOf } from "../../protocol/celery/canvas/compose.ts";
import { EncodeError } from "../../protocol/errors.ts";
import { encodeJson } from "../../protocol/json.ts";
import { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { signature, signatureFrom } from "../canvas/signature-from.ts";
import { AsyncResult } from "../client/async-result.ts";
import { GroupResult } from "../client/group-result.ts";
import { resultGraph } from "../client/result-tree.ts";
import { ChordsNotSupported } from "../result-backends/chord-counter.ts";
import { silentLog } from "../runtime/log.ts";
import { currentTask } from "../tasks/context.ts";
import { type AnyTask, task } from "../tasks/definition.ts";
import { TaskArgumentError, TaskValidationError, TimeoutError } from "../tasks/errors.ts";
import type { Delivery } from "../transports/transport.ts";
import { Worker } from "./worker.ts";

const add = task("add", (x: number, y: number) => x + y);
const total = task("total", (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0));
const greet = task(
  "greet",
  { params: { name: z.string(), word: z.string().default("Hello") } },
  ({ name, word }) => `${word}, ${name}`,
);

const apps: Celery[] = [];
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

function appWith(settings: Record<string, unknown> = {}): Celery {
  const app = new Celery(`canvas-${randomUUID()}`, {
    tasks: [add, total, greet],
    broker: "memory://",
    backend: "memory://",
    settings,
    log: silentLog,
    env: {},
  });
  apps.push(app);
  return app;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = [];
  for await (const item of items) gathered.push(item);
  return gathered;
}

interface Sent {
  task: string;
  headers: Record<string, unknown>;
  args: unknown[];
  kwargs: Record<string, unknown>;
  embed: Record<string, unknown>;
  priority: unknown;
}

/** The next messages of the default queue. */
async function taken(app: Celery, count: number): Promise<Sent[]> {
  const messages: Sent[] = [];
  await new Promise<void>((resolve, reject) => {
    app.transport
      .consume(["celery"], { prefetch: 0 }, (delivery: Delivery) => {
        const [args, kwargs, embed] = JSON.parse(new TextDecoder().decode(delivery.message.body));
        const headers = { ...delivery.message.headers };
        const { priority } = delivery.message.properties;
        messages.push({ task: String(headers.task), headers, args, kwargs, embed, priority });
        delivery.ack();
        if (messages.length === count) resolve();
      })
      .catch(reject);
  });
  return messages;
}

describe("apply", () => {
  test("sends a task with the signature's options beneath those of the call", async () => {
    const app = appWith();
    const result = await app.apply(add.s(1, 2).set({ taskId: "one", priority: 3 }), { priority: 5 });
    expect(result).toBeInstanceOf(AsyncResult);
    expect(result.id).toBe("one");
    const [sent] = await taken(app, 1);
    expect(sent).toMatchObject({ task: "add", args: [1, 2], headers: { id: "one", root_id: "one", parent_id: null } });
  });

  test("gives map, starmap and chunks the default priority, which a task known by its name alone has not", async () => {
    const app = appWith({ task_default_priority: 4 });
    const high = add.map([2]).set({ priority: 5 });
    await app.apply(group(add.s(1, 2), add.map([1]), high, signature("python.task")));
    await app.apply(add.chunks([[1, 2]], 1));
    const sent = (await taken(app, 5)).map(({ task: name, priority }) => `${name} ${String(priority)}`);
    expect(sent.sort()).toEqual(["add 4", "celery.map 4", "celery.map 5", "celery.starmap 4", "python.task 0"]);
  });

  test("gives null at once for one task whose result nobody keeps, a map too, as Celery does", async () => {
    const app = appWith();
    const unkept = { ignoreResult: true };
    expect(await (await app.apply(add.s(1, 2), unkept)).get({ timeout: 0 })).toBeNull();
    expect(await (await app.apply(add.map([1]).set(unkept))).get({ timeout: 0 })).toBeNull();
    expect(await (await app.apply(add.starmap([[1, 2]]), unkept)).get({ timeout: 0 })).toBeNull();
    const kept = await app.apply(add.map([1]).set(unkept), { ignoreResult: false });
    await expect(kept.get({ timeout: 0 })).rejects.toThrow(TimeoutError);
  });

  test("sends the first step of a chain with the rest, and gives the last one's result with the others as parents", async () => {
    const app = appWith();
    const result = await app.apply(chain(add.s(1, 2), add.s(3), greet.si({ name: "you" })));
    expect(result).toBeInstanceOf(AsyncResult);
    const [sent] = await taken(app, 1);
    expect(sent?.args).toEqual([1, 2]);
    const rest = sent?.embed.chain;
    expect(rest).toMatchObject([
      { task: "greet", kwargs: { name: "you" }, immutable: true },
      { task: "add", args: [3] },
    ]);
    expect(result.parent?.parent?.id).toBe(sent?.headers.id);
    expect(result.parent?.parent?.parent).toBe(null);
  });

  test("sends all members of a group in order", async () => {
    const app = appWith();
    const result = await app.apply(group([1, 2, 3].map((n) => add.s(n, n))));
    expect(result).toBeInstanceOf(GroupResult);
    const sent = await taken(app, 3);
    expect(sent.map(({ args }) => args)).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(sent.map(({ headers }) => [headers.group, headers.group_index])).toEqual(
      [0, 1, 2].map((n) => [result.id, n]),
    );
    expect(result.results.map(({ id }) => id)).toEqual(sent.map(({ headers }) => headers.id));
  });

  test("tells the backend how many parts a chord has before anything is sent", async () => {
    const app = appWith();
    const started: unknown[] = [];
    const { chords } = app.backend ?? {};
    if (chords === undefined) throw new TypeError("the memory backend counts");
    const start = chords.start.bind(chords);
    chords.start = async (groupId, given) => {
      started.push([groupId, given.size]);
      await start(groupId, given);
    };
    const result = await app.apply(chord([add.s(1, 2), add.s(3, 4)], total.s()));
    expect(started).toEqual([[result.parent?.id, 2]]);
    const sent = await taken(app, 2);
    expect(sent.map(({ embed }) => embed.chord)).toMatchObject([{ task: "total" }, { task: "total" }]);
  });

  test("makes all messages before it sends the first", async () => {
    const app = appWith();
    const bad = add.signature({ args: [() => undefined, 1] });
    await expect(app.apply(group([add.s(1, 2), bad]))).rejects.toThrow(EncodeError);
    await app.apply(add.s(7, 8));
    const [sent] = await taken(app, 1);
    expect(sent?.args).toEqual([7, 8]);
  });

  test("refuses arguments of what would start now, and leaves those of later steps to their workers", async () => {
    const app = appWith();
    const wrong = greet.signature({ kwargs: { name: 5 } });
    await expect(app.apply(wrong)).rejects.toThrow(TaskValidationError);
    await expect(app.apply(chord(group(chain(wrong, add.si(1, 2))), total.s()))).rejects.toThrow(TaskValidationError);
    await expect(app.apply(greet.signature({ kwargs: { nam: "x" } }))).rejects.toThrow(TaskArgumentError);
    await expect(app.apply(chain(add.s(1, 2), wrong))).resolves.toBeInstanceOf(AsyncResult);
  });

  test("refuses a chord when results are not stored, and sends nothing", async () => {
    const app = new Celery("no-results", { broker: "memory://", log: silentLog, env: {}, settings: {} });
    apps.push(app);
    await expect(app.apply(chord([add.s(1, 2)], total.s()))).rejects.toThrow(ChordsNotSupported);
    const later = chord([add.s(1, 2), add.s(1, 2)], total.s());
    const ways = [
      add.s(1, 2).link(later as never),
      add.s(1, 2).linkError(later),
      add.s(1, 2).link(chain(add.s(1), group([add.s(1), add.s(2)]), total.s()) as never),
      add.s(1, 2).link(add.s(1).link(later as never)),
      chain(add.s(1, 2), add.s(1).linkError(group([add.s(1), later]))),
      group([add.s(1, 2), add.s(1, 2).linkError(later)]),
    ];
    for (const way of ways) await expect(app.apply(way)).rejects.toThrow(ChordsNotSupported);
    await expect(app.send(add, [1, 2], { link: later })).rejects.toThrow(ChordsNotSupported);
    await expect(app.sendTask("add", [1, 2], {}, { linkError: [later] })).rejects.toThrow(ChordsNotSupported);
    await expect(app.send(add, [1, 2], { link: chain(add.s(1), add.s(2)) })).resolves.toBeInstanceOf(AsyncResult);
    await expect(app.apply(chain(add.s(1, 2), group(add.s(1), add.s(2)), total.s()))).rejects.toThrow(
      "requires a result backend to be configured",
    );
    await expect(app.apply(add.s(1, 2))).resolves.toBeInstanceOf(AsyncResult);
  });

  test("refuses an empty chain, and gives an empty group at once", async () => {
    const app = appWith();
    for (const empty of [chain(), signatureFrom(chainOf([chainOf([])]))]) {
      const refused = { name: "ImproperlyConfigured", message: "an empty chain has nothing to send and no result" };
      await expect(app.apply(empty)).rejects.toMatchObject(refused);
      await expect(app.freeze(empty)).rejects.toMatchObject(refused);
    }
    expect(await (await app.apply(group())).get()).toEqual([]);
  });

  test("passes on a signature of Python's with all that it holds", async () => {
    const app = appWith();
    const json = {
      task: "add",
      args: [1, 2],
      kwargs: {},
      options: { queue: "celery", unheard_of: 3, priority: 4 },
      subtask_type: null,
      immutable: true,
      chord_size: null,
    };
    const signature = signatureFrom(json);
    expect(encodeJson(signature)).toBe(encodeJson(json));
    await app.apply(signature);
    expect(await taken(app, 1)).toMatchObject([{ task: "add", args: [1, 2] }]);
  });
});

const double = task("double", (x: number) => x * 2);
const fail = task("fail", (): number => {
  throw new RangeError("no");
});
const checked = task(
  "checked",
  { params: { text: z.string() }, returns: z.object({ at: z.coerce.date() }) },
  ({ text }) => ({
    at: text,
  }),
);

describe("with a worker", () => {
  const workers: Worker[] = [];
  afterEach(async () => {
    for (const worker of workers.splice(0)) await worker.stop("cold");
  });

  async function running(...tasks: readonly AnyTask[]): Promise<Celery> {
    const app = appWith();
    app.register(double, fail, checked, ...tasks);
    workers.push(await new Worker(app, { concurrency: 8 }).start());
    return app;
  }
  const timeout = { timeout: 5_000 };

  test("a chain gives the last value, and its parents the others", async () => {
    const app = await running();
    const result = await app.apply(chain(add.s(1, 2), add.s(3), double.s()));
    expect(await result.get(timeout)).toBe(12);
    expect(await result.parent?.get(timeout)).toBe(6);
    expect(await result.parent?.parent?.get(timeout)).toBe(3);
  });

  test("a chain that ends in a group gives the group's values", async () => {
    const app = await running();
    const result = await app.apply(chain(add.s(1, 2), group(add.s(1), double.s())));
    const [sum, twice] = await result.get(timeout);
    expect([sum, twice]).toEqual([4, 6]);
    expect(await result.completedCount()).toBe(2);
  });

  test("values at the end of a workflow are checked like those of a task", async () => {
    const app = await running();
    const result = await app.apply(group(checked.s({ text: "2030-01-02" }), checked.s({ text: "2031-01-02" })));
    const [first] = await result.get(timeout);
    expect(first.at).toEqual(new Date("2030-01-02"));
  });

  test("members of a group come as they end", async () => {
    const gates = [0, 1, 2].map(() => new EventTarget());
    const opened = gates.map((gate) => once(gate, "open"));
    const openGate = (index: number) => gates[index]?.dispatchEvent(new Event("open"));
    const gated = task("gated", async (index: number) => {
      await opened[index];
      return index;
    });
    const app = await running(gated);
    const result = await app.apply(group([0, 1, 2].map((index) => gated.s(index))));
    const seen: unknown[] = [];
    openGate(2);
    for await (const { index, value } of result) {
      seen.push([index, value]);
      openGate(seen.length === 1 ? 0 : 1);
    }
    expect(seen).toEqual([
      [2, 2],
      [0, 0],
      [1, 1],
    ]);
  });

  test("a member that fails ends the wait for the others, unless errors are values", async () => {
    const app = await running();
    const result = await app.apply(group(add.s(1, 2), fail.s()));
    await expect(result.get(timeout)).rejects.toThrow("no");
    const values = await result.get({ ...timeout, propagate: false });
    expect(values).toEqual([3, expect.any(Error)]);
    await expect(all(result.finished(timeout))).rejects.toThrow("no");
    const finished = await all(result.finished({ ...timeout, propagate: false }));
    expect(finished.map(({ index }) => index).sort()).toEqual([0, 1]);
  });

  test("a group that is saved can be found again by its id", async () => {
    const app = await running();
    const result = await app.apply(group(add.s(1, 2), add.s(3, 4)));
    await result.save();
    const restored = await app.restoreGroup(result.id);
    expect(restored?.toTuple()).toEqual(result.toTuple());
    expect(await restored?.get(timeout)).toEqual([3, 7]);
    await restored?.delete();
    expect(await app.restoreGroup(result.id)).toBe(null);
  });

  test("what a task applies becomes its child: the group as a group, the chain as its first step", async () => {
    const parent = task("parent", async () => {
      const inner = currentTask();
      const sums = await app.apply(group(add.s(1, 2), add.s(3, 4)));
      const line = await app.apply(chain(add.s(1, 1), double.s()));
      return [inner?.id, sums.id, line.parent?.id];
    });
    const app = await running(parent);
    const result = await app.apply(parent.s());
    const [id, group1, first] = (await result.get(timeout)) as string[];
    expect(id).toBe(result.id);
    const children = await result.children();
    expect(children.map((child) => child.id)).toEqual([group1, first]);
    expect(children[0]).toBeInstanceOf(GroupResult);
    const values = await all(result.collect(timeout));
    expect(values.length).toBe(6);
    expect(values.find(([one]) => one.id === group1)?.[1]).toEqual([3, 7]);
    const graph = await resultGraph(result);
    expect(graph.edges).toContainEqual([result.id, group1]);
    expect(graph.toText().split("\n").length).toBe(6);
  });

  test("a frozen workflow is sent under the ids it was given", async () => {
    const app = await running();
    const frozen = await app.freeze(chain(add.s(1, 2), group(add.s(1), double.s())));
    const result = await app.apply(frozen.signature);
    expect(result.toTuple()).toEqual(frozen.result.toTuple());
    expect(await frozen.result.get(timeout)).toEqual([4, 6]);
  });

  test("map, starmap and chunks run inside one task or a few", async () => {
    const app = await running();
    expect(await (await app.apply(double.map([1, 2, 3]))).get(timeout)).toEqual([2, 4, 6]);
    expect(
      await (
        await app.apply(
          add.starmap([
            [1, 2],
            [3, 4],
          ]),
        )
      ).get(timeout),
    ).toEqual([3, 7]);
    const chunked = await app.apply(
      add.chunks(
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        2,
      ),
    );
    expect(await chunked.get(timeout)).toEqual([[3, 7], [11]]);
    const json: unknown = JSON.parse(JSON.stringify(add.chunks([[1, 2]], 1)));
    const fromJson = await app.apply(signatureFrom(json));
    expect(fromJson).toBeInstanceOf(GroupResult);
    expect(await fromJson.get(timeout)).toEqual([[3]]);
  });

  test("chunks that are frozen are a group, whose results have the ids that were promised", async () => {
    const app = await running();
    const frozen = await app.freeze(
      add.chunks(
        [
          [1, 2],
          [3, 4],
        ],
        1,
      ),
    );
    const sent = await app.apply(frozen.signature);
    expect(sent.toTuple()).toEqual(frozen.result.toTuple());
    expect(await frozen.result.get(timeout)).toEqual([[3], [7]]);
  });
});

test("the signal of a chord ends the wait for a result store that is away; then nothing is sent", async () => {
  const app = appWith();
  const asked = new EventEmitter();
  const begun = once(asked, "start");
  const counter = app.backend?.chords;
  if (counter === undefined) return expect.fail("the store counts chords");
  vi.spyOn(counter, "start").mockImplementation(() => {
    asked.emit("start");
    return new Promise(() => undefined);
  });
  const publish = vi.spyOn(app.transport, "publish");
  const stop = new AbortController();
  const applied = app.apply(chord([add.s(1, 2), add.s(3, 4)], total.s()), { signal: stop.signal });
  const refused = expect(applied).rejects.toThrow("enough");
  await begun;
  stop.abort(new Error("enough"));
  await refused;
  expect(publish).not.toHaveBeenCalled();
  await expect(app.apply(chord([add.s(1, 2)], total.s()), { signal: stop.signal })).rejects.toThrow("enough");
});

test("a chord does not wait for ever for a result store that is away: it is not sent, and the error says why", async () => {
  const app = appWith({ lovage_result_lost_after: 0.25 });
  const { backend } = app;
  if (backend?.chords === undefined) return expect.fail("the store counts chords");
  vi.spyOn(backend.chords, "start").mockReturnValue(new Promise(() => undefined));
  backend.outage = () => new Error("connect ECONNREFUSED 127.0.0.1:1");
  const publish = vi.spyOn(app.transport, "publish");
  await expect(app.apply(chord([add.s(1, 2)], total.s()))).rejects.toMatchObject({
    name: "BackendUnavailable",
    code: "BACKEND_UNAVAILABLE",
    message: expect.stringMatching(/away for 0.25 s.*ECONNREFUSED/),
  });
  expect(publish).not.toHaveBeenCalled();
});
