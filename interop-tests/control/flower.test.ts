/** Flower's HTTP API: it shows the TypeScript worker and its tasks beside Python's, and steers it. */
import { expect, test } from "vitest";
import { waitFor } from "../../src/testing/index.ts";
import { kinds } from "../faults/support.ts";
import { gate, openFleet, PY_QUEUE, TS_QUEUE } from "./fleet.ts";
import { hasFlower, startFlower } from "./flower-fleet.ts";

test.skipIf(!hasFlower() && process.env.CI !== "true").each(kinds)(
  "Flower over %s shows our worker, its tasks in every state, and steers it",
  async (kind) => {
    await using fleet = await openFleet({ kind });
    await using flower = await startFlower(fleet.site, fleet.ts, fleet.py);
    const { url, json: get, post } = flower;
    const workers = await get("/api/workers");
    expect(Object.keys(workers[fleet.ts] ?? {}).sort()).toEqual(Object.keys(workers[fleet.py] ?? {}).sort());
    expect(workers[fleet.ts]).toMatchObject({
      registered: expect.arrayContaining(["fleet.add", "fleet.fail [rate_limit=1000/s]", "fleet.late", "fleet.wait"]),
      active_queues: [{ name: TS_QUEUE }],
      stats: { pid: process.pid, broker: { transport: kind }, pool: { "max-concurrency": 2 } },
    });
    for (const page of ["/workers", `/worker/${fleet.ts}`, "/tasks", "/broker"]) {
      expect((await fetch(url + page)).status, page).toBe(200);
    }

    // It switches task events on every five seconds.
    await waitFor(() => fleet.lines.said("task events enabled"), {
      timeout: 60_000,
      describe: "Flower to enable events",
    });
    const { client } = fleet;
    const good = await client.send("fleet.add", [2, 3], {}, { queue: TS_QUEUE });
    const bad = await client.send("fleet.fail", [], {}, { queue: TS_QUEUE });
    const theirs = await client.send("fixture.add", [1, 1], {}, { queue: PY_QUEUE });
    const running = await client.send("fleet.wait", [`flower-${kind}`], {}, { queue: TS_QUEUE });
    const states = await waitFor(
      async () => {
        const tasks = await get("/api/tasks");
        const of = (id: string) => tasks[id]?.state;
        const there =
          of(good) === "SUCCESS" && of(bad) === "FAILURE" && of(theirs) === "SUCCESS" && of(running) === "STARTED";
        return there && tasks;
      },
      { timeout: 60_000, describe: "the tasks in Flower" },
    );
    expect(states[good]).toMatchObject({ name: "fleet.add", args: "[2, 3]", result: "5", worker: fleet.ts });
    expect(states[bad]).toMatchObject({ exception: "ValueError('boom')", worker: fleet.ts });
    expect((await fetch(`${url}/task/${good}`)).status).toBe(200);

    expect(await post(`/api/task/revoke/${running}?terminate=true&signal=SIGTERM`)).toMatchObject({ status: 200 });
    await waitFor(async () => ((await get(`/api/task/info/${running}`)).state as unknown) === "REVOKED", {
      timeout: 60_000,
      describe: "REVOKED in Flower",
    });
    gate(`flower-${kind}`).open();
    expect(await post(`/api/worker/pool/grow/${fleet.ts}?n=1`)).toMatchObject({ status: 200 });
    expect(await post(`/api/worker/pool/shrink/${fleet.ts}?n=1`)).toMatchObject({ status: 200 });
    expect(await post(`/api/worker/queue/add-consumer/${fleet.ts}?queue=more`)).toMatchObject({
      status: 200,
      text: expect.stringContaining("add consumer more"),
    });
    await waitFor(() => fleet.worker.queueNames.includes("more"), {
      timeout: 60_000,
      describe: "the new queue to be consumed",
    });
    expect(await post(`/api/worker/queue/cancel-consumer/${fleet.ts}?queue=more`)).toMatchObject({ status: 200 });
    expect(await post(`/api/worker/pool/autoscale/${fleet.ts}?min=1&max=2`)).toMatchObject({
      status: 403,
      text: expect.stringContaining("Autoscale not enabled"),
    });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain(`flower_worker_online{worker="${fleet.ts}"} 1.0`);
    expect(await post(`/api/worker/shutdown/${fleet.ts}`)).toMatchObject({ status: 200 });
    await fleet.worker.finished;
    expect(flower.process.log()).not.toMatch(/Traceback/);
    fleet.python.assertAlive();
  },
  240_000,
);
