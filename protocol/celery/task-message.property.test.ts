import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8Encode } from "../bytes.ts";
import { ProtocolError } from "../errors.ts";
import type { Message } from "../message.ts";
import { acceptedTypes, decodePayload, jsonSerializer } from "../serialization.ts";
import { encodeTask, hasTaskHeader, InvalidTaskMessage, readHead, readTask } from "./task-message.ts";

const accept = acceptedTypes(["json"]);

function received(headers: Record<string, unknown> | null): Message {
  return {
    body: new Uint8Array(0),
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers,
    properties: {},
  };
}

const json = fc.jsonValue({ depthSize: "small" }).filter((value) => !JSON.stringify(value).includes("__"));
const plainJson = json.map((value): unknown => JSON.parse(JSON.stringify(value)));
const name = fc.string({ minLength: 1 });
const orNull = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(value, { nil: null });

describe("for any task", () => {
  const input = fc.record({
    task: name,
    id: name,
    origin: fc.string(),
    args: fc.array(plainJson),
    kwargs: fc.dictionary(
      fc.string().filter((key) => !key.startsWith("__")),
      plainJson,
    ),
    shadow: orNull(name),
    eta: orNull(fc.constant("2030-01-02T03:04:05.678901+00:00")),
    group: orNull(name),
    groupIndex: orNull(fc.nat()),
    retries: fc.nat(),
    timeLimit: orNull(fc.integer({ min: 1 })),
    softTimeLimit: orNull(fc.constant(1.5)),
    rootId: name,
    parentId: orNull(name),
    ignoreResult: orNull(fc.boolean()),
    replacedTaskNesting: fc.nat(),
    priority: orNull(fc.integer({ min: 0, max: 9 })),
    replyTo: fc.string(),
    headers: fc.dictionary(
      fc.string().map((key) => `x-${key}`),
      plainJson,
    ),
  });

  test("what is written is read back", () => {
    fc.assert(
      fc.property(input, (written) => {
        const message = encodeTask({ ...written, serializer: jsonSerializer });
        expect(hasTaskHeader(message)).toBe(true);
        const read = readTask(message, decodePayload(message, { accept }), readHead(message));
        expect(read).toMatchObject({ ...written, correlationId: written.id });
      }),
    );
  });
});

describe("for any headers and any body", () => {
  const headerNames = [
    "task",
    "id",
    "eta",
    "expires",
    "timelimit",
    "retries",
    "stamped_headers",
    "stamps",
    "group",
    "root_id",
    "x",
  ];
  const anything = fc.oneof(
    fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withTypedArray: true }),
    plainJson,
  );
  const headers = fc.oneof(
    fc.constant(null),
    fc.dictionary(fc.constantFrom(...headerNames), anything),
    fc
      .dictionary(fc.constantFrom(...headerNames), anything)
      .map((more): Record<string, unknown> => ({ ...more, task: "t", id: "i" })),
  );
  const signature = fc.record(
    { task: fc.oneof(name, anything), args: anything, kwargs: anything, options: anything },
    { requiredKeys: [] },
  );
  const embed = fc.dictionary(
    fc.constantFrom("callbacks", "errbacks", "chain", "chord"),
    fc.oneof(anything, signature, fc.array(signature)),
  );
  const body = fc.oneof(
    anything,
    fc.tuple(anything, anything, fc.oneof(anything, embed)),
    fc.tuple(fc.constant([]), fc.constant({}), embed),
    fc.dictionary(fc.constantFrom("task", "id", "args", "kwargs", "taskset", "utc", "callbacks", "eta"), anything),
  );

  test("reading gives a task or an InvalidTaskMessage", () => {
    fc.assert(
      fc.property(headers, body, (given, value) => {
        try {
          const task = readTask(received(given), value);
          expect(typeof task.id).toBe("string");
          expect(Array.isArray(task.args)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidTaskMessage);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("decoding any bytes gives a value or a ProtocolError", () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.string().map((text) => utf8Encode(text)),
      fc.json().map((text) => utf8Encode(text)),
    );
    const types = fc.constantFrom(
      "application/json",
      "application/data",
      "text/plain",
      "application/x-python-serialize",
      "",
      undefined,
    );
    const encodings = fc.constantFrom("utf-8", "binary", "us-ascii", "latin-1", "utf-16", "no-such", "", undefined);
    fc.assert(
      fc.property(bytes, types, encodings, (payload, contentType, contentEncoding) => {
        const message: Message = { body: payload, headers: {}, properties: {} };
        if (contentType !== undefined) message.contentType = contentType;
        if (contentEncoding !== undefined) message.contentEncoding = contentEncoding;
        try {
          decodePayload(message, { accept });
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
