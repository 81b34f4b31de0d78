import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import type { ResultMeta } from "../../protocol/celery/result-meta.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/message.ts";
import { createMemoryBackend } from "../result-backends/memory.ts";
import type { ResultBackend } from "../result-backends/result-backend.ts";
import { silentLog } from "../runtime/log.ts";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { task } from "../tasks/definition.ts";
import { createMemoryTransport } from "../transports/memory.ts";
import type { Delivery, Transport } from "../transports/transport.ts";
import { type Client, type ClientParts, createClient } from "./client.ts";

let transport: Transport;
let backend: ResultBackend<ResultMeta>;
const opened: Client[] = [];

beforeEach(() => {
  transport = createMemoryTransport({ hub: randomUUID() });
  backend = createMemoryBackend({ codec: celeryRecordCodec() });
});
afterEach(async () => {
  for (const client of opened.splice(0)) client.close();
  await transport.close();
  await backend.close();
});

function clientOf(code: SettingsInput = {}, more: Partial<ClientParts> = {}): Client {
  const { settings } = parseSettings({ code, env: {} });
  const client = createClient({
    settings,
    transport,
    backend,
    log: silentLog,
    oid: "my-oid",
    now: () => Date.parse("2030-01-02T03:04:05Z"),
    ...more,
  });
  opened.push(client);
  return client;
}

/** The next messages of a queue. */
async function taken(queue: string, count = 1): Promise<Message[]> {
  const messages: Message[] = [];
  await new Promise<void>((resolve, reject) => {
    const onDelivery = (delivery: Delivery) => {
      messages.push(delivery.message);
      delivery.ack();
      if (messages.length === count) resolve();
    };
    transport.consume([queue], { prefetch: 0 }, onDelivery).catch(reject);
  });
  return messages;
}

const body = (message: Message): unknown => JSON.parse(new TextDecoder().decode(message.body));

describe("a task that is sent", () => {
  test("lies in its queue as Celery would have written it", async () => {
    const result = await clientOf().send({ name: "proj.add", args: [2, 3] });
    const [message] = await taken("celery");
    expect(body(message!)).toEqual([[2, 3], {}, { callbacks: null, errbacks: null, chain: null, chord: null }]);
    expect(message!.headers).toMatchObject({
      lang: "js",
      task: "proj.add",
      id: result.id,
      root_id: result.id,
      parent_id: null,
      retries: 0,
      eta: null,
      timelimit: [null, null],
      ignore_result: null,
      argsrepr: "(2, 3)",
      kwargsrepr: "{}",
    });
    expect(message!.headers?.origin).toMatch(/^gen\d+@/);
    expect(message!.properties).toEqual({ correlationId: result.id, replyTo: "my-oid", deliveryMode: 2, priority: 0 });
    expect(result.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("carries what the options say", async () => {
    const sig = { task: "x", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    await clientOf().send({
      name: "t",
      options: {
        taskId: "own-id",
        queue: "other",
        countdown: 1.5,
        expires: 60,
        timeLimit: 9,
        softTimeLimit: 8,
        headers: { custom: 1 },
        groupId: "g",
        groupIndex: 3,
        rootId: "r",
        parentId: "p",
        link: sig,
        chain: [sig],
        chord: sig,
        stampedHeaders: ["s"],
        stamps: { s: ["v"] },
        argsrepr: "***",
        messageId: "m",
        userId: "guest",
        replyTo: "elsewhere",
        replacedTaskNesting: 2,
      },
    });
    const [message] = await taken("other");
    expect(message!.headers).toMatchObject({
      id: "own-id",
      eta: "2030-01-02T03:04:06.500000+00:00",
      expires: "2030-01-02T03:05:05+00:00",
      timelimit: [9, 8],
      custom: 1,
      group: "g",
      group_index: 3,
      root_id: "r",
      parent_id: "p",
      stamped_headers: ["s"],
      stamps: { s: ["v"] },
      argsrepr: "***",
      replaced_task_nesting: 2,
    });
    expect(message!.properties).toMatchObject({
      expiration: "60000",
      messageId: "m",
      userId: "guest",
      replyTo: "elsewhere",
    });
    expect(body(message!)).toEqual([[], {}, { callbacks: [sig], errbacks: null, chain: [sig], chord: sig }]);
  });

  test("takes what the call leaves open from its definition", async () => {
    const add = task("proj.add", { queue: "sums", priority: 4, timeLimit: 7 }, () => 1);
    const client = clientOf({ task_ignore_result: true });
    const result = await client.send({ name: add.name, task: add });
    const [message] = await taken("sums");
    expect(message!.headers).toMatchObject({ timelimit: [7, null], ignore_result: true });
    expect(message!.properties.priority).toBe(4);
    expect(await result.get()).toBeNull();
  });

  test("by the definition of a stub leaves its worker's settings alone", async () => {
    const stub = task("py.score", { softTimeLimit: 3 });
    await clientOf({ task_ignore_result: true, task_time_limit: 60 }).send({ name: stub.name, task: stub });
    const [message] = await taken("celery");
    expect(message!.headers).toMatchObject({ timelimit: [null, 3], ignore_result: null });
  });

  test("from a task has it as parent, and its priority if so set", async () => {
    const parent = { id: "p", rootId: "r", deliveryInfo: { priority: 7 } };
    await clientOf().send({ name: "t", parent });
    await clientOf({ task_inherit_parent_priority: true }).send({ name: "t", parent });
    await clientOf({ task_inherit_parent_priority: true }).send({ name: "t", parent, options: { priority: 1 } });
    const messages = await taken("celery", 3);
    for (const { headers } of messages) expect(headers).toMatchObject({ root_id: "r", parent_id: "p" });
    expect(messages.map(({ properties }) => properties.priority)).toEqual([0, 7, 1].toSorted((a, b) => a - b));
  });

  test("that expires beyond what RabbitMQ can count has no expiration property", async () => {
    await clientOf().send({ name: "t", options: { expires: 60 * 86_400 } });
    const [message] = await taken("celery");
    expect(message!.headers?.expires).toBe("2030-03-03T03:04:05+00:00");
    expect(message!.properties.expiration).toBeUndefined();
  });

  test("is refused, and not lost, when it could not arrive", async () => {
    const client = clientOf();
    await expect(client.send({ name: "t", options: { exchange: "nowhere", routingKey: "k" } })).rejects.toThrow();
    await expect(client.send({ name: "t", options: { countdown: 1e15 } })).rejects.toThrow(/years 1 to 9999/);
    await expect(client.send({ name: "t", options: { serializer: "yaml" } })).rejects.toThrow(ImproperlyConfigured);
    await expect(client.send({ name: "t", args: [() => 1] })).rejects.toThrow();
  });
});

describe("results", () => {
  test("arrive by id, here and for whoever knows the id", async () => {
    const client = clientOf();
    const result = await client.send<number>({ name: "t" });
    const meta = { status: "SUCCESS", exception: null, traceback: null, children: [], dateDone: null };
    await backend.store(result.id, { ...meta, result: 5, taskId: result.id });
    expect([await result.get({ timeout: 1000 }), await client.result(result.id).get()]).toEqual([5, 5]);
  });

  test("without a backend can be sent for but not waited for", async () => {
    const result = await clientOf({}, { backend: null }).send({ name: "t" });
    await expect(result.get()).rejects.toThrow(/no result backend/);
  });

  test("for rpc the reply queue stands before the first message, and is asked for once", async () => {
    const order: string[] = [];
    const rpc: ResultBackend<ResultMeta> = {
      ...backend,
      name: "rpc",
      replyTo: async () => {
        order.push("reply queue");
        return "reply-queue";
      },
    };
    const client = clientOf({}, { backend: rpc });
    await client.send({ name: "t", options: { ignoreResult: true } });
    await client.send({ name: "t" });
    await client.send({ name: "t" });
    const messages = await taken("celery", 3);
    expect(messages.map(({ properties }) => properties.replyTo).toSorted()).toEqual([
      "my-oid",
      "reply-queue",
      "reply-queue",
    ]);
    expect(order).toEqual(["reply queue"]);
  });
});

test("a client leaves transport and backend open, for they are not its own", async () => {
  const client = clientOf();
  await client.send({ name: "t" });
  client.close();
  client.close();
  expect(transport.connected).toBe(true);
  await expect(client.send({ name: "t" })).rejects.toThrow(/closed/);
});
