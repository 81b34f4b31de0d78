import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base64Decode, utf8Encode } from "../bytes.ts";
import { DecodeError, EncodeError } from "../errors.ts";
import { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid } from "../values.ts";
import {
  decodeMognetEnvelope,
  decodeMognetRequestPayload,
  decodeMognetResult,
  decodeMognetValue,
  describePickle,
  encodeCompactJson,
  encodeMognetRequest,
  encodeMognetValue,
  isNotReadyValue,
  mognetConsumedQueues,
  mognetDeadlineAfter,
  mognetErrorValue,
  mognetExceptionArgs,
  mognetIdOrNull,
  mognetNames,
  mognetQueueOf,
  mognetTime,
  mognetTimestamp,
  mognetValueOf,
  mognetValueToJs,
  NOT_READY_VALUE,
  newMognetRequest,
  PickledObject,
  PyTimeDelta,
  readMognetException,
} from "./index.ts";

const ID = "0383a177-fb86-4d2a-97af-e2a2be96af13";

describe("names", () => {
  test("are Mognet's", () => {
    const names = mognetNames("shop");
    expect([names.directExchange, names.controlExchange]).toEqual(["shop.mognet.direct", "shop.mognet.control"]);
    expect([names.taskQueue("tasks"), names.controlQueue("n"), names.callbackQueue("n")]).toEqual([
      "shop.tasks",
      "shop.mognet.control.n",
      "shop.mognet.callback.n",
    ]);
  });

  test("ids are one spelling, whatever the peer wrote", () => {
    for (const text of [ID.toUpperCase(), ID.replaceAll("-", ""), `{${ID}}`, `urn:uuid:${ID}`]) {
      expect(mognetIdOrNull(text)).toBe(ID);
    }
    for (const text of ["", "x", `${ID} `, ID.slice(1), `${ID}/../other`]) expect(mognetIdOrNull(text)).toBeNull();
  });

  test("a request's queue is its own, its route's or the default; worker queues follow include and exclude", () => {
    const routes = { "a.b": "gpu", ["__proto__"]: "x" };
    expect(mognetQueueOf({ name: "a.b", queueName: "own" }, routes, "tasks")).toBe("own");
    expect(mognetQueueOf({ name: "a.b", queueName: null }, routes, "tasks")).toBe("gpu");
    expect(mognetQueueOf({ name: "toString", queueName: null }, routes, "tasks")).toBe("tasks");
    expect(mognetConsumedQueues({ "a.b": "gpu" }, "tasks")).toEqual(["gpu", "tasks"]);
    expect(mognetConsumedQueues({ "a.b": "gpu" }, "tasks", { include: ["gpu", "other"] })).toEqual(["gpu"]);
    expect(mognetConsumedQueues({ "a.b": "gpu" }, "tasks", { exclude: ["gpu"] })).toEqual(["tasks"]);
  });
});

describe("messages", () => {
  const decode = (text: string) => decodeMognetEnvelope(utf8Encode(text));

  test("what Python would refuse is a DecodeError, and never anything else", () => {
    for (const text of ["", "[]", "3", "{}", '{"id":1,"kind":"Request","payload":{}}', '{"id":"1","kind":"Request"}']) {
      expect(() => decode(text)).toThrow(DecodeError);
    }
    fc.assert(
      fc.property(fc.json(), (payload) => {
        try {
          decodeMognetRequestPayload(decode(`{"id":"1","kind":"Request","payload":${payload}}`).payload, () => ID);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });

  test("a member named __proto__ is a member", () => {
    const { payload } = decode('{"id":"1","kind":"Request","payload":{"name":"t","kwargs":{"__proto__":{"x":1}}}}');
    const { kwargs } = decodeMognetRequestPayload(payload, () => ID);
    expect(Object.keys(kwargs)).toEqual(["__proto__"]);
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false);
  });

  test("what nests too deeply is refused, on both ways", () => {
    const deep = `${"[".repeat(2000)}${"]".repeat(2000)}`;
    expect(() => decode(`{"id":"1","kind":"Request","payload":{"name":"t","args":${deep}}}`)).toThrow(DecodeError);
    const circle: unknown[] = [];
    circle.push(circle);
    expect(() => encodeMognetRequest(newMognetRequest({ id: ID, name: "t", args: circle }))).toThrow(EncodeError);
  });

  test("priorities and deadlines that Python would refuse are refused before they are sent", () => {
    for (const priority of [-1, 11, 1.5, Number.NaN]) {
      expect(() => encodeMognetRequest(newMognetRequest({ id: ID, name: "t", priority }))).toThrow(EncodeError);
    }
    for (const seconds of [Number.NaN, Number.POSITIVE_INFINITY, 1e15]) {
      expect(() => mognetDeadlineAfter(seconds)).toThrow(EncodeError);
      const deadline = { kind: "duration", seconds } as const;
      expect(() => encodeMognetRequest(newMognetRequest({ id: ID, name: "t", deadline }))).toThrow(EncodeError);
    }
    const deadline = { kind: "instant", iso: "tomorrow", epochMs: 5 } as const;
    expect(() => encodeMognetRequest(newMognetRequest({ id: ID, name: "t", deadline }))).toThrow(EncodeError);
  });

  test("what Python would ack away unread is not written", () => {
    for (const wrong of [{ args: {} }, { kwargs: null }, { stack: ["x"] }, { metadata: [] }, { queueName: 3 }]) {
      const request = Object.assign(newMognetRequest({ id: ID, name: "t" }), wrong);
      expect(() => encodeMognetRequest(request)).toThrow(EncodeError);
    }
  });

  test("Kombu's tags are plain objects here", () => {
    const text = '{"__type__":"uuid","__value__":{"hex":"x"}}';
    const { payload } = decode(`{"id":"1","kind":"Request","payload":{"name":"t","args":[${text}]}}`);
    expect(encodeCompactJson(payload.args)).toBe(`[${text}]`);
  });
});

describe("values", () => {
  test.each([
    ["text", "é"],
    ["int", 3],
    ["big int", 2n ** 70n],
    ["bool", false],
    ["list", [1, [null]]],
    ["dict", { a: { b: 1 } }],
    ["uuid", new PyUuid(ID)],
    ["decimal", new PyDecimal("1.10")],
    ["date", new PyDate("2024-01-02")],
    ["time", new PyTime("03:04:05.000006+02:00")],
    ["timedelta", new PyTimeDelta(-90061.000001)],
    ["datetime", PyDateTime.fromIso("2024-01-02T03:04:05.000006+02:00")],
    ["naive datetime", PyDateTime.fromIso("2024-01-02T03:04:05")],
    ["set", new Set([1, "a"])],
    ["bytes", Uint8Array.of(97, 98)],
  ])("%s is read as what was written", (_, value) => {
    expect(mognetValueToJs(decodeMognetValue(encodeMognetValue(mognetValueOf(value))))).toEqual(value);
  });

  test("bytes of any kind are bytes, and a set of what Python cannot hash is a list", () => {
    const typeOf = (value: unknown) => mognetValueOf(value).valueType;
    expect(encodeMognetValue(mognetValueOf(Uint8Array.of(97).buffer))).toBe(
      '{"value_type":"builtins:bytes","raw_value":"a"}',
    );
    expect(typeOf(new Set([1, "a", null, new Date(0), new PyUuid(ID)]))).toBe("builtins:set");
    for (const member of [{ a: 1 }, [1], new Set([1]), new Map()])
      expect(typeOf(new Set([1, member]))).toBe("builtins:list");
  });

  test("floats are floats in Python, and numbers here", () => {
    expect(encodeMognetValue(mognetValueOf(new PyFloat(3)))).toBe('{"value_type":"builtins:float","raw_value":3.0}');
    expect(mognetValueToJs(decodeMognetValue('{"value_type":"builtins:float","raw_value":3.0}'))).toBe(3);
    expect(encodeMognetValue(mognetValueOf(Number.NaN))).toBe('{"value_type":"builtins:float","raw_value":null}');
  });

  test("models, enums and whatever we do not know are plain JSON; null is null whatever the type", () => {
    expect(mognetValueToJs({ valueType: "shop.models:Point", rawValue: { x: 1 } })).toEqual({ x: 1 });
    expect(mognetValueToJs({ valueType: "shop.models:Colour", rawValue: "red" })).toBe("red");
    expect(mognetValueToJs({ valueType: "toString", rawValue: 1 })).toBe(1);
    expect(mognetValueToJs({ valueType: "uuid:UUID", rawValue: null })).toBeNull();
  });

  test("a value that does not fit its type is a DecodeError", () => {
    for (const [valueType, rawValue] of [
      ["uuid:UUID", "x"],
      ["datetime:datetime", "x"],
      ["decimal:Decimal", []],
      ["builtins:set", 3],
      ["datetime:timedelta", "x"],
    ] as const) {
      expect(() => mognetValueToJs({ valueType, rawValue })).toThrow(DecodeError);
    }
  });

  test("the placeholder is known as such, and is no value of a task", () => {
    expect(isNotReadyValue(NOT_READY_VALUE)).toBe(true);
    expect(isNotReadyValue(mognetErrorValue({ name: "builtins:ValueError", message: "x" }))).toBe(false);
    expect(readMognetException(mognetValueOf("x"))).toBeNull();
  });
});

describe("pickles", () => {
  test("what we write says what it was made of", () => {
    const args = ["x", 1, -5, 1.5, 2n ** 70n, true, null, [1, [2]]];
    const value = mognetErrorValue({ name: "builtins:ValueError", message: "x", args });
    const error = readMognetException(decodeMognetValue(encodeMognetValue(value)));
    expect(error === null ? null : mognetExceptionArgs(error)).toEqual(args);
  });

  test("half a surrogate pair in an error loses neither", () => {
    const value = mognetErrorValue({ name: "builtins:ValueError", message: "a\ud800b \u{1f600}", args: ["\udc00"] });
    expect(readMognetException(decodeMognetValue(encodeMognetValue(value)))?.message).toBe("a\ufffdb \u{1f600}");
  });

  test("an error of a class that Python may lack travels without a pickle", () => {
    const value = mognetErrorValue({ name: "shop:CardRefused", message: "no" });
    expect(readMognetException(value)).toMatchObject({ rawData: null, rawDataEncoding: null });
  });

  test("classes and calls are names only, and circles end", () => {
    // pickle.dumps(os.system) and a list that holds itself
    expect(describePickle(utf8Encode("cposix\nsystem\n(S'id'\ntR."))).toBeNull();
    const call = describePickle(utf8Encode("cposix\nsystem\n(Vid\ntR."))?.value;
    expect(call).toEqual(new PickledObject("posix:system", ["id"]));
    const circle = describePickle(base64Decode("gASVCwAAAAAAAABdlGgAYS4="))?.value;
    expect(Array.isArray(circle) && circle[0] === circle).toBe(true);
  });

  test("the arguments of an error are told where they are data", () => {
    const told = (rawData: string, name = "builtins:ValueError") =>
      mognetExceptionArgs({ name, message: "", traceback: "", rawData, rawDataEncoding: "application/python-pickle" });
    const pickled = "gASVOwAAAAAAAACMCGJ1aWx0aW5zlIwKVmFsdWVFcnJvcpSTlH2UjAFhlF2UKEsBR0AEAAAAAAAATohlc4wBeJSGlFKULg=="; // ValueError({"a": [1, 2.5, None, True]}, "x")
    expect(told(pickled)).toEqual([Object.assign(Object.create(null), { a: [1, 2.5, null, true] }), "x"]);
    // What `__reduce__` calls to make another class is no constructor's business.
    expect(told(pickled, "shop:OutOfStock")).toBeNull();
    // A list that holds itself, one of a million references, and an error within the error.
    expect(told("gASVJAAAAAAAAACMCGJ1aWx0aW5zlIwKVmFsdWVFcnJvcpSTlF2UaANhhZRSlC4=")).toBeNull();
    expect(
      told(
        "gASVngAAAAAAAACMCGJ1aWx0aW5zlIwKVmFsdWVFcnJvcpSTlF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UKF2UjAF4lGFoF2VoFmVoFWVoFGVoE2VoEmVoEWVoEGVoD2VoDmVoDWVoDGVoC2VoCmVoCWVoCGVoB2VoBmVoBWVoBGWFlFKULg==",
      ),
    ).toBeNull();
    expect(told("gASVNgAAAAAAAACMCGJ1aWx0aW5zlIwKVmFsdWVFcnJvcpSTlGgAjAhLZXlFcnJvcpSTlIwBeJSFlFKUhZRSlC4=")).toBeNull();
  });

  test("no bytes make the reader throw or run away", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        describePickle(bytes);
        describePickle(Uint8Array.of(0x80, 4, ...bytes, 0x2e));
      }),
      { numRuns: 3000 },
    );
    expect(describePickle(new Uint8Array(2_000_000))).toBeNull();
    expect(describePickle(new Uint8Array(200_000).fill(0x4e))).toBeNull();
  });
});

describe("results and times", () => {
  test("a hash that holds only its id is pending; one without is refused", () => {
    expect(decodeMognetResult(new Map([["id", `"${ID}"`]]))).toMatchObject({ id: ID, state: "PENDING", name: null });
    expect(() => decodeMognetResult(new Map([["state", '"PENDING"']]))).toThrow(DecodeError);
    expect(() =>
      decodeMognetResult(
        new Map([
          ["id", `"${ID}"`],
          ["state", '"LOST"'],
        ]),
      ),
    ).toThrow(/state/);
  });

  test("moments are written as Mognet writes them, to the microsecond", () => {
    expect(mognetTimestamp(Date.parse("2026-11-21T09:07:38.679Z"), 14)).toBe("2026-11-21T09:07:38.679014Z");
    expect(mognetTimestamp(Date.parse("2026-11-21T09:07:38Z"))).toBe("2026-11-21T09:07:38Z");
    expect(mognetTimestamp(Date.parse("2026-11-21T09:07:38Z") + 0.5)).toBe("2026-11-21T09:07:38.000500Z");
    expect(mognetTime("2026-11-21T09:07:38.679014Z")).toMatchObject({ micros: 14, offsetMinutes: 0 });
    expect(mognetTime(null)).toBeNull();
  });
});
