/** Every message that real Celery clients and workers published to RabbitMQ in the captures: read, and written back. */
import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { base64Decode, utf8Decode, utf8Encode } from "../bytes.ts";
import { ContentDisallowed, DecodeError } from "../errors.ts";
import type { Message } from "../message.ts";
import { saferepr } from "../saferepr.ts";
import { acceptedTypes, decodePayload, jsonSerializer } from "../serialization.ts";
import { decodeResultMeta, encodeResultMeta } from "./result-meta.ts";
import { encodeSignature, readSignature, type WireSignature } from "./signature.ts";
import {
  encodeTask,
  hasTaskHeader,
  readHead,
  readTask,
  type TaskMessageInput,
  type TaskRequest,
} from "./task-message.ts";

interface Captured {
  properties: Record<string, string | number | undefined>;
  headers: Record<string, unknown>;
  body_len: number;
  body_b64?: string;
  body_text?: string;
}

const json = acceptedTypes(["json"]);
const everything = acceptedTypes(["json", "yaml", "msgpack", "pickle"]);
const limits = { maxDepth: 200, floats: "keep" } as const;

function messagesIn(file: string): Captured[] {
  const found: Captured[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    if ("body_len" in node) found.push(node as Captured);
    for (const child of Object.values(node)) walk(child);
  };
  walk(JSON.parse(readFileSync(new URL(`../vectors/celery/${file}`, import.meta.url), "utf8")));
  return found;
}

const AMQP_NAMES: Record<string, keyof Message["properties"]> = {
  correlation_id: "correlationId",
  reply_to: "replyTo",
  delivery_mode: "deliveryMode",
  priority: "priority",
  expiration: "expiration",
  message_id: "messageId",
  type: "type",
  user_id: "userId",
  app_id: "appId",
  timestamp: "timestamp",
};

function toMessage(captured: Captured): Message {
  const properties: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(captured.properties)) {
    if (name !== "content_type" && name !== "content_encoding") properties[AMQP_NAMES[name] ?? name] = value;
  }
  const body = captured.body_b64 !== undefined ? base64Decode(captured.body_b64) : utf8Encode(captured.body_text ?? "");
  expect(body).toHaveLength(captured.body_len);
  return {
    body,
    contentType: String(captured.properties.content_type),
    contentEncoding: String(captured.properties.content_encoding),
    headers: captured.headers,
    properties,
  };
}

/** What a publisher would have to say to send this very message. */
function inputOf(request: TaskRequest, message: Message): TaskMessageInput {
  return {
    ...request,
    serializer: jsonSerializer,
    origin: request.origin ?? "",
    lang: request.lang ?? "",
    argsRepr: request.argsRepr ?? "",
    kwargsRepr: request.kwargsRepr ?? "",
    embed: Object.fromEntries(
      Object.entries(request.embed).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.map(encodeSignature) : value,
      ]),
    ),
    properties: message.properties,
    priority: request.priority,
  };
}

function signaturesIn(request: TaskRequest): WireSignature[] {
  const { callbacks, errbacks, chain, chord } = request.embed;
  return [...(callbacks ?? []), ...(errbacks ?? []), ...(chain ?? []), ...(chord === null ? [] : [chord])];
}

/** Tasks in JSON, and how many signatures stand in their embeds. */
const taskCounts: [file: string, tasks: number, signatures: number][] = [
  ["amqp-messages-basic.json", 26, 0],
  ["amqp-messages-canvas.json", 18, 15],
  ["amqp-messages-repr.json", 4, 0],
  ["amqp-messages-serializer.json", 2, 0],
  ["amqp-messages-stamping.json", 7, 3],
  ["amqp-native-delayed-delivery.json", 4, 0],
  ["amqp-topology-control-events.json", 1, 0],
  ["amqp-worker-chord-unlock.json", 26, 10],
  ["amqp-worker-rpc.json", 39, 17],
];

describe("captured task messages", () => {
  test.each(taskCounts)(
    "%s: every task is read, and written back as the same headers, properties and bytes",
    (file, tasks, signatures) => {
      let read = 0;
      let signed = 0;
      for (const captured of messagesIn(file)) {
        const message = toMessage(captured);
        if (!hasTaskHeader(message) || message.contentType !== "application/json") continue;
        const head = readHead(message);
        const request = readTask(message, decodePayload(message, { accept: json, limits }), head);
        expect(request).toMatchObject(head);
        expect(request.protocol).toBe(2);
        const again = encodeTask(inputOf(request, message));
        expect(again.headers).toEqual(captured.headers);
        expect(Object.keys(again.headers ?? {})).toEqual(Object.keys(captured.headers));
        expect(utf8Decode(again.body)).toBe(utf8Decode(message.body));
        expect(again).toMatchObject({ contentType: message.contentType, contentEncoding: message.contentEncoding });
        expect(again.properties).toEqual(message.properties);
        for (const signature of signaturesIn(request)) {
          expect(Object.keys(signature)).toEqual(["task", "args", "kwargs", "options", "subtask_type", "immutable"]);
          expect(readSignature(signature)).toEqual(signature);
          signed++;
        }
        read++;
      }
      expect([read, signed]).toEqual([tasks, signatures]);
    },
  );

  test("protocol 1 messages carry the same task", () => {
    const requests = messagesIn("amqp-messages-protocol1.json").map((captured) => {
      const message = toMessage(captured);
      expect(hasTaskHeader(message)).toBe(false);
      return readTask(message, decodePayload(message, { accept: json, limits }));
    });
    expect(requests).toHaveLength(3);
    for (const request of requests) {
      expect(request).toMatchObject({ protocol: 1, utc: true, rootId: request.id, correlationId: request.id });
      expect(request.argsRepr).toMatch(/^\[.*\]$/);
      expect(request.embed.chain).toBeNull();
    }
    expect(requests.some((request) => request.embed.callbacks?.length === 1)).toBe(true);
  });

  test("bodies of other serialisers are refused, and have no decoder when accepted", () => {
    const found: Record<string, number> = {};
    for (const file of ["amqp-messages-serializer.json", "amqp-messages-compression.json"]) {
      for (const captured of messagesIn(file)) {
        const message = toMessage(captured);
        if (message.contentType === "application/json") continue;
        expect(readHead(message).task).toMatch(/^cap\./);
        expect(() => decodePayload(message, { accept: json })).toThrow(ContentDisallowed);
        const accepting = () => decodePayload(message, { accept: everything, decompress: (_type, bytes) => bytes });
        expect(accepting).toThrow(DecodeError);
        expect(accepting).toThrow(/no decoder/);
        found[message.contentType ?? ""] = (found[message.contentType ?? ""] ?? 0) + 1;
      }
    }
    expect(found).toEqual({
      "application/x-yaml": 8,
      "application/x-msgpack": 8,
      "application/x-python-serialize": 8,
    });
  });

  test("compressed bodies go through the decompressor named in the headers", () => {
    const types: string[] = [];
    for (const captured of messagesIn("amqp-messages-compression.json")) {
      const message = toMessage(captured);
      if (message.contentType !== "application/json") continue;
      expect(() => decodePayload(message, { accept: json })).toThrow(/cannot decompress/);
      const decompress = (type: string, bytes: Uint8Array): Uint8Array => {
        types.push(type);
        return type === "application/x-gzip" ? inflateSync(bytes) : utf8Encode("[[], {}, null]");
      };
      const request = readTask(message, decodePayload(message, { accept: json, decompress }));
      expect(request.headers).toEqual({ compression: types.at(-1) });
      if (types.at(-1) === "application/x-gzip")
        expect(saferepr(request.args, { asTuple: true })).toBe(request.argsRepr);
    }
    expect(types.sort()).toEqual([
      "application/x-brotli",
      "application/x-bz2",
      "application/x-gzip",
      "application/x-gzip",
      "application/x-lzma",
      "application/zstd",
    ]);
  });

  test("signed bodies stay text, which is no task", () => {
    const { samples } = JSON.parse(
      readFileSync(new URL("../vectors/celery/signed-messages.json", import.meta.url), "utf8"),
    ) as { samples: { signed_task_message: { content_type: string; content_encoding: string; body: string } }[] };
    for (const { signed_task_message: signed } of samples) {
      const message: Message = {
        body: utf8Encode(signed.body),
        contentType: signed.content_type,
        contentEncoding: signed.content_encoding,
        headers: { task: "t", id: "i" },
        properties: {},
      };
      const body = decodePayload(message, { accept: json });
      expect(body).toBe(signed.body);
      expect(() => readTask(message, body)).toThrow("the body must be an array, not string");
    }
    expect(samples).toHaveLength(6);
  });
});

describe("captured representations of arguments", () => {
  /** JSON makes lists of tuples, text of keys and a plain object of `Weird`: there our text says what arrived. */
  const lostTypes: [python: string, ours: string][] = [
    ["(1,), [], {}, ()", "[1], [], {}, []"],
    ["<Weird>", "{'w': 1}"],
    [
      "(1, 2), {1: 'bool key', None: 'none key', 1.5: 'float key'}",
      "[1, 2], {'1': 'bool key', 'null': 'none key', '1.5': 'float key'}",
    ],
  ];

  test.each([
    ["amqp-messages-basic.json", 26],
    ["amqp-messages-repr.json", 3],
    ["amqp-messages-serializer.json", 2],
    ["amqp-messages-stamping.json", 7],
    ["amqp-worker-rpc.json", 39],
  ])("%s: ours are the same text", (file, count) => {
    let same = 0;
    for (const captured of messagesIn(file)) {
      const message = toMessage(captured);
      if (!hasTaskHeader(message) || message.contentType !== "application/json") continue;
      const request = readTask(message, decodePayload(message, { accept: json, limits }));
      if (request.argsRepr === '("***",)') continue; // given by the caller
      const { task, id, args, kwargs } = request;
      const { headers } = encodeTask({ task, id, origin: "o", args, kwargs, serializer: jsonSerializer });
      const python = lostTypes.reduce((text, [theirs, ours]) => text.replace(theirs, ours), request.argsRepr ?? "");
      expect(python).toBe(python.startsWith("[") ? saferepr(args) : headers?.argsrepr); // send_task(args=[1]) prints a list
      expect(headers?.kwargsrepr).toBe(request.kwargsRepr);
      same++;
    }
    expect(same).toBe(count);
  });
});

describe("captured results and broadcasts", () => {
  test.each([
    ["amqp-native-delayed-delivery.json", 2, 3],
    ["amqp-topology-control-events.json", 2, 32],
    ["amqp-worker-chord-unlock.json", 0, 26],
    ["amqp-worker-rpc.json", 71, 88],
  ])(
    "%s: every result and every event or control message is read, and written back as the same bytes",
    (file, results, others) => {
      const counts = [0, 0];
      for (const captured of messagesIn(file)) {
        const message = toMessage(captured);
        if (hasTaskHeader(message)) continue;
        const text = utf8Decode(message.body);
        const value = decodePayload(message, { accept: json, limits });
        expect(utf8Decode(jsonSerializer.encode(value))).toBe(text);
        if (text.startsWith('{"status"')) {
          const meta = decodeResultMeta(text, limits);
          expect(meta.taskId).toBe(message.properties.correlationId);
          expect(encodeResultMeta(meta)).toBe(text);
          counts[0] = (counts[0] ?? 0) + 1;
        } else {
          expect(() => readTask(message, value)).toThrow("neither the headers nor the body name a task");
          counts[1] = (counts[1] ?? 0) + 1;
        }
      }
      expect(counts).toEqual([results, others]);
    },
  );
});
