/**
 * What passes from one worker to another: tasks of workers that were killed or stopped, paused ones, suspended parents, what waited
 * while nobody worked. Each between two languages, in all four ways; Python to Python is the control, with the same expectations.
 */
import { describe, expect, test } from "vitest";
import type { PeerProcess } from "../../src/testing/index.ts";
import { waitFor } from "../../src/testing/index.ts";
import type { GridClient, Read } from "./client.ts";
import { type Language, openSite, type Site, startWorker, type WorkerChoice } from "./fleet.ts";
import { openPythonClient } from "./python-client.ts";
import { type Node, viewOf } from "./redis-view.ts";
import { countEvents, languagesOf } from "./run-fleet.ts";
import { openTypescriptClient } from "./typescript-client.ts";

const ready = process.env.CI === "true" || process.env.LOVAGE_TEST_PYTHON_MOGNET !== undefined;
const ways: readonly (readonly [Language, Language])[] = [
  ["python", "typescript"],
  ["typescript", "python"],
  ["typescript", "typescript"],
  ["python", "python"],
];

describe.skipIf(!ready).concurrent.each(ways)("from a %s worker to a %s worker", (first, second) => {
  test("a task whose worker is killed runs again, and its counters tell", async () => {
    await using stage = await openStage(first);
    const worker = await stage.start(first);
    const id = await stage.client.submit({ task: "hold", args: ["$RUN"], metadata: { kept: 1 } }, "gate");
    await stage.noted(id, "run", 1);
    worker.kill("SIGKILL");
    await worker.ended;
    expect(await stage.read(id)).toMatchObject({ state: "RUNNING", number_of_starts: 1, number_of_stops: 0 });

    await stage.start(second);
    await stage.noted(id, "run", 2);
    expect(await stage.read(id)).toMatchObject({ number_of_starts: 2, unexpected_retry_count: 2 });
    await stage.open("gate");
    expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: "gate" });
    expect(await stage.read(id)).toMatchObject({ number_of_starts: 2, number_of_stops: 1, metadata: { kept: 1 } });
    await stage.drained();
    expect(await stage.events(id)).toEqual([
      ["submitting", first],
      ["starting", first],
      ["run", first],
      ["starting", second],
      ["run", second],
      ["completed", second],
    ]);
  });

  test("a task that kills four workers is not given to a fifth run", async () => {
    await using stage = await openStage(second);
    const id = await stage.client.submit({ task: "hold", args: ["never"] }, "");
    for (let run = 1; run <= 4; run++) {
      const worker = await stage.start(run % 2 === 1 ? first : second);
      await stage.noted(id, "run", run);
      worker.kill("SIGKILL");
      await worker.ended;
    }
    await stage.start(first);
    expect(await stage.client.get(id, 30_000)).toMatchObject({ state: "FAILURE", raised: { type: "TooManyRetries" } });
    expect(await stage.read(id)).toMatchObject({ number_of_starts: 4, number_of_stops: 1 });
    await stage.drained();
  });

  test("a worker that is asked to stop hands its tasks back at once", async () => {
    await using stage = await openStage(second);
    const worker = await stage.start(first);
    const ids = await Promise.all(
      Array.from({ length: 3 }, () => stage.client.submit({ task: "hold", args: ["gate"] }, "")),
    );
    for (const id of ids) await stage.noted(id, "run", 1);
    expect(await worker.stop()).toEqual({ code: 0, signal: null });
    for (const id of ids) {
      expect(await stage.read(id)).toMatchObject({ state: "SUSPENDED", number_of_starts: 1, number_of_stops: 1 });
    }
    await stage.start(second);
    for (const id of ids) await stage.noted(id, "run", 2);
    await stage.open("gate");
    for (const id of ids) {
      expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: "gate" });
      expect(await stage.read(id)).toMatchObject({ number_of_starts: 2, number_of_stops: 2 });
    }
    await stage.drained();
  });

  test("a paused task goes on where the other left off, with its state", async () => {
    await using stage = await openStage(first);
    await stage.start(first);
    const id = await stage.client.submit({ task: "relay", args: [4], deadline: 60 }, "");
    await stage.noted(id, "hop", 1);
    expect(await stage.site.redis.hkeys(`${stage.site.name}.mognet.state.${id}`)).toEqual(["path"]);
    await stage.start(second);
    expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: 4 });
    const hops = (await stage.events(id)).filter(([event]) => event === "hop").map(([, language]) => language);
    expect(hops).toEqual([first, second, first, second]);
    const { number_of_starts: starts, number_of_stops: stops } = await stage.read(id);
    expect(starts).toBe(stops);
    await stage.drained();
    expect(
      await stage.site.redis.exists(`${stage.site.name}.mognet.state.${id}`),
      "the state is deleted at the end",
    ).toBe(0);
  });

  test("a paused task is taken over when its worker stops between two runs", async () => {
    await using stage = await openStage(second);
    const worker = await stage.start(first, { concurrency: 1 });
    const id = await stage.client.submit({ task: "relay", args: [2] }, "");
    await stage.noted(id, "hop", 1);
    await worker.stop();
    await stage.start(second);
    expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: 2 });
    await stage.drained();
  });

  test("a parent that waits is handed over, and its children stay its own", async () => {
    await using stage = await openStage(first);
    const worker = await stage.start(first);
    const id = await stage.client.submit({ task: "parent", args: ["fixture.hold", ["gate"]] }, "");
    await stage.noted(id, "run", 1);
    await worker.stop();
    await stage.start(second);
    await stage.open("gate");
    expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: "gate" });
    await stage.drained();
    const node = await stage.view(id);
    expect(node.children).toHaveLength(2);
    expect(node.children.map(({ hash }) => [hash?.state, hash?.parent_id])).toEqual([
      ['"SUCCESS"', '"(root)"'],
      ['"SUCCESS"', '"(root)"'],
    ]);
    expect(languagesOf(node)).toEqual([...new Set([first, second])].sort());
  });

  test("what waits is taken in the order of its priority, whoever sent it", async () => {
    await using stage = await openStage(first);
    const other = await stage.open2(second);
    const sent: [number, string][] = [];
    for (const [index, priority] of [5, 0, 10, 5, 9, 1, 10, 0].entries()) {
      const client = index % 2 === 0 ? stage.client : other;
      sent.push([priority, await client.submit({ task: "echo", args: [priority], priority }, "")]);
    }
    await stage.start(second, { concurrency: 1 });
    for (const [, id] of sent) await stage.client.get(id, 30_000);
    const lines = await stage.site.notes.lrange(`${stage.site.name}.notes`, 0, -1);
    const ran = lines.filter((line) => line.includes(" run ")).map((line) => line.split(" ")[0]);
    const wanted = sent.map(([priority, id], index) => ({ priority, id, index }));
    wanted.sort((a, b) => b.priority - a.priority || a.index - b.index);
    expect(ran).toEqual(wanted.map(({ id }) => id));
    await stage.drained();
  });

  test("each worker takes from its queues alone", async () => {
    await using stage = await openStage(second);
    await stage.start(first, { queues: ["left"] });
    await stage.start(second, { queues: ["right", "tasks"] });
    const sends = Array.from({ length: 12 }, (_, index) => (["left", "right", "tasks"] as const)[index % 3] ?? "tasks");
    const ids = await Promise.all(
      sends.map((queue) => stage.client.submit({ task: "echo", args: [queue], queue }, "")),
    );
    for (const [index, id] of ids.entries()) {
      expect(await stage.client.get(id, 30_000)).toEqual({ state: "SUCCESS", value: sends[index] });
      const [, language] = (await stage.events(id)).at(-1) ?? [];
      expect(language).toBe(sends[index] === "left" ? first : second);
    }
    expect(await stage.client.queue("left")).toEqual({ messages: 0, consumers: 1 });
    await stage.drained();
  });

  test("what was revoked, or came too late, while nobody worked does not run", async () => {
    await using stage = await openStage(first);
    const other = await stage.open2(second);
    const revoked = await stage.client.submit({ task: "echo", args: [1] }, "");
    const late = await stage.client.submit({ task: "echo", args: [2], deadline: "2020-01-01T00:00:00Z" }, "");
    const fine = await stage.client.submit({ task: "echo", args: [3] }, "");
    await other.revoke(revoked, false);
    await stage.start(second);
    expect(await stage.client.get(fine, 30_000)).toEqual({ state: "SUCCESS", value: 3 });
    expect(await stage.client.get(late, 30_000)).toMatchObject({ state: "REVOKED" });
    await stage.drained();
    for (const id of [revoked, late]) {
      expect(await stage.read(id)).toMatchObject({ state: "REVOKED", number_of_starts: 0, number_of_stops: 1 });
      expect((await stage.events(id)).map(([event]) => event)).not.toContain("run");
    }
  });

  test("queues are counted and purged, and what was purged stays pending", async () => {
    await using stage = await openStage(first);
    const other = await stage.open2(second);
    const ids = [];
    for (const queue of ["left", "left", "tasks"] as const)
      ids.push(await other.submit({ task: "echo", args: [1], queue }, ""));
    expect(await stage.client.queue("left")).toEqual({ messages: 2, consumers: 0 });
    expect(await stage.client.purge()).toEqual({ tasks: 1, left: 2, right: 0, idle: 0 });
    await stage.start(second);
    for (const id of ids) expect(await stage.read(id)).toMatchObject({ state: "PENDING" });
    await stage.drained();
  });

  test("both answer who runs what, and a revoke reaches the one that runs it", async () => {
    await using stage = await openStage(second);
    const other = await stage.open2(first);
    await stage.start(first, { node: `${stage.site.name}-a`, queues: ["left"] });
    await stage.start(second, { node: `${stage.site.name}-b`, queues: ["right"] });
    const nodes = ["left", "right", "right"] as const;
    const ids = await Promise.all(nodes.map((queue) => stage.client.submit({ task: "slow", args: [60], queue }, "")));
    for (const id of ids) await stage.noted(id, "run", 1);
    const running = [
      [`${stage.site.name}-a`, 1],
      [`${stage.site.name}-b`, 2],
    ];
    expect(await stage.client.status(2)).toEqual(running);
    expect(await other.status(2)).toEqual(running);
    for (const [index, id] of ids.entries()) await (index === 0 ? stage.client : other).revoke(id, false);
    for (const id of ids) await stage.noted(id, "cancelled", 1);
    await stage.drained();
    expect(await other.status(2)).toEqual(running.map(([node]) => [node, 0]));
    for (const id of ids)
      expect(await stage.read(id)).toMatchObject({ state: "REVOKED", number_of_starts: 1, number_of_stops: 1 });
  });
});

describe.skipIf(!ready).concurrent.each(["typescript", "python"] as const)(
  "a %s worker with room for one task",
  (language) => {
    test("makes room for the children of 70 parents that wait at once", async () => {
      await using stage = await openStage(language === "python" ? "typescript" : "python");
      const gate = { task: "parent", args: ["fixture.hold", ["gate"]] };
      const ids = await Promise.all(Array.from({ length: 70 }, () => stage.client.submit(gate, "")));
      // Now, when all wait: a child that came before a parent would keep the one place until the gate opens.
      await stage.start(language, { concurrency: 1 });
      await waitFor(async () => (await stage.site.notes.llen(`${stage.site.name}.notes`)) > 0, { describe: "notes" });
      for (const id of ids) await stage.stateOf(id, "SUSPENDED");
      await stage.open("gate");
      for (const id of ids) expect(await stage.client.get(id, 60_000)).toEqual({ state: "SUCCESS", value: "gate" });
      await stage.drained();
    });

    test("goes 60 deep, and has one place again afterwards", async () => {
      await using stage = await openStage(language);
      await stage.start(language, { concurrency: 1 });
      const deep = await stage.client.submit({ task: "tree", args: [60] }, "");
      expect(await stage.client.get(deep, 90_000)).toEqual({ state: "SUCCESS", value: 60 });
      // The value is there before the worker has done with the task.
      await stage.drained();
      const ids = await Promise.all([1, 2].map(() => stage.client.submit({ task: "hold", args: ["one"] }, "")));
      await waitFor(async () => (await stage.client.status(1))[0]?.[1] === 1, { describe: "one task to run" });
      expect(await stage.client.queue("tasks")).toEqual({ messages: 1, consumers: 1 });
      await stage.open("one");
      for (const id of ids) await stage.client.get(id, 30_000);
      await stage.drained();
    });
  },
);

/** One app with a client, and workers that come and go. */
interface Stage extends AsyncDisposable {
  readonly site: Site;
  readonly client: GridClient;
  /** A client of the other language, or a second one. */
  open2(language: Language): Promise<GridClient>;
  start(language: Language, choice?: WorkerChoice): Promise<PeerProcess>;
  /** Opens a gate for tasks that hold. */
  open(gate: string): Promise<void>;
  view(id: string): Promise<Node>;
  read(id: string): Promise<Read>;
  /** Events and who noted them, in order. */
  events(id: string): Promise<(readonly [string, string])[]>;
  /** Resolves when an event was noted so many times in all the tree. */
  noted(id: string, event: string, times: number): Promise<void>;
  stateOf(id: string, state: string): Promise<void>;
  drained(): Promise<void>;
}

const openClient = { python: openPythonClient, typescript: openTypescriptClient };
const routes = { "fixture.left": "left", "fixture.right": "right", "fixture.idle": "idle" };

async function openStage(language: Language): Promise<Stage> {
  const site = await openSite({ task_routes: routes });
  const workers: PeerProcess[] = [];
  const clients: GridClient[] = [];
  const open2 = async (of: Language) => {
    const made = await openClient[of](site);
    clients.push(made);
    return made;
  };
  const client = await open2(language);
  const view = (id: string) => viewOf({ ...site, known: new Map() }, id);
  return {
    site,
    client,
    open2,
    view,
    async start(of, choice = {}) {
      const worker = await startWorker(site, of, { queues: ["tasks"], ...choice });
      workers.push(worker);
      return worker;
    },
    async open(gate) {
      await site.notes.set(`${site.name}.gate.${gate}`, "1");
    },
    async read(id) {
      const seen = await client.read(id);
      if (seen === null) expect.fail(`there is no result ${id}`);
      return seen;
    },
    async events(id) {
      return (await view(id)).notes.map(({ event, lang }) => [event, lang] as const);
    },
    async noted(id, event, times) {
      const seen = async () => countEvents(await view(id), event) >= times;
      await waitFor(seen, { timeout: 60_000, interval: 40, describe: `${times} × ${event} of ${id}` });
    },
    async stateOf(id, state) {
      const seen = async () => (await site.redis.hget(`${site.name}.mognet.result.${id}`, "state")) === `"${state}"`;
      await waitFor(seen, { timeout: 60_000, describe: `${id} to be ${state}` });
    },
    async drained() {
      await site.drained(["tasks", "left", "right"], 30_000);
      for (const worker of workers) if (worker.alive) worker.assertAlive();
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...workers, ...clients].map((one) => one[Symbol.asyncDispose]()));
      await site[Symbol.asyncDispose]();
    },
  };
}
