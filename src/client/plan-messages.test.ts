/** A group's messages share what is alike in them; nobody who reads them can tell. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { celeryRecordCodec } from "../../protocol/celery/result-codec.ts";
import { encodeSignature, type WireSignature } from "../../protocol/celery/signature.ts";
import { EncodeError } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/message.ts";
import { createMemoryBackend } from "../result-backends/memory.ts";
import { silentLog } from "../runtime/log.ts";
import { parseSettings, type SettingsInput } from "../settings/settings.ts";
import { createMemoryTransport } from "../transports/memory.ts";
import type { Transport } from "../transports/transport.ts";
import { type Client, createClient } from "./client.ts";

let transport: Transport;
let clients: Client[] = [];
beforeEach(() => {
  transport = createMemoryTransport({ hub: randomUUID() });
});
afterEach(async () => {
  for (const client of clients) client.close();
  clients = [];
  await transport.close();
});

function clientOf(code: SettingsInput = {}): Client {
  let ids = 0;
  const client = createClient({
    settings: parseSettings({ code, env: {} }).settings,
    transport,
    backend: createMemoryBackend({ codec: celeryRecordCodec() }),
    log: silentLog,
    oid: "oid",
    origin: "gen1@here",
    ids: () => `id-${ids++}`,
    now: () => Date.parse("2030-01-02T03:04:05Z"),
  });
  clients.push(client);
  return client;
}

const add = (x: unknown, options: Record<string, unknown> = {}, task = "add"): WireSignature =>
  encodeSignature({ task, args: [x, 1], kwargs: { named: x }, options });
const group = (tasks: readonly WireSignature[]): WireSignature =>
  encodeSignature({ task: "celery.group", kwargs: { tasks }, subtask_type: "group" });
const chord = (header: readonly WireSignature[], body: WireSignature): WireSignature =>
  encodeSignature({ task: "celery.chord", kwargs: { header, body, kwargs: {} }, subtask_type: "chord" });

async function taken(queue: string, count: number): Promise<Message[]> {
  const messages: Message[] = [];
  await new Promise<void>((resolve, reject) => {
    transport
      .consume([queue], { prefetch: 0 }, (delivery) => {
        messages.push(delivery.message);
        delivery.ack();
        if (messages.length === count) resolve();
      })
      .catch(reject);
  });
  return messages;
}

const readable = ({ body, ...rest }: Message) => ({ ...rest, body: new TextDecoder().decode(body) });

describe("messages of a group", () => {
  const mixed = [
    add(1),
    add(2),
    add("it's"),
    add(4, { priority: 3 }),
    add(5, { priority: 3 }),
    add(6, {}, "other"),
    add(7, { countdown: 10 }),
    add(8, { countdown: 10 }),
    add(9, { headers: { id: "mine", more: 1 } }),
    add(10, { headers: { id: "mine", more: 1 } }),
    add(11, { task_id: "own" }),
    add(12, { stamped_headers: ["by"], by: "me" }),
    add(13, { link_error: [add("error")] }),
    add(14, { argsrepr: "(secret)" }),
    add({ deep: [1, { a: 2 }] }),
    add(16, { correlation_id: "other" }),
  ];

  test.each([
    ["a group", group([...mixed, ...mixed])],
    ["a chord", chord([...mixed, ...mixed], add("body"))],
  ])("of %s are byte for byte those that are made one by one", async (_what, signature) => {
    // A function may route each task elsewhere, so nothing of one message is taken for the next.
    const asked: string[] = [];
    const route = (name: string) => {
      asked.push(name);
      return null;
    };
    await clientOf({ task_routes: [route] }).apply(signature);
    const alone = await taken("celery", 32);
    transport = createMemoryTransport({ hub: randomUUID() });
    await clientOf().apply(signature);
    const together = await taken("celery", 32);
    expect(together.map(readable)).toEqual(alone.map(readable));
    expect(asked).toHaveLength(32);
  });

  test("the body of a chord is encoded for its first part, once more for all the others, and never again", async () => {
    let bodies = 0;
    const body = add({
      toJSON() {
        bodies++;
        return "seen";
      },
    });
    await clientOf().apply(
      chord(
        Array.from({ length: 600 }, (_, n) => add(n)),
        body,
      ),
    );
    // Each encoding meets it in args and in kwargs.
    expect(bodies).toBe(2 * 2);
    const messages = await taken("celery", 600);
    expect(readable(messages[599]!).body).toContain('"chord": {"task": "add", "args": ["seen", 1]');
  });

  test("one that has no form sends nothing, wherever it stands", async () => {
    const tasks = Array.from({ length: 700 }, (_, n) => add(n === 699 ? Symbol("no") : n));
    await expect(clientOf().apply(group(tasks))).rejects.toThrow(EncodeError);
    expect(await transport.inspectQueue("celery")).toBeNull();
  });

  test("others get their turn between slices of a large group, and of large arguments", async () => {
    const client = clientOf();
    const turns = async (tasks: readonly WireSignature[]) => {
      let count = 0;
      let going = true;
      const next = () => {
        count++;
        if (going) setImmediate(next);
      };
      setImmediate(next);
      await client.apply(group(tasks));
      going = false;
      return count;
    };
    const few = await turns(Array.from({ length: 20 }, (_, n) => add(n)));
    const slices = Math.floor(5_000 / 256);
    expect(await turns(Array.from({ length: 5_000 }, (_, n) => add(n)))).toBeGreaterThanOrEqual(few + 2 * slices);
    const large = "x".repeat(600_000);
    expect(await turns(Array.from({ length: 20 }, () => add(large)))).toBeGreaterThanOrEqual(few + 2 * 9);
  });
});
