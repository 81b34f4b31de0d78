/** Bodies that do not end by themselves: time limits, children that die, children that are worn. Python reads how it ended. */
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
import { kinds } from "../faults/support.ts";
import { writesPoolFeatures } from "./features.ts";
import { alive, openStage } from "./support.ts";

const cells = kinds.flatMap((kind) => (["threads", "processes"] as const).map((pool) => ({ kind, pool })));

describe.each(cells)("in the pool $pool on $kind", (cell) => {
  test("a soft limit aborts the signal, a hard one kills whatever the body does", async () => {
    await using stage = await openStage(cell);
    const soft = await stage.call("pool.patient", [], { ms: 600_000 }, { soft_time_limit: 0.3 });
    expect(soft).toMatchObject({
      state: "FAILURE",
      raised: { type: "SoftTimeLimitExceeded", module: "billiard.exceptions" },
    });
    expect(stage.notes().some((line) => /^aborted .* SoftTimeLimitExceeded$/.test(line))).toBe(true);
    const hard = { type: "TimeLimitExceeded", module: "billiard.exceptions", args: [0.4] };
    const deaf = await stage.send("pool.deaf", [], { ms: 2_000 }, { time_limit: 0.4 });
    expect(await stage.python.get(deaf)).toMatchObject({ state: "FAILURE", raised: hard });
    expect(await stage.call("pool.loop", [], {}, { time_limit: 0.4, soft_time_limit: 0.1 })).toMatchObject({
      raised: hard,
    });
    await stage.endWell();
    // Dead, not only forgotten: it would have noted its end by now.
    expect(stage.notes()).not.toContain(`end ${deaf}`);
  });

  test("over a hard limit a late-acked task whose message is not to be acked runs again", async () => {
    await using stage = await openStage(cell);
    const id = await stage.send("pool.lateLoop", [], {}, { time_limit: 0.4 });
    await waitFor(() => stage.notes().filter((line) => line === `start ${id}`).length >= 2, {
      timeout: 30_000,
      describe: "the second run",
    });
    await waitFor(async () => (await stage.python.state(id)).state === "SUCCESS", { describe: "its result" });
    await stage.endWell();
  });

  test("a child that dies loses its own task only, by the rules for lost workers", async () => {
    await using stage = await openStage({ ...cell, execArgv: ["--max-old-space-size=96"] });
    const neighbour = await stage.send("pool.deaf", [], { ms: 3_000 });
    await stage.noted(`start ${neighbour}`);
    const lost = { type: "WorkerLostError", module: "billiard.exceptions" };
    const ways = cell.pool === "processes" ? ["kill", "exit", "stray", "memory"] : ["exit", "stray", "memory"];
    for (const how of ways) {
      expect(await stage.call("pool.dies", [], { how }), how).toMatchObject({ state: "FAILURE", raised: lost });
    }
    expect(await stage.call("pool.lateDies", [], { how: "exit" })).toMatchObject({ raised: lost });
    expect(await stage.call("pool.requeued", [], { how: "exit" })).toMatchObject({ value: "second run" });
    expect(await stage.call("pool.retried", [], { how: "exit" })).toMatchObject({ value: "second attempt" });
    expect(await stage.python.get(neighbour)).toMatchObject({ value: "slept" });
    await stage.endWell();
  });
});

describe.each(["async", "threads", "processes"] as const)("in the pool %s", (pool) => {
  test("a soft limit is thrown into what never asks for its signal, and seen by a loop that does", async () => {
    await using stage = await openStage({ kind: "redis", pool });
    const soft = { raised: { type: "SoftTimeLimitExceeded", module: "billiard.exceptions" } };
    expect(await stage.call("pool.working", [], {}, { soft_time_limit: 0.2 })).toMatchObject(soft);
    expect(await stage.call("pool.busy", [], {}, { soft_time_limit: 0.2 })).toMatchObject(soft);
    await stage.endWell();
  });

  test("what is over its hard limit fails once: one result, one errback, one event", async () => {
    await using stage = await openStage({ kind: "redis", pool, settings: { worker_send_task_events: true } });
    await stage.python.startEvents();
    const link_error = [{ task: "pool.errback", args: [], options: { queue: "pooled" } }];
    const id = await stage.send("pool.deaf", [], { ms: 3_000 }, { time_limit: 0.3, link_error });
    expect(await stage.python.get(id)).toMatchObject({ state: "FAILURE", raised: { type: "TimeLimitExceeded" } });
    await stage.noted(`errback ${id}`);
    // Whatever came second would have come before these.
    const last = await stage.send("pool.deaf", [], { ms: 1 });
    expect(await stage.python.get(last)).toMatchObject({ value: "slept" });
    await waitFor(
      async () => (await stage.python.events()).some(({ type, uuid }) => type === "task-succeeded" && uuid === last),
      { describe: "its last event to be heard" },
    );
    await stage.endWell();
    const events = await stage.python.stopEvents();
    const kinds = events.filter((event) => event.uuid === id).map((event) => event.type);
    expect(kinds).toEqual(["task-received", "task-started", "task-failed"]);
    expect(stage.notes().filter((line) => line === `errback ${id}`)).toHaveLength(1);
  });
});

describe.each(["threads", "processes"] as const)("in the pool %s", (pool) => {
  test("what a task leaves behind and nobody catches takes no other task with it", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "1"] });
    await stage.call("pool.leaves", [], { what: "promise" });
    await stage.worker.waitForLog(/"task":"pool\.leaves".*a promise was rejected that nobody waits for/);
    const before = await stage.call("pool.where");
    await stage.call("pool.leaves", [], { what: "timer" });
    expect(await stage.call("pool.deaf", [], { ms: 1_000 })).toMatchObject({ value: "slept" });
    await stage.worker.waitForLog(/"task":"pool\.leaves".*an error that no task caught ends a child/);
    expect(await stage.call("pool.where")).not.toEqual(before);
    await stage.endWell();
  });

  test("a child is replaced after its share of tasks, and none is lost by it", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "1", "--max-tasks-per-child", "3"] });
    const answers = [];
    for (let index = 0; index < 9; index++) answers.push(await stage.call("pool.where"));
    const children = answers.map((answer) =>
      JSON.stringify(answer.raised === undefined ? answer.value : answer.raised),
    );
    expect(new Set(children).size).toBe(3);
    expect(children.slice(0, 3)).toEqual([children[0], children[0], children[0]]);
    await stage.endWell();
  });

  test("a child that has grown too large is replaced", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "1", "--max-memory-per-child", "150000"] });
    const before = await stage.call("pool.where");
    await stage.call("pool.bloat", [], { mib: 200 });
    const after = await stage.call("pool.where");
    await stage.worker.waitForLog(/grown too large/);
    expect(after).not.toEqual(before);
    await stage.endWell();
  });

  test("autoscale follows the work up and, when it is quiet, down", async () => {
    await using stage = await openStage({
      kind: "redis",
      pool,
      args: ["--autoscale", "4,1"],
      env: { AUTOSCALE_KEEPALIVE: "1" },
    });
    const gate = stage.folder.join("gate");
    const ids = await Promise.all([1, 2, 3, 4].map(() => stage.send("pool.progress", [], { gate })));
    await Promise.all(
      ids.map((id) =>
        waitFor(async () => (await stage.python.state(id)).state === "PROGRESS", { describe: "four at once" }),
      ),
    );
    writeFileSync(gate, "");
    for (const id of ids) expect(await stage.python.get(id)).toMatchObject({ value: "done" });
    await stage.worker.waitForLog(/"to":1,.*scaling down/, { timeout: 20_000 });
    await stage.endWell();
  });

  test("a cold stop kills what runs, and gives back what was late-acked", async () => {
    await using stage = await openStage({ kind: "redis", pool, alone: true });
    const loop = await stage.send("pool.loop");
    const late = await stage.send("pool.lateLoop");
    await stage.noted(`start ${loop}`);
    await stage.noted(`start ${late}`);
    stage.worker.kill("SIGQUIT");
    expect(await stage.worker.ended).toEqual({ code: 0, signal: null });
    expect(await stage.python.queue("pooled")).toMatchObject({ messages: 1 });
    expect((await stage.python.state(loop)).state).toBe("RETRY");
  });
});

test("processes do not outlive a worker that is killed, whatever they do", async () => {
  await using stage = await openStage({ kind: "redis", pool: "processes", alone: true });
  const [first, second] = [await stage.send("pool.loop"), await stage.send("pool.loop")];
  await stage.noted(`start ${first}`);
  await stage.noted(`start ${second}`);
  const pids = stage.notes().flatMap((line) => (line.startsWith("process ") ? [Number(line.slice(8))] : []));
  expect(pids).toHaveLength(2);
  expect(pids.every(alive)).toBe(true);
  process.kill(stage.worker.pid, "SIGKILL");
  await stage.worker.ended;
  await waitFor(() => pids.every((pid) => !alive(pid)), { describe: "the children to be gone" });
});

writesPoolFeatures(import.meta.url);
