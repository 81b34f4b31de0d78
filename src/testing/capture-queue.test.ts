import { expect, test } from "vitest";
import type { Queue } from "../../protocol/routing.ts";
import { createMemoryTransport } from "../transports/memory.ts";
import type { Transport } from "../transports/transport.ts";
import { assertDrained } from "./assert-drained.ts";
import { captureQueue } from "./capture-queue.ts";
import { NotDrained } from "./errors.ts";

const encoder = new TextEncoder();
const send = (transport: Transport, text: string) =>
  transport.publish(
    { body: encoder.encode(text), contentType: "text/plain", headers: { n: 1 }, properties: {} },
    { exchange: "", routingKey: "captured" },
  );

async function connected() {
  const transport = createMemoryTransport({ hub: `capture-${Math.random()}` });
  await transport.connect();
  await transport.declare([queue]);
  return transport;
}
const queue: Queue = { name: "captured", exchange: { name: "captured", type: "direct" }, routingKey: "captured" };

test("captures messages that came before and after it began, with headers and text", async () => {
  const transport = await connected();
  await send(transport, "before");
  const capture = await captureQueue(transport, "captured");
  await send(transport, "after");
  const taken = await capture.take(2);
  expect(taken.map(({ text }) => text)).toEqual(["before", "after"]);
  expect(taken[0]?.message.headers).toEqual({ n: 1 });
  await capture[Symbol.asyncDispose]();
  await assertDrained(transport, ["captured"]);
  await transport.close();
});

test("assertDrained names the queue that still holds messages", async () => {
  const transport = await connected();
  await send(transport, "left");
  const drained = assertDrained(transport, ["captured"], { timeout: 30 });
  await expect(drained).rejects.toBeInstanceOf(NotDrained);
  await expect(drained).rejects.toThrow("captured: 1 ready");
  await transport.close();
});
