/** What strangers can make a worker that gossips do, and keep. */
import { expect, test } from "vitest";
import { LamportClock } from "../../protocol/kombu/lamport-clock.ts";
import type { Message } from "../../protocol/message.ts";
import { builtinSerializers } from "../../protocol/serialization.ts";
import { silentLog } from "../runtime/log.ts";
import { TimerHeap } from "../runtime/timer-heap.ts";
import { createMemoryTransport, MemoryHub } from "../transports/memory.ts";
import { EventDispatcher } from "./dispatcher.ts";
import { Gossip } from "./gossip.ts";
import type { EventSettings } from "./settings.ts";

const json = builtinSerializers.byName("json");
const settings: EventSettings = {
  exchange: "celeryev",
  serializer: json,
  accept: new Set(["application/json"]),
  limits: { maxDepth: 100 },
  maxBytes: 1_000_000,
  queuePrefix: "celeryev",
  queueTtl: 5,
  queueExpires: 60,
  queueExclusive: false,
  queueDurable: false,
};

async function open() {
  const transport = createMemoryTransport({ hub: new MemoryHub() });
  await transport.connect();
  const clock = new LamportClock();
  const timers = new TimerHeap();
  const dispatcher = new EventDispatcher({
    transport,
    clock,
    hostname: "w@h",
    exchange: "celeryev",
    serializer: json,
    groups: null,
    log: silentLog,
  });
  const called: unknown[] = [];
  const callTask = async (signature: unknown) => void called.push(signature);
  const common = { settings, transport, clock, dispatcher, timers, hostname: "w@h", heartbeatInterval: 2 };
  const gossip = new Gossip({ ...common, callTask, log: silentLog });
  await gossip.start();
  const tell = (event: object) => {
    const body = new TextEncoder().encode(JSON.stringify(event));
    const message: Message = { ...json, body, headers: {}, properties: {} };
    return transport.publish(message, { exchange: "celeryev", routingKey: "worker.elect" }, { mandatory: false });
  };
  return {
    gossip,
    called,
    tell,
    elect: (id: string, hostname: string, more: object = {}) =>
      tell({ type: "worker-elect", hostname, pid: 1, clock: 1, timestamp: 1, id, topic: "task", cver: 1, ...more }),
    async [Symbol.asyncDispose]() {
      await gossip.stop();
      await dispatcher.close();
      timers.close();
      await transport.close();
    },
  };
}

test("an election that strangers flood is decided, and for this node only by what it asked for itself", async () => {
  await using it = await open();
  const own = { task: "own" };
  for (let index = 0; index < 5_000; index++) await it.elect("e", "stranger@h", { clock: 10_000 + index, action: {} });
  it.gossip.election("mine", "task", own);
  await expect.poll(() => it.called, { timeout: 5_000 }).toEqual([own]);
});

test("candidates without an end, elections without an end and names without an end are let go", async () => {
  await using it = await open();
  for (let index = 0; index < 3_000; index++) await it.elect(`e-${index}`, `stranger-${index}@h`, { action: {} });
  await it.elect("x".repeat(2_000), "stranger@h");
  await it.tell({ type: "worker-elect", hostname: "h", id: 5 });
  await it.tell({ type: "worker-elect-ack", hostname: "h", id: {} });
  await it.tell({ type: "worker-heartbeat", hostname: "n".repeat(300), freq: 2, clock: 1, timestamp: 1 });
  expect(it.gossip.alive).toEqual([]);
  await it.tell({ type: "worker-heartbeat", hostname: "friend@h", freq: 2, clock: 1, timestamp: 1 });
  await expect.poll(() => it.gossip.alive).toEqual(["friend@h"]);
});

test("is decided by as many acknowledgements as there are others, as in Celery: who stands for it later is too late", async () => {
  await using it = await open();
  const others = ["a@h", "b@h", "c@h"];
  const now = Date.now() / 1000;
  for (const hostname of others)
    await it.tell({ type: "worker-heartbeat", hostname, freq: 60, clock: 1, timestamp: now });
  await expect.poll(() => it.gossip.alive).toEqual(others);
  const own = { task: "own" };
  it.gossip.election("e", "task", own);
  await it.elect("e", "a@h", { clock: 1_000, action: {} });
  await it.elect("e", "b@h", { clock: 1_001, action: {} });
  for (const _ of others)
    await it.tell({ type: "worker-elect-ack", hostname: "a@h", clock: 1_002, timestamp: now, id: "e" });
  await it.elect("e", "c@h", { clock: 0, action: {} });
  await expect.poll(() => it.called, { timeout: 5_000 }).toEqual([own]);
});
