/** Bodies in threads and processes, called by Python: arguments, results, errors and everything `ctx` can do. */
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { kinds } from "../faults/support.ts";
import { writesPoolFeatures } from "./features.ts";
import { openStage, QUEUE } from "./support.ts";

const cells = kinds.flatMap((kind) => (["threads", "processes"] as const).map((pool) => ({ kind, pool })));

describe.each(cells)("the pool $pool on $kind", (cell) => {
  test("runs what Python sends, in children, with Python's values and every way to end", async () => {
    await using stage = await openStage(cell);
    const { call } = stage;

    const where = await call("pool.where");
    expect(where).toMatchObject({ value: { main: cell.pool === "processes" } });
    const values = [1, 2n ** 70n, null, "é", [1, { a: 2.5 }]].map((value) =>
      typeof value === "bigint" ? Number.MAX_SAFE_INTEGER : value,
    );
    expect(await call("pool.echo", values)).toMatchObject({ state: "SUCCESS", value: values });
    expect(await call("pool.add", [], { x: 41 })).toMatchObject({ value: 42 });

    const raised = async (...given: [string, unknown[], object?]) => (await call(...given)).raised;
    expect(await raised("pool.add", ["x"])).toMatchObject({ type: "ValueError", module: "builtins" });
    expect(await raised("pool.add", [1, 2, 3])).toMatchObject({
      type: "TypeError",
      message: expect.stringContaining("takes"),
    });
    expect(await raised("pool.fail", ["type"])).toMatchObject({ type: "TypeError", message: "not that type" });
    expect(await raised("pool.fail", ["mapped"])).toMatchObject({ type: "PaymentFailed", args: ["no money", 42] });
    expect(await raised("pool.fail", ["text"])).toMatchObject({ type: "Exception", message: "only a text" });
    expect(await raised("pool.fail", ["reject"])).toMatchObject({ type: "Reject", module: "celery.exceptions" });
    expect(await raised("pool.fail", ["unencodable"])).toMatchObject({
      type: "EncodeError",
      module: "kombu.exceptions",
    });

    expect(await raised("pool.expected", [])).toMatchObject({ type: "PaymentFailed" });
    await stage.worker.waitForLog(/"level":30.*"task":"pool\.expected".*raised expected/);

    const failed = await stage.send("pool.fail", ["cause"]);
    await stage.python.get(failed, { timeout: 20_000 });
    const { traceback, info, raised: isError } = await stage.python.state(failed);
    expect(isError).toBe(true);
    expect(info).toMatchObject({ type: "Exception", message: "outer" });
    expect(traceback).toMatch(/Error: outer[\s\S]*fixtures\/app\.mjs[\s\S]*Caused by: Error: inner/);

    expect(await call("pool.about", [], { x: 4 }, { time_limit: 9, soft_time_limit: 8 })).toMatchObject({
      value: {
        id: true,
        name: "pool.about",
        kwargs: { x: 4 },
        retries: 0,
        hostname: "pooled@test",
        queue: QUEUE,
        root: true,
        limits: [9, 8],
        aborted: false,
      },
    });
    await stage.worker.waitForLog(/"x":4.*seen by the task/);
    expect(await call("pool.again", [], { times: 2 })).toMatchObject({ value: 2 });
    expect(await call("pool.auto")).toMatchObject({ value: 2 });
    const parent = await call("pool.parent", [], { name: "pool.add", queue: QUEUE });
    expect(parent).toMatchObject({ value: { values: [42, 3] } });
    expect(await call("pool.replaced", [], { queue: QUEUE })).toMatchObject({ value: 42 });
    await stage.endWell();
  });

  test("a chord, a chain, a map and a part added to a chord come back as Python built them", async () => {
    await using stage = await openStage(cell);
    const options = { queue: QUEUE };
    const add = (...args: number[]) => ({ task: "pool.add", args, options });
    const total = { task: "pool.total", options };
    const results = await Promise.all([
      stage.python.apply({ chord: [add(1, 2), add(3, 4)], body: total }),
      stage.python.apply({ chain: [add(1, 2), add(10), add(100)] }),
      stage.python.apply({
        task: "celery.map",
        kwargs: {
          task: { task: "pool.add", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false },
          it: [1, 2],
        },
        options,
      }),
      stage.python.apply({
        chord: [add(1, 2), { task: "pool.joined", kwargs: { queue: QUEUE }, options }],
        body: total,
      }),
    ]);
    const values = await Promise.all(results.map(({ tuple }) => stage.python.get({ tuple }, { timeout: 30_000 })));
    expect(values.map((value) => (value.raised === undefined ? value.value : value.raised))).toEqual([
      10,
      113,
      [2, 3],
      104,
    ]);
    await stage.endWell();
  });

  test("progress is seen while the body runs, and its children are on its record", async () => {
    await using stage = await openStage(cell);
    const gate = stage.folder.join("gate");
    const id = await stage.send("pool.progress", [], { gate });
    const seen = `import time
from celery.result import AsyncResult
for _ in range(2000):
    result = AsyncResult(task_id, app=app)
    if result.state == "PROGRESS":
        answer = [result.state, result.info]
        break
    time.sleep(0.02)
`;
    expect(await stage.python.run(seen, { task_id: id }, { timeout: 60_000 })).toEqual([
      "PROGRESS",
      { done: 1, of: 2 },
    ]);
    writeFileSync(gate, "");
    expect(await stage.python.get(id)).toMatchObject({ state: "SUCCESS", value: "done" });
    const parent = await stage.send("pool.parent", [], { name: "pool.add", queue: QUEUE });
    const got = await stage.python.get(parent, { timeout: 20_000 });
    const { children } = await stage.python.state(parent);
    expect(children).toHaveLength(2);
    expect(got.state).toBe("SUCCESS");
    await stage.endWell();
  });
});

writesPoolFeatures(import.meta.url);
