import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { createMemoryTransport, MemoryHub } from "./memory.ts";
import { bodyText, consuming, declared, queueOf, testTransport, text, toQueue } from "./transport.contract.ts";
import type { Transport } from "./transport.ts";

testTransport({
  name: "memory",
  async make() {
    const hub = randomUUID();
    const made: Transport[] = [];
    const another = async () => {
      const transport = createMemoryTransport({ hub });
      made.push(transport);
      return transport;
    };
    return {
      transport: await another(),
      another,
      async dispose() {
        for (const transport of made) await transport.close();
      },
    };
  },
  can: { clash: true, knowsMissingQueues: true, order: true, redeliversAfterLoss: true, fanout: true, topic: true },
});

test("transports that name the same hub share its queues, others do not", async () => {
  const name = randomUUID();
  const [a, b, c] = [name, name, new MemoryHub()].map((hub) => createMemoryTransport({ hub }));
  for (const transport of [a, b, c]) await transport?.connect();
  const queue = await declared(a!);
  expect(await b!.inspectQueue(queue.name)).toEqual({ messages: 0, consumers: 0 });
  expect(await c!.inspectQueue(queue.name)).toBeNull();
});

test("the receiver gets its own copy of body and headers", async () => {
  const transport = createMemoryTransport({ hub: new MemoryHub() });
  await transport.connect();
  const queue = await declared(transport);
  const message = { ...text("same"), headers: { list: [1] } };
  await transport.publish(message, toQueue(queue));
  message.headers.list.push(2);
  message.body[0] = 0;
  const [got] = await (await consuming(transport, [queue.name])).waitFor(1);
  expect(got?.message.headers).toEqual({ list: [1] });
  expect(got?.message.body).toEqual(text("same").body);
});

test("an auto-delete queue goes with its last consumer, an exclusive one with its transport", async () => {
  const hub = new MemoryHub();
  const [a, b] = [createMemoryTransport({ hub }), createMemoryTransport({ hub })];
  await Promise.all([a.connect(), b.connect()]);
  const fleeting = await declared(a, { autoDelete: true });
  const own = queueOf({ exclusive: true });
  await a.declare([own]);
  await expect(b.declare([own])).rejects.toMatchObject({ code: "QUEUE_CLASH" });
  const inbox = await consuming(a, [fleeting.name]);
  await inbox.consumer.cancel();
  expect(await b.inspectQueue(fleeting.name)).toBeNull();
  await a.close();
  expect(await b.inspectQueue(own.name)).toBeNull();
});

test("the anonymous exchange makes the queue that it names, as Kombu's virtual transports do", async () => {
  const transport = createMemoryTransport({ hub: new MemoryHub() });
  await transport.connect();
  await transport.publish(text("x"), { exchange: "", routingKey: "new" });
  expect(await transport.inspectQueue("new")).toEqual({ messages: 1, consumers: 0 });
});

test("messages that are given back return to their places", async () => {
  const transport = createMemoryTransport({ hub: new MemoryHub() });
  await transport.connect();
  const queue = await declared(transport);
  const bodies = Array.from({ length: 3_000 }, (_, i) => `${i}`);
  for (const body of bodies) await transport.publish(text(body), toQueue(queue));
  const first = await consuming(transport, [queue.name], 2_500);
  const held = await first.waitFor(2_500);
  await first.consumer.cancel();
  for (const delivery of [...held].reverse()) delivery.reject({ requeue: true });
  const again = await consuming(transport, [queue.name], 0, (delivery) => delivery.ack());
  expect((await again.waitFor(3_000)).map(bodyText)).toEqual(bodies);
});
