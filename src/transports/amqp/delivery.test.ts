import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { MessageStateError } from "../errors.ts";
import { AmqpDelivery, Ledger } from "./delivery.ts";
import { Outbox } from "./outbox.ts";

/** What was written, frame by frame: `ack 3`, `ack <=5`, `reject 4`, `requeue 4`, `requeue <=4`. */
function frames(bytes: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += 8 + bytes.readUInt32BE(at + 3)) {
    const method = bytes.readUInt32BE(at + 7);
    const tag = Number(bytes.readBigUInt64BE(at + 11));
    const bit = bytes[at + 19] === 1;
    if (method === 0x003c0050) found.push(bit ? `ack <=${tag}` : `ack ${tag}`);
    if (method === 0x003c0078 && bytes[at + 19] === 3) found.push(`requeue <=${tag}`);
    if (method === 0x003c005a) found.push(bit ? `requeue ${tag}` : `reject ${tag}`);
  }
  return found;
}

function setUp(count: number) {
  const stream = new PassThrough();
  const outbox = new Outbox(stream, 131_072, () => undefined);
  const ledger = new Ledger(outbox, 1, () => undefined);
  const info = { exchange: "", routingKey: "q", redelivered: false, queue: "q" };
  const message = { body: Buffer.alloc(0), headers: null, properties: {} };
  const tags = Array.from({ length: count }, (_, i) => i + 1);
  const deliveries = tags.map((tag) => {
    const delivery = new AmqpDelivery(message, info, tag, ledger);
    ledger.enter(delivery);
    return delivery;
  });
  const ack = (...chosen: number[]) => {
    for (const tag of chosen) deliveries[tag - 1]?.ack();
  };
  const written = () => {
    outbox.flush();
    const bytes: unknown = stream.read();
    return Buffer.isBuffer(bytes) ? frames(bytes) : [];
  };
  return { ledger, deliveries, ack, written };
}

test("acks of a turn without a gap leave as one", () => {
  const { ack, written } = setUp(5);
  ack(2, 1, 3);
  expect(written()).toEqual(["ack <=3"]);
  ack(5, 4);
  expect(written()).toEqual(["ack <=5"]);
});

test("what is not settled is never covered by an ack for many", () => {
  const { ack, written, deliveries } = setUp(6);
  ack(2, 3, 6);
  expect(written()).toEqual(["ack 2", "ack 3", "ack 6"]);
  deliveries[3]?.reject({ requeue: true });
  ack(1);
  expect(written()).toEqual(["ack 1", "requeue 4"]);
  ack(5);
  expect(written()).toEqual(["ack 5"]);
});

test("a reject goes before an ack for many that would cover it", () => {
  const { ack, written, deliveries } = setUp(3);
  ack(1);
  deliveries[1]?.reject({ requeue: false });
  ack(3);
  expect(written()).toEqual(["reject 2", "ack <=3"]);
});

test("what goes back leaves as one, and no ack for many takes it along", () => {
  const { ack, written, deliveries } = setUp(6);
  for (const at of [0, 2, 3]) deliveries[at]?.reject({ requeue: true });
  ack(2);
  expect(written()).toEqual(["ack 2", "requeue <=4"]);
  deliveries[5]?.reject({ requeue: true });
  expect(written()).toEqual(["requeue 6"]);
  ack(5);
  expect(written()).toEqual(["ack 5"]);
});

test("many that go back wait for an older one that is not settled, and are acked by nothing meanwhile", () => {
  const { ack, written, deliveries } = setUp(1_003);
  for (const delivery of deliveries.slice(2, 1_002)) delivery.reject({ requeue: true });
  expect(written()).toEqual([]);
  ack(1, 1_003);
  expect(written()).toEqual(["ack 1", "ack 1003"]);
  ack(2);
  expect(written()).toEqual(["ack 2", "requeue <=1002"]);
});

test("random settling settles at the broker exactly what was settled here, and as it was", () => {
  const count = 300;
  const { ledger, deliveries, written } = setUp(count);
  const open = new Set(deliveries);
  const settled = new Map<number, string>();
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  const atBroker = new Set(deliveries.map((delivery) => delivery.tag));
  while (open.size > 0) {
    for (let i = 0; i < 1 + random(20) && open.size > 0; i++) {
      const delivery = [...open][random(Math.min(open.size, 30))]!;
      open.delete(delivery);
      const how = (["reject", "requeue"] as const)[random(8)] ?? "ack";
      settled.set(delivery.tag, how);
      if (how === "ack") delivery.ack();
      else delivery.reject({ requeue: how === "requeue" });
    }
    for (const frame of written()) {
      const tag = Number(/\d+/.exec(frame)?.[0]);
      expect(atBroker.has(tag)).toBe(true);
      const covered = frame.includes("<=") ? [...atBroker].filter((held) => held <= tag) : [tag];
      for (const one of covered) {
        expect(`${one} ${settled.get(one)}`).toBe(`${one} ${frame.split(" ")[0]}`);
        atBroker.delete(one);
      }
    }
    expect(atBroker.size).toBe(count - settled.size);
    expect(ledger.held).toBe(open.size);
  }
});

test("settling what is lost changes nothing, twice is an error all the same", () => {
  const { ledger, ack, deliveries, written } = setUp(2);
  ledger.lose();
  ack(1);
  deliveries[1]?.reject({ requeue: true });
  expect(written()).toEqual([]);
  expect(deliveries[0]?.lost).toBe(true);
  expect(() => ack(1)).toThrow(MessageStateError);
});
