import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Message } from "../../protocol/message.ts";
import { createMemoryTransport, MemoryHub } from "../transports/memory.ts";
import type { Delivery, Transport } from "../transports/transport.ts";
import { BackendGetMetaError, BackendStoreError, ResultLost } from "./errors.ts";
import { type ContractRecord, contractCodec, until } from "./result-backend.contract.ts";
import { createRpcBackend, type RpcBackendOptions } from "./rpc.ts";

const codec = contractCodec();
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function onHub(hub = new MemoryHub()) {
  const transport = createMemoryTransport({ hub });
  await transport.connect();
  closers.push(() => transport.close());
  return { hub, transport };
}

function backendOn(transport: Transport, options: Partial<RpcBackendOptions<ContractRecord>> = {}) {
  const backend = createRpcBackend<ContractRecord>({ transport, codec, ...options });
  closers.push(() => backend.close());
  return backend;
}

/** A client and a worker on one broker. */
async function pair(options: Partial<RpcBackendOptions<ContractRecord>> = {}) {
  const { hub, transport } = await onHub();
  const client = backendOn(transport, options);
  const worker = backendOn((await onHub(hub)).transport);
  const replyTo = await client.replyTo();
  const reply = (id: string, status: string, value?: unknown) =>
    worker.store(id, { status, value }, { replyTo, correlationId: id });
  return { hub, transport, client, worker, replyTo, reply };
}

describe("the rpc backend", () => {
  test("brings a record to the client that its route names, and its states in order", async () => {
    const { client, reply } = await pair();
    const seen: string[] = [];
    const waiting = client.watch("a", { onUpdate: (record) => seen.push(record.status) });
    await reply("a", "STARTED");
    await reply("a", "PROGRESS", 1);
    await reply("a", "SUCCESS", 42);
    expect(await waiting).toEqual({ status: "SUCCESS", value: 42 });
    expect(seen).toEqual(["STARTED", "PROGRESS"]);
    expect(await client.get("a")).toEqual({ status: "SUCCESS", value: 42 });
  });

  test("opens the connection when nobody else has: a worker may only ever answer", async () => {
    const { hub, client, replyTo } = await pair();
    const transport = createMemoryTransport({ hub });
    closers.push(() => transport.close());
    await backendOn(transport).store("first", { status: "SUCCESS", value: 1 }, { replyTo, correlationId: "first" });
    expect((await client.watch("first", {})).value).toBe(1);
  });

  test("finds for a late wait what came before it", async () => {
    const { client, reply } = await pair();
    await reply("late", "SUCCESS", 1);
    expect((await client.watch("late", {})).value).toBe(1);
    expect((await client.watch("late", {})).value).toBe(1);
  });

  test("serves thousands of waits with one queue and one consumer", async () => {
    const { hub, client, replyTo, reply } = await pair();
    const ids = Array.from({ length: 5_000 }, () => randomUUID());
    const waits = ids.map((id) => client.watch(id, {}));
    await Promise.all(ids.map((id, i) => reply(id, "SUCCESS", i)));
    expect((await Promise.all(waits)).map((record) => record.value)).toEqual(ids.map((_, i) => i));
    expect(hub.queues.get(replyTo)?.consumers).toBe(1);
    expect(hub.queues.size).toBe(1);
  });

  test("keeps a bounded number of records that nobody waits for", async () => {
    const { client, reply } = await pair({ maxUnclaimed: 2 });
    for (const id of ["a", "b", "c"]) await reply(id, "SUCCESS", id);
    expect((await client.watch("c", {})).value).toBe("c");
    expect((await client.get("b"))?.value).toBe("b");
    // Whoever asks for one that was let go is told, and does not wait for ever.
    await expect(client.get("a")).rejects.toMatchObject({ code: "RESULT_LOST", taskId: "a" });
    await expect(client.watch("a", {})).rejects.toBeInstanceOf(ResultLost);
    expect(await client.get("never seen")).toBeNull();
  });

  test("sends nothing when the request names no queue, and does not mind a queue that has gone", async () => {
    const { worker, hub } = await pair();
    await worker.store("a", { status: "SUCCESS" });
    await worker.store("a", { status: "SUCCESS" }, { replyTo: null });
    await worker.store("a", { status: "SUCCESS" }, { replyTo: "" });
    expect(hub.queues.size).toBe(1);
  });

  test.each([
    [undefined, 1],
    [true, 2],
  ])("writes the properties that Celery writes (persistent %s)", async (persistent, deliveryMode) => {
    const { transport } = await onHub();
    const got: Message[] = [];
    await transport.declare([{ name: "r", exchange: { name: "", type: "direct" }, routingKey: "r" }]);
    await transport.consume(["r"], { prefetch: 0, noAck: true }, (delivery) => got.push(delivery.message));
    const backend = backendOn(transport, persistent === undefined ? {} : { persistent });
    await backend.store("id", { status: "SUCCESS", value: 1 }, { replyTo: "r" });
    await until(() => got.length === 1);
    expect(got[0]).toMatchObject({ contentType: "application/json", contentEncoding: "utf-8", headers: {} });
    expect(got[0]?.properties).toEqual({ correlationId: "id", deliveryMode, priority: 0 });
  });

  test("declares the queue that Celery declares, and leaves it when closed", async () => {
    const declared: unknown[] = [];
    const { hub, transport } = await onHub();
    const spying: Transport = Object.create(transport, {
      declare: {
        value: (queues: Parameters<Transport["declare"]>[0]) => {
          declared.push(...queues);
          return transport.declare(queues);
        },
      },
      consume: { value: transport.consume.bind(transport) },
      connected: { get: () => transport.connected },
    });
    const backend = backendOn(spying, { clientId: "me", expires: 60 });
    expect(await backend.replyTo()).toBe("me");
    expect(declared).toEqual([
      {
        name: "me",
        own: true,
        exchange: { name: "", type: "direct" },
        routingKey: "me",
        durable: true,
        autoDelete: true,
        arguments: { "x-expires": 60_000 },
      },
    ]);
    await backend.close();
    expect(hub.queues.has("me")).toBe(false);
  });

  test("does not let an older state follow the end", async () => {
    const { client, reply } = await pair();
    await reply("a", "SUCCESS", 1);
    await client.watch("a", {});
    await reply("a", "STARTED");
    await reply("b", "SUCCESS");
    await client.watch("b", {});
    expect((await client.get("a"))?.status).toBe("SUCCESS");
  });

  test("an unreadable reply fails its wait and no other", async () => {
    const { client, transport, replyTo, reply } = await pair();
    const broken = client.watch("a", {});
    const whole = client.watch("b", {});
    await transport.publish(
      { body: Buffer.from("{"), headers: {}, properties: { correlationId: "a" } },
      { exchange: "", routingKey: replyTo },
    );
    await expect(broken).rejects.toMatchObject({ code: "DECODE" });
    await reply("b", "SUCCESS");
    expect((await whole).status).toBe("SUCCESS");
  });

  test("a reply that its transport refused fails its wait, also one that begins later", async () => {
    const { transport } = await onHub();
    let reply: (delivery: Delivery) => void = () => undefined;
    const consume = vi.spyOn(transport, "consume");
    consume.mockImplementationOnce(async (queues, options, onDelivery) => {
      reply = onDelivery;
      consume.mockRestore();
      return transport.consume(queues, options, onDelivery);
    });
    const client = backendOn(transport);
    await client.replyTo();
    const waiting = client.watch("a", {});
    const refused = { body: new Uint8Array(), headers: {}, properties: { correlationId: "a" }, refused: "too large" };
    reply({ message: refused } as Delivery);
    await expect(waiting).rejects.toThrow("too large");
    await expect(client.watch("a", {})).rejects.toBeInstanceOf(ResultLost);
  });

  test("a wait ends with its signal, with close, or when the broker was away too long", async () => {
    const { client } = await pair();
    const abort = new AbortController();
    const aborted = client.watch("a", { signal: abort.signal });
    const reason = new RangeError("enough");
    abort.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    const tired = client.watch("a", { lostAfter: 20 });
    client.transportLost(new Error("gone"));
    await expect(tired).rejects.toBeInstanceOf(BackendGetMetaError);
    client.transportConnected();
    const closed = expect(client.watch("a", {})).rejects.toBeInstanceOf(ResultLost);
    await client.close();
    await client.close();
    await closed;
    await expect(client.watch("b", {})).rejects.toBeInstanceOf(ResultLost);
    await expect(client.get("b")).rejects.toBeInstanceOf(BackendGetMetaError);
    await expect(client.store("b", { status: "SUCCESS" }, { replyTo: "x" })).rejects.toBeInstanceOf(BackendStoreError);
    await expect(client.replyTo()).rejects.toThrow(/closed/);
  });

  test("stores wait for the broker, and close sends them first", async () => {
    const hub = new MemoryHub();
    const { transport: reader } = await onHub(hub);
    await reader.publish({ body: Buffer.from("x"), headers: {}, properties: {} }, { exchange: "", routingKey: "r" });
    const transport = createMemoryTransport({ hub });
    const away = vi.spyOn(transport, "connect").mockReturnValue(new Promise(() => undefined));
    const backend = backendOn(transport);
    const storing = backend.store("a", { status: "SUCCESS" }, { replyTo: "r" });
    expect((await reader.inspectQueue("r"))?.messages).toBe(1);
    away.mockRestore();
    await transport.connect();
    await backend.close();
    await storing;
    expect((await reader.inspectQueue("r"))?.messages).toBe(2);
    await transport.close();
  });
});
