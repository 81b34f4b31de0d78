/** Python steers: revokes, terminates, changes limits and the pool of a worker that runs its tasks. */
import { writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { startNodeWorker, waitFor } from "../../src/testing/index.ts";
import { kinds } from "../faults/support.ts";
import { writesPoolFeatures } from "./features.ts";
import { alive, openStage, type Stage } from "./support.ts";

const revoked = (reason: string) => ({
  state: "REVOKED",
  raised: { type: "TaskRevokedError", module: "celery.exceptions", args: [reason] },
});

async function ids(stage: Stage, command: "active" | "reserved" | "scheduled"): Promise<string[]> {
  const list = (await stage.control(command)) as { id?: string; request?: { id: string } }[];
  return list.map((entry) => entry.request?.id ?? entry.id ?? "");
}

describe.each(["async", "threads", "processes"] as const)("a worker with the pool %s", (pool) => {
  test.each(kinds)("is told what not to run, on %s", async (kind) => {
    await using stage = await openStage({ kind, pool, args: ["-c", "1"] });
    const running = await stage.send("pool.patient", [], { ms: 600_000 });
    await stage.noted(`start ${running}`);
    const waiting = await stage.send("pool.add", [1, 2]);
    const later = await stage.send("pool.add", [1, 2], {}, { countdown: 3_600 });
    await waitFor(async () => (await ids(stage, "scheduled")).includes(later), { describe: "the ETA task to be held" });
    await waitFor(async () => (await ids(stage, "reserved")).includes(waiting), { describe: "the next one to wait" });

    const unseen = `never-sent-to-${pool}`;
    // Python's worker says "terminated" of what ran only.
    await stage.python.revoke(later, { terminate: true, signal: "SIGTERM" });
    await stage.python.revoke([waiting, later, unseen]);
    for (const id of [waiting, later, unseen]) expect(await stage.python.get(id), id).toMatchObject(revoked("revoked"));
    expect(await ids(stage, "scheduled")).toEqual([]);
    expect(new Set((await stage.control("revoked")) as string[])).toEqual(new Set([waiting, later, unseen]));

    // Remembered: what comes under that id later is discarded.
    const late = await stage.send("pool.add", [3, 4], {}, { task_id: unseen });
    expect(late).toBe(unseen);

    await stage.python.revoke(running, { terminate: true, signal: "SIGTERM" });
    expect(await stage.python.get(running)).toMatchObject(revoked("terminated"));

    // Celery's way to let a body clean up: it is over its soft limit, and ends as it likes.
    const asked = await stage.send("pool.patient", [], { ms: 600_000 });
    await stage.noted(`start ${asked}`);
    await stage.python.revoke(asked, { terminate: true, signal: "SIGUSR1" });
    expect(await stage.python.get(asked)).toMatchObject({
      state: "FAILURE",
      raised: { type: "SoftTimeLimitExceeded", module: "billiard.exceptions" },
    });
    expect(stage.notes()).toContain(`aborted ${asked} SoftTimeLimitExceeded`);
    await stage.endWell();
  });

  test("discards by stamps, and ends what runs with one", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "1"] });
    const stamp = (batch: string) => ({ stamped_headers: ["batch"], batch });
    const running = await stage.send("pool.patient", [], { ms: 600_000 }, stamp("seven"));
    await stage.noted(`start ${running}`);
    expect(await stage.control("revoke_by_stamped_headers", { headers: { batch: ["six"] } })).toMatchObject({
      ok: "headers {'batch': ['six']} flagged as revoked, but not terminated",
    });
    const reply = await stage.control("revoke_by_stamped_headers", { headers: { batch: ["seven"] }, terminate: true });
    expect(reply).toEqual({ ok: "headers defaultdict(<class 'set'>, {'batch': {'seven'}}) revoked" });
    expect(await stage.python.get(running)).toMatchObject(revoked("terminated"));
    expect(await stage.call("pool.add", [1, 2], {}, stamp("six"))).toMatchObject(revoked("revoked"));
    expect(await stage.call("pool.add", [1, 2], {}, stamp("eight"))).toMatchObject({ value: 3 });
    await stage.endWell();
  });

  test("limits the rate of a task, shows what waits, and takes new limits", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "4"] });
    expect(await stage.control("rate_limit", { task_name: "pool.limited", rate_limit: "1/h" })).toEqual({
      ok: "new rate limit set successfully",
    });
    const sent = [];
    for (let index = 0; index < 4; index++) sent.push(await stage.send("pool.limited"));
    const [first = "", ...others] = sent;
    expect(await stage.python.get(first)).toMatchObject({ state: "SUCCESS" });
    await waitFor(async () => (await ids(stage, "reserved")).length === 3, { describe: "three to wait for a token" });
    expect(await ids(stage, "reserved")).toEqual(others);
    expect(await stage.control("query_task", { ids: others.slice(0, 1) })).toMatchObject({
      [others[0] as string]: ["reserved", { name: "pool.limited" }],
    });
    await stage.python.revoke(others[0] as string);
    expect(await stage.python.get(others[0] as string)).toMatchObject(revoked("revoked"));
    // A new limit begins with a token.
    const [, next = "", last = ""] = others;
    for (const [limit, id, waiting] of [
      ["1/h", next, [last]],
      ["4/s", last, []],
    ] as const) {
      expect(await stage.control("rate_limit", { task_name: "pool.limited", rate_limit: limit })).toEqual({
        ok: "new rate limit set successfully",
      });
      expect(await stage.python.get(id)).toMatchObject({ state: "SUCCESS" });
      expect(await ids(stage, "reserved")).toEqual(waiting);
    }
    expect(await stage.control("rate_limit", { task_name: "pool.limited", rate_limit: "" })).toEqual({
      ok: "rate limit disabled successfully",
    });

    expect(await stage.control("time_limit", { task_name: "pool.deaf", hard: 0.3, soft: 0.1 })).toEqual({
      ok: "time limits set successfully",
    });
    expect(await stage.call("pool.deaf", [], { ms: 60_000 })).toMatchObject({
      raised: { type: "TimeLimitExceeded", args: [0.3] },
    });
    expect(await stage.call("pool.deaf", [], { ms: 600 }, { time_limit: 30 })).toMatchObject({ value: "slept" });
    await stage.endWell();
  });

  test("grows, shrinks and refuses to shrink to nothing", async () => {
    await using stage = await openStage({ kind: "redis", pool, args: ["-c", "1"] });
    const size = async () =>
      ((await stage.control("stats")) as { pool: { "max-concurrency": number } }).pool["max-concurrency"];
    const prefetch = async () => ((await stage.control("stats")) as { prefetch_count: number }).prefetch_count;
    expect([await size(), await prefetch()]).toEqual([1, 4]);
    expect(await stage.control("pool_grow", { n: 2 })).toEqual({ ok: "pool will grow" });
    expect([await size(), await prefetch()]).toEqual([3, 12]);
    const running = await Promise.all([1, 2, 3].map(() => stage.send("pool.patient", [], { ms: 600_000 })));
    for (const id of running) await stage.noted(`start ${id}`);
    expect(await stage.control("pool_shrink", { n: 2 })).toEqual({ ok: "pool will shrink" });
    expect(await stage.control("pool_shrink", { n: 1 })).toEqual({
      error: `ValueError("Can't shrink pool. All processes busy!")`,
    });
    await stage.python.revoke(running, { terminate: true });
    for (const id of running) expect(await stage.python.get(id)).toMatchObject(revoked("terminated"));
    // A slot goes when what ran in it is done with, which comes after its result.
    await expect.poll(async () => [await size(), await prefetch()]).toEqual([1, 4]);
    await stage.endWell();
  });
});

test("obeys clients of Celery 5.4.0 as it does those of 5.7.0, in the pool threads", async () => {
  const version = "5.4.0";
  await using stage = await openStage({ kind: "redis", pool: "threads", args: ["-c", "1"], version });
  expect((await stage.python.versions()).celery).toBe(version);
  const stamped = { stamped_headers: ["batch"], batch: "seven" };
  const running = await stage.send("pool.patient", [], { ms: 600_000 });
  await stage.noted(`start ${running}`);
  const waiting = await stage.send("pool.add", [1, 2]);
  const later = await stage.send("pool.add", [1, 2], {}, { countdown: 3_600 });
  await waitFor(async () => (await ids(stage, "scheduled")).includes(later), { describe: "the ETA task to be held" });
  await stage.python.revoke([waiting, later]);
  await stage.python.revoke(running, { terminate: true, signal: "SIGTERM" });
  for (const id of [waiting, later]) expect(await stage.python.get(id), id).toMatchObject(revoked("revoked"));
  expect(await stage.python.get(running)).toMatchObject(revoked("terminated"));
  await stage.control("revoke_by_stamped_headers", { headers: { batch: ["seven"] } });
  expect(await stage.call("pool.add", [1, 2], {}, stamped)).toMatchObject(revoked("revoked"));
  expect(await stage.control("time_limit", { task_name: "pool.deaf", hard: 0.3, soft: 0.1 })).toEqual({
    ok: "time limits set successfully",
  });
  expect(await stage.call("pool.deaf", [], { ms: 60_000 })).toMatchObject({ raised: { type: "TimeLimitExceeded" } });
  expect(await stage.control("pool_grow", { n: 1 })).toEqual({ ok: "pool will grow" });
  expect(await stage.control("stats")).toMatchObject({ pool: { "max-concurrency": 2 }, prefetch_count: 8 });
  await stage.endWell();
});

test("what is terminated in a process is dead, in a loop or not", async () => {
  await using stage = await openStage({ kind: "redis", pool: "processes" });
  const loop = await stage.send("pool.loop");
  await stage.noted(`start ${loop}`);
  const pid = Number(
    stage
      .notes()
      .find((line) => line.startsWith("process "))
      ?.slice(8),
  );
  expect(alive(pid)).toBe(true);
  await stage.python.revoke(loop, { terminate: true, signal: "SIGINT" });
  expect(await stage.python.get(loop)).toMatchObject(revoked("terminated"));
  await waitFor(() => !alive(pid), { describe: "its process to be gone" });
  await stage.endWell();
});

test("pool_restart replaces idle processes when new ones have loaded, and busy ones after their task", async () => {
  await using stage = await openStage({
    kind: "redis",
    pool: "processes",
    settings: { worker_pool_restarts: true },
  });
  const processes = async () => ((await stage.control("stats")) as { pool: { processes: number[] } }).pool.processes;
  const before = await processes();
  expect(before).toHaveLength(2);
  const gate = stage.folder.join("gate");
  const busy = await stage.send("pool.progress", [], { gate });
  await waitFor(async () => (await stage.python.state(busy)).state === "PROGRESS", { describe: "a busy child" });
  expect(await stage.control("pool_restart")).toEqual({ ok: "reload started" });
  writeFileSync(gate, "");
  expect(await stage.python.get(busy)).toMatchObject({ value: "done" });
  await waitFor(
    async () => {
      const now = await processes();
      return now.length === 2 && now.every((pid) => !before.includes(pid));
    },
    { describe: "two new children", timeout: 60_000 },
  );
  await stage.endWell();
});

test("revoked ids outlive the worker with --statedb", async () => {
  await using stage = await openStage({ kind: "redis", pool: "async" });
  const state = stage.folder.join("state.json");
  const options = {
    module: new URL("./fixtures/app.mjs", import.meta.url).pathname,
    args: ["-Q", "kept", "-q", "-n", "kept@test", "--statedb", state, "--without-mingle"],
    env: { POOL_SETTINGS: JSON.stringify(stage.site.settings) },
    ready: /"ready"|\bready\b/,
  };
  const told = { destination: ["kept@test"], reply: true, timeout: 10_000 };
  {
    await using first = await startNodeWorker(options);
    const revoke = () =>
      stage.python.broadcast("revoke", { ...told, timeout: 1_000, arguments: { task_id: ["gone-1", "gone-2"] } });
    await waitFor(async () => (await revoke())?.[0], { timeout: 20_000, describe: "a reply" });
    const headers = { batch: ["gone"] };
    await stage.python.broadcast("revoke_by_stamped_headers", { ...told, timeout: 30_000, arguments: { headers } });
    await first.stop();
  }
  await using second = await startNodeWorker(options);
  const replies = () => stage.python.broadcast("revoked", { ...told, timeout: 1_000 });
  const kept = await waitFor(async () => (await replies())?.[0], { timeout: 20_000, describe: "a reply" });
  expect(kept).toEqual({ "kept@test": ["gone-1", "gone-2"] });
  await stage.python.forget("gone-1");
  await stage.python.send("pool.add", [1, 2], {}, { queue: "kept", task_id: "gone-1" });
  expect(await stage.python.get("gone-1")).toMatchObject(revoked("revoked"));
  const stamped = { queue: "kept", stamped_headers: ["batch"], batch: "gone" };
  expect(await stage.python.get(await stage.python.send("pool.add", [1, 2], {}, stamped))).toMatchObject(
    revoked("revoked"),
  );
  second.assertAlive();
});

writesPoolFeatures(import.meta.url);
