/**
 * Floods on the exchanges of remote control and events, against a TypeScript worker that runs tasks and a Python worker beside it:
 * both stay alive and answer right, and what they keep stays bounded.
 */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { eventExchange } from "../../protocol/celery/events.ts";
import { nodeQueue, replyExchange, requestExchange } from "../../protocol/kombu/pidbox.ts";
import type { Message } from "../../protocol/message.ts";
import { Worker } from "../../src/app/worker.ts";
import type { State } from "../../src/events/state.ts";
import type { Celery } from "../../src/index.ts";
import { waitFor } from "../../src/testing/index.ts";
import type { Transport } from "../../src/transports/transport.ts";
import { HOST, Member } from "./fleet-support.ts";
import { bombs, madEvents, madReplies, madRequests, unreadable } from "./garbage.ts";
import { jsonMessage } from "./json-message.ts";
import { clientOf, type Kind, kinds, openSite, type Site } from "./support.ts";

vi.setConfig({ testTimeout: 300_000 });

/** Celery's CELERY_WORKER_REVOKES_MAX. */
const mostRevoked = 50_000;
/** MiB that the heap of the worker may have; without bounds the floods need a multiple. */
const heapMiB = 192;
/** MiB that the worker may have gained after a flood, waste included. */
const gainMiB = 256;
/** Lines that a flood may bring into the log of the TypeScript worker, those about tasks not among them. */
const mostLines = 2_500;

interface Scene {
  readonly site: Site;
  readonly app: Celery;
  readonly ts: Member;
  readonly py: Member;
  readonly state: State;
  readonly publish: (exchange: string, routingKey: string, messages: Iterable<Message>) => Promise<number>;
  readonly stop: () => Promise<void>;
  /** Tasks that ended while floods went on. */
  readonly ran: { ts: number; py: number; wrong: string[] };
}

const pidbox = requestExchange("celery").name;
const replies = replyExchange("celery").name;

/** Publishes as fast as the broker takes it, a few hundred at a time. */
async function pour(transport: Transport, exchange: string, routingKey: string, messages: Iterable<Message>) {
  let count = 0;
  let under: Promise<void>[] = [];
  for (const message of messages) {
    under.push(transport.publish(message, { exchange, routingKey }, { mandatory: false }));
    count++;
    if (under.length < 500) continue;
    await Promise.all(under);
    under = [];
  }
  await Promise.all(under);
  return count;
}

async function openScene(kind: Kind): Promise<Scene> {
  const site = await openSite(kind, { persist: false });
  const settings = kind === "redis" ? { broker_transport_options: {} } : {};
  const ts = new Member(site, {
    language: "node",
    node: `ts${HOST}`,
    settings,
    env: { NODE_OPTIONS: `--max-old-space-size=${heapMiB}` },
  });
  const py = new Member(site, { language: "python", node: `py${HOST}`, settings });
  const app = clientOf(site, settings);
  await Promise.all([ts, py].map((member) => member.start().then(() => member.untilHeard(app))));
  const state = app.events.state();
  const unwatch = await app.events.listen((event) => void state.event(event));
  const { transport } = app;
  await transport.connect();
  await transport.declare([], [requestExchange("celery"), replyExchange("celery"), eventExchange("celeryev", kind)]);
  const over = new AbortController();
  const ran = { ts: 0, py: 0, wrong: [] as string[] };
  const lane = async (who: "ts" | "py", member: Member) => {
    while (!over.signal.aborted) {
      const key = randomUUID();
      const result = await app.sendTask("fault.late", [key, 20], {}, { queue: member.ownQueue, taskId: key });
      const value = await result.get({ timeout: 290_000 }).catch((error: unknown) => error);
      if (value === `done:${key}`) ran[who]++;
      else ran.wrong.push(`${who} ${key}: ${String(value)}`);
    }
  };
  const lanes = [lane("ts", ts), lane("ts", ts), lane("py", py)];
  return {
    site,
    app,
    ts,
    py,
    state,
    ran,
    publish: (exchange, routingKey, messages) => pour(transport, exchange, routingKey, messages),
    async stop() {
      over.abort();
      await Promise.all(lanes);
      await unwatch();
      const ends = await Promise.all([ts.stop(), py.stop()]);
      await app.close();
      await site[Symbol.asyncDispose]();
      expect(ends).toEqual([
        { code: 0, signal: null },
        { code: 0, signal: null },
      ]);
      expect(ran.wrong).toEqual([]);
    },
  };
}

/** MiB of the TypeScript worker, by its own answer. */
async function memory({ app, ts }: Scene): Promise<number> {
  const text = (await app.control.inspect({ destination: [ts.node], timeout: 30 }).memsample())?.[ts.node];
  const [, number, unit] = /^([\d.]+)([KMG])B$/.exec(String(text)) ?? [];
  return Number(number) * ({ K: 1 / 1024, M: 1, G: 1024 }[unit ?? ""] ?? Number.NaN);
}

/** Lines of the worker's log since then that are not about a task. */
function linesSince({ ts }: Scene, mark: number): string[] {
  return ts.running
    .log(mark)
    .split("\n")
    .filter((line) => line !== "" && !line.includes('"task":"fault.'));
}

/** Both live and answer right, tasks run, and neither memory nor log has grown without limit. */
async function expectSound(scene: Scene, before: { memory: number; mark: number }, revoked?: readonly string[]) {
  const { app, ts, py, ran, state } = scene;
  const destination = [ts.node, py.node];
  const inspect = app.control.inspect({ destination, timeout: 60 });
  for (const member of [ts, py]) await member.untilHeard(app);
  expect(await inspect.ping()).toEqual({ [ts.node]: { ok: "pong" }, [py.node]: { ok: "pong" } });
  const [active, stats, known] = [await inspect.active(), await inspect.stats(), await inspect.revoked()];
  for (const node of destination) {
    expect(active?.[node], node).toBeInstanceOf(Array);
    expect(stats?.[node], node).toMatchObject({ total: expect.any(Object), pid: expect.any(Number) });
    expect(known?.[node]?.length, node).toBeLessThanOrEqual(mostRevoked);
    for (const id of revoked ?? []) expect(known?.[node], `revoked on ${node}`).toContain(id);
  }
  const had = { ...ran };
  await waitFor(() => ran.ts > had.ts && ran.py > had.py, { describe: "tasks to run on both", timeout: 60_000 });
  expect(ran.wrong).toEqual([]);
  for (const member of [ts, py]) member.running.assertAlive();
  await waitFor(() => destination.every((node) => state.aliveWorkers().some(({ hostname }) => hostname === node)), {
    describe: "both to be seen alive",
    timeout: 60_000,
  });
  expect(state.workers.size).toBeLessThanOrEqual(5_000);
  expect(state.tasks.size).toBeLessThanOrEqual(10_000);
  const now = await memory(scene);
  expect(now - before.memory, `MiB more than ${before.memory}`).toBeLessThan(gainMiB);
  const lines = linesSince(scene, before.mark);
  expect(lines.length, lines.slice(-5).join("\n")).toBeLessThan(mostLines);
  return {
    memory: `${Math.round(before.memory)} -> ${Math.round(now)} MiB`,
    lines: lines.length,
    ran: { ...ran, wrong: undefined },
  };
}

describe.each(kinds)("a flood over %s", (kind) => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene(kind);
  }, 320_000);
  afterAll(async () => {
    await scene.stop();
  }, 320_000);

  const start = async () => ({ memory: await memory(scene), mark: scene.ts.running.mark(), at: performance.now() });
  const told = (what: string, since: { at: number }, figures: object) =>
    console.info(`${kind}, ${what}: ${Math.round(performance.now() - since.at)} ms`, JSON.stringify(figures));

  test("of 100,000 revokes leaves the latest 50,000", async () => {
    const before = await start();
    const { app, publish, ts, py } = scene;
    const ids = Array.from({ length: 102_000 }, () => randomUUID());
    // Celery stores every one of them before it goes on, which takes it minutes: some are for all, the others for ours alone.
    const to = (forAll: boolean) => (forAll ? {} : { destination: [ts.node] });
    function* revokes() {
      for (let at = 0; at < 100_000; at += 1_000) {
        const given = { task_id: ids.slice(at, at + 1_000), terminate: false };
        yield jsonMessage({ method: "revoke", arguments: given, ...to(at >= 99_000) });
      }
      for (const [index, id] of ids.slice(100_000).entries()) {
        yield jsonMessage({ method: "revoke", arguments: { task_id: id }, ...to(index % 4 === 3) });
      }
    }
    await publish(pidbox, "", revokes());
    const figures = await expectSound(scene, before, [ids[99_500] as string, ids[101_999] as string]);
    const known = (await app.control.inspect({ destination: [ts.node], timeout: 60 }).revoked())?.[ts.node];
    expect(known).toHaveLength(mostRevoked);
    expect(new Set(known)).toEqual(new Set(ids.slice(-mostRevoked)));
    for (const member of [ts, py]) {
      const [id = "", late = ""] = [ids[60_000], ids[101_999]];
      for (const one of member === ts ? [id, late] : [late]) {
        const result = await app.sendTask("fault.late", [one], {}, { queue: member.ownQueue, taskId: one });
        await expect(result.get({ timeout: 60_000 }), member.node).rejects.toThrow(/revoked/i);
      }
    }
    // Those who wait for a task that nobody has started are told.
    await waitFor(async () => (await app.result(ids[90_000] as string).state()) === "REVOKED", {
      describe: "REVOKED to be stored",
      timeout: 60_000,
    });
    told("revokes", before, figures);
  });

  test("of 10,000 control messages of all kinds is answered", async () => {
    const before = await start();
    const { app, publish, ts } = scene;
    const gone = { exchange: replies, routing_key: randomUUID() };
    const bodies: object[] = [
      { method: "ping", arguments: {} },
      { method: "ping", arguments: {}, ticket: "t", reply_to: gone },
      { method: "ping", arguments: {}, destination: ["somebody@else"], ticket: "t", reply_to: gone },
      { method: "ping", arguments: {}, pattern: "nobody*", matcher: "glob" },
      { method: "ping", arguments: {}, pattern: "nobody.*", matcher: "pcre" },
      { method: "rate_limit", arguments: { task_name: "no.such", rate_limit: "1/s" }, ticket: "t", reply_to: gone },
      { method: "no_such_command", arguments: {} },
      { method: "rate_limit", arguments: { bogus: 1 } },
      { method: "time_limit", arguments: { task_name: "no.such", soft: 1 } },
      { method: "query_task", arguments: { ids: ["nobody's"] }, ticket: "t", reply_to: gone },
      { method: "stats", arguments: {}, destination: [ts.node], ticket: "t", reply_to: gone },
      { method: "revoked", arguments: {}, destination: [ts.node], ticket: "t", reply_to: gone },
      {
        method: "ping",
        arguments: {},
        ticket: "t",
        reply_to: { exchange: `reply.${randomUUID()}.pidbox`, routing_key: "x" },
      },
      {
        method: "ping",
        arguments: {},
        destination: [ts.node],
        ticket: "t",
        reply_to: { exchange: pidbox, routing_key: "x" },
      },
    ];
    // Lists of 50,000 ids are asked for now and then.
    const rare = new Set([11]);
    function* requests() {
      for (let index = 0; index < 10_000; index++) {
        const kindOf = index % bodies.length;
        const body = rare.has(kindOf) && index > 1_000 ? bodies[0] : bodies[kindOf];
        // Python writes a traceback for most of them, and is busy with that for long.
        const forOurs = index % 3 > 0 ? { destination: [ts.node] } : {};
        yield jsonMessage({ ...forOurs, ...body }, { clock: index, expires: index % 2 === 0 ? 1 : 0 });
      }
    }
    await publish(pidbox, "", requests());
    // Of two thousand revokes with replies none is left out, however many replies wait.
    const late = Array.from({ length: 2_000 }, () => randomUUID());
    await publish(
      pidbox,
      "",
      late.map((id) =>
        jsonMessage({
          method: "revoke",
          arguments: { task_id: id },
          destination: [ts.node],
          ticket: "t",
          reply_to: gone,
        }),
      ),
    );
    const figures = await expectSound(scene, before);
    const known = new Set((await app.control.inspect({ destination: [ts.node], timeout: 60 }).revoked())?.[ts.node]);
    expect(late.filter((id) => !known.has(id))).toEqual([]);
    told("control messages", before, figures);
  });

  test("of garbage on the pidbox and among the events changes nothing", async () => {
    const before = await start();
    const { publish, site, py } = scene;
    let count = await publish(pidbox, "", unreadable());
    // Celery opens its mailbox anew after each of the others, within which it reads the next one, and drowns in that.
    expect(await py.stop()).toEqual({ code: 0, signal: null });
    count += await publish(pidbox, "", bombs());
    for (let round = 0; round < 10; round++) {
      count += await publish(pidbox, "", [...unreadable(), ...madRequests()]);
      count += await publish("celeryev", "worker.heartbeat", [...unreadable(), ...madEvents()]);
      count += await publish("celeryev", "task.multi", [...unreadable(), ...madEvents()]);
    }
    if (kind === "redis") {
      for (const channel of ["/0.celery.pidbox", "/0.celeryev/worker.heartbeat"]) count += await shout(site, channel);
    }
    await py.start();
    const figures = await expectSound(scene, before);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    told("garbage", before, { count, ...figures });
  });

  test("of 20,000 events of strangers leaves the fleet as it is", async () => {
    const before = await start();
    const { publish, state, ts } = scene;
    const names = Array.from({ length: 6_000 }, (_, index) => `stranger-${index}@flood`);
    const beat = (index: number) => ({
      type: "worker-heartbeat",
      hostname: names[index % names.length],
      pid: index,
      clock: index,
      timestamp: Date.now() / 1000,
      utcoffset: 0,
      freq: 2.5,
      active: 0,
      processed: 0,
      sw_ident: "stranger",
    });
    function* beats() {
      for (let index = 0; index < 20_000; index++)
        yield jsonMessage(beat(index), { hostname: names[index % names.length] as string });
    }
    const count = await publish("celeryev", "worker.heartbeat", beats());
    await waitFor(() => state.workers.size === 5_000, { describe: "the strangers to be seen", timeout: 60_000 });
    const figures = await expectSound(scene, before);
    // Who was crowded out between two heartbeats is known again by the next.
    await waitFor(() => state.workers.get(ts.node)?.freq === 5, { describe: "our worker to be known as it is" });
    told("events", before, { count, ...figures });
  });

  test("of garbage among the replies does not mislead a client, nor a worker that starts", async () => {
    const before = await start();
    const { site, ts, py, publish } = scene;
    await using stranger = await answerMadly(site, publish);
    await using fresh = disposable(clientOf(site, { broker_transport_options: {} }));
    const { app } = fresh;
    const wrong: object[] = [];
    for (let round = 0; round < 5; round++) {
      const destination = [ts.node, py.node];
      const inspect = app.control.inspect({ destination, timeout: 30 });
      // Who was not asked is not heard.
      expect(await inspect.ping()).toEqual(Object.fromEntries(destination.map((node) => [node, { ok: "pong" }])));
      expect((await inspect.stats())?.[ts.node]).toMatchObject({ pid: ts.running.pid });
      // Nobody knows when everyone has answered: it is asked until these two have, and never heard otherwise.
      await waitFor(
        async () => {
          const everyone = await app.control.ping({ timeout: 2 });
          const of = destination.map((node) =>
            everyone.map((reply) => Reflect.get(reply, node)).filter((said) => said !== undefined),
          );
          wrong.push(...of.filter((said) => said.length > 0 && JSON.stringify(said) !== '[{"ok":"pong"}]'));
          return wrong.length > 0 || of.every((said) => said.length === 1);
        },
        { describe: "both to answer a ping to all" },
      );
      expect(wrong).toEqual([]);
    }
    const begin = async () => {
      const worker = await new Worker(app, { name: `late${HOST}`, queues: ["late"], concurrency: 1 }).start();
      const told = await app.control.inspect({ destination: [worker.hostname], timeout: 60 }).revoked();
      return { worker, known: told?.[worker.hostname] ?? [] };
    };
    let { worker, known } = await begin();
    // It listens for one second to what the others tell it, which are fifty thousand ids each: a busy machine may need longer.
    for (let attempt = 1; attempt < 5 && known.length <= mostRevoked / 2; attempt++) {
      await worker.stop();
      ({ worker, known } = await begin());
    }
    try {
      expect(known.length).toBeGreaterThan(mostRevoked / 2);
      expect(known.length).toBeLessThanOrEqual(mostRevoked);
      expect(known.filter((id) => typeof id !== "string" || id.length > 1_000)).toEqual([]);
    } finally {
      await worker.stop();
    }
    expect(stranger.answered()).toBeGreaterThan(10);
    told("replies", before, { answered: stranger.answered(), ...(await expectSound(scene, before)) });
  });
});

/** What Redis carries below Kombu's envelopes. */
async function shout(site: Site, channel: string): Promise<number> {
  const redis = new Redis(site.broker);
  const texts = [
    "",
    "{",
    "null",
    "[]",
    '"x"',
    '{"body": 5}',
    '{"body": "!", "headers": "x"}',
    "[".repeat(50_000),
    "\u0000\ud800",
  ];
  const envelopes = [
    { body: "e30=", headers: [], "content-type": 5, properties: null },
    {
      body: "e30=",
      headers: { clock: "x" },
      "content-type": "application/json",
      "content-encoding": "utf-8",
      properties: { delivery_info: 5 },
    },
    { body: "e30=", headers: {}, properties: { body_encoding: "rot13", delivery_tag: {} } },
  ].map((envelope) => JSON.stringify(envelope));
  let count = 0;
  for (let round = 0; round < 20; round++) {
    for (const text of [...texts, ...envelopes]) {
      await redis.publish(channel, text);
      count++;
    }
  }
  redis.disconnect();
  return count;
}

/** A node that hears every request and answers it with every garbage. */
async function answerMadly(site: Site, publish: Scene["publish"]) {
  const app = clientOf(site, { broker_transport_options: {} });
  const queue = nodeQueue("celery", `mad${HOST}`, { ttl: 300, expires: 10, exclusive: false, durable: false });
  let answered = 0;
  await app.transport.connect();
  await app.transport.declare([queue]);
  const under = new Set<Promise<unknown>>();
  const consumer = await app.transport.consume([queue.name], { prefetch: 0, noAck: true }, ({ message }) => {
    const asked: unknown = JSON.parse(new TextDecoder().decode(message.body));
    const { reply_to: to, ticket } = asked as { reply_to?: { exchange: string; routing_key: string }; ticket?: string };
    if (to === undefined || ticket === undefined) return;
    answered++;
    const answering = publish(to.exchange, to.routing_key, madReplies(ticket));
    under.add(answering);
    void answering.finally(() => under.delete(answering));
  });
  return {
    answered: () => answered,
    async [Symbol.asyncDispose]() {
      await consumer.cancel();
      await Promise.all(under);
      await app.close();
    },
  };
}

function disposable(app: Celery) {
  return { app, [Symbol.asyncDispose]: () => app.close() };
}
