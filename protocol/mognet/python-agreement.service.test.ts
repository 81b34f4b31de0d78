/**
 * Thousands of random documents, in one batch: what this folder makes of each, and what Mognet makes of it.
 * `LOVAGE_TEST_PYTHON_MOGNET` names an interpreter with Mognet; `LOVAGE_TEST_SEED` repeats a run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { utf8Decode, utf8Encode } from "../bytes.ts";
import { ProtocolError } from "../errors.ts";
import { pyRepr } from "../saferepr.ts";
import { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid } from "../values.ts";
import {
  deadlinePassed,
  decodeMognetControl,
  decodeMognetDeadline,
  decodeMognetEnvelope,
  decodeMognetRequestPayload,
  decodeMognetResult,
  decodeMognetStatusResponse,
  decodePlainJson,
  encodeAsciiJson,
  encodeCompactJson,
  encodeMognetDeadline,
  encodeMognetError,
  encodeMognetRequest,
  encodeMognetResult,
  encodeMognetValue,
  invalidTaskArguments,
  MOGNET_RESULT_FIELDS,
  mognetKwargsRepr,
  mognetValueOf,
  PyTimeDelta,
  type PythonError,
  tooManyRetries,
  unknownTask,
} from "./index.ts";

const python = process.env.LOVAGE_TEST_PYTHON_MOGNET;
if (python === undefined && process.env.CI === "true") throw new TypeError("LOVAGE_TEST_PYTHON_MOGNET is needed here");
const seed = Number(process.env.LOVAGE_TEST_SEED ?? 20300102);
const script = fileURLToPath(new URL("../../python-fixtures/check_mognet.py", import.meta.url));

type Answer = { ok: unknown } | { error: string; message: string };
interface Case {
  question: Record<string, unknown>;
  /** Ours, in Python's form. */
  ours: () => unknown;
}

const REFUSED = "refused";

function orRefused(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (error instanceof ProtocolError) return REFUSED;
    throw error;
  }
}

const ID = "0383a177-fb86-4d2a-97af-e2a2be96af13";

const requestCase = (text: string): Case => ({
  question: { op: "request", text },
  ours: () =>
    orRefused(() => {
      const envelope = decodeMognetEnvelope(utf8Encode(text), { floats: "keep" });
      const request = decodeMognetRequestPayload(envelope.payload, () => "fresh");
      return utf8Decode(encodeMognetRequest(request).body);
    }),
});

const deadlineCase = (text: string): Case => ({
  question: { op: "deadline", text },
  ours: () =>
    orRefused(() => {
      const value = decodePlainJson(text, { floats: "keep" });
      return value === null ? null : encodeMognetDeadline(decodeMognetDeadline(value));
    }),
});

const resultCase = (fields: Record<string, string>): Case => ({
  question: { op: "result", fields },
  ours: () =>
    orRefused(() => {
      for (const text of Object.values(fields)) decodePlainJson(text);
      const written = encodeMognetResult(decodeMognetResult(new Map(Object.entries(fields))));
      return MOGNET_RESULT_FIELDS.map((name, at) => [name, written[2 * at + 1]]);
    }),
});

// ---- what the cases are made of -------------------------------------------------------------------------------------

/** Not all of Unicode: the two languages do not follow its versions at the same pace. */
const text = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 6 }) },
      fc.constantFrom(
        "é",
        "☃",
        "😀",
        "𝒳",
        "\x00",
        "\x1f",
        "\x7f",
        "\x80",
        "\xa0",
        "\xad",
        "\u2028",
        "\ufeff",
        "__type__",
      ),
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(""));
const number = fc.oneof(
  fc.integer().map(String),
  fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (/[.e]/.test(String(n)) ? String(n) : `${n}.0`)),
  fc.double({ noNaN: true, min: -1e-3, max: 1e-3 }).map((n) => (/[.e]/.test(String(n)) ? String(n) : `${n}.0`)),
  fc.constantFrom("1e16", "1e15", "9999999999999998.0", "1e-5", "1.5e-6", "1e-7", "-0.0", "5e-324", "1e22", "NaN"),
);
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    number,
    text.map((t) => JSON.stringify(t)),
    fc.constantFrom("null", "true", "false", "[]", "{}", '{"__type__": "uuid", "__value__": {"hex": 3}}'),
    fc.array(tie("json"), { maxLength: 4 }).map((items) => `[${items.join(", ")}]`),
    fc
      .dictionary(
        text.map((t) => (/^\d+$/.test(t) ? `n${t}` : t)),
        tie("json"),
        { maxKeys: 4 },
      )
      .map((members) => `{${Object.entries(members).map(([k, v]) => `${JSON.stringify(k)}: ${v}`)}}`),
  ),
}));

const digits = (max: number) => fc.nat(max).map(String);
const two = (max: number) => fc.nat(max).map((n) => String(n).padStart(2, "0"));
const fraction = fc.oneof(
  fc.constant(""),
  fc.tuple(fc.constantFrom(".", ","), fc.nat(999)).map(([p, n]) => p + n),
);
const isoDuration = fc
  .tuple(
    fc.constantFrom("", "-", "+"),
    fc.array(
      fc.tuple(digits(400), fraction, fc.constantFrom(..."YMWD")).map((p) => p.join("")),
      { maxLength: 3 },
    ),
    fc.array(
      fc.tuple(digits(100), fraction, fc.constantFrom(..."HMS")).map((p) => p.join("")),
      { maxLength: 3 },
    ),
  )
  .map(([sign, date, clock]) => `${sign}P${date.join("")}${clock.length > 0 ? `T${clock.join("")}` : ""}`);
const clock = fc.oneof(
  fc.tuple(fc.oneof(two(30), digits(200)), two(62), two(62), fraction).map(([h, m, s, f]) => `${h}:${m}:${s}${f}`),
  fc.tuple(two(30), two(62)).map((p) => p.join(":")),
);
const clockDuration = fc
  .tuple(
    fc.constantFrom("", "-", "+"),
    fc.oneof(
      fc.constant(""),
      fc
        .tuple(
          digits(3000),
          fc.constantFrom(" day", " days", "d", "day", " d", " DAYS"),
          fc.constantFrom(" ", ", ", ",", ""),
        )
        .map((p) => p.join("")),
    ),
    clock,
  )
  .map((p) => p.join(""));
const year = fc.integer({ min: 0, max: 10000 }).map((n) => String(n).padStart(4, "0"));
const instant = fc
  .tuple(
    fc.tuple(year, two(13), two(32)).map((p) => p.join("-")),
    fc.oneof(
      fc.constant(""),
      fc
        .tuple(
          fc.constantFrom("T", "t", " ", "_"),
          clock,
          fc.oneof(
            fc.constantFrom("", "Z", "z", "+00:00", "-00:00"),
            fc.tuple(fc.constantFrom("+", "-", "−"), two(25), fc.constantFrom(":", ""), two(61)).map((p) => p.join("")),
          ),
        )
        .map((p) => p.join("")),
    ),
  )
  .map((p) => p.join(""));
const damaged = (valid: fc.Arbitrary<string>) =>
  fc.tuple(valid, fc.nat(30), fc.constantFrom(..."0159PTZ:-+., d"), fc.nat(3)).map(([t, at, letter, how]) => {
    const i = at % (t.length + 1);
    if (how === 0) return t.slice(0, i) + letter + t.slice(i + 1);
    if (how === 1) return t.slice(0, i) + letter + t.slice(i);
    return how === 2 ? t.slice(0, i) : t.slice(0, i) + t.slice(i + 1);
  });
const timeText = fc.oneof(isoDuration, clockDuration, instant);
const deadlineJson = fc.oneof(
  timeText.map((t) => JSON.stringify(t)),
  damaged(timeText)
    .filter((t) => !/(?:^|d[ ,]*|[-+]):/i.test(t)) // speedate reads an hour that is not there as zero
    .map((t) => JSON.stringify(t)),
  // Beyond this a double holds fewer digits than microseconds, and the last one is a matter of rounding.
  fc.double({ noNaN: true, min: -1e9, max: 1e9 }).map((n) => n.toFixed(4)),
  fc.integer({ min: -1e14, max: 1e14 }).map(String),
  fc.integer().map(String),
  fc.integer({ min: -1e11, max: 4e12 }).map((n) => `"${n}"`),
  fc.double({ noNaN: true, min: 0, max: 1e9 }).map((n) => `"${n.toFixed(3)}"`),
  fc.constantFrom("true", "false", "null", "[]", "{}", '""', "1e300", '"5."', '".5"', '"+5"', "NaN"),
);

const uuidText = fc
  .oneof(
    { weight: 6, arbitrary: fc.constant(ID) },
    fc.constantFrom(
      ID.toUpperCase(),
      ID.replaceAll("-", ""),
      `urn:uuid:${ID}`,
      `{${ID}}`,
      ` ${ID}`,
      ID.slice(1),
      "",
      ID.replaceAll("-", "_"),
      `${ID.slice(0, 8)}${ID.slice(9)}`,
      `{${ID.replaceAll("-", "")}}`,
      `URN:UUID:${ID}`,
    ),
  )
  .map((t) => JSON.stringify(t));
const odd = fc.oneof(
  json,
  fc.constantFrom(
    "null",
    '"5"',
    "5.0",
    "5.5",
    "true",
    '" 5 "',
    '"5.0"',
    '"5."',
    '"0x5"',
    '"1_0"',
    "11",
    "-1",
    "10",
    "1e1",
  ),
);
/** Mostly right. */
const or = (right: fc.Arbitrary<string>) => fc.oneof({ weight: 8, arbitrary: right }, odd);
const member = (name: string, value: fc.Arbitrary<string>, presence = 9) =>
  fc.tuple(value, fc.nat(9)).map(([v, n]) => (n < presence ? `${JSON.stringify(name)}:${v}` : ""));
const object = (...members: fc.Arbitrary<string>[]) =>
  fc.tuple(...members).map((parts) => `{${parts.filter((part) => part !== "").join(",")}}`);
const list = fc.array(json, { maxLength: 3 }).map((items) => `[${items.join(",")}]`);
const dict = json.map((value) => `{"k":${value}}`);
const priority = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 10 }).map(String) }, odd);
const payload = object(
  member("id", or(uuidText)),
  member("name", or(text.map((t) => JSON.stringify(t))), 10),
  member("args", or(list)),
  member("kwargs", or(dict)),
  member("stack", or(fc.array(uuidText, { maxLength: 2 }).map((ids) => `[${ids}]`))),
  member("metadata", or(dict)),
  member("deadline", fc.oneof(fc.constant("null"), deadlineJson)),
  member("queue_name", or(fc.constantFrom("null", '"gpu"'))),
  member("kwargs_repr", or(fc.constantFrom("null", '"1"'))),
  member("priority", priority),
  member("unknown", json, 1),
);
const envelope = object(
  member("id", fc.oneof({ weight: 9, arbitrary: fc.constant(JSON.stringify(ID)) }, odd), 10),
  member("kind", fc.oneof({ weight: 9, arbitrary: fc.constant('"Request"') }, odd), 10),
  member("payload", fc.oneof({ weight: 19, arbitrary: payload }, odd), 10),
  member("priority", priority),
  fc.constantFrom("", "", "", "", "", "", "", '"reply_to":"x"', '"other":1'),
);

const state = fc.constantFrom(...'"PENDING" "RUNNING" "SUSPENDED" "SUCCESS" "FAILURE" "REVOKED" "INVALID"'.split(" "));
const fieldOf: Record<(typeof MOGNET_RESULT_FIELDS)[number], fc.Arbitrary<string>> = {
  id: uuidText,
  name: fc.oneof(
    text.map((t) => JSON.stringify(t)),
    fc.constant("null"),
  ),
  state: fc.oneof({ weight: 9, arbitrary: state }, fc.constantFrom('"pending"', "null", "3")),
  // Counts beyond 2**53 are refused here.
  number_of_starts: fc.oneof(
    { weight: 5, arbitrary: digits(9) },
    odd.filter((t) => !(Math.abs(Number(t)) > 2 ** 52)),
  ),
  number_of_stops: digits(9),
  parent_id: fc.oneof(fc.constant("null"), uuidText),
  created: fc.oneof(
    fc.constant("null"),
    instant.map((t) => JSON.stringify(t)),
    fc.integer({ min: 0, max: 4e9 }).map(String),
  ),
  started: fc.oneof(fc.constant("null"), fc.constant('"2026-11-21T09:08:48.712241Z"'), odd),
  finished: fc.constantFrom("null", '"2026-11-21T09:08:48Z"', '"2026-11-21T09:08:48.100000+01:00"'),
  node_id: fc.oneof(fc.constantFrom("null", '"n\\u00e9"'), odd),
  request_kwargs_repr: fc.oneof(
    text.map((t) => JSON.stringify(t)),
    fc.constant("null"),
  ),
};
const resultFields = fc
  .tuple(...MOGNET_RESULT_FIELDS.map((name) => fc.tuple(fc.constant(name), fieldOf[name], fc.nat(14))))
  .map((all) => Object.fromEntries(all.filter(([, , keep]) => keep > 0).map(([name, value]) => [name, value])));

const sample = <T>(what: fc.Arbitrary<T>, count: number): T[] => fc.sample(what, { numRuns: count, seed });

function valueCase(value: unknown, repr: string, type: string): Case {
  return {
    question: { op: "value", text: encodeMognetValue(mognetValueOf(value)) },
    ours: () => [repr, type],
  };
}

function errorCase(error: PythonError, repr: string): Case {
  return {
    question: { op: "error", text: JSON.stringify(errorDocument(error)) },
    ours: () => [error.name, repr, error.message],
  };
}

function errorDocument(error: PythonError): Record<string, unknown> {
  const { rawData, rawDataEncoding, ...rest } = encodeMognetError(error);
  return { ...rest, raw_data: rawData, raw_data_encoding: rawDataEncoding };
}

const invalid = invalidTaskArguments([
  { loc: [1], msg: "é 😀 'quoted'", type: "float_parsing" },
  { loc: ["b", 0], msg: "missing", type: "missing_argument" },
]);

const cases = new Map<string, Case[]>([
  ["requests are read, refused and sent on as Mognet does", sample(envelope, 3000).map(requestCase)],
  ["deadlines of every spelling", sample(deadlineJson, 4000).map(deadlineCase)],
  ["result hashes are read, refused and written as Mognet does", sample(resultFields, 1500).map(resultCase)],
  [
    "the short text of arguments",
    sample(fc.tuple(list, dict), 800).map(([args, kwargs]) => ({
      question: { op: "repr", args, kwargs },
      ours: () => {
        const read = (json: string) => decodePlainJson(json, { floats: "keep" });
        return mognetKwargsRepr(read(args) as unknown[], read(kwargs) as Record<string, unknown>);
      },
    })),
  ],
  [
    "JSON in both styles",
    sample(json, 2500).flatMap((text) => [
      { question: { op: "dumps", text }, ours: () => encodeAsciiJson(decodePlainJson(text, { floats: "keep" })) },
      { question: { op: "compact", text }, ours: () => encodeCompactJson(decodePlainJson(text, { floats: "keep" })) },
    ]),
  ],
  [
    "JSON values that a task of ours returns, as Python reads them",
    sample(json, 600)
      .filter((text) => !text.includes("NaN"))
      .map((text) => {
        const value = decodePlainJson(text, { floats: "keep" });
        const document = encodeMognetValue(mognetValueOf(value));
        return { question: { op: "value", text: document }, ours: () => [pyRepr(value), pythonType(value)] };
      }),
  ],
  [
    "values of every type that a task of ours returns, as Python reads them",
    [
      valueCase(undefined, "None", "NoneType"),
      valueCase(3, "3", "int"),
      valueCase(3.5, "3.5", "float"),
      valueCase(new PyFloat(3), "3.0", "float"),
      valueCase(Number.NaN, "None", "NoneType"),
      valueCase(2n ** 70n, "1180591620717411303424", "int"),
      valueCase(true, "True", "bool"),
      valueCase("é", "'é'", "str"),
      valueCase(new Set([1, 2]), "{1, 2}", "set"),
      valueCase(new Map([["a", [1]]]), "{'a': [1]}", "dict"),
      valueCase(utf8Encode("ab"), "b'ab'", "bytes"),
      valueCase(Float64Array.of(1.5), "[1.5]", "list"),
      valueCase(new Date(1.7e12), "datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=TzInfo(0))", "datetime"),
      valueCase(
        PyDateTime.fromIso("2024-01-02T03:04:05.000006+02:00"),
        "datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=TzInfo(7200))",
        "datetime",
      ),
      valueCase(PyDateTime.fromIso("2024-01-02T03:04:05"), "datetime.datetime(2024, 1, 2, 3, 4, 5)", "datetime"),
      valueCase(new PyDate("2024-01-02"), "datetime.date(2024, 1, 2)", "date"),
      valueCase(new PyTime("03:04:05.6+00:00"), "datetime.time(3, 4, 5, 600000, tzinfo=TzInfo(0))", "time"),
      valueCase(new PyTimeDelta(90061.5), "datetime.timedelta(days=1, seconds=3661, microseconds=500000)", "timedelta"),
      valueCase(new PyTimeDelta(-1), "datetime.timedelta(days=-1, seconds=86399)", "timedelta"),
      valueCase(new PyDecimal("1.10"), "Decimal('1.10')", "Decimal"),
      valueCase(new PyUuid(ID), `UUID('${ID}')`, "UUID"),
      valueCase({ when: new Date(0), id: new PyUuid(ID) }, `{'when': '1970-01-01T00:00:00Z', 'id': '${ID}'}`, "dict"),
    ],
  ],
  [
    "errors of ours are raised in Python as the class that they name",
    [
      errorCase({ name: "builtins:ValueError", message: "é 'x'" }, `ValueError("é 'x'")`),
      errorCase(
        {
          name: "builtins:ValueError",
          message: "('a', 1, -5, 1.5, 18446744073709551616, True, None, [1, (2,)])",
          args: ["a", 1, -5, 1.5, 2n ** 64n, true, null, [1, { tuple: [2] }]],
        },
        "ValueError('a', 1, -5, 1.5, 18446744073709551616, True, None, [1, (2,)])",
      ),
      errorCase({ name: "builtins:KeyError", message: "'k'", args: ["k"] }, "KeyError('k')"),
      errorCase(deadlinePassed(), "TimeoutError()"),
      errorCase(unknownTask("a'b"), `UnknownTask("a'b")`),
      errorCase(tooManyRetries(ID, 4, 3), `TooManyRetries(UUID('${ID}'), 4, 3)`),
      errorCase(invalid, `InvalidTaskArguments(${invalid.message})`),
      {
        question: {
          op: "error",
          text: JSON.stringify(errorDocument({ name: "shop:CardRefused", message: "no" })),
        },
        ours: () => ["builtins:Exception", "Exception('no')", "no"],
      },
    ],
  ],
  [
    "control messages and replies are read and refused as Mognet does",
    sample(
      object(
        member("id", fc.constant('"m"'), 10),
        member("kind", fc.constantFrom('"Revoke"', '"Query"'), 10),
        member("payload", object(member("id", or(uuidText), 10), member("name", or(fc.constant('"Status"')))), 10),
      ),
      300,
    )
      .map(
        (text): Case => ({
          question: { op: "control", text },
          ours: () =>
            orRefused(() => {
              const control = decodeMognetControl(decodeMognetEnvelope(utf8Encode(text)));
              return control.kind === "Revoke" ? control.id : control.name;
            }),
        }),
      )
      .concat(
        sample(
          object(
            fc.constant('"id":"m","kind":"StatusResponse"'),
            member(
              "payload",
              object(
                member("id", or(uuidText)),
                member("kind", fc.constantFrom('"StatusResponse"', '"StatusResponse"', '"x"'), 10),
                member("node_id", or(fc.constant('"w"'))),
                member(
                  "payload",
                  object(member("running_request_ids", or(fc.array(uuidText).map((ids) => `[${ids}]`)))),
                  10,
                ),
              ),
              10,
            ),
          ),
          300,
        ).map((text) => ({
          question: { op: "status", text },
          ours: () =>
            orRefused(() => {
              const status = decodeMognetStatusResponse(decodeMognetEnvelope(utf8Encode(text)));
              return [status.nodeId, status.runningRequestIds];
            }),
        })),
      ),
  ],
]);

function pythonType(value: unknown): string {
  if (value === null) return "NoneType";
  if (value instanceof PyFloat) return "float";
  if (Array.isArray(value)) return "list";
  if (typeof value === "number") return Number.isSafeInteger(value) ? "int" : "float";
  return { string: "str", boolean: "bool", bigint: "int" }[String(typeof value)] ?? "dict";
}

describe.skipIf(python === undefined)(`Mognet agrees (seed ${seed})`, () => {
  const answers = new Map<Case, Answer>();

  beforeAll(() => {
    const all = [...cases.values()].flat();
    const input = all.map(({ question }) => JSON.stringify(question)).join("\n");
    const run = spawnSync(python ?? "", [script], { input, encoding: "utf8", maxBuffer: 1 << 28, timeout: 50_000 });
    expect(run.status, run.stderr).toBe(0);
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(all.length);
    all.forEach((one, at) => {
      answers.set(one, JSON.parse(lines[at] ?? "null") as Answer);
    });
  }, 60_000);

  for (const [name, group] of cases) {
    test(`${name} (${group.length})`, () => {
      const differences: unknown[] = [];
      for (const one of group) {
        const answer = answers.get(one);
        if (answer === undefined) throw new TypeError("a question without an answer");
        const theirs = "ok" in answer ? answer.ok : REFUSED;
        const ours = one.ours();
        if (JSON.stringify(ours) === JSON.stringify(theirs)) continue;
        differences.push({ question: one.question, ours, theirs: "ok" in answer ? theirs : answer });
      }
      expect({ count: differences.length, first: differences.slice(0, 8) }).toEqual({ count: 0, first: [] });
    });
  }
});
