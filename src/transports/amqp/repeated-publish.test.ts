import fc from "fast-check";
import { expect, test } from "vitest";
import { EncodeError } from "../../../protocol/errors.ts";
import type { Message } from "../../../protocol/message.ts";
import { ByteWriter } from "./byte-writer.ts";
import { type PublishAddress, PublishWriter } from "./frames.ts";

const to: PublishAddress = { exchange: "", routingKey: "q", mandatory: true };
const plain: Message = {
  body: new Uint8Array(3),
  contentType: "application/json",
  headers: { id: "1", retries: 0 },
  properties: { correlationId: "1", deliveryMode: 2 },
};

function alone(message: Message, way: PublishAddress, channel: number, mode: number | undefined): string {
  const out = new ByteWriter();
  new PublishWriter().write(out, channel, message, way, mode);
  return out.take().toString("hex");
}

/** Seldom two values, so that messages are often alike. */
const either = <T>(...values: T[]) => fc.constantFrom(...values);
const text = either<string | undefined>(undefined, "", "a", "b", "é", "\ud800", "long enough to differ", "ö");
const properties = fc.record(
  {
    correlationId: text,
    replyTo: either<string | undefined>(undefined, "me", "you"),
    deliveryMode: either<number | undefined>(1, 2, undefined),
    priority: either<number | undefined>(0, 3),
    timestamp: either<number | undefined>(1),
    extra: either<Record<string, unknown> | undefined>({ a: 1 }, { b: 2 }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Message["properties"]>;
const headers = fc.option(
  fc.record(
    {
      id: either<unknown>("1", "2", "é", "10", 1, null),
      index: either<unknown>(0, 1, -0, 255, -1, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 0.5, "x"),
      limits: either<unknown>(Object.freeze([null, null]), [1]),
    },
    { requiredKeys: [] },
  ),
);
const message: fc.Arbitrary<Message> = fc.record({
  body: fc.integer({ min: 0, max: 70_000 }).map((length) => new Uint8Array(length)),
  contentType: either("application/json", "application/data"),
  headers,
  properties,
});
const way = either(to, { ...to, mandatory: false }, { ...to, routingKey: "other" });

test("message after message has the frames that it has alone, whatever came before", () => {
  const one = fc.tuple(
    message,
    fc.oneof({ arbitrary: fc.constant(to), weight: 4 }, way),
    either(1, 1, 1, 2),
    either<1 | undefined>(undefined, 1),
  );
  fc.assert(
    fc.property(fc.array(one, { maxLength: 12 }), fc.boolean(), (messages, together) => {
      const writer = new PublishWriter();
      const out = new ByteWriter();
      for (const [each, address, channel, mode] of messages) {
        const mark = out.mark();
        writer.write(out, channel, each, address, mode);
        expect(out.since(mark).toString("hex")).toBe(alone(each, address, channel, mode));
        if (!together) out.take();
      }
    }),
    { numRuns: 300 },
  );
});

test("a message without a correlation id takes over nobody's, whatever else it names", () => {
  const writer = new PublishWriter();
  const out = new ByteWriter();
  const next: Message = { ...plain, properties: { deliveryMode: 2, replyTo: undefined } as Message["properties"] };
  writer.write(out, 1, plain, to, undefined);
  const mark = out.mark();
  writer.write(out, 1, next, to, undefined);
  expect(out.since(mark).toString("hex")).toBe(alone(next, to, 1, undefined));
});

test("after a message that cannot be written the next is whole", () => {
  const writer = new PublishWriter();
  const out = new ByteWriter();
  writer.write(out, 1, plain, to, undefined);
  for (const wrong of [
    { ...plain, headers: { id: "2", retries: Symbol("no") } },
    { ...plain, properties: { ...plain.properties, correlationId: "x".repeat(300) } },
    { ...plain, properties: { ...plain.properties, priority: 256 } },
  ]) {
    const mark = out.mark();
    expect(() => writer.write(out, 1, wrong, to, undefined)).toThrow(EncodeError);
    out.rewind(mark);
    const next = { ...plain, headers: { id: "3", retries: 1 } };
    writer.write(out, 1, next, to, undefined);
    expect(out.since(mark).toString("hex")).toBe(alone(next, to, 1, undefined));
  }
});
