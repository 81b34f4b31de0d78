/** Events leave in Celery's form, in lists, and never without bound. */
import { describe, expect, test } from "vitest";
import { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import type { Address, Message } from "../../protocol/message.ts";
import { builtinSerializers } from "../../protocol/serialization.ts";
import { silentLog } from "../runtime/log.ts";
import { createMemoryTransport, MemoryHub } from "../transports/memory.ts";
import type { Transport } from "../transports/transport.ts";
import { EventDispatcher } from "./dispatcher.ts";

interface Sent {
  message: Message;
  to: Address;
  body: unknown;
}

/** A memory transport whose publishes are looked at, and that can be cut off. */
function rig(options: { groups?: string[] | null; maxWaiting?: number; maxWaitingBytes?: number } = {}) {
  const transport = createMemoryTransport({ hub: new MemoryHub() });
  const sent: Sent[] = [];
  let connected = true;
  const seen = Object.create(transport, {
    connected: { get: () => connected },
    connect: { value: () => transport.connect() },
    declare: { value: (queues: never, exchanges: never) => transport.declare(queues, exchanges) },
    publish: {
      value: async (message: Message, to: Address) => {
        sent.push({ message, to, body: JSON.parse(Buffer.from(message.body).toString()) });
      },
    },
  }) as Transport;
  const { groups = null, ...limits } = options;
  const dispatcher = new EventDispatcher({
    transport: seen,
    clock: new LamportClock(),
    hostname: "w@h",
    exchange: "celeryev",
    serializer: builtinSerializers.byName("json"),
    groups,
    buffered: ["task"],
    log: silentLog,
    now: () => 1_500,
    ...limits,
  });
  const settle = async () => {
    dispatcher.flush();
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  return { dispatcher, sent, settle, cut: (off: boolean) => (connected = !off) };
}

describe("an event", () => {
  test("has Celery's envelope, key, headers and properties", async () => {
    const { dispatcher, sent, settle } = rig();
    dispatcher.send("worker-heartbeat", { freq: 2 });
    await settle();
    expect(sent).toHaveLength(1);
    const { message, to, body } = sent[0]!;
    expect(to).toEqual({ exchange: "celeryev", routingKey: "worker.heartbeat" });
    expect(message).toMatchObject({ headers: { hostname: "w@h" }, properties: { deliveryMode: 1, priority: 0 } });
    expect(message.contentType).toBe("application/json");
    const utcoffset = new Date(1_500).getTimezoneOffset() / 60;
    expect(body).toEqual({
      hostname: "w@h",
      utcoffset,
      pid: process.pid,
      clock: 1,
      freq: 2,
      timestamp: 1.5,
      type: "worker-heartbeat",
    });
  });

  test("of a task travels with others of its time in one list, in order", async () => {
    const { dispatcher, sent, settle } = rig();
    for (const uuid of ["a", "b", "c"]) dispatcher.send("task-started", { uuid });
    await settle();
    expect(sent).toHaveLength(1);
    expect(sent[0]?.to.routingKey).toBe("task.multi");
    expect((sent.at(0)!.body as { uuid: string; clock: number }[]).map(({ uuid, clock }) => `${uuid}${clock}`)).toEqual(
      ["a1", "b2", "c3"],
    );
  });

  test("of a task's own goes behind those before it, by itself, also where task events are off", async () => {
    const { dispatcher, sent, settle } = rig({ groups: ["worker"] });
    dispatcher.send("task-started", { uuid: "a" });
    dispatcher.sendSingly("task-progress", { uuid: "a" });
    await settle();
    expect(sent.map(({ to }) => to.routingKey)).toEqual(["task.progress"]);
  });

  test("without a form on the wire does not take the others of its list with it", async () => {
    const { dispatcher, sent, settle } = rig();
    dispatcher.send("task-a", { uuid: "a" });
    dispatcher.send("task-b", { uuid: "b", what: () => 1 });
    await settle();
    expect(sent.map(({ body }) => (body as { uuid: string }[]).map(({ uuid }) => uuid))).toEqual([["a"]]);
  });
});

test("a group is switched on and off once, and not at all where all are sent", () => {
  const { dispatcher } = rig({ groups: ["worker"] });
  expect(dispatcher.sendsTaskEvents).toBe(false);
  expect([dispatcher.enable("task"), dispatcher.enable("task")]).toEqual([true, false]);
  expect(dispatcher.sendsTaskEvents).toBe(true);
  expect([dispatcher.disable("task"), dispatcher.disable("task")]).toEqual([true, false]);
  const always = rig().dispatcher;
  expect([always.enable("task"), always.disable("task"), always.sendsTaskEvents]).toEqual([false, false, true]);
});

test("while the broker is away the newest events wait, bounded in number and bytes, and leave when it is back", async () => {
  const { dispatcher, sent, settle, cut } = rig({ maxWaiting: 10 });
  dispatcher.send("worker-online", {});
  await settle();
  cut(true);
  for (let index = 0; index < 1_000; index++) dispatcher.send("worker-heartbeat", { index });
  await settle();
  expect(sent).toHaveLength(1);
  expect(dispatcher.dropped).toBe(990);
  cut(false);
  dispatcher.flush();
  await settle();
  expect(sent.slice(1).map(({ body }) => (body as { index: number }).index)).toEqual([
    990, 991, 992, 993, 994, 995, 996, 997, 998, 999,
  ]);
  const small = rig({ maxWaitingBytes: 5_000 });
  small.cut(true);
  for (let index = 0; index < 100; index++) small.dispatcher.send("worker-heartbeat", { text: "x".repeat(1_000) });
  await small.settle();
  expect(small.dispatcher.dropped).toBeGreaterThan(90);
});

test("close sends what is gathered, and nothing afterwards", async () => {
  const { dispatcher, sent } = rig();
  dispatcher.send("task-started", { uuid: "a" });
  await dispatcher.close();
  dispatcher.send("task-started", { uuid: "b" });
  dispatcher.flush();
  expect(sent).toHaveLength(1);
});
