import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import type { Message } from "../../../protocol/message.ts";
import { ByteWriter } from "./byte-writer.ts";
import { writeContentHeader } from "./content.ts";
import { type ChannelInput, FrameReader } from "./frame-reader.ts";
import { RepeatedTable } from "./repeated-table.ts";

class Recorder implements ChannelInput {
  readonly seen: unknown[] = [];
  onDelivery(tag: string, number: number, redelivered: boolean, exchange: string, key: string, message: Message) {
    this.seen.push({ tag, number, redelivered, exchange, key, message });
  }
  onReturn(reason: string, exchange: string, key: string, message: Message) {
    this.seen.push({ reason, exchange, key, body: Buffer.from(message.body).toString() });
  }
  onConfirm(tag: number, multiple: boolean, ok: boolean) {
    this.seen.push({ tag, multiple, ok });
  }
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt8(type);
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(0xce)]);
}

const short = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
const method = (id: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(id);
  return bytes;
};
const number = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};

function header(message: Message): Buffer {
  const out = new ByteWriter();
  writeContentHeader(out, message, undefined, new RepeatedTable());
  return frame(2, 5, Buffer.from(out.take()));
}

const sent: Message = {
  body: Buffer.from("hello world"),
  contentType: "text/plain",
  headers: { task: "t", n: 2 ** 40 },
  properties: { correlationId: "c", priority: 3, timestamp: 1_700_000_000 },
};

const deliver = frame(
  1,
  5,
  Buffer.concat([method(0x003c003c), short("tag"), number(2n ** 40n), Buffer.of(1), short("ex"), short("key")]),
);
const everything = Buffer.concat([
  frame(8, 0, Buffer.alloc(0)),
  deliver,
  header(sent),
  frame(3, 5, Buffer.from("hello ")),
  frame(1, 9, Buffer.from("another channel")),
  frame(3, 5, Buffer.from("world")),
  frame(1, 5, Buffer.concat([method(0x003c0050), number(7n), Buffer.of(1)])),
  frame(1, 5, Buffer.concat([method(0x003c0078), number(8n), Buffer.of(0)])),
  frame(1, 5, Buffer.concat([method(0x003c0032), Buffer.of(1, 56), short("NO_ROUTE"), short(""), short("q")])),
  header({ ...sent, body: Buffer.alloc(0) }),
  frame(1, 5, Buffer.concat([method(0x0014000b), Buffer.from("not ours")])),
]);

function read(chunks: Buffer[], maxBodyBytes = 1e9) {
  const input = new Recorder();
  const passed: string[] = [];
  const reader = new FrameReader(
    Buffer.alloc(0),
    () => chunks.shift() ?? null,
    (bytes) => passed.push(bytes.subarray(7, -1).toString("latin1")),
    maxBodyBytes,
  );
  reader.listen(5, input);
  while (reader.next());
  return { seen: input.seen, passed };
}

test.each([1, 2, 3, 7, 8, 64, 10_000])("frames in pieces of %i bytes are put together", (size) => {
  const chunks: Buffer[] = [];
  for (let at = 0; at < everything.length; at += size) chunks.push(everything.subarray(at, at + size));
  const { seen, passed } = read(chunks);
  expect(seen).toEqual([
    { tag: "tag", number: 2 ** 40, redelivered: true, exchange: "ex", key: "key", message: sent },
    { tag: 7, multiple: true, ok: true },
    { tag: 8, multiple: false, ok: false },
    { reason: "NO_ROUTE", exchange: "", key: "q", body: "" },
  ]);
  expect(passed).toEqual(["another channel", "\0\x14\0\vnot ours"]);
});

test("a header that cannot be read refuses its message and no other", () => {
  const broken = Buffer.from(header(sent));
  broken.set(Buffer.from("?"), broken.indexOf("S\0\0\0"));
  const body = frame(3, 5, Buffer.from("hello world"));
  const { seen } = read([Buffer.concat([deliver, broken, body, deliver, header(sent), body])]);
  expect(seen).toMatchObject([{ message: { refused: expect.stringContaining("unknown type") } }, { message: sent }]);
});

test("a body over the limit refuses its message, and its bytes are not kept", () => {
  const body = frame(3, 5, Buffer.from("hello world"));
  const { seen } = read([Buffer.concat([deliver, header(sent), body, deliver, header(sent), body])], 10);
  expect(seen).toMatchObject([
    { message: { refused: "the body is 11 bytes long; the limit is 10", body: Buffer.alloc(0) } },
    { message: { refused: expect.any(String) } },
  ]);
});

test("bytes that are no frames end the connection", () => {
  expect(() => read([Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n".repeat(4e4))])).not.toThrow(TypeError);
  const noEnd = Buffer.from(deliver);
  noEnd[noEnd.length - 1] = 0;
  expect(() => read([noEnd])).toThrow(/end mark/);
});
