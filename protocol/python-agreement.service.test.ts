/**
 * Thousands of random values, calls and times, in one batch: what this folder makes of each, and what Python makes of it.
 * `LOVAGE_TEST_PYTHON` names an interpreter with Celery; `LOVAGE_TEST_SEED` repeats a run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type BindingFailure, type BoundArguments, bindArguments, type ParamSpec } from "./binding.ts";
import { DecodeError } from "./errors.ts";
import { formatIso, parseIso } from "./iso-time.ts";
import { decodeJson, encodeJson } from "./json.ts";
import { pyRepr, reprException, saferepr } from "./saferepr.ts";

const python = process.env.LOVAGE_TEST_PYTHON;
const seed = Number(process.env.LOVAGE_TEST_SEED ?? 20300102);
const script = fileURLToPath(new URL("../python-fixtures/check_values.py", import.meta.url));

type Answer = { ok: unknown } | { error: string; message: string };
interface Case {
  /** One line for Python. */
  question: Record<string, unknown>;
  /** Ours, in the same form; for errors only `error` counts, as `true`. */
  ours: () => unknown;
  /** What of Python's answer is compared. */
  theirs: (answer: Answer) => unknown;
}

const REFUSED = { refused: true };
const okOrRefused = (answer: Answer): unknown => ("ok" in answer ? answer.ok : REFUSED);

function orRefused(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    if (error instanceof DecodeError) return REFUSED;
    throw error;
  }
}

const exact = (text: string): unknown => decodeJson(text, { floats: "keep" });

const jsonCase = (text: string): Case => ({
  question: { op: "json", text },
  ours: () => orRefused(() => encodeJson(exact(text))),
  theirs: okOrRefused,
});

// ---- what the cases are made of -------------------------------------------------------------------------------------

const SPECIAL = [
  "'",
  '"',
  "\\",
  "\n",
  "\r",
  "\t",
  "\x00",
  "\x1f",
  "\x7f",
  "\x80",
  "\xa0",
  "\xad",
  "é",
  "\u2028",
  "\u200b",
];
const character = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 8 }) },
  { weight: 2, arbitrary: fc.constant(" ") },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...SPECIAL, "☃", "\ufeff", "\ufffd", "😀", "𝒳", "\u{10ffff}", "\ud800", "\udc00"),
  },
);
const words = fc.array(character, { maxLength: 12 }).map((parts) => parts.join(""));
/** Integer-like names move to the front in JavaScript, whoever reads them. */
const memberName = words.map((text) => (/^\d+$/.test(text) ? `n${text}` : text));

const digits = fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map(String);
const double = fc.oneof(
  fc.double({ noNaN: true }),
  fc.double({ noNaN: true, min: -1e6, max: 1e6 }),
  fc.constantFrom(0, -0, 1e16, 9999999999999998, 1e21, 1e22, 1e-4, 1e-5, 5e-324, 1.7976931348623157e308, 123456789.125),
);
const floatText = double.map((n) => {
  const text = Object.is(n, -0) ? "-0" : String(n);
  return /[.e]|Infinity/.test(text) ? text : `${text}.0`;
});
const two = (max: number, min = 0) => fc.integer({ min, max }).map((n) => String(n).padStart(2, "0"));
const dateText = fc
  .tuple(fc.integer({ min: 1, max: 9999 }), two(12, 1), two(28, 1))
  .map(([year, month, day]) => `${String(year).padStart(4, "0")}-${month}-${day}`);
const offsetText = fc.oneof(
  fc.constantFrom("", "+00:00", "Z"),
  fc.tuple(fc.constantFrom("+", "-"), two(23), two(59)).map(([sign, h, m]) => `${sign}${h}:${m}`),
  fc.tuple(fc.constantFrom("+", "-"), two(23), two(59), two(59)).map(([sign, h, m, s]) => `${sign}${h}:${m}:${s}`),
);
const clockText = fc
  .tuple(
    two(23),
    two(59),
    two(59),
    fc.oneof(
      fc.constant(""),
      fc.integer({ min: 0, max: 999999 }).map((n) => `.${String(n).padStart(6, "0")}`),
    ),
    offsetText,
  )
  .map(([h, m, s, f, z]) => `${h}:${m}:${s}${f}${z}`);
/** Near-misses: valid texts with one character changed, cut or doubled. */
const damaged = (text: fc.Arbitrary<string>, pool: string) =>
  fc.tuple(text, fc.nat(30), fc.constantFrom(...pool), fc.nat(3)).map(([valid, at, letter, how]) => {
    const i = at % (valid.length + 1);
    if (how === 0) return valid.slice(0, i) + letter + valid.slice(i + 1);
    if (how === 1) return valid.slice(0, i) + letter + valid.slice(i);
    return how === 2 ? valid.slice(0, i) : valid.slice(0, i) + valid.slice(i + 1);
  });

const pythonTimeForms = fc.oneof(
  fc.tuple(dateText, clockText).map(([d, t]) => `${d}T${t}`),
  fc.tuple(dateText, fc.constantFrom("T", " ", "_", "é"), clockText).map(([d, s, t]) => d + s + t),
  fc.tuple(dateText, clockText).map(([d, t]) => `${d.replaceAll("-", "")}T${t.replaceAll(":", "")}`),
  dateText,
  dateText.map((d) => d.replaceAll("-", "")),
  fc
    .tuple(fc.integer({ min: 1, max: 9999 }), two(53, 1), fc.integer({ min: 1, max: 7 }))
    .map(([y, w, d]) => `${String(y).padStart(4, "0")}-W${w}-${d}`),
  fc.tuple(fc.integer({ min: 1, max: 9999 }), two(53, 1)).map(([y, w]) => `${String(y).padStart(4, "0")}W${w}`),
);
const isoForms = fc.oneof(
  pythonTimeForms,
  fc
    .tuple(fc.integer({ min: 0, max: 9999 }), fc.integer({ min: 0, max: 400 }))
    .map(([y, d]) => `${String(y).padStart(4, "0")}-${String(d).padStart(3, "0")}`),
  fc.integer({ min: 0, max: 9999 }).map((y) => String(y).padStart(4, "0")),
  dateText.map((d) => d.slice(0, 7)),
  dateText.map((d) => `${d}T24:00`),
  fc.constantFrom(
    "9999-12-31T24:00:00",
    "9999-W53-7",
    "20300102T030405Z",
    "2030-01-02T03",
    "2030-01-02T0304+05",
    "0001-W01-1",
  ),
);
const decimalText = fc.oneof(
  fc
    .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.integer({ min: -30, max: 30 }))
    .map(([n, e]) => `${n}e${e}`),
  double.map(String),
  fc.constantFrom("NaN", "-sNaN012", "inf", "-Infinity", " 1_0.50 ", ".5", "5.", "+0e-10", "-0", "1e", "", ".", "0x1"),
);

const tag = (name: string, value: string): string => `{"__type__": "${name}", "__value__": ${value}}`;
const tagged = fc.oneof(
  pythonTimeForms.map((t) => tag("datetime", JSON.stringify(t))),
  dateText.map((t) => tag("date", JSON.stringify(t))),
  clockText.map((t) => tag("time", JSON.stringify(t))),
  decimalText
    .filter((t) => /\d/.test(t) && !/[xsS]/.test(t))
    .map((t) => tag("decimal", JSON.stringify(t.endsWith("e") ? "1" : t))),
  fc.uuid().map((u) => tag("uuid", `{"hex": "${u}"}`)),
  words.filter((t) => !/\p{Surrogate}/u.test(t)).map((t) => tag("bytes", JSON.stringify(t))),
  fc.uint8Array({ maxLength: 12 }).map((b) => tag("base64", JSON.stringify(Buffer.from(b).toString("base64")))),
);
const anyTag = fc.oneof(
  tagged,
  damaged(pythonTimeForms, "0129-:+.,TZW é").map((t) => tag("datetime", JSON.stringify(t))),
  damaged(clockText, "0129-:+.,TZ é").map((t) => tag("time", JSON.stringify(t))),
  pythonTimeForms.map((t) => tag("date", JSON.stringify(t))),
  decimalText.map((t) => tag("decimal", JSON.stringify(t))),
  damaged(fc.uuid(), "0aF-{}:g").map((t) => tag("uuid", `{"hex": ${JSON.stringify(t)}}`)),
  damaged(fc.base64String({ maxLength: 12 }), "A+/=- _é").map((t) => tag("base64", JSON.stringify(t))),
  words.map((t) => tag("bytes", JSON.stringify(t))),
  fc.constantFrom(
    tag("nothing", "1"),
    tag("bytes", "1"),
    tag("uuid", '"x"'),
    tag("datetime", "null"),
    '{"__type__": "bytes"}',
  ),
  fc.constantFrom(
    tag("bytes", tag("bytes", '"x"')),
    '{"__type__": 1, "__value__": 2}',
    '{"__value__": "x", "\\u005f_type__": "bytes"}',
  ),
  fc.constantFrom(
    '{"__type__": "x", "__value__": 1, "more": 2}',
    '{"__type__": [], "__value__": 1}',
    '{"__proto__": 1, "a": 2}',
  ),
);

const scalarText = fc.oneof(
  { weight: 4, arbitrary: words.map((text) => JSON.stringify(text)) },
  { weight: 2, arbitrary: fc.integer().map(String) },
  { weight: 2, arbitrary: digits },
  { weight: 3, arbitrary: floatText },
  { weight: 2, arbitrary: fc.constantFrom("null", "true", "false", "NaN", "Infinity", "-Infinity") },
);
/** JSON text of nested values; every leaf comes from `leaf`. */
const nested = (leaf: fc.Arbitrary<string>, depth = 4): fc.Arbitrary<string> =>
  fc.letrec<{ value: string }>((tie) => ({
    value: fc.oneof(
      { maxDepth: depth, depthSize: "small" },
      leaf,
      fc.array(tie("value"), { maxLength: 5 }).map((items) => `[${items.join(", ")}]`),
      fc
        .uniqueArray(fc.tuple(memberName, tie("value")), { maxLength: 5, selector: ([name]) => name })
        .map((members) => `{${members.map(([name, text]) => `${JSON.stringify(name)}: ${text}`).join(", ")}}`),
    ),
  })).value;

const valueText = nested(fc.oneof({ weight: 3, arbitrary: scalarText }, { weight: 1, arbitrary: tagged }));

// ---- calls ----------------------------------------------------------------------------------------------------------

interface Call {
  params: ParamSpec[];
  args: number[];
  kwargs: Record<string, number>;
}
const call: fc.Arbitrary<Call> = fc
  .record({
    counts: fc.tuple(fc.nat(2), fc.nat(3), fc.nat(3)),
    defaults: fc.tuple(fc.nat(5), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 })),
    variadic: fc.tuple(fc.nat(2), fc.nat(2)),
    args: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 6 }),
    kwargs: fc.dictionary(
      fc.constantFrom("p0", "p1", "x0", "x1", "x2", "k0", "k1", "k2", "other", "constructor", "toString"),
      fc.integer({ min: 0, max: 9 }),
      { maxKeys: 5 },
    ),
  })
  .map(({ counts: [only, usual, keyword], defaults: [withDefault, keywordDefaults], variadic, args, kwargs }) => {
    const params: ParamSpec[] = [];
    const firstDefault = only + usual - withDefault;
    for (let i = 0; i < only; i++) params.push({ name: `p${i}`, kind: "positional", hasDefault: i >= firstDefault });
    for (let i = 0; i < usual; i++) {
      params.push({ name: `x${i}`, kind: "positionalOrKeyword", hasDefault: only + i >= firstDefault });
    }
    if (variadic[0] === 2) params.push({ name: "args", kind: "varPositional", hasDefault: false });
    for (let i = 0; i < keyword; i++) {
      params.push({ name: `k${i}`, kind: "keywordOnly", hasDefault: keywordDefaults[i]! });
    }
    if (variadic[1] === 2) params.push({ name: "kwargs", kind: "varKeyword", hasDefault: false });
    return { params, args, kwargs };
  });

const DEFAULT = -1;

/** The parameters as Python source; every default is `DEFAULT`. */
function pythonParams(params: readonly ParamSpec[]): string {
  const parts: string[] = [];
  let star = false;
  params.forEach((param, i) => {
    const text = param.name + (param.hasDefault ? `=${DEFAULT}` : "");
    if (param.kind === "varPositional") star = true;
    if (param.kind === "keywordOnly" && !star) {
      parts.push("*");
      star = true;
    }
    parts.push(param.kind === "varPositional" ? `*${text}` : param.kind === "varKeyword" ? `**${text}` : text);
    if (param.kind === "positional" && params[i + 1]?.kind !== "positional") parts.push("/");
  });
  return parts.join(", ");
}

/** What the function would see as its locals. */
function localsOf(params: readonly ParamSpec[], bound: BoundArguments | BindingFailure): unknown {
  if (!bound.ok) return bound.message;
  const locals: Record<string, unknown> = {};
  for (const { name, kind } of params) {
    if (kind === "varPositional") locals[name] = bound.varArgs;
    else if (kind === "varKeyword") locals[name] = bound.varKwargs;
    else locals[name] = Object.hasOwn(bound.values, name) ? bound.values[name] : DEFAULT;
  }
  return locals;
}

// ---- the batch ------------------------------------------------------------------------------------------------------

const sample = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number): T[] => fc.sample(arbitrary, { numRuns, seed });

const MALFORMED = [
  "",
  " ",
  "[",
  "[1,]",
  "{,}",
  '{"a"}',
  "{1: 2}",
  "01",
  "1.",
  "-",
  "+1",
  "--1",
  ".5",
  "1e",
  "nul",
  "[1 2]",
  '"\t"',
]
  .concat(
    '"\\x"',
    '"\\u12"',
    '"\\ud83d\\ude00"',
    "\ufeff1",
    "-NaN",
    "NaN ",
    " [1] x",
    "[NaN,Infinity,-Infinity]",
    "9".repeat(4301),
  )
  .concat(
    "9".repeat(4300),
    "1e400",
    "-1e400",
    "1E+2",
    "\u00a01",
    '{"a": 1, "a": 2}',
    "'a'",
    "tru",
    "[1,,2]",
    "\u2028[]",
    "\f1",
  );

const groups: Record<string, () => Case[]> = {
  "reads and writes ordinary and exact JSON": () => sample(valueText, 1500).map(jsonCase),
  "reads and refuses type tags": () => sample(anyTag, 2500).map(jsonCase),
  "refuses broken JSON": () =>
    [...MALFORMED, ...sample(damaged(nested(scalarText), '[]{}",:0.-eN\\'), 1500)].map((text) => jsonCase(text)),
  "shortens values for logs": () =>
    sample(
      fc.tuple(valueText, fc.oneof(fc.nat(80), fc.constant(1024), fc.constant(null)), fc.nat(5), fc.boolean()),
      4000,
    ).map(([text, maxLen, maxLevels, asTuple]) => ({
      question: {
        op: "saferepr",
        text: asTuple ? `[${text}]` : text,
        maxlen: maxLen,
        maxlevels: maxLevels,
        tuple: asTuple,
      },
      ours: () => orRefused(() => saferepr(exact(asTuple ? `[${text}]` : text), { maxLen, maxLevels, asTuple })),
      theirs: okOrRefused,
    })),
  "prints values": () =>
    sample(valueText, 1500).map((text) => ({
      question: { op: "repr", text },
      ours: () => orRefused(() => pyRepr(exact(text))),
      theirs: okOrRefused,
    })),
  "prints exceptions": () =>
    sample(fc.array(valueText, { maxLength: 3 }), 500).map((texts) => ({
      question: { op: "exception", name: "ValueError", text: `[${texts.join(", ")}]` },
      ours: () => orRefused(() => reprException("ValueError", texts.map(exact))),
      theirs: okOrRefused,
    })),
  "binds arguments": () =>
    sample(call, 6000).map(({ params, args, kwargs }) => ({
      question: { op: "bind", name: "add", params: pythonParams(params), args, kwargs },
      ours: () => localsOf(params, bindArguments({ name: "add", params }, args, kwargs)),
      theirs: (answer) => ("ok" in answer ? decodeJson(String(answer.ok)) : answer.message),
    })),
  "reads times": () =>
    sample(fc.oneof(isoForms, damaged(isoForms, "0129-:+.,TZWz _é")), 6000).map((text) => ({
      question: { op: "iso", text },
      ours: () => {
        const time = parseIso(text);
        if (time === null || time === "overflow") return time;
        const offset = time.offsetMinutes === null ? null : time.offsetMinutes * 60;
        return [String(BigInt(time.epochMs) * 1000n + BigInt(time.micros)), offset];
      },
      theirs: (answer) => ("ok" in answer ? answer.ok : answer.error === "OverflowError" ? "overflow" : null),
    })),
  "writes times": () =>
    sample(
      fc.tuple(
        fc.oneof(
          fc.integer({ min: -62_135_000_000_000, max: 253_402_000_000_000 }),
          fc.integer({ min: -1e9, max: 1e9 }).map((s) => s * 1000),
        ),
        fc.oneof(fc.constant(0), fc.nat(999)),
        fc.oneof(fc.constant(null), fc.constant(0), fc.integer({ min: -1439, max: 1439 })),
      ),
      1500,
    ).map(([ms, micros, offset]) => ({
      question: { op: "format", micros: String(BigInt(ms) * 1000n + BigInt(micros)), offset },
      ours: () => formatIso(ms, micros, offset),
      theirs: okOrRefused,
    })),
};

if (python === undefined && process.env.CI === "true") {
  test("has a Python with Celery to compare with", () => expect(python, "LOVAGE_TEST_PYTHON").toBeDefined());
}

describe.skipIf(python === undefined)(`agrees with Python (LOVAGE_TEST_SEED=${seed})`, () => {
  const cases = new Map(Object.entries(groups).map(([name, make]) => [name, python === undefined ? [] : make()]));
  const answers = new Map<Case, Answer>();

  beforeAll(() => {
    const all = [...cases.values()].flat();
    const input = all.map(({ question }) => JSON.stringify(question)).join("\n");
    const run = spawnSync(python!, [script], { input, encoding: "utf8", maxBuffer: 1 << 28, timeout: 50_000 });
    expect(run.status, run.stderr).toBe(0);
    const lines = run.stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(all.length);
    all.forEach((one, i) => {
      answers.set(one, JSON.parse(lines[i]!) as Answer);
    });
  }, 60_000);

  for (const [name, group] of cases) {
    test(name, () => {
      const differences: unknown[] = [];
      for (const one of group) {
        const answer = answers.get(one)!;
        const ours = one.ours();
        const theirs = one.theirs(answer);
        if (!isDeepStrictEqual(ours, theirs)) differences.push({ question: one.question, ours, python: answer });
      }
      expect(differences.slice(0, 5), `${differences.length} of ${group.length} differ; seed ${seed}`).toEqual([]);
    });
  }
});
