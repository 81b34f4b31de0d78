/** What our worker tells, as Python's Receiver and State hear it, beside what Python's worker tells; and what we hear of Python. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Worker } from "../../src/app/worker.ts";
import type { ReceivedEvent } from "../../src/events/receiver.ts";
import { waitFor } from "../../src/testing/index.ts";
import { type Fleet, gate, openFleet, PY_QUEUE, TS_QUEUE } from "../control/fleet.ts";
import { kinds } from "../faults/support.ts";

type Raw = Record<string, unknown>;

/** The task events of one id in their order, each as its name and its members. */
function told(events: readonly Raw[], id: string, worker: string): { type: string; members: string[] }[] {
  const own = events.filter((event) => event.uuid === id && event.hostname === worker);
  own.sort((a, b) => Number(a.clock) - Number(b.clock));
  return own.map((event) => ({ type: String(event.type), members: Object.keys(event).sort() }));
}

for (const kind of kinds) {
  describe(kind, () => {
    let fleet: Fleet;
    beforeAll(async () => {
      fleet = await openFleet({ kind, worker: { events: true }, python: { events: true } });
      await fleet.client.startEvents();
    });
    afterAll(async () => {
      await fleet[Symbol.asyncDispose]();
    });

    /** Resolves with Python's view when the task's last event has come. */
    async function heard(id: string, worker: string, last: string): Promise<Raw[]> {
      return waitFor(
        async () => {
          const events = await fleet.client.events();
          return told(events, id, worker).some(({ type }) => type === last) && events;
        },
        { timeout: 20_000, describe: `${last} of ${id}` },
      );
    }

    /** The same life on both workers is told in the same events with the same members. */
    const lives: [name: string, ts: string, py: string, args: unknown[], options: object, last: string][] = [
      ["success", "fleet.add", "fixture.add", [1, 2], {}, "task-succeeded"],
      ["an ETA and an expiry", "fleet.add", "fixture.add", [1, 2], { countdown: 0.5, expires: 600 }, "task-succeeded"],
      ["failure", "fleet.fail", "fixture.add", [], {}, "task-failed"],
      ["expired at receipt", "fleet.add", "fixture.add", [1, 2], { expires: -10, expiration: null }, "task-revoked"],
    ];
    test.each(lives)("%s is told as Python's worker tells it", async (_name, ts, py, args, options, last) => {
      const { client } = fleet;
      const ours = await client.send(ts, args, {}, { queue: TS_QUEUE, ...options });
      const theirs = await client.send(py, args, {}, { queue: PY_QUEUE, ...options });
      const [a, b] = [await heard(ours, fleet.ts, last), await heard(theirs, fleet.py, last)];
      expect(told(a, ours, fleet.ts)).toEqual(told(b, theirs, fleet.py));
      const of = (events: readonly Raw[], id: string, type: string) =>
        events.find((event) => event.uuid === id && event.type === type && event.hostname !== undefined);
      const received = of(a, ours, "task-received");
      if (received !== undefined) {
        expect(received).toMatchObject({
          name: ts,
          kwargs: "{}",
          root_id: ours,
          parent_id: null,
          retries: 0,
          pid: process.pid,
        });
        expect(received.args).toBe(of(b, theirs, "task-received")?.args);
        expect(received.eta === null).toBe(!("countdown" in options));
      }
    });

    test("an unregistered name is one task-failed", async () => {
      const id = await fleet.client.send("fleet.nope", [], {}, { queue: TS_QUEUE });
      const events = await heard(id, fleet.ts, "task-failed");
      const own = events.filter((event) => event.uuid === id && event.hostname === fleet.ts);
      expect(own).toHaveLength(1);
      expect(own[0]).toMatchObject({ exception: "NotRegistered('fleet.nope')" });
      expect(own[0]).not.toHaveProperty("traceback");
    });

    test("revoked while it waits, terminated while it runs", async () => {
      const { client } = fleet;
      const waiting = await client.send("fleet.add", [1, 2], {}, { queue: TS_QUEUE, countdown: 600 });
      const running = await client.send("fleet.wait", [`revoked-${kind}`], {}, { queue: TS_QUEUE });
      await heard(running, fleet.ts, "task-started");
      await client.revoke([waiting, running], { terminate: true, signal: "SIGTERM" });
      const events = await heard(running, fleet.ts, "task-revoked");
      expect(told(events, running, fleet.ts).map(({ type }) => type)).toEqual([
        "task-received",
        "task-started",
        "task-revoked",
      ]);
      const ofRunning = events.find((event) => event.uuid === running && event.type === "task-revoked");
      expect(ofRunning).toMatchObject({ terminated: true, signum: 15, expired: false });
      const all = await heard(waiting, fleet.ts, "task-revoked");
      const ofWaiting = all.find((event) => event.uuid === waiting && event.type === "task-revoked");
      expect(ofWaiting).toMatchObject({ expired: false });
      gate(`revoked-${kind}`).open();
    });

    test("Python's State shows both workers alive and every task where it stands", async () => {
      const seen = await fleet.client.run(
        `
import time
state = app.events.State()
for event in events:
    state.event(dict(event, local_received=time.time()))
answer = {"alive": sorted(w.hostname for w in state.alive_workers()),
          "states": sorted({t.state for _, t in state.tasks_by_time()}),
          "kinds": sorted({w.sw_ident for w in state.workers.values() if w.sw_ident})}`,
        {
          events: await waitFor(
            async () => {
              const events = await fleet.client.events();
              const beats = events.filter((event) => event.type === "worker-heartbeat").map((event) => event.hostname);
              return beats.includes(fleet.ts) && beats.includes(fleet.py) && events;
            },
            { timeout: 10_000, describe: "a heartbeat of each worker" },
          ),
        },
      );
      expect(seen).toEqual({
        alive: [fleet.py, fleet.ts].sort(),
        states: ["FAILURE", "REVOKED", "SUCCESS"],
        kinds: ["lovage", "py-celery"],
      });
    });

    test("heartbeats have Celery's members and types", async () => {
      const events = await fleet.client.events();
      const beat = (worker: string, freq: number) =>
        events.find((event) => event.type === "worker-heartbeat" && event.hostname === worker && event.freq === freq);
      await fleet.client.broadcast("heartbeat");
      const types = (event: Raw | undefined) =>
        Object.fromEntries(
          Object.entries(event ?? {}).map(([name, value]) => [
            name,
            Array.isArray(value) ? value.length : typeof value,
          ]),
        );
      expect(types(beat(fleet.ts, 2))).toEqual(types(beat(fleet.py, 2)));
      const asked = await waitFor(
        async () => {
          const now = await fleet.client.events();
          const of = (worker: string) => now.find((event) => event.hostname === worker && event.freq === 5);
          return of(fleet.ts) !== undefined && of(fleet.py) !== undefined && { ts: of(fleet.ts), py: of(fleet.py) };
        },
        { describe: "a heartbeat that was asked for, of each" },
      );
      expect(types(asked.ts)).toEqual(types(asked.py));
    });

    test("we hear Python's worker, its tasks and its clients; the stream ends when it is told to", async () => {
      const { app, client } = fleet;
      const stop = new AbortController();
      const stream = await app.events.receive({ signal: stop.signal }).start();
      const state = app.events.state();
      const sent = await client.celery({
        broker_url: fleet.site.broker,
        result_backend: fleet.site.backend,
        task_send_sent_event: true,
      });
      const id = await sent.send("fixture.add", [2, 3], {}, { queue: PY_QUEUE });
      const seen: ReceivedEvent[] = [];
      for await (const event of stream) {
        seen.push(event);
        state.event(event);
        if (event.type === "task-succeeded" && event.fields.uuid === id) stop.abort();
      }
      const own = seen.filter((event) => event.fields.uuid === id).map(({ type }) => type);
      expect(own.sort()).toEqual(["task-received", "task-sent", "task-started", "task-succeeded"]);
      expect(state.tasks.get(id)).toMatchObject({
        state: "SUCCESS",
        name: "fixture.add",
        args: "[2, 3]",
        result: "5",
        worker: fleet.py,
      });
      expect(state.workers.get(fleet.py)).toMatchObject({ swIdent: "py-celery" });
      expect(state.aliveWorkers().length).toBeGreaterThan(0);
    });

    // Celery's own worker ends when it takes part and hears an acknowledgement before the second candidate: here it looks on.
    test("an election among our workers is won by one of them, and acknowledged by all", async () => {
      const { app, client } = fleet;
      const second = await new Worker(app, { name: "elector@fleet", queues: ["elector"] }).start();
      const id = `elected-${kind}`;
      const action = {
        task: "fleet.add",
        args: [40, 2],
        kwargs: {},
        options: { task_id: id, queue: TS_QUEUE },
        subtask_type: null,
        immutable: false,
      };
      await app.control.election(`e-${kind}`, "task", action, { destination: [fleet.ts, "elector@fleet"] });
      expect(await client.get(id, { timeout: 15_000 })).toMatchObject({ state: "SUCCESS", value: 42 });
      const of = (events: readonly Raw[], type: string) =>
        events
          .filter((event) => event.type === type)
          .map((event) => String(event.hostname))
          .sort();
      const nodes = [fleet.ts, fleet.py, "elector@fleet"].sort();
      const events = await waitFor(
        async () => {
          const now = await client.events();
          return of(now, "worker-elect-ack").length >= 6 && now;
        },
        { describe: "each of three workers to acknowledge both candidates" },
      );
      expect([...new Set(of(events, "worker-elect-ack"))]).toEqual(nodes);
      expect(of(events, "worker-elect")).toEqual(["elector@fleet", fleet.ts]);
      const all = await heard(id, fleet.ts, "task-succeeded");
      expect(told(all, id, fleet.ts).filter(({ type }) => type === "task-received")).toHaveLength(1);
      await second.stop();
      fleet.python.assertAlive();
    });

    test("a worker that starts learns what was revoked, and says good-bye when it stops", async () => {
      const { app, client } = fleet;
      await client.revoke("revoked-before");
      await waitFor(async () => (await app.control.inspect().revoked())?.[fleet.py]?.includes("revoked-before"), {
        describe: "Python to know what is revoked",
      });
      const second = await new Worker(app, { name: "second@fleet", queues: ["second"] }).start();
      await waitFor(
        async () =>
          (await app.control.inspect({ destination: ["second@fleet"] }).revoked())?.["second@fleet"]?.includes(
            "revoked-before",
          ),
        { describe: "the second worker to know it too" },
      );
      await waitFor(
        async () =>
          (await client.events()).some((event) => event.hostname === "second@fleet" && event.type === "worker-online"),
        {
          describe: "worker-online",
        },
      );
      await second.stop();
      const last = await waitFor(
        async () =>
          (await client.events()).find((event) => event.hostname === "second@fleet" && event.type === "worker-offline"),
        { describe: "worker-offline" },
      );
      expect(last).toMatchObject({ freq: 2, active: 0, sw_ident: "lovage" });
    });

    test("two workers of one name are told of each other", async () => {
      const { app, lines } = fleet;
      const other = new Worker(app, { name: fleet.ts, queues: ["other"] });
      await other.start();
      const words = kind === "amqp" ? "uses this mailbox" : "another node named";
      await waitFor(() => lines.said(words), { describe: "the warning" });
      await other.stop();
    });

    test("neither worker has an error to log", () => {
      const ours = fleet.lines.errors.filter(({ message }) => !/uses this mailbox|failed|unregistered/.test(message));
      expect(ours).toEqual([]);
      const theirs = fleet.python
        .log()
        .split("\n")
        .filter((line) => /ERROR|CRITICAL/.test(line) && !/fixture\.add/.test(line));
      expect(theirs).toEqual([]);
    });
  });
}
