import { describe, expect, test } from "vitest";
import { utf8Decode } from "../bytes.ts";
import { EncodeError } from "../errors.ts";
import type { Message } from "../message.ts";
import { jsonSerializer } from "../serialization.ts";
import { PyDateTime } from "../values.ts";
import {
  encodeTask,
  hasTaskHeader,
  InvalidTaskMessage,
  readHead,
  readTask,
  type TaskMessageInput,
} from "./task-message.ts";

const NO_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}';
const minimal: TaskMessageInput = { task: "t", id: "i", origin: "o", serializer: jsonSerializer };

function received(headers: Record<string, unknown> | null, properties: Message["properties"] = {}): Message {
  return { body: new Uint8Array(0), contentType: "application/json", contentEncoding: "utf-8", headers, properties };
}

function invalid(read: () => unknown): InvalidTaskMessage {
  try {
    read();
  } catch (error) {
    if (error instanceof InvalidTaskMessage) return error;
    throw error;
  }
  throw new TypeError("nothing was thrown");
}

describe("a written task message", () => {
  test("has Celery's 19 headers in order, its properties and its body", () => {
    const message = encodeTask({ ...minimal, args: [2, 3] });
    expect(Object.entries(message.headers ?? {})).toEqual([
      ["lang", "js"],
      ["task", "t"],
      ["id", "i"],
      ["shadow", null],
      ["eta", null],
      ["expires", null],
      ["group", null],
      ["group_index", null],
      ["retries", 0],
      ["timelimit", [null, null]],
      ["root_id", "i"],
      ["parent_id", null],
      ["argsrepr", "(2, 3)"],
      ["kwargsrepr", "{}"],
      ["origin", "o"],
      ["ignore_result", false],
      ["replaced_task_nesting", 0],
      ["stamped_headers", null],
      ["stamps", {}],
    ]);
    expect(message.properties).toEqual({ correlationId: "i", replyTo: "", deliveryMode: 2, priority: 0 });
    expect(message).toMatchObject({ contentType: "application/json", contentEncoding: "utf-8" });
    expect(utf8Decode(message.body)).toBe(`[[2, 3], {}, ${NO_EMBED}]`);
  });

  test("tells an ignore_result of null, which leaves it to the worker, from none, which is false", () => {
    expect(encodeTask({ ...minimal, ignoreResult: null }).headers?.ignore_result).toBeNull();
    expect(encodeTask({ ...minimal, ignoreResult: true }).headers?.ignore_result).toBe(true);
  });

  test("has no priority when it is null, and the caller's properties over its own", () => {
    const properties = { priority: 4, messageId: "m", replyTo: "there" };
    expect(encodeTask({ ...minimal, priority: null }).properties).not.toHaveProperty("priority");
    expect(encodeTask({ ...minimal, expiration: "100", properties }).properties).toEqual({
      correlationId: "i",
      replyTo: "there",
      deliveryMode: 2,
      priority: 4,
      expiration: "100",
      messageId: "m",
    });
  });

  test("merges custom headers at the top level, last, and lets them overwrite", () => {
    const { headers } = encodeTask({
      ...minimal,
      headers: { "x-trace": 1, shadow: "s", ["__proto__"]: { polluted: 1 } },
    });
    expect(headers).toMatchObject({ "x-trace": 1, shadow: "s" });
    expect(Object.keys(headers ?? {}).at(-1)).toBe("x-trace");
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
  });

  test("carries the stamps it names, and no others", () => {
    const stamps = { sid: ["a"], other: 1 };
    expect(encodeTask({ ...minimal, stampedHeaders: ["sid"], stamps }).headers).toMatchObject({
      stamped_headers: ["sid"],
      stamps: { sid: ["a"] },
    });
    expect(encodeTask({ ...minimal, stamps }).headers?.stamps).toEqual({});
  });

  test("completes a partial embed", () => {
    const chain = [{ task: "next", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }];
    expect(utf8Decode(encodeTask({ ...minimal, embed: { chain } }).body)).toBe(
      '[[], {}, {"callbacks": null, "errbacks": null, "chain": [{"task": "next", "args": [], "kwargs": {}, "options": {}, ' +
        '"subtask_type": null, "immutable": false}], "chord": null}]',
    );
  });

  test.each<[string, Partial<Record<keyof TaskMessageInput, unknown>>]>([
    ["an empty id", { id: "" }],
    ["an id that a custom header took away", { headers: { id: null } }],
    ["a task name that a custom header took away", { headers: { task: 3 } }],
    ["args that are no array", { args: { 0: 1 } }],
    ["kwargs that are an array", { kwargs: [1] }],
    ["kwargs that are a class instance", { kwargs: new Date(0) }],
    ["an argument without a form", { args: [() => 1] }],
  ])("would end Python workers or cannot be written, so it is not made: %s", (_what, wrong) => {
    expect(() => encodeTask(Object.assign({}, minimal, wrong))).toThrow(EncodeError);
  });
});

describe("the head of a received message", () => {
  test("of a client that sends two headers (celery-node) has Celery's defaults", () => {
    expect(readHead(received({ lang: "js", task: "t", id: "i" }))).toEqual({
      task: "t",
      id: "i",
      lang: "js",
      shadow: null,
      eta: null,
      expires: null,
      group: null,
      groupIndex: null,
      retries: 0,
      timeLimit: null,
      softTimeLimit: null,
      rootId: "i",
      parentId: null,
      argsRepr: null,
      kwargsRepr: null,
      origin: null,
      ignoreResult: null,
      replacedTaskNesting: 0,
      stampedHeaders: null,
      stamps: {},
      headers: {},
    });
  });

  test("of a client that sends nulls (rusty-celery) has the same defaults", () => {
    const headers = {
      id: "i",
      task: "t",
      lang: "rust",
      root_id: null,
      parent_id: null,
      group: null,
      meth: null,
      shadow: null,
    };
    const more = {
      eta: null,
      expires: null,
      retries: null,
      timelimit: [null, null],
      argsrepr: null,
      kwargsrepr: null,
      origin: "o",
    };
    expect(readHead(received({ ...headers, ...more }))).toMatchObject({
      rootId: "i",
      retries: 0,
      timeLimit: null,
      headers: { meth: null },
    });
  });

  test("takes single headers of a wrong type as missing", () => {
    const head = readHead(
      received({
        task: "t",
        id: "i",
        retries: "3",
        timelimit: "10",
        group: 7,
        group_index: "1",
        root_id: 1,
        ignore_result: "yes",
        stamped_headers: "sid",
        stamps: [1],
        eta: 0,
        replaced_task_nesting: {},
      }),
    );
    expect(head).toMatchObject({ retries: 0, timeLimit: null, group: null, groupIndex: null, rootId: "i", eta: null });
    expect(head).toMatchObject({ ignoreResult: null, stampedHeaders: null, stamps: {}, replacedTaskNesting: 0 });
  });

  test("reads limits as [hard, soft], where zero is none", () => {
    expect(readHead(received({ task: "t", id: "i", timelimit: [30, 1.5] }))).toMatchObject({
      timeLimit: 30,
      softTimeLimit: 1.5,
    });
    expect(readHead(received({ task: "t", id: "i", timelimit: [0, -1] }))).toMatchObject({
      timeLimit: null,
      softTimeLimit: null,
    });
    expect(readHead(received({ task: "t", id: "i", timelimit: [1] }))).toMatchObject({
      timeLimit: null,
      softTimeLimit: null,
    });
  });

  test("keeps the caller's headers apart, without reaching a prototype", () => {
    const headers: Record<string, unknown> = {
      task: "t",
      id: "i",
      compression: "application/x-gzip",
      redelivered: true,
    };
    Object.defineProperty(headers, "__proto__", { value: { polluted: 1 }, enumerable: true });
    const custom = readHead(received(headers)).headers;
    expect(custom).toEqual({ compression: "application/x-gzip", redelivered: true });
    expect(Object.getPrototypeOf(custom)).toBe(Object.prototype);
  });

  test("gives every stamped header a value, and drops other stamps", () => {
    const head = readHead(
      received({ task: "t", id: "i", stamped_headers: ["a", "toString", 3], stamps: { a: 1, b: 2 } }),
    );
    expect(head.stampedHeaders).toEqual(["a", "toString"]);
    expect(head.stamps).toEqual({ a: 1, toString: null });
  });

  test("takes a datetime for text, as AMQP can carry one", () => {
    const eta = new PyDateTime(0, { offsetMinutes: 60 });
    expect(readHead(received({ task: "t", id: "i", eta })).eta).toBe("1970-01-01T01:00:00+01:00");
  });

  test.each([["eta"], ["expires"]])("with an unreadable %s is no task, but still names itself", (name) => {
    for (const value of ["soon", "2030-13-01", 7, [1]]) {
      const error = invalid(() => readHead(received({ task: "t", id: "i", [name]: value })));
      expect(error).toMatchObject({ task: "t", id: "i", code: "INVALID_TASK" });
      expect(error.message).toContain(`invalid ${name} value`);
    }
  });

  test.each<[Record<string, unknown> | null, string, object]>([
    [{ task: "t" }, "the message has no task id", { task: "t", id: null }],
    [{ task: "t", id: "" }, "the message has no task id", { task: "t", id: null }],
    [{ task: "t", id: 5 }, "the message has no task id", { task: "t", id: null }],
    [{ task: null, id: "i" }, "the message names no task", { task: null, id: "i" }],
    [{ task: ["t"], id: "i" }, "the message names no task", { task: null, id: "i" }],
    [null, "the message has no headers", { task: null, id: null }],
  ])("of %j tells what is known", (headers, reason, known) => {
    const error = invalid(() => readHead(received(headers)));
    expect(error.message).toBe(reason);
    expect(error).toMatchObject(known);
  });
});

describe("a received task", () => {
  const message = received({ task: "t", id: "i" }, { replyTo: "r", correlationId: "c", priority: 3 });

  test("joins head, body and properties", () => {
    expect(readTask(message, [[1], { k: 2 }, {}])).toMatchObject({
      protocol: 2,
      utc: null,
      args: [1],
      kwargs: { k: 2 },
      embed: { callbacks: null, errbacks: null, chain: null, chord: null },
      replyTo: "r",
      correlationId: "c",
      priority: 3,
    });
  });

  test.each<[unknown]>([[null], [undefined], [{}], [{ chain: null, chord: null, extra: 1 }]])(
    "may have an empty embed: %j",
    (embed) => {
      expect(readTask(message, [[], {}, embed]).embed).toEqual({
        callbacks: null,
        errbacks: null,
        chain: null,
        chord: null,
      });
    },
  );

  test("with null for args or kwargs is a call that Python cannot make either", () => {
    expect(() => readTask(message, [null, {}, null])).toThrow("() argument after * must be an iterable, not NoneType");
    expect(() => readTask(message, [[], null, null])).toThrow("() argument after ** must be a mapping, not NoneType");
    expect(readTask(message, [[], {}, null])).toMatchObject({ args: [], kwargs: {} });
  });

  test("may have one bare signature where an array is due", () => {
    const embed = {
      callbacks: { task: "a" },
      errbacks: [null, { task: "b", chord_size: 2 }],
      chain: [],
      chord: { task: "c" },
    };
    const read = readTask(message, [[], {}, embed]).embed;
    expect(read.callbacks?.map((one) => one.task)).toEqual(["a"]);
    expect(read.errbacks?.map((one) => one.task)).toEqual(["b"]);
    expect(read.chain).toEqual([]);
    expect(read.chord).toEqual({ task: "c", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false });
  });

  test.each<[unknown, string]>([
    ["text", "the body must be an array, not string"],
    [7, "the body must be an array, not number"],
    [null, "the body must be an array, not null"],
    [{ kwargs: {} }, "the body must be an array, not object"],
    [new Uint8Array(0), "the body must be an array, not object"],
    [[], "the body must hold args, kwargs and embed, not 0 items"],
    [[[], {}], "the body must hold args, kwargs and embed, not 2 items"],
    [[[], {}, {}, {}], "the body must hold args, kwargs and embed, not 4 items"],
    [["args", {}, {}], "args must be an array, not string"],
    [[{}, {}, {}], "args must be an array, not object"],
    [[[], [], {}], "kwargs must be an object, not array"],
    [[[], "k", {}], "kwargs must be an object, not string"],
    [[[], {}, []], "embed must be an object, not array"],
    [[[], {}, { callbacks: [3] }], "a signature must be an object, not number"],
    [[[], {}, { chain: [{}] }], "a signature must name its task"],
    [[[], {}, { chord: { task: "c", args: {} } }], "args of a signature of c must be an array, not object"],
    [[[], {}, { chord: { task: "c", options: [] } }], "options of a signature of c must be an object, not array"],
  ])("with body %j is invalid and says why", (body, reason) => {
    const error = invalid(() => readTask(message, body));
    expect(error.message).toBe(reason);
    expect(error).toMatchObject({ task: "t", id: "i" });
  });
});

describe("a received task of protocol 1", () => {
  const v1 = { task: "t", id: "i", args: [1], kwargs: { a: 2 }, retries: 2, eta: "2030-01-01T00:00:00", utc: false };

  test("is known by its body", () => {
    const message = received({ "x-trace": 1 });
    expect(hasTaskHeader(message)).toBe(false);
    expect(
      readTask(message, { ...v1, taskset: "g", group: "old", timelimit: [5, 3], callbacks: { task: "c" } }),
    ).toMatchObject({
      protocol: 1,
      utc: false,
      retries: 2,
      group: "g",
      timeLimit: 5,
      softTimeLimit: 3,
      argsRepr: "[1]",
      kwargsRepr: "{'a': 2}",
      rootId: "i",
      headers: { "x-trace": 1 },
      embed: { callbacks: [{ task: "c" }], chain: null },
    });
  });

  test("needs no args (celery-node leaves out what is undefined), and no headers at all", () => {
    expect(readTask(received(null), { task: "t", id: "i" })).toMatchObject({
      args: [],
      kwargs: {},
      utc: true,
      headers: {},
    });
  });

  test("is no task without a name", () => {
    for (const body of [{}, [], null, "task", 3]) {
      expect(invalid(() => readTask(received({}), body)).message).toBe("neither the headers nor the body name a task");
    }
  });

  test("under headers of protocol 2 (hybrid) lets the headers win", () => {
    const message = received({ task: "h", id: "h-id", retries: null, custom: 1 });
    expect(
      readTask(message, { ...v1, root_id: "root", origin: "o", lang: "py", errbacks: [{ task: "e" }] }),
    ).toMatchObject({
      protocol: 1,
      task: "h",
      id: "h-id",
      retries: 0,
      rootId: "root",
      origin: "o",
      args: [1],
      headers: { custom: 1 },
      embed: { errbacks: [{ task: "e" }] },
    });
    expect(readTask(received({ task: "h" }), v1)).toMatchObject({ task: "h", id: "i" });
  });
});
