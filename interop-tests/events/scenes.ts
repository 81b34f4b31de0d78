/** What a fleet tells while tasks and workers come and go, as Celery's Receiver and State hear it, and as we hear it. */
import { expect, vi } from "vitest";
import { Worker } from "../../src/app/worker.ts";
import { Celery } from "../../src/app.ts";
import type { ReceivedEvent } from "../../src/events/receiver.ts";
import { silentLog } from "../../src/runtime/log.ts";
import { waitFor } from "../../src/testing/index.ts";
import { celeryAsks, weAsk } from "../control/ask.ts";
import { PY_QUEUE, TS_QUEUE } from "../control/fleet.ts";
import type { Step } from "../control/test-fleets.ts";
import { comparable, eventsOf, lifeOf, type Raw } from "./hearing.ts";

export const scenes: Step[] = [];
const scene = (name: string, run: Step["run"]) => void scenes.push({ name, run });

const told = (events: readonly { value: Raw }[]) => events.map(({ value }) => String(value.type));

/** With `-E` a Celery worker has no groups, and cannot be told to be silent: here both start without. */
scene("task events are told from when remote control enables them until it disables them", async (fleet) => {
  const { client, ts, py } = fleet;
  const nodes = [
    [ts, TS_QUEUE],
    [py, PY_QUEUE],
  ] as const;
  const silently = () =>
    Promise.all(
      nodes.map(async ([node, queue]) => {
        const id = await client.send("fleet.add", [1, 2], {}, { queue });
        expect(await client.get(id, { timeout: 20_000 })).toMatchObject({ value: 3 });
        // A result is there before its worker has done with the task, and might tell of that under the next command.
        await waitFor(
          async () => {
            const known = (await weAsk(fleet, "query_task", { ids: [id] }, [node]))[node];
            return known !== undefined && Object.keys(Object(known)).length === 0;
          },
          { describe: `${node} to have done with ${id}` },
        );
        return [id, node] as const;
      }),
    );
  const silent = await silently();
  for (const ask of [celeryAsks, weAsk]) {
    await ask(fleet, "enable_events", {});
    for (const [node, queue] of nodes) {
      await lifeOf(fleet, await client.send("fleet.add", [1, 2], {}, { queue }), node, "task-succeeded");
    }
    await ask(fleet, "disable_events", {});
    silent.push(...(await silently()));
  }
  await celeryAsks(fleet, "enable_events", {});
  for (const [node, queue] of nodes) {
    await lifeOf(fleet, await client.send("fleet.add", [1, 2], {}, { queue }), node, "task-succeeded");
  }
  for (const [id, node] of silent) expect(await eventsOf(fleet, id, node)).toEqual([]);
});

/** The same life of a task on both workers is told in the same events, with the same members, values and types. */
const lives: [name: string, task: string, args: unknown[], options: object, last: string][] = [
  ["success", "fleet.add", [1, 2], {}, "task-succeeded"],
  [
    "an ETA and an expiry",
    "fleet.add",
    [1, 2],
    { eta: "2026-01-01T00:00:00+00:00", expires: 86_400 },
    "task-succeeded",
  ],
  ["failure", "fleet.fail", [], {}, "task-failed"],
  ["a retry and its end", "fleet.again", [], {}, "task-failed"],
  ["expired at receipt", "fleet.add", [1, 2], { expires: "2020-01-01T00:00:00+00:00" }, "task-revoked"],
  ["values of every kind", "fleet.echo", [[null, true, 1.5, "é", { a: [1] }]], {}, "task-succeeded"],
];
/** Ids, and times that are counted from the moment of the call. */
const inGeneral = (events: Raw[]): unknown =>
  JSON.parse(
    JSON.stringify(events)
      .replaceAll(/"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"/g, '"an id"')
      .replaceAll(/"(?!20(?:20|26)-01-01)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00"/g, '"a time"'),
  );

for (const [name, task, args, options, last] of lives) {
  scene(`${name} is told as Python's worker tells it`, async (fleet) => {
    const { client, ts, py } = fleet;
    const [ours, theirs] = await Promise.all([
      client.send(task, args, {}, { queue: TS_QUEUE, ...options }),
      client.send(task, args, {}, { queue: PY_QUEUE, ...options }),
    ]);
    // Celery's worker tells of a retry after it has sent it, and often after it was received again.
    const inOrder = (events: Raw[]) =>
      last === "task-failed" ? events.toSorted((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1)) : events;
    const read = async (id: string, node: string) => {
      if (task === "fleet.again") await lifeOf(fleet, id, node, "task-retried");
      return inOrder(comparable(await lifeOf(fleet, id, node, last)));
    };
    const [a, b] = [await read(ours, ts), await read(theirs, py)];
    expect(a.map(({ type }) => type)).toEqual(b.map(({ type }) => type));
    expect(inGeneral(a)).toEqual(inGeneral(b));
  });
}

scene(
  "what is revoked while it waits and what is terminated while it runs is told as Python's worker tells it",
  async (fleet) => {
    const { client, ts, py } = fleet;
    const nodes = [
      [ts, TS_QUEUE],
      [py, PY_QUEUE],
    ] as const;
    const lifes = await Promise.all(
      nodes.map(async ([node, queue]) => {
        const running = await client.send("fleet.wait", [`ended-${node}`], {}, { queue });
        await lifeOf(fleet, running, node, "task-started");
        await client.revoke(running, { terminate: true, signal: "SIGTERM" });
        return lifeOf(fleet, running, node, "task-revoked");
      }),
    );
    const [ours = [], theirs = []] = lifes.map((events) => comparable(events).map(({ args, ...event }) => event));
    expect(ours).toEqual(theirs);
    expect(ours.at(-1)).toMatchObject({ type: "task-revoked", terminated: true, signum: 15, expired: false });
    for (const how of [{}, { terminate: true, signal: "SIGTERM" }]) {
      const later = await client.send("fleet.add", [1, 2], {}, { queue: TS_QUEUE, countdown: 600 });
      await lifeOf(fleet, later, ts, "task-received");
      await client.revoke(later, how);
      const [received, revoked] = await lifeOf(fleet, later, ts, "task-revoked");
      expect(received?.value.eta).toBeTypeOf("string");
      expect(revoked?.value).toMatchObject({ terminated: false, signum: null, expired: false });
    }
  },
);

scene("an unregistered name is one task-failed", async (fleet) => {
  const id = await fleet.client.send("fleet.nope", [], {}, { queue: TS_QUEUE });
  const events = await lifeOf(fleet, id, fleet.ts, "task-failed");
  expect(told(events)).toEqual(["task-failed"]);
  expect(events[0]?.value).toMatchObject({ exception: "NotRegistered('fleet.nope')" });
  expect(events[0]?.value).not.toHaveProperty("traceback");
});

scene("task-sent of our client is that of Celery's", async (fleet) => {
  const { client, site } = fleet;
  const settings = { ...site.settings, task_send_sent_event: true };
  const sender = new Celery("sender", { settings, log: silentLog, env: {} });
  try {
    const python = await client.celery(settings);
    const theirs = String(
      await python.run(`answer = app.send_task("fleet.add", (1, 2), {"z": "é"}, queue=${JSON.stringify(PY_QUEUE)}).id`),
    );
    const ours = (await sender.sendTask("fleet.add", [1, 2], { z: "é" }, { queue: PY_QUEUE })).id;
    const [a, b] = await Promise.all(
      [ours, theirs].map((id) =>
        waitFor(
          async () => {
            const events = await client.events();
            return events.find((event) => event.uuid === id && event.type === "task-sent");
          },
          { timeout: 20_000, describe: `task-sent of ${id}` },
        ),
      ),
    );
    const [ourSent, theirSent] = [ours, theirs].map(async (id, index) => {
      const found = await eventsOf(fleet, id, String([a, b][index]?.hostname));
      return comparable(found.filter(({ value }) => value.type === "task-sent"));
    });
    expect(await ourSent).toEqual(await theirSent);
  } finally {
    await sender.close();
  }
});

scene("task events of a moment travel together, as task.multi", async (fleet) => {
  const seen = await fleet.client.run(
    `
import socket
from kombu import Consumer, Exchange, Queue
kind = "topic" if broker.startswith("amqp") else "fanout"
exchange = Exchange("celeryev", type=kind)
batches = []
def on_message(body, message):
    if isinstance(body, list) and body and body[0].get("hostname") == hostname:
        batches.append({"size": len(body), "types": sorted({e["type"] for e in body}), "key": message.delivery_info["routing_key"],
                        "headers": sorted(message.headers or {}), "mode": message.properties.get("delivery_mode")})
with app.connection_for_read() as c:
    queue = Queue("multi-watch", exchange, routing_key="#", auto_delete=True, durable=False, exclusive=False)
    with Consumer(c.default_channel, [queue], callbacks=[on_message], no_ack=True, accept=["json"]):
        try:
            c.drain_events(timeout=0.3)
        except socket.timeout:
            pass
        for _ in range(40):
            app.send_task("fleet.add", [1, 2], queue=target)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and sum(b["size"] for b in batches) < 120:
            try:
                c.drain_events(timeout=0.5)
            except socket.timeout:
                pass
answer = batches`,
    { broker: fleet.site.broker, hostname: fleet.ts, target: TS_QUEUE },
    { timeout: 60_000 },
  );
  const batches = seen as { size: number; types: string[]; key: string }[];
  expect(batches.reduce((sum, { size }) => sum + size, 0)).toBe(120);
  expect(Math.max(...batches.map(({ size }) => size))).toBeGreaterThan(1);
  for (const batch of batches) expect(batch).toMatchObject({ key: "task.multi", mode: 1 });
});

const typesOf = (event: Raw | undefined) =>
  Object.fromEntries(
    Object.entries(event ?? {}).map(([name, value]) => [name, Array.isArray(value) ? value.length : typeof value]),
  );

scene("heartbeats have Celery's members and types, by themselves and when asked for", async (fleet) => {
  const { client, ts, py } = fleet;
  await client.broadcast("heartbeat");
  for (const freq of [2, 5]) {
    const [ours, theirs] = await waitFor(
      async () => {
        const beats = (await client.events()).filter((one) => one.type === "worker-heartbeat" && one.freq === freq);
        const found = [ts, py].map((node) => beats.find(({ hostname }) => hostname === node));
        return found.every((one) => one !== undefined) && found;
      },
      { timeout: 20_000, describe: `a heartbeat of each with freq ${freq}` },
    );
    expect(typesOf(ours)).toEqual(typesOf(theirs));
  }
});

scene("Python's State shows both workers alive and every task where it stands", async (fleet) => {
  const { client, ts, py } = fleet;
  // The last events of the scenes before may be on their way.
  const look = async () =>
    client.run(
      `
state = app.events.State()
for event in events:
    state.event(dict(event, local_received=time.time()))
answer = {"alive": sorted(w.hostname for w in state.alive_workers()),
          "states": sorted({t.state for _, t in state.tasks_by_time() if t.worker} - {"RETRY"}),
          "kinds": sorted({w.sw_ident for w in state.workers.values() if w.sw_ident})}`,
      { events: await client.events() },
    );
  await vi.waitFor(
    async () =>
      expect(await look()).toEqual({
        alive: [py, ts].sort(),
        states: ["FAILURE", "REVOKED", "SUCCESS"],
        kinds: ["lovage", "py-celery"],
      }),
    { timeout: 30_000, interval: 100 },
  );
});

scene("we hear both workers, their tasks and Celery's clients; the stream ends when it is told to", async (fleet) => {
  const { app, client, site, py, ts } = fleet;
  const stop = new AbortController();
  const stream = await app.events.receive({ signal: stop.signal }).start();
  const state = app.events.state();
  const sender = await client.celery({ ...site.settings, task_send_sent_event: true });
  const ids = [
    await sender.send("fleet.add", [2, 3], {}, { queue: PY_QUEUE }),
    await sender.send("fleet.add", [2, 3], {}, { queue: TS_QUEUE }),
  ];
  const seen: ReceivedEvent[] = [];
  const heard = new Set<string>();
  // Who sent a task may tell of it after the worker has told of its end, and a worker tells of itself with its heartbeats only.
  const awaited = ids.flatMap((id) => ["task-sent", "task-succeeded"].map((type) => `${type} ${id}`));
  for await (const event of stream) {
    seen.push(event);
    state.event(event);
    heard.add(`${event.type} ${event.fields.uuid}`);
    if (awaited.every((one) => heard.has(one)) && (state.workers.get(py)?.swIdent ?? null) !== null) stop.abort();
  }
  for (const [index, id] of ids.entries()) {
    const own = seen.filter((event) => event.fields.uuid === id).map(({ type }) => type);
    expect(own.sort()).toEqual(["task-received", "task-sent", "task-started", "task-succeeded"]);
    const worker = index === 0 ? py : ts;
    expect(state.tasks.get(id)).toMatchObject({
      state: "SUCCESS",
      name: "fleet.add",
      args: "[2, 3]",
      result: "5",
      worker,
    });
  }
  expect(state.workers.get(py)).toMatchObject({ swIdent: "py-celery" });
  expect(state.aliveWorkers().length).toBeGreaterThan(0);
});

// Celery's own worker ends when it takes part and hears an acknowledgement before the second candidate: here it looks on.
scene("an election among our workers is won by one of them, and acknowledged by all", async (fleet) => {
  const { app, client, ts, py } = fleet;
  const second = await new Worker(app, { name: "elector@fleet", queues: ["elector"] }).start();
  // Candidates wait for the acknowledgements of those whom they know: a newcomer knows the others once it has heard of them.
  const started = Date.now() / 1000;
  await client.broadcast("heartbeat");
  await waitFor(
    async () => {
      const beats = (await client.events()).filter(
        ({ type, timestamp }) => type === "worker-heartbeat" && Number(timestamp) > started,
      );
      return [ts, py, "elector@fleet"].every((node) => beats.some(({ hostname }) => hostname === node));
    },
    { describe: "a heartbeat of each that all have heard" },
  );
  const id = "elected";
  const options = { task_id: id, queue: TS_QUEUE };
  const action = { task: "fleet.add", args: [40, 2], kwargs: {}, options, subtask_type: null, immutable: false };
  await app.control.election("an-election", "task", action, { destination: [ts, "elector@fleet"] });
  expect(await client.get(id, { timeout: 20_000 })).toMatchObject({ state: "SUCCESS", value: 42 });
  const of = (events: readonly Raw[], type: string) =>
    events.flatMap((event) => (event.type === type ? [String(event.hostname)] : [])).sort();
  const events = await waitFor(
    async () => {
      const now = await client.events();
      return of(now, "worker-elect-ack").length >= 6 && now;
    },
    { timeout: 20_000, describe: "each of three workers to acknowledge both candidates" },
  );
  expect([...new Set(of(events, "worker-elect-ack"))]).toEqual([ts, py, "elector@fleet"].sort());
  expect(of(events, "worker-elect")).toEqual(["elector@fleet", ts]);
  const all = await lifeOf(fleet, id, ts, "task-succeeded");
  expect(told(all).filter((type) => type === "task-received")).toHaveLength(1);
  await second.stop();
  fleet.python.assertAlive();
});

scene("a worker that starts learns what was revoked, and says good-bye when it stops", async (fleet) => {
  const { app, client, lines, ts, py } = fleet;
  await client.revoke("revoked-before");
  const knows = (node: string) =>
    waitFor(async () => ((await weAsk(fleet, "revoked", {}, [node]))[node] as string[]).includes("revoked-before"), {
      describe: `${node} to know what is revoked`,
    });
  for (const node of [ts, py]) await knows(node);
  // A worker that starts listens for one second to the others, in which a busy machine may let none of them answer.
  const startTold = async () => {
    for (let attempt = 1; ; attempt++) {
      const before = lines.all.length;
      const worker = await new Worker(app, { name: "second@fleet", queues: ["second"] }).start();
      const mingled = () => lines.all.slice(before).find(({ message }) => message.startsWith("mingle: "));
      const { fields } = await waitFor(mingled, { describe: "the worker to have asked the others" });
      if (Number(Reflect.get(fields, "nodes")) > 0 || attempt === 5) return worker;
      await worker.stop();
    }
  };
  const second = await startTold();
  await knows("second@fleet");
  const heard = (type: string) =>
    waitFor(
      async () => (await client.events()).find((event) => event.hostname === "second@fleet" && event.type === type),
      { timeout: 20_000, describe: type },
    );
  await heard("worker-online");
  await second.stop();
  expect(await heard("worker-offline")).toMatchObject({ freq: 2, active: 0, sw_ident: "lovage" });
});

scene("two workers of one name are told of each other", async (fleet) => {
  const { app, lines, ts, kind } = fleet;
  const other = new Worker(app, { name: ts, queues: ["other"] });
  await other.start();
  const words = kind === "amqp" ? "uses this mailbox" : "another node named";
  await waitFor(() => lines.said(words), { describe: "the warning" });
  await other.stop();
});

scene("neither worker has an error to log", async ({ lines, python }) => {
  const ours = lines.errors.filter(({ message }) => !/uses this mailbox|failed|unregistered/.test(message));
  expect(ours).toEqual([]);
  const theirs = python
    .log()
    .split("\n")
    .filter((line) => /ERROR|CRITICAL/.test(line) && !/fleet\.(add|fail|again|wait)/.test(line));
  expect(theirs).toEqual([]);
});
