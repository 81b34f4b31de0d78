/**
 * What a Celery install made of fixed inputs (`python-fixtures/record_vectors.py`), against ours: a file per version.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { utf8Decode } from "./bytes.ts";
import { ResultKeys } from "./celery/result-keys.ts";
import { decodeGroupMeta, decodeResultMeta, encodeGroupMeta, encodeResultMeta } from "./celery/result-meta.ts";
import { precedence } from "./celery/states.ts";
import { encodeTask, readTask } from "./celery/task-message.ts";
import { decodeEnvelope, encodeEnvelope } from "./kombu/envelope.ts";
import { exchangeFileName } from "./kombu/filesystem-names.ts";
import { queueForPriority } from "./kombu/redis-keys.ts";
import { matchesTopic, queueArguments, topicPattern } from "./routing.ts";
import { acceptedTypes, decodePayload, jsonSerializer } from "./serialization.ts";

interface Recorded {
  celery: string;
  tasks: { name: string; messages: { headers: Record<string, unknown>; body: string; envelope: string }[] }[];
  results: { name: string; extended: boolean; key: string; text: string }[];
  saved_group: { key: string; text: string };
  key_prefixes: [prefix: string, task: string, chordParts: string, chordUnlock: string][];
  topics: { key: string; pattern: string; matches: string[] }[];
  topic_routing_keys: string[];
  priorities: { steps: number[]; lists: string[] }[];
  exchange_names: [name: string, valid: boolean][] | null;
  queue_arguments: { options: Record<string, number | null>; arguments: Record<string, unknown> }[];
  precedence: Record<string, number>;
}

const folder = new URL("./vectors/recorded/", import.meta.url);
const recorded = readdirSync(folder).map((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Recorded);
const limits = { maxDepth: 200, floats: "keep" } as const;

test("three versions are recorded", () => {
  expect(recorded.map((one) => one.celery)).toEqual(["5.4.0", "5.6.3", "5.7.0"]);
});

describe.each(recorded)("Celery $celery", (vectors) => {
  test.each(vectors.tasks)("task $name is read, and written back as the same envelope", ({ messages }) => {
    expect(messages).toHaveLength(1);
    for (const { body, envelope } of messages) {
      const read = decodeEnvelope(envelope, limits);
      expect(utf8Decode(read.message.body)).toBe(body);
      const task = readTask(read.message, decodePayload(read.message, { accept: acceptedTypes(["json"]), limits }));
      const { origin, lang, argsRepr, kwargsRepr, ...rest } = task;
      const message = encodeTask({
        ...rest,
        origin: origin ?? "",
        lang: lang ?? "",
        kwargsRepr: kwargsRepr ?? "",
        argsRepr: argsRepr ?? "",
        properties: read.message.properties,
        serializer: jsonSerializer,
      });
      const { exchange, routingKey, deliveryTag } = read;
      expect(encodeEnvelope(message, { exchange, routingKey, deliveryTag: deliveryTag ?? "" })).toBe(envelope);
    }
  });

  test.each(vectors.tasks.filter(({ name }) => name !== "nested_canvas"))(
    "task $name: the same representation of arguments",
    ({ messages }) => {
      for (const { envelope } of messages) {
        const { message } = decodeEnvelope(envelope, limits);
        const task = readTask(message, decodePayload(message, { accept: acceptedTypes(["json"]), limits }));
        const { args, kwargs, id } = task;
        const ours = encodeTask({ task: task.task, id, origin: "", args, kwargs, serializer: jsonSerializer });
        expect(ours.headers).toMatchObject({ argsrepr: task.argsRepr, kwargsrepr: task.kwargsRepr });
      }
    },
  );

  test.each(vectors.results)("result $name (extended: $extended) is read, and written back", ({ key, text }) => {
    const meta = decodeResultMeta(text, limits);
    expect(encodeResultMeta(meta)).toBe(text);
    expect(new ResultKeys().task(meta.taskId)).toBe(key);
  });

  test("a saved group is read, and written back", () => {
    expect(encodeGroupMeta(decodeGroupMeta(vectors.saved_group.text))).toBe(vectors.saved_group.text);
    expect(new ResultKeys().group("gid")).toBe(vectors.saved_group.key);
  });

  test("priorities choose the same lists", () => {
    for (const { steps, lists } of vectors.priorities) {
      expect(lists.map((_, priority) => queueForPriority("q", priority, steps))).toEqual(lists);
    }
  });

  test("queue options become the same arguments", () => {
    for (const { options, arguments: expected } of vectors.queue_arguments) {
      const { expires, message_ttl, max_length, max_length_bytes, max_priority } = options;
      const ours = queueArguments(
        {
          expires: expires ?? null,
          messageTtl: message_ttl ?? null,
          maxLength: max_length ?? null,
          maxLengthBytes: max_length_bytes ?? null,
          maxPriority: max_priority ?? null,
        },
        { "x-queue-type": "quorum" },
      );
      expect(ours).toEqual(expected);
    }
  });

  test("states have the same precedence", () => {
    for (const [state, order] of Object.entries(vectors.precedence)) expect(precedence(state)).toBe(order);
  });
});

/** Where the older versions differ; NOTES.md says how. */
describe.each(recorded.filter((one) => one.celery === "5.7.0"))("Celery $celery alone", (vectors) => {
  test("keys have the same prefixes", () => {
    for (const [prefix, task, parts, unlock] of vectors.key_prefixes) {
      const keys = new ResultKeys(prefix);
      expect([keys.task("i"), keys.chord("i").parts, keys.chordUnlock("i")]).toEqual([task, parts, unlock]);
    }
  });

  test("topic keys become the same patterns", () => {
    for (const { key, pattern } of vectors.topics) expect(topicPattern(key)).toBe(pattern);
  });

  test("topic keys take the same routing keys", () => {
    for (const { key, matches } of vectors.topics) {
      expect({ key, matches: vectors.topic_routing_keys.filter((one) => matchesTopic(key, one)) }).toEqual({
        key,
        matches,
      });
    }
  });

  test("the same exchange names become files", () => {
    for (const [name, valid] of vectors.exchange_names ?? []) {
      if (valid) expect(exchangeFileName(name)).toBe(`${name}.exchange`);
      else expect(() => exchangeFileName(name)).toThrow(/cannot be named/);
    }
  });
});
