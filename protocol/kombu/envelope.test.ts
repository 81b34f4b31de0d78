import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base64Encode, utf8Decode, utf8Encode } from "../bytes.ts";
import { DecodeError, ProtocolError } from "../errors.ts";
import type { Message } from "../message.ts";
import { decodeEnvelope, decodeUnacked, encodeEnvelope, encodeUnacked, markRedelivered } from "./envelope.ts";

const route = { exchange: "", routingKey: "celery", deliveryTag: "tag" };
const body = "[[1], {}, {}]";

function message(overrides: Partial<Message> = {}): Message {
  return {
    body: utf8Encode(body),
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers: { task: "t", id: "i" },
    properties: { correlationId: "i", replyTo: "", deliveryMode: 2, priority: 0 },
    ...overrides,
  };
}

describe("an envelope", () => {
  test("has Kombu's fields in Kombu's order", () => {
    expect(encodeEnvelope(message(), route)).toBe(
      `{"body": "${base64Encode(utf8Encode(body))}", "content-encoding": "utf-8", "content-type": "application/json", ` +
        '"headers": {"task": "t", "id": "i"}, "properties": {"correlation_id": "i", "reply_to": "", "delivery_mode": 2, ' +
        '"delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "tag"}}',
    );
  });

  test("of a bare message has null types and only what Kombu adds", () => {
    const bare: Message = { body: new Uint8Array(0), headers: null, properties: {} };
    expect(encodeEnvelope(bare, route)).toBe(
      '{"body": "", "content-encoding": null, "content-type": null, "headers": {}, "properties": {"delivery_info": ' +
        '{"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "tag"}}',
    );
    expect(decodeEnvelope(encodeEnvelope(bare, route))).toEqual({
      message: { body: new Uint8Array(0), headers: {}, properties: { priority: 0 } },
      exchange: "",
      routingKey: "celery",
      deliveryTag: "tag",
      redelivered: false,
      priority: 0,
    });
  });

  test("keeps properties that AMQP does not know, and never lets them repeat its own", () => {
    const extra = { origin: "gen1@h", delivery_tag: "forged", message_attributes: { a: [1] } };
    const read = decodeEnvelope(encodeEnvelope(message({ properties: { messageId: "m", extra } }), route));
    expect(read.deliveryTag).toBe("tag");
    expect(read.message.properties).toEqual({
      messageId: "m",
      priority: 0,
      extra: { origin: "gen1@h", message_attributes: { a: [1] } },
    });
  });

  test("marked redelivered says so in headers and delivery info, like one that was marked later", () => {
    const marked = encodeEnvelope(message(), { ...route, redelivered: true });
    expect(decodeEnvelope(marked).redelivered).toBe(true);
    expect(markRedelivered(encodeEnvelope(message(), route))).toBe(marked);
    const noHeaders = message({ headers: {} });
    expect(markRedelivered(encodeEnvelope(noHeaders, route))).toBe(
      encodeEnvelope(noHeaders, { ...route, redelivered: true }),
    );
  });
});

describe("an envelope of another client", () => {
  const text = base64Encode(utf8Encode(body));

  test.each<[client: string, envelope: unknown, expected: object]>([
    [
      "celery-node: no priority, properties in another order",
      {
        body: text,
        headers: {},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        properties: {
          body_encoding: "base64",
          delivery_info: { exchange: "celery", priority: 0, routing_key: "celery" },
          delivery_mode: 2,
          delivery_tag: "d",
          reply_to: "r",
        },
      },
      { exchange: "celery", routingKey: "celery", deliveryTag: "d", priority: 0, redelivered: false },
    ],
    [
      "rusty-celery: no delivery info, null reply_to",
      {
        body: text,
        headers: { id: "i" },
        properties: { correlation_id: "i", reply_to: null, delivery_tag: "d", body_encoding: "base64" },
      },
      { exchange: "", routingKey: "", deliveryTag: "d" },
    ],
    [
      "gocelery: no headers at all",
      { body: text, "content-type": "application/json", properties: { body_encoding: "base64", delivery_tag: "d" } },
      { deliveryTag: "d" },
    ],
    ["null headers", { body: text, headers: null, properties: { body_encoding: "base64" } }, { deliveryTag: null }],
    [
      "PHP's empty arrays",
      { body: text, headers: [], properties: { body_encoding: "base64", delivery_info: [] } },
      { exchange: "" },
    ],
    ["plain text body", { body, headers: {}, properties: {} }, {}],
    ["plain text body that says so", { body, headers: {}, properties: { body_encoding: "utf-8" } }, {}],
    ["plain text body, null encoding", { body, headers: {}, properties: { body_encoding: null } }, {}],
    ["no properties", { body }, { deliveryTag: null, routingKey: "" }],
  ])("%s", (_client, envelope, expected) => {
    const read = decodeEnvelope(JSON.stringify(envelope));
    expect(read).toMatchObject(expected);
    expect(utf8Decode(read.message.body)).toBe(body);
    expect(read.message.headers).not.toBeNull();
  });

  test.each([
    [5, 5],
    [12, 9],
    [-1, 0],
    ["7", 7],
    ["high", 0],
    [null, 0],
    [2.9, 2],
  ])("priority %j counts as %j, as Kombu clamps it", (priority, expected) => {
    expect(decodeEnvelope(JSON.stringify({ body: "", properties: { priority } })).priority).toBe(expected);
  });

  test.each([
    "",
    "null",
    "[]",
    "3",
    '"text"',
    "{",
    '{"body": 3}',
    '{"body": {}}',
    '{"body": "AAA", "properties": {"body_encoding": "base64"}}',
    '{"body": "x", "properties": {"body_encoding": "rot13"}}',
    '{"body": "x", "properties": {"body_encoding": 7}}',
    '{"headers": 1}',
    '{"headers": ["a"]}',
    '{"properties": "x"}',
    '{"properties": {"delivery_info": 1}}',
    '{"__type__": "bytes", "__value__": "x"}',
    '{"headers": {"__type__": "nope", "__value__": 1}}',
    `{"headers": ${"[".repeat(100_000)}`,
  ])("that is none is refused: %.60s", (text) => {
    expect(() => decodeEnvelope(text)).toThrow(DecodeError);
  });

  test("cannot reach the prototype of what is read from it", () => {
    const text =
      '{"__proto__": {"body": "x"}, "headers": {"__proto__": {"polluted": 1}}, "properties": {"__proto__": {"polluted": 1}, "constructor": 1}}';
    const read = decodeEnvelope(text);
    expect(Object.getPrototypeOf(read.message.headers)).toBe(Object.prototype);
    expect(read.message.properties).toEqual({ extra: { constructor: 1 } });
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});

describe("marking", () => {
  test("touches nothing else: numbers, spaces, escapes and look-alikes stay", () => {
    const text =
      '{ "body":"\\"headers\\": {}", "headers" : {"n": 1.0, "big": 123456789012345678901234567890, "s": "}\\\\", "a":[{"headers":{}}]} , ' +
      '"properties": {"x": {"delivery_info": {}}, "delivery_info": { } } }';
    expect(markRedelivered(text)).toBe(
      text
        .replace('{"headers":{}}]}', '{"headers":{}}], "redelivered": true}')
        .replace("{ } } }", '{ "redelivered": true} } }'),
    );
  });

  test("skips containers that are not there", () => {
    expect(markRedelivered('{"body": ""}')).toBe('{"body": ""}');
    expect(markRedelivered('{"headers": null, "properties": {}}')).toBe('{"headers": null, "properties": {}}');
  });

  test("refuses what is not JSON", () => {
    for (const text of ['{"headers": {"a": "', '{"headers" {}}', '{"a": }', '{"headers": {}', '{"a": 1 2}']) {
      expect(() => markRedelivered(text)).toThrow(DecodeError);
    }
  });
});

describe("an unacked record", () => {
  test("holds the envelope and where it was sent", () => {
    const envelope = encodeEnvelope(message(), route);
    const text = encodeUnacked({ envelope, exchange: "é", routingKey: 'q"' });
    expect(text).toBe(`[${envelope}, "\\u00e9", "q\\""]`);
    expect(decodeUnacked(text)).toEqual({ envelope, exchange: "é", routingKey: 'q"' });
  });

  test.each(["", "[]", "{}", "[{}]", '[{}, "x"]', '[{}, "x", "y", "z"]', "[3, 4, 5]", '[{"a": "', '[{} "x", "y"]'])(
    "that is none is refused: %s",
    (text) => {
      expect(() => decodeUnacked(text)).toThrow(DecodeError);
    },
  );
});

const jsonText = fc.json({ depthSize: "small" });
const headerValue = fc
  .jsonValue()
  .filter((value) => !JSON.stringify(value).includes("__"))
  .map((value) => JSON.parse(JSON.stringify(value)));

describe("for any message", () => {
  const anyMessage = fc.record({
    body: fc.uint8Array(),
    headers: fc.dictionary(
      fc.string().filter((key) => key !== "__proto__"),
      headerValue,
    ),
    contentType: fc.string(),
    contentEncoding: fc.string(),
    properties: fc.record(
      {
        correlationId: fc.string(),
        replyTo: fc.string(),
        deliveryMode: fc.constantFrom(1, 2),
        priority: fc.integer({ min: 0, max: 255 }),
        expiration: fc.nat().map(String),
        messageId: fc.string(),
        timestamp: fc.nat(),
      },
      { requiredKeys: ["priority"] },
    ),
  });

  test("what is written is read back", () => {
    fc.assert(
      fc.property(anyMessage, fc.string(), fc.string(), fc.uuid(), (written, exchange, routingKey, deliveryTag) => {
        const read = decodeEnvelope(encodeEnvelope(written, { exchange, routingKey, deliveryTag }));
        expect({ ...read.message, body: Array.from(read.message.body) }).toEqual({
          ...written,
          body: Array.from(written.body),
        });
        expect(read).toMatchObject({
          exchange,
          routingKey,
          deliveryTag,
          redelivered: written.headers.redelivered === true,
        });
      }),
    );
  });

  test("marking changes the two marks only", () => {
    fc.assert(
      fc.property(anyMessage, (written) => {
        const { redelivered: _, ...headers } = written.headers;
        const text = encodeEnvelope({ ...written, headers }, route);
        expect(markRedelivered(text)).toBe(encodeEnvelope({ ...written, headers }, { ...route, redelivered: true }));
        expect(markRedelivered(markRedelivered(text))).toBe(markRedelivered(text));
      }),
    );
  });
});

describe("for any text", () => {
  const hostile = fc.oneof(
    fc.string(),
    jsonText,
    fc
      .record({ body: fc.jsonValue(), headers: fc.jsonValue(), properties: fc.jsonValue() }, { requiredKeys: [] })
      .map((value) => JSON.stringify(value)),
    fc
      .record({
        body: fc.string(),
        properties: fc.dictionary(
          fc.constantFrom("delivery_info", "priority", "body_encoding", "delivery_tag", "x"),
          fc.jsonValue(),
        ),
      })
      .map((value) => JSON.stringify(value)),
  );

  test.each([
    ["decodeEnvelope", (text: string): unknown => decodeEnvelope(text)],
    ["decodeUnacked", (text: string): unknown => decodeUnacked(text)],
    ["markRedelivered", (text: string): unknown => markRedelivered(text)],
  ])("%s gives an answer or a ProtocolError", (_name, read) => {
    fc.assert(
      fc.property(hostile, (text) => {
        try {
          read(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 300 },
    );
  });
});
