/** Workflows whose tasks run in either language, on one queue and one Redis, sent by either. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Celery } from "../app.ts";
import { chain } from "../canvas/chain.ts";
import { chord } from "../canvas/chord.ts";
import { group } from "../canvas/group.ts";
import { signature } from "../canvas/signature-from.ts";
import type { AnyResult } from "../client/async-result.ts";
import { silentLog } from "../runtime/log.ts";
import { connectRedis, loadRedis, parseRedisUrl, type Redis, whenReady } from "../runtime/redis-connection.ts";
import { currentTask } from "../tasks/context.ts";
import { task } from "../tasks/definition.ts";
import { Ignore } from "../tasks/signals.ts";
import { type PythonClient, startPythonClient } from "../testing/python-client.ts";
import { type PythonWorker, startPythonWorker } from "../testing/python-worker.ts";
import { type RedisServer, startRedis } from "../testing/redis-server.ts";
import { testService } from "../testing/services.ts";
import { Worker } from "./worker.ts";

const url = testService("LOVAGE_TEST_REDIS_URL");
const python = testService("LOVAGE_TEST_PYTHON_5_7_0");

interface Info {
  stamps: object;
  stamped_headers: string[];
  delivery_info: { priority: number };
}
type Answer = { value?: unknown; raised?: { repr: string } };

const queue = `workflow-${randomUUID()}`;
const ours = `${queue}-ours`;
const pythons = `${queue}-theirs`;
const ran: string[] = [];

const add = task("fixture.add", (x: number, y: number) => {
  ran.push("fixture.add");
  return x + y;
});
const mul = task("fixture.mul", (x: number, y: number) => x * y);
const xsum = task("fixture.xsum", (numbers: readonly number[]) => {
  ran.push("fixture.xsum");
  return numbers.reduce((sum, one) => sum + one, 0);
});
const echo = task("ours.echo", (value: unknown) => value);
const fail = task("ours.fail", (): number => {
  throw new RangeError("no leaves");
});
const ignored = task("ours.ignored", (): number => {
  throw new Ignore();
});
const twice = task("ours.twice", (x: number): number => currentTask()?.replace(chain(add.s(x, x), add.s(0))) ?? 0);

describe.skipIf(url === undefined || python === undefined)("workflows across languages", () => {
  let server: RedisServer;
  let redis = "";
  let app: Celery;
  let worker: Worker;
  let theirs: PythonWorker;
  let client: PythonClient;
  let admin: Redis;

  beforeAll(async () => {
    await loadRedis();
    server = await startRedis();
    redis = server.url;
    admin = connectRedis(parseRedisUrl(redis), { purpose: "test" });
    await whenReady(admin);
    const options = {
      python: python as string,
      broker: redis,
      backend: redis,
      settings: { task_queues: [queue, pythons], task_default_queue: queue, worker_prefetch_multiplier: 1 },
    };
    app = new Celery(`workflow-${queue}`, {
      tasks: [add, mul, xsum, echo, fail, ignored, twice],
      broker: redis,
      backend: redis,
      settings: { task_default_queue: queue, worker_prefetch_multiplier: 1 },
      log: silentLog,
      env: {},
    });
    worker = new Worker(app, { queues: [queue, ours], concurrency: 2 });
    [theirs, client] = await Promise.all([startPythonWorker(options), startPythonClient(options)]);
    await worker.start();
  });
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await theirs?.[Symbol.asyncDispose]();
    await worker?.stop("cold");
    await app?.close();
    admin?.disconnect();
    await server?.[Symbol.asyncDispose]();
  });

  const here = { queue: ours };
  const there = { queue: pythons };
  const timeout = { timeout: 60_000 };

  test("chords sent by Python, with parts wherever they run, complete exactly once each", async () => {
    const sent = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        client.apply({
          chord: [
            { task: "fixture.add", args: [index, 1] },
            {
              chain: [
                { task: "fixture.add", args: [index, 2] },
                { task: "fixture.mul", args: [10] },
              ],
            },
            { task: "fixture.add", args: [1.5, 0.5] },
          ],
          body: { task: "fixture.xsum" },
        }),
      ),
    );
    const values = await Promise.all(sent.map(async (one) => (await client.get(one, timeout)) as { repr: string }));
    expect(values.map(({ repr }) => Number(repr))).toEqual(
      Array.from({ length: 30 }, (_, index) => index + 1 + (index + 2) * 10 + 2),
    );
    expect(new Set(ran)).toEqual(new Set(["fixture.add", "fixture.xsum"]));
    // Who sends a body says so afterwards, and the body may have run by then.
    const keys = () => admin.keys("celery-taskset-meta-*");
    await expect.poll(async () => (await keys()).filter((key) => !key.endsWith(".c"))).toEqual([]);
    for (const key of await keys()) await expect.poll(() => admin.get(key)).toBe("done");
  });

  test("a chain through both languages, sent by each", async () => {
    const fromPython = await client.apply({
      chain: [
        { task: "fixture.add", args: [1, 2] },
        { task: "ours.echo", options: here },
        { task: "fixture.identity", options: there },
        { task: "fixture.mul", args: [7], options: here },
        {
          group: [
            { task: "fixture.identity", options: there },
            { task: "ours.echo", options: here },
          ],
        },
      ],
    });
    expect(await client.get(fromPython, timeout)).toMatchObject({ value: [21, 21] });
    const identity = task("fixture.identity", (value: number) => value);
    const fromHere = await app.apply(chain(add.s(1, 2), identity.s().set({ queue: pythons }), add.s(4)));
    expect(await fromHere.get(timeout)).toBe(7);
  });

  test("a part that failed here is named in the ChordError that Python sees, and its body's errback is told", async () => {
    const sent = await client.apply({
      chord: [
        { task: "fixture.add", args: [1, 1] },
        { task: "ours.fail", options: { ...here, task_id: `${queue}-part` } },
      ],
      body: { task: "fixture.xsum", link_error: [{ task: "ours.echo", options: here }] },
    });
    // By its id alone: with its parents Python would raise the part's own error.
    const { raised } = await client.get(sent.id, timeout);
    expect(raised).toMatchObject({
      type: "ChordError",
      module: "celery.exceptions",
      args: [`Dependency ${queue}-part raised ValueError('no leaves')`],
    });
  });

  test("a part that failed in Python is named by us in Python's words", async () => {
    const failing = task("fixture.fail", { queue: pythons }, (_type: string, _text: string) => 0);
    const header = [add.s(1, 1).set(here), failing.s("KeyError", "it's").set({ taskId: `${queue}-theirs` })];
    const result = await app.apply(chord(header, echo.s().set(here)));
    await expect(app.result(result.id).get(timeout)).rejects.toMatchObject({
      name: "ChordError",
      message: `Dependency ${queue}-theirs raised KeyError("it's")`,
    });
  });

  test("a part ignored here fails a chord that Python has sent", async () => {
    const sent = await client.apply({
      chord: [
        { task: "fixture.add", args: [1, 1] },
        { task: "ours.ignored", options: here },
      ],
      body: { task: "fixture.xsum" },
    });
    expect((await client.get(sent.id, timeout)).raised).toMatchObject({ type: "ChordError" });
  });

  test.each([
    ["ignored", { task: "ours.ignored", options: here }, "ours.ignored[%] ignored"],
    ["expired", { task: "fixture.add", args: [1, 1], options: { ...here, expires: -5 } }, "fixture.add[%] expired"],
  ])("what Python has put behind a step that is %s here fails for Python", async (how, step, words) => {
    const id = `${queue}-${how}`;
    const dropped = { ...step, options: { ...step.options, task_id: id } };
    const after = { task: "fixture.identity", options: there };
    const revoked = { type: "TaskRevokedError", module: "celery.exceptions" };
    const args = [`not run: ${words.replace("%", id)}`];
    const last = await client.apply({ chain: [dropped, after, after] });
    expect((await client.get(last.id, timeout)).raised).toMatchObject({ ...revoked, args });
    const inGroup = await client.apply({ group: [{ chain: [dropped, after] }, { task: "fixture.add", args: [1, 1] }] });
    expect((await client.get(inGroup, timeout)).raised).toMatchObject({ ...revoked, args });
    const inChord = await client.apply({
      chord: [{ chain: [dropped, after] }, { task: "fixture.add", args: [1, 1], options: there }],
      body: { task: "fixture.xsum", options: there },
    });
    expect((await client.get(inChord.id, timeout)).raised).toMatchObject({ type: "ChordError" });
  });

  test("what stands behind a task unknown here fails for Python", async () => {
    const last = await client.apply({
      chain: [
        { task: "never.heard.of", options: here },
        { task: "fixture.identity", options: there },
      ],
    });
    expect((await client.get(last.id, timeout)).raised).toMatchObject({
      type: "NotRegistered",
      args: ["never.heard.of"],
    });
  });

  test("a member that is twice in a header gives two results, when the worker that adds the second is ours", async () => {
    const twin = { task: "ours.echo", args: ["same"], options: { ...here, task_id: `${queue}-twin` } };
    const sent = await client.apply({ chord: [twin, twin], body: { task: "fixture.identity", options: there } });
    expect(await client.get(sent, timeout)).toMatchObject({ value: ["same", "same"] });
  });

  test("a replacement made here keeps its place in Python's chain and chord", async () => {
    const sent = await client.apply({
      chord: [
        {
          chain: [
            { task: "ours.twice", args: [3], options: here },
            { task: "fixture.add", args: [1] },
          ],
        },
        { task: "ours.twice", args: [5], options: here },
        { task: "fixture.add", args: [1, 1] },
      ],
      body: { task: "fixture.xsum" },
    });
    expect(await client.get(sent, timeout)).toMatchObject({ value: 7 + 10 + 2 });
  });

  test("chords in chords, groups in headers and groups as bodies, sent from here", async () => {
    const inner = chord([add.s(1, 1), add.s(2, 2)], xsum.s());
    const outer = await app.apply(chord([inner, chain(add.s(1, 0), group([add.s(1), add.s(2)]))], echo.s().set(here)));
    expect(await outer.get(timeout)).toEqual([6, [2, 3]]);
    const spread = await app.apply(chord([add.s(1, 1), add.s(2, 2)], group([xsum.s(), echo.s().set(here)])));
    expect(await spread.get(timeout)).toEqual([6, [2, 4]]);
  });

  test("whole floats stay floats on their way through a chord, counted or joined", async () => {
    const one = { task: "fixture.identity", args: [1.0], options: there };
    const [float, whole] = [`${queue}-float`, `${queue}-whole`];
    const echoFloat = { task: "fixture.add", args: [0.5, 0.5], options: { ...there, task_id: float } };
    const body = { task: "fixture.describe", options: there };
    const counted = await client.apply({ chord: [echoFloat, { task: "ours.echo", args: [2], options: here }], body });
    expect(JSON.stringify(await client.get(counted, timeout))).toMatch(/1\.0, 2\]/);
    const joined = await client.apply({
      chord: [
        { ...echoFloat, options: { ...there, task_id: whole } },
        { chain: [one, { group: [{ task: "ours.echo", options: here }] }] },
      ],
      body,
    });
    expect(JSON.stringify(await client.get(joined, timeout))).toMatch(/1\.0/);
  });

  test("stamps of a visitor and an inherited priority reach a Python task through a worker of ours", async () => {
    await using heir = new Celery(`heir-${queue}`, {
      tasks: [add, echo],
      broker: redis,
      backend: redis,
      settings: { task_default_queue: `${queue}-heir`, task_inherit_parent_priority: true },
      log: silentLog,
      env: {},
    });
    await using _worker = await new Worker(heir, { concurrency: 1 }).start();
    const told = signature("fixture.request_info").set(there);
    const workflow = chain(add.s(1, 2).set({ priority: 3 }).link(told), group(told, told), told).stampWith({
      onSignature: (one) => ({ where: one.task, plain: 7, stamped_headers: ["where"] }),
      onCallback: () => ({ called: [1, "back"] }),
    });
    const result = await heir.apply(workflow);
    const last = (await result.get(timeout)) as Info;
    const before = (await result.parent?.get(timeout)) as Info[];
    expect([...before, last].map(({ delivery_info }) => delivery_info.priority)).toEqual([3, 3, expect.anything()]);
    for (const info of [...before, last]) {
      expect(info.stamps).toMatchObject({ where: "fixture.request_info" });
      expect(info.stamped_headers).toEqual(["where"]);
    }
    const [called] = (await (result.parent as AnyResult)?.parent?.children()) ?? [];
    expect(await called?.get(timeout)).toMatchObject({
      stamps: { where: "fixture.request_info", called: [1, "back"] },
    });
  });

  test("a group that either has saved is found by the other, with its members, parents and values", async () => {
    const saved = await client.run(
      `
from celery import chain, group
step = app.signature
result = chain(step("fixture.add", (1, 1)), group(step("fixture.add", (10,)), step("fixture.add", (20,)))).apply_async()
result.save()
answer = [result.id, [child.id for child in result.children], result.parent.id]
`,
    );
    const [id, members, parent] = saved as [string, string[], string];
    const found = await app.restoreGroup(id);
    expect(found?.results.map((result) => "id" in result && result.id)).toEqual(members);
    expect(found?.parent?.id).toBe(parent);
    expect(await found?.get(timeout)).toEqual([12, 22]);
    expect(await found?.completedCount()).toBe(2);

    const sent = await app.apply(chain(add.s(2, 2), group([add.s(10), add.s(20)])));
    await sent.save();
    const theirs = await client.run(
      `
from celery.result import GroupResult
found = GroupResult.restore(group_id, app=app)
answer = [found.id, found.get(timeout=20), found.completed_count(), found.parent.get(), [child.id for child in found.children]]
`,
      { group_id: sent.id },
    );
    expect(theirs).toEqual([sent.id, [14, 24], 2, 4, sent.results.map((result) => "id" in result && result.id)]);
    await client.run("found = app.GroupResult.restore(group_id)\nfound.delete()", { group_id: sent.id });
    expect(await app.restoreGroup(sent.id)).toBeNull();
  });

  test("built-in tasks that Python sends run here", async () => {
    const starmap = await client.send(
      "celery.starmap",
      [
        { task: "fixture.add", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false },
        [
          [1, 2],
          [3, 4],
        ],
      ],
      {},
      here,
    );
    expect(await client.get(starmap, timeout)).toMatchObject({ value: [3, 7] });
    const accumulate = await client.send("celery.accumulate", [1.0, 2], { index: 0 }, here);
    expect(await client.get(accumulate, timeout)).toMatchObject({ repr: "1" });
  });

  test("each of Celery's nine tasks does the same whoever runs it, sent by either", async () => {
    const done = await app.send(add, [1, 2]);
    await done.get(timeout);
    const plain = { args: [], kwargs: {}, subtask_type: null, immutable: false };
    const to = (queue: string, name: string, args: unknown[] = [], options: object = {}) => {
      return { ...plain, task: name, args, options: { ...options, queue } };
    };
    const pairs = [
      [1, 2],
      [3, 4],
    ];
    interface Made {
      readonly args: unknown[];
      readonly kwargs?: Record<string, unknown>;
      /** What ends in its place: `chord_unlock` has no result. */
      readonly body?: string;
    }
    const calls: Record<string, (queue: string) => Made> = {
      "celery.accumulate": () => ({ args: [1, "two", null] }),
      "celery.backend_cleanup": () => ({ args: [] }),
      "celery.chain": () => ({ args: [] }),
      "celery.chord": (on) => ({ args: [pairs.map((pair) => to(on, "fixture.add", pair)), to(on, "fixture.xsum")] }),
      "celery.chord_unlock": (on) => {
        const body = randomUUID();
        const args = [randomUUID(), to(on, "fixture.xsum", [], { task_id: body })];
        return { args, kwargs: { result: [done.toTuple()] }, body };
      },
      "celery.chunks": (on) => ({ args: [to(on, "fixture.add"), pairs, 1] }),
      "celery.group": (on) => {
        const group_id = randomUUID();
        const members = pairs.map((pair) => to(on, "fixture.add", pair, { task_id: randomUUID(), group_id }));
        return { args: [members, [group_id, null], group_id, []] };
      },
      "celery.map": (on) => ({ args: [to(on, "fixture.xsum"), pairs] }),
      "celery.starmap": (on) => ({ args: [to(on, "fixture.add"), pairs] }),
    };
    /** Ids differ from call to call. */
    const known = (value: unknown) => {
      const isId = (one: unknown) => typeof one === "string" && /^[0-9a-f-]{36}$/.test(one);
      return JSON.stringify(value, (_key, one: unknown) => (isId(one) ? "id" : one));
    };
    const ends = async (id: string) => {
      const { value = null, raised = null } = (await client.get(id, timeout)) as Answer;
      return known(raised?.repr ?? value);
    };
    const seen: Record<string, string> = {};
    for (const [name, make] of Object.entries(calls)) {
      const all: string[] = [];
      for (const queue of [ours, pythons]) {
        const [mine, theirs] = [make(queue), make(queue)];
        const sent = await app.sendTask(name, mine.args, mine.kwargs, { queue });
        all.push(await ends(mine.body ?? sent.id));
        const id = await client.send(name, theirs.args, theirs.kwargs ?? {}, { queue });
        all.push(await ends(theirs.body ?? id));
      }
      expect(new Set(all).size, `${name}: ${all.join(" ")}`).toBe(1);
      seen[name] = all[0] ?? "";
    }
    expect(seen).toMatchObject({ "celery.chord_unlock": "3", "celery.map": "[3,7]", "celery.starmap": "[3,7]" });
  });
});
