import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8Decode, utf8Encode } from "../bytes.ts";
import { ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured, ProtocolError } from "../errors.ts";
import { decodeException, encodeException } from "./exceptions.ts";
import { celeryRecordCodec, joinCompressionMarker, splitCompressionMarker } from "./result-codec.ts";
import { ResultKeys } from "./result-keys.ts";
import { decodeGroupMeta, decodeResultMeta, encodeResultMeta, type ResultMeta } from "./result-meta.ts";
import { type ResultTuple, readResultTuple } from "./result-tuple.ts";

const success: ResultMeta = {
  status: "SUCCESS",
  result: 5,
  exception: null,
  traceback: null,
  children: [],
  dateDone: "2026-11-21T09:08:07.654321+00:00",
  taskId: "i",
};

describe("a result document", () => {
  test("has Celery's keys in order, task_id last", () => {
    const extended: ResultMeta = {
      ...success,
      groupId: "g",
      parentId: "p",
      name: "t",
      args: [1],
      kwargs: {},
      worker: "w",
      retries: 0,
      queue: "q",
      stampedHeaders: ["sid"],
      stamps: { sid: 1, other: 2 },
    };
    expect(encodeResultMeta(success)).toBe(
      '{"status": "SUCCESS", "result": 5, "traceback": null, "children": [], "date_done": "2026-11-21T09:08:07.654321+00:00", "task_id": "i"}',
    );
    expect(Object.keys(JSON.parse(encodeResultMeta(extended)))).toEqual(
      "status result traceback children date_done group_id parent_id name args kwargs worker retries queue stamped_headers sid task_id".split(
        " ",
      ),
    );
    expect(decodeResultMeta(encodeResultMeta(extended))).toEqual({ ...extended, stamps: { sid: 1 } });
  });

  test("holds the exception of a failed task, and the repr of arguments without a form", () => {
    const exception = { type: "Outer.Error", module: "m", args: ["x", () => 1, new Map([["k", 1]])] };
    const text = encodeResultMeta({ ...success, status: "FAILURE", result: null, exception });
    expect(JSON.parse(text).result).toEqual({
      exc_type: "Outer.Error",
      exc_message: ["x", expect.stringContaining("<function"), { k: 1 }],
      exc_module: "m",
    });
  });

  test("without a form for its value is an EncodeError", () => {
    expect(() => encodeResultMeta({ ...success, result: { f: () => 1 } })).toThrow(EncodeError);
    expect(() => celeryRecordCodec().encode("i", { ...success, result: Symbol("s") })).toThrow(EncodeError);
  });

  test("needs no more than a status (other clients, older versions)", () => {
    expect(decodeResultMeta('{"status": "SUCCESS"}')).toEqual({
      ...success,
      result: null,
      children: null,
      dateDone: null,
      taskId: "",
    });
    // A failure without an exception, whose traceback is no text.
    const bare =
      '{"status": "FAILURE", "result": null, "traceback": {}, "children": [], "task_id": "i", "date_done": "2026-11-21T09:08:07.654Z"}';
    expect(decodeResultMeta(bare)).toMatchObject({
      status: "FAILURE",
      result: null,
      exception: null,
      traceback: null,
      taskId: "i",
    });
  });

  test.each([
    "",
    "null",
    "[]",
    "5",
    '"x"',
    "{}",
    '{"status": 3}',
    '{"status": ""}',
    '{"status": "SUCCESS", "children": 3}',
    '{"status": "SUCCESS", "children": [{}]}',
    '{"status"',
  ])("is not %s", (text) => {
    expect(() => decodeResultMeta(text)).toThrow(DecodeError);
    expect(() => decodeResultMeta(utf8Encode(text))).toThrow(DecodeError);
  });

  test("cannot reach a prototype", () => {
    const meta = decodeResultMeta(
      '{"status": "SUCCESS", "name": "t", "__proto__": {"x": 1}, "stamped_headers": ["__proto__", "toString"], "toString": 1}',
    );
    expect(Object.getPrototypeOf(meta.stamps)).toBe(Object.prototype);
    expect(meta.stamps).toEqual({ toString: 1 });
    expect(decodeResultMeta('{"status": "SUCCESS", "name": "t", "stamped_headers": ["valueOf"]}').stamps).toEqual({});
  });
});

describe("an exception", () => {
  test.each<[string, unknown, unknown]>([
    ["null is none", null, null],
    ["an empty object is none", {}, null],
    [
      "with several arguments",
      { exc_type: "E", exc_message: ["a", 1], exc_module: "m" },
      { type: "E", module: "m", args: ["a", 1] },
    ],
    [
      "with one bare argument",
      { exc_type: "E", exc_message: "a", exc_module: "m" },
      { type: "E", module: "m", args: ["a"] },
    ],
    ["without a module (Celery 3)", { exc_type: "E", exc_message: "a" }, { type: "E", module: null, args: ["a"] }],
    ["with a null module", { exc_type: "E", exc_message: [], exc_module: null }, { type: "E", module: null, args: [] }],
    ["without arguments", { exc_type: "E" }, { type: "E", module: null, args: [] }],
    ["as bare text", "boom", { type: "Exception", module: "builtins", args: ["boom"] }],
    ["without a type", { exc_message: "x" }, { type: "Exception", module: "builtins", args: [{ exc_message: "x" }] }],
  ])("%s", (_what, wire, expected) => {
    expect(decodeException(wire)).toEqual(expected);
  });

  test("is written with all three keys", () => {
    expect(JSON.stringify(encodeException({ type: "E", module: null, args: [1] }))).toBe(
      '{"exc_type":"E","exc_message":[1],"exc_module":null}',
    );
  });
});

describe("a result tuple", () => {
  test.each<[unknown, ResultTuple]>([
    [
      [["a", null], null],
      [["a", null], null],
    ],
    [
      ["a", null],
      [["a", null], null],
    ],
    ["a", [["a", null], null]],
    [
      [["a"], null],
      [["a", null], null],
    ],
    [
      [["a", [["p", null], null]], null],
      [["a", [["p", null], null]], null],
    ],
    [
      [
        ["g", null],
        [["a", null], "b"],
      ],
      [
        ["g", null],
        [
          [["a", null], null],
          [["b", null], null],
        ],
      ],
    ],
  ])("is read from %j", (value, expected) => {
    expect(readResultTuple(value)).toEqual(expected);
  });

  test.each([
    null,
    3,
    "",
    [],
    {},
    [[], null],
    [[3, null], null],
    [["a", 3], null],
    [["a", null], "xy", 1],
    [["a", null], 3],
  ])("is not %j", (value) => {
    expect(() => readResultTuple(value)).toThrow(DecodeError);
  });

  test("that contains itself ends", () => {
    const loop: unknown[] = [["a", null], null];
    loop[0] = ["a", loop];
    expect(() => readResultTuple(loop)).toThrow("results are nested too deeply");
  });

  test("stands in a saved group, with or without its wrapper", () => {
    const group = [["g", null], [[["a", null], null]]];
    expect(decodeGroupMeta(JSON.stringify({ result: group }))).toEqual(group);
    expect(decodeGroupMeta(utf8Encode(JSON.stringify(group)))).toEqual(group);
    expect(() => decodeGroupMeta("{}")).toThrow(DecodeError);
  });
});

describe("the codec of a backend", () => {
  test("keeps records as long as the settings say", () => {
    const failed: ResultMeta = { ...success, status: "FAILURE" };
    expect(celeryRecordCodec().ttl(success)).toBe(86_400);
    expect(celeryRecordCodec().ttl(failed)).toBe(86_400);
    const codec = celeryRecordCodec({ expires: 60, failureExpires: 0 });
    expect([codec.ttl(success), codec.ttl(failed)]).toEqual([60, null]);
    expect(celeryRecordCodec({ expires: 0 }).ttl(failed)).toBeNull();
  });

  test("fills in the id that a foreign record lacks", () => {
    expect(celeryRecordCodec().decode("mine", utf8Encode('{"status": "STARTED"}')).taskId).toBe("mine");
  });

  test("judges what has ended and what is final", () => {
    const codec = celeryRecordCodec();
    const states = ["PENDING", "STARTED", "RETRY", "PROGRESS", "FAILURE", "REVOKED", "SUCCESS"].map((status) => ({
      ...success,
      status,
    }));
    expect(states.filter((meta) => codec.isReady(meta)).map((meta) => meta.status)).toEqual([
      "FAILURE",
      "REVOKED",
      "SUCCESS",
    ]);
    expect(states.filter((meta) => codec.isFinal(meta)).map((meta) => meta.status)).toEqual(["SUCCESS"]);
  });

  test("compresses with a marker, and reads both forms", () => {
    const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 255);
    const codec = celeryRecordCodec({
      compress: (bytes) => ({ mime: "application/x-flip", bytes: flip(bytes) }),
      decompress: (_mime, bytes) => flip(bytes),
    });
    const { body, contentType } = codec.encode("i", success);
    expect(contentType).toBe("application/json");
    if (typeof body === "string") throw new TypeError("not compressed");
    expect(utf8Decode(body.subarray(0, 38), { lossy: true })).toBe("\0celery-compressed\0application/x-flip\0");
    expect(codec.decode("i", body)).toEqual(success);
    expect(codec.decode("i", utf8Encode(encodeResultMeta(success)))).toEqual(success);
  });

  test("refuses what is not accepted", () => {
    expect(() => celeryRecordCodec().decode("i", utf8Encode("x"), "application/x-python-serialize")).toThrow(
      ContentDisallowed,
    );
  });
});

describe("the compression marker", () => {
  test("is found at the start only", () => {
    const payload = { mime: "application/x-gzip", bytes: new Uint8Array([0, 1, 0]) };
    expect(splitCompressionMarker(joinCompressionMarker(payload))).toEqual(payload);
    for (const other of ["", "\0", "\0celery-compressee\0x\0", "{}", " \0celery-compressed\0x\0"]) {
      expect(splitCompressionMarker(utf8Encode(other))).toBeNull();
    }
  });

  test("without an end is a DecodeError", () => {
    expect(() => splitCompressionMarker(utf8Encode("\0celery-compressed\0x"))).toThrow(DecodeError);
    expect(() => splitCompressionMarker(utf8Encode(`\0celery-compressed\0${"x".repeat(300)}\0`))).toThrow(DecodeError);
  });
});

test("result keys refuse an empty id and know their own", () => {
  const keys = new ResultKeys();
  expect(() => keys.task("")).toThrow(ImproperlyConfigured);
  expect(keys.chord("g")).toEqual({
    group: "celery-taskset-meta-g",
    parts: "celery-taskset-meta-g.j",
    added: "celery-taskset-meta-g.t",
    size: "celery-taskset-meta-g.s",
    counted: "celery-taskset-meta-g.d",
    claim: "celery-taskset-meta-g.c",
  });
  expect(keys.taskIdOf("celery-task-meta-a-b")).toBe("a-b");
  expect(keys.taskIdOf("celery-taskset-meta-a")).toBeNull();
  expect(keys.taskIdOf("celery-task-meta-")).toBeNull();
});

describe("for any text and bytes", () => {
  const names = fc.constantFrom(
    "status",
    "result",
    "traceback",
    "children",
    "date_done",
    "task_id",
    "name",
    "stamped_headers",
    "exc_type",
  );
  const document = fc
    .dictionary(names, fc.jsonValue())
    .map((value) => JSON.stringify({ ...value, status: value.status ?? "FAILURE" }));
  const hostile = fc.oneof(fc.string(), fc.json(), document);

  test("reading gives a result or a ProtocolError", () => {
    const codec = celeryRecordCodec();
    const bytes = fc.oneof(
      fc.uint8Array(),
      hostile.map((text) => utf8Encode(text)),
      fc.uint8Array().map((rest) => Uint8Array.from([...utf8Encode("\0celery-compressed\0"), ...rest])),
    );
    fc.assert(
      fc.property(hostile, bytes, (text, raw) => {
        for (const read of [
          () => decodeResultMeta(text),
          () => decodeGroupMeta(text),
          () => codec.decode("i", raw),
          () => decodeResultMeta(raw),
        ]) {
          try {
            read();
          } catch (error) {
            expect(error).toBeInstanceOf(ProtocolError);
          }
        }
      }),
      { numRuns: 400 },
    );
  });
});
