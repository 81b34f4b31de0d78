/** Every result that real workers left in stores in the captures: read, and written back. */
import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { base64Decode, utf8Decode, utf8Encode } from "../bytes.ts";
import { ContentDisallowed } from "../errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import { celeryRecordCodec, joinCompressionMarker, splitCompressionMarker } from "./result-codec.ts";
import { ResultKeys } from "./result-keys.ts";
import { decodeGroupMeta, decodeResultMeta, encodeGroupMeta, encodeResultMeta } from "./result-meta.ts";
import { isReady } from "./states.ts";

const limits = { maxDepth: 200, floats: "keep" } as const;

function captured(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../vectors/celery/${file}`, import.meta.url), "utf8"));
}

function textsOf(node: unknown, begin: string, found: string[] = []): string[] {
  if (typeof node === "string" && node.startsWith(begin)) found.push(node);
  else if (typeof node === "object" && node !== null)
    for (const child of Object.values(node)) textsOf(child, begin, found);
  return found;
}

/** `[key, value]` of every stored entry, wherever it lies in the capture. */
function entriesOf(node: unknown, found: [key: string, value: { text?: string; b64?: string }][] = []): typeof found {
  if (typeof node !== "object" || node === null) return found;
  for (const [name, child] of Object.entries(node)) {
    const key = name.replace(/^b'(.*)'$/, "$1");
    if (/celery-task(set)?-meta-.*(?<!\.c)$/.test(key)) {
      const value = "value" in child ? child.value : child;
      if (typeof value === "object" && value !== null && ("text" in value || "b64" in value)) found.push([key, value]);
    } else {
      entriesOf(child, found);
    }
  }
  return found;
}

describe("captured results in JSON", () => {
  test.each([
    ["backend-cache-json.json", 37, 3],
    ["backend-file-json.json", 37, 2],
    ["backend-redis-json-extended.json", 20, 1],
    ["backend-redis-json.json", 20, 1],
    ["backend-redis-options.json", 20, 1],
    ["redis-worker-session.json", 251, 2],
  ])("%s: every result is read, and written back as the same text", (file, results, groups) => {
    const document = captured(file);
    const texts = textsOf(document, '{"status"');
    for (const text of texts) {
      const meta = decodeResultMeta(text, limits);
      expect(encodeResultMeta(meta)).toBe(text);
      expect(meta.dateDone === null).toBe(!isReady(meta.status));
    }
    const groupTexts = entriesOf(document).flatMap(([, { text }]) => (text?.startsWith('{"result"') ? [text] : []));
    for (const text of groupTexts) expect(encodeGroupMeta(decodeGroupMeta(text))).toBe(text);
    expect([texts.length, groupTexts.length]).toEqual([results, groups]);
  });

  test("texts of every state begin so that a store can tell a final one", () => {
    const codec = celeryRecordCodec();
    const seen: Record<string, number> = {};
    for (const text of textsOf(captured("redis-worker-session.json"), '{"status"')) {
      const meta = codec.decode("", utf8Encode(text));
      expect(text.startsWith(codec.finalPrefix)).toBe(codec.isFinal(meta));
      expect(codec.key(meta.taskId)).toBe(`celery-task-meta-${meta.taskId}`);
      seen[meta.status] = (seen[meta.status] ?? 0) + 1;
    }
    expect(Object.keys(seen).sort()).toEqual(["FAILURE", "PROGRESS", "RETRY", "REVOKED", "STARTED", "SUCCESS"]);
  });

  test("keys carry the prefix as Celery joins it", () => {
    const keys = new ResultKeys("pre");
    const ids = entriesOf(captured("backend-redis-options.json")).flatMap(([key]) => keys.taskIdOf(key) ?? []);
    for (const id of ids) expect(keys.task(id)).toBe(`pre_celery-task-meta-${id}`);
    expect(ids).toHaveLength(20);
  });

  test("a failed task's exception and a sender's stamps come through", () => {
    const metas = textsOf(captured("backend-redis-json-extended.json"), '{"status"').map((text) =>
      decodeResultMeta(text),
    );
    const failed = metas.find((meta) => meta.taskId === "t-failure");
    expect(failed?.exception).toEqual({ type: "ValueError", module: "builtins", args: ["boom", 42] });
    expect(failed?.result).toBe(failed?.exception);
    expect(failed?.traceback).toContain("Traceback (most recent call last)");
    const custom = metas.find((meta) => meta.taskId === "t-failure-custom");
    expect(custom?.exception?.args).toEqual(["custom", { a: [1, 2] }, "<class 'object'>"]);
    const extended = metas.filter((meta) => meta.name !== undefined);
    for (const meta of extended) expect(meta).toMatchObject({ name: expect.stringMatching(/^cap\./), queue: "celery" });
    expect(extended).toHaveLength(19);
  });

  test("columns of SQL backends hold the same JSON", () => {
    let count = 0;
    for (const file of ["backend-db-json.json", "backend-db-json-extended.json"]) {
      for (const text of textsOf(captured(file), "").filter((one) => /^[[{"]/.test(one))) {
        expect(encodeJson(decodeJson(text, { floats: "keep" }))).toBe(text);
        count++;
      }
    }
    expect(count).toBe(59);
  });
});

describe("captured results of other forms", () => {
  test("compressed payloads are recognised by their marker and read", () => {
    const codec = celeryRecordCodec({
      decompress: (_type, bytes) => inflateSync(bytes),
      limits,
    });
    let results = 0;
    let groups = 0;
    for (const [key, { b64 }] of entriesOf(captured("backend-redis-json-gzip.json"))) {
      const bytes = base64Decode(b64 ?? "");
      const payload = splitCompressionMarker(bytes);
      if (payload === null) throw new TypeError(`no marker in ${key}`);
      expect(payload.mime).toBe("application/x-gzip");
      expect(joinCompressionMarker(payload)).toEqual(new Uint8Array(bytes));
      const text = utf8Decode(inflateSync(payload.bytes));
      if (key.includes("taskset")) {
        expect(encodeGroupMeta(decodeGroupMeta(text))).toBe(text);
        groups++;
      } else {
        const meta = codec.decode("other", bytes);
        expect(encodeResultMeta(meta)).toBe(text);
        expect(() => celeryRecordCodec().decode("other", bytes)).toThrow(/cannot decompress application\/x-gzip/);
        results++;
      }
    }
    expect([results, groups]).toEqual([20, 1]);
  });

  test.each([
    ["backend-redis-yaml.json", "application/x-yaml", 21],
    ["backend-redis-msgpack.json", "application/x-msgpack", 21],
    ["backend-redis-pickle.json", "application/x-python-serialize", 21],
  ])("%s: refused unless accepted", (file, contentType, count) => {
    const entries = entriesOf(captured(file));
    for (const [, { text, b64 }] of entries) {
      const bytes = text === undefined ? base64Decode(b64 ?? "") : utf8Encode(text);
      expect(splitCompressionMarker(bytes)).toBeNull();
      expect(() => celeryRecordCodec().decode("id", bytes, contentType)).toThrow(ContentDisallowed);
      const accepting = celeryRecordCodec({ accept: new Set([contentType]) });
      expect(() => accepting.decode("id", bytes, contentType)).toThrow(/no decoder/);
    }
    expect(entries).toHaveLength(count);
  });
});
