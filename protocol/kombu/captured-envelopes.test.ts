/** Every envelope that real Celery clients and workers put on Redis, files and SQL in the captures: read, and written back. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { utf8Decode } from "../bytes.ts";
import { decodeJson } from "../json.ts";
import { topicPattern } from "../routing.ts";
import { acceptedTypes, decodePayload, jsonSerializer } from "../serialization.ts";
import { decodeEnvelope, decodeUnacked, encodeEnvelope, encodeUnacked, markRedelivered } from "./envelope.ts";
import { readExchangeTable, writeExchangeTable } from "./filesystem-names.ts";
import { decodeBinding, encodeBinding, RedisKeys } from "./redis-keys.ts";

const folder = new URL("../vectors/celery/", import.meta.url);
const exact = { floats: "keep" } as const;
const json = acceptedTypes(["json"]);

function captured(file: string): unknown {
  return JSON.parse(readFileSync(new URL(file, folder), "utf8"));
}

/** All texts of a capture that begin in one way, with the name of the member they stand under. */
function textsOf(node: unknown, begin: string, found: string[] = []): string[] {
  if (typeof node === "string" && node.startsWith(begin)) found.push(node);
  else if (typeof node === "object" && node !== null)
    for (const child of Object.values(node)) textsOf(child, begin, found);
  return found;
}

function reencoded(text: string): string {
  const read = decodeEnvelope(text, exact);
  expect(read.deliveryTag).not.toBeNull();
  return encodeEnvelope(read.message, {
    exchange: read.exchange,
    routingKey: read.routingKey,
    deliveryTag: read.deliveryTag ?? "",
    redelivered: read.redelivered,
  });
}

function checkBody(text: string): "json" | "other" {
  const { message } = decodeEnvelope(text, exact);
  if (message.contentType !== "application/json" || message.headers?.compression !== undefined) return "other";
  const value = decodePayload(message, { accept: json, limits: { maxDepth: 200, floats: "keep" } });
  expect(utf8Decode(jsonSerializer.encode(value))).toBe(utf8Decode(message.body));
  return "json";
}

const envelopeCounts: Record<string, [envelopes: number, json: number]> = {
  "filesystem-transport.json": [13, 13],
  "redis-transport-publish.json": [22, 20],
  "redis-transport-restore.json": [7, 7],
  "redis-worker-session.json": [154, 154],
  "sqlalchemy-transport.json": [4, 4],
};

describe("captured envelopes", () => {
  test("stand only where they are counted", () => {
    const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
    expect(files).toHaveLength(29);
    const holding = files.filter((file) => textsOf(captured(file), '{"body"').length > 0);
    expect(holding).toEqual(Object.keys(envelopeCounts));
  });

  test.each(Object.entries(envelopeCounts))(
    "%s: every envelope is read and written back as the same text",
    (file, counts) => {
      const texts = textsOf(captured(file), '{"body"');
      let bodies = 0;
      for (const text of texts) {
        expect(reencoded(text)).toBe(text);
        if (checkBody(text) === "json") bodies++;
      }
      expect([texts.length, bodies]).toEqual(counts);
    },
  );

  test.each([
    ["redis-transport-restore.json", 5],
    ["redis-worker-session.json", 56],
  ])("%s: every unacked record gives its envelope back unchanged", (file, count) => {
    const texts = textsOf(captured(file), '[{"body"');
    for (const text of texts) {
      const record = decodeUnacked(text);
      expect(encodeUnacked(record)).toBe(text);
      expect(reencoded(record.envelope)).toBe(record.envelope);
    }
    expect(texts).toHaveLength(count);
  });

  test("a restored message has the same text as Python's", () => {
    const samples = captured("redis-transport-restore.json") as { samples: { name: string; keys: unknown }[] };
    const textIn = (name: string): string => {
      const sample = samples.samples.find((one) => one.name === name);
      return textsOf(sample?.keys, '{"body"')[0] ?? "";
    };
    const published = textIn("published");
    const restored = textIn("restored_by_other_consumer_after_visibility_timeout");
    expect(restored).toContain('"redelivered": true');
    expect(markRedelivered(published)).toBe(restored);
    expect(markRedelivered(restored)).toBe(restored);
    expect(decodeEnvelope(restored).redelivered).toBe(true);
  });
});

describe("captured names", () => {
  interface Dump {
    samples: { name: string; keys: Record<string, { type: string; members?: { text: string }[] }> }[];
  }

  test("every binding member is read and written back, and its pattern is what we would write", () => {
    const { samples } = captured("redis-transport-publish.json") as Dump;
    let count = 0;
    for (const { name, keys } of samples) {
      const sep = name === "custom_sep_steps" ? ":" : undefined;
      for (const [key, dump] of Object.entries(keys)) {
        if (!/_kombu\.binding(_permanent)?\.[a-z]/.test(key)) continue;
        for (const { text } of dump.members ?? []) {
          const binding = decodeBinding(text, sep);
          if (binding === null) throw new TypeError(`unreadable binding ${text}`);
          expect(encodeBinding(binding, sep)).toBe(text);
          if (binding.pattern !== "") expect(topicPattern(binding.routingKey)).toBe(binding.pattern);
          count++;
        }
      }
    }
    expect(count).toBe(23);
  });

  test("messages lie in the lists that we would push them to", () => {
    const { samples } = captured("redis-transport-publish.json") as Dump;
    let count = 0;
    for (const { name, keys } of samples) {
      const redis = new RedisKeys({
        globalKeyprefix: name === "global_keyprefix" ? "pfx:" : "",
        ...(name === "custom_sep_steps" ? { sep: ":", prioritySteps: [0, 5, 7] } : {}),
      });
      for (const [key, dump] of Object.entries(keys)) {
        for (const text of textsOf(dump, '{"body"')) {
          const { priority } = decodeEnvelope(text);
          const queue = redis.queueOf(key);
          expect(redis.list(queue, priority)).toBe(key);
          expect(redis.lists(queue)).toContain(key);
          count++;
        }
      }
    }
    expect(count).toBe(22);
  });

  test("every exchange file is read and written back", () => {
    interface Files {
      samples: { files: Record<string, { text: string }> }[];
    }
    const { samples } = captured("filesystem-transport.json") as Files;
    let count = 0;
    for (const { files } of samples) {
      for (const [name, { text }] of Object.entries(files)) {
        if (!name.endsWith(".exchange")) continue;
        expect(writeExchangeTable(readExchangeTable(text))).toBe(text);
        expect(decodeJson(text)).toEqual(JSON.parse(text));
        count++;
      }
    }
    expect(count).toBe(9);
  });
});
