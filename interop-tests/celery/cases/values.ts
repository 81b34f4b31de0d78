/** Every kind of JSON value, as argument, as keyword, there and back, and made by the worker. */
import type { CallCase } from "../case.ts";

interface Value {
  name: string;
  /** Kombu's JSON text, exactly as Python writes it. */
  json: string;
  type: string;
  /** Python's `repr`. */
  repr: string;
}

const tagged = (type: string, value: string) => `{"__type__": "${type}", "__value__": ${value}}`;
const utc = "tzinfo=datetime.timezone.utc";

const values: readonly Value[] = [
  { name: "null", json: "null", type: "NoneType", repr: "None" },
  { name: "true", json: "true", type: "bool", repr: "True" },
  { name: "false", json: "false", type: "bool", repr: "False" },
  { name: "zero", json: "0", type: "int", repr: "0" },
  { name: "a negative integer", json: "-2147483649", type: "int", repr: "-2147483649" },
  { name: "2**53 + 1", json: "9007199254740993", type: "int", repr: "9007199254740993" },
  { name: "2**64", json: "18446744073709551616", type: "int", repr: "18446744073709551616" },
  { name: "-(2**70)", json: "-1180591620717411303424", type: "int", repr: "-1180591620717411303424" },
  { name: "a whole float", json: "1.0", type: "float", repr: "1.0" },
  { name: "a float", json: "0.1", type: "float", repr: "0.1" },
  { name: "minus zero", json: "-0.0", type: "float", repr: "-0.0" },
  { name: "a large float", json: "1e+100", type: "float", repr: "1e+100" },
  { name: "a small float", json: "1e-07", type: "float", repr: "1e-07" },
  { name: "NaN", json: "NaN", type: "float", repr: "nan" },
  { name: "Infinity", json: "Infinity", type: "float", repr: "inf" },
  { name: "-Infinity", json: "-Infinity", type: "float", repr: "-inf" },
  { name: "empty text", json: '""', type: "str", repr: "''" },
  { name: "text with quotes", json: '"it\'s \\"q\\" \\\\ \\n\\t"', type: "str", repr: "'it\\'s \"q\" \\\\ \\n\\t'" },
  {
    name: "text beyond ASCII",
    json: '"Gr\\u00fc\\u00dfe, \\u4e16\\u754c \\ud83c\\udf3f \\u2028"',
    type: "str",
    repr: "'Grüße, 世界 \u{1f33f} \\u2028'",
  },
  { name: "text with NUL", json: '"a\\u0000b"', type: "str", repr: "'a\\x00b'" },
  { name: "an empty array", json: "[]", type: "list", repr: "[]" },
  { name: "an empty object", json: "{}", type: "dict", repr: "{}" },
  {
    name: "nested arrays and objects",
    json: '{"b": [1, [2.5, {"a": null}]], "a": {"": [[]]}, "\\u00e9": true}',
    type: "dict",
    repr: "{'b': [1, [2.5, {'a': None}]], 'a': {'': [[]]}, 'é': True}",
  },
  {
    name: "an array 60 levels deep",
    json: `${"[".repeat(60)}${"]".repeat(60)}`,
    type: "list",
    repr: `${"[".repeat(60)}${"]".repeat(60)}`,
  },
  {
    name: "members named like JavaScript's own",
    json: '{"__proto__": {"polluted": true}, "constructor": 1, "toString": null}',
    type: "dict",
    repr: "{'__proto__': {'polluted': True}, 'constructor': 1, 'toString': None}",
  },
  {
    name: "a lone __type__",
    json: '{"__type__": "datetime", "other": 1}',
    type: "dict",
    repr: "{'__type__': 'datetime', 'other': 1}",
  },
  {
    name: "a naive datetime",
    json: tagged("datetime", '"2026-01-02T03:04:05.678901"'),
    type: "datetime",
    repr: "datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)",
  },
  {
    name: "a datetime in UTC",
    json: tagged("datetime", '"2026-01-02T03:04:05+00:00"'),
    type: "datetime",
    repr: `datetime.datetime(2026, 1, 2, 3, 4, 5, ${utc})`,
  },
  {
    name: "a datetime with an offset",
    json: tagged("datetime", '"2026-01-02T03:04:05.000001+05:30"'),
    type: "datetime",
    repr: "datetime.datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=19800)))",
  },
  { name: "a date", json: tagged("date", '"2026-01-02"'), type: "date", repr: "datetime.date(2026, 1, 2)" },
  { name: "a time", json: tagged("time", '"03:04:05.000006"'), type: "time", repr: "datetime.time(3, 4, 5, 6)" },
  { name: "a decimal", json: tagged("decimal", '"1.10"'), type: "Decimal", repr: "Decimal('1.10')" },
  {
    name: "a UUID",
    json: tagged("uuid", '{"hex": "5f0c7b1e1f2d4c3b9a486d5e4f3a2b1c"}'),
    type: "UUID",
    repr: "UUID('5f0c7b1e-1f2d-4c3b-9a48-6d5e4f3a2b1c')",
  },
  { name: "ASCII bytes", json: tagged("bytes", '"lovage"'), type: "bytes", repr: "b'lovage'" },
  { name: "other bytes", json: tagged("base64", '"AP/+"'), type: "bytes", repr: "b'\\x00\\xff\\xfe'" },
];

const described = values.map(({ name, json, type, repr }): CallCase => {
  const seen = `{"type": "${type}", "repr": ${pythonJson(repr)}}`;
  return {
    kind: "call",
    name: `values/${name} reaches the worker, by position and by name`,
    task: "fixture.describe",
    args: `[${json}]`,
    kwargs: `{"k": ${json}}`,
    expect: { value: `{"args": [${seen}], "kwargs": {"k": ${seen}}}` },
  };
});

const returned = values.map(
  ({ name, json }): CallCase => ({
    kind: "call",
    name: `values/${name} goes there and back`,
    task: "fixture.identity",
    args: `[${json}]`,
    expect: { value: json },
  }),
);

/** The worker's own values: nothing of them has travelled before. */
const made: readonly [kind: string, json: string][] = [
  ["datetime", tagged("datetime", '"2026-01-02T03:04:05.678901"')],
  ["datetime_utc", tagged("datetime", '"2026-01-02T03:04:05.678901+00:00"')],
  ["datetime_zoned", tagged("datetime", '"2026-01-02T03:04:05+02:00"')],
  ["date", tagged("date", '"2026-01-02"')],
  ["time", tagged("time", '"03:04:05.678901"')],
  ["decimal", tagged("decimal", '"12345678901234567890.0123456789"')],
  ["uuid", tagged("uuid", '{"hex": "5f0c7b1e1f2d4c3b9a486d5e4f3a2b1c"}')],
  ["bytes", tagged("base64", '"AP/+bG92YWdl"')],
  ["ascii_bytes", tagged("bytes", '"lovage"')],
  ["float_whole", "1.0"],
  ["nan", "NaN"],
  ["infinity", "Infinity"],
  ["negative_infinity", "-Infinity"],
  ["big_integer", "9223372036854775808"],
  ["negative_big_integer", "-1180591620717411303424"],
  ["text", '"Gr\\u00fc\\u00dfe, \\u4e16\\u754c \\ud83c\\udf3f \\u2028"'],
  ["none", "null"],
  ["dunder", '{"__proto__": {"polluted": true}, "constructor": 1}'],
];

const own = made.map(
  ([kind, json]): CallCase => ({
    kind: "call",
    name: `values/the worker's own ${kind} reaches the client`,
    task: "fixture.types",
    args: `["${kind}"]`,
    expect: { value: json },
  }),
);

const large: readonly CallCase[] = [
  {
    kind: "call",
    name: "values/a text of 300,000 characters comes back",
    task: "fixture.identity",
    args: `["${"lovage".repeat(50_000)}"]`,
    expect: { value: `"${"lovage".repeat(50_000)}"` },
  },
  {
    kind: "call",
    name: "values/ten thousand integers come back",
    task: "fixture.identity",
    args: `[[${Array.from({ length: 10_000 }, (_, index) => index).join(", ")}]]`,
    expect: { value: `[${Array.from({ length: 10_000 }, (_, index) => index).join(", ")}]` },
  },
  {
    kind: "call",
    name: "values/a hundred keywords keep their names and order",
    task: "fixture.echo",
    kwargs: `{${Array.from({ length: 100 }, (_, index) => `"k${99 - index}": ${index}`).join(", ")}}`,
    expect: {
      value: `{"args": [], "kwargs": {${Array.from({ length: 100 }, (_, index) => `"k${99 - index}": ${index}`).join(", ")}}}`,
    },
  },
];

export const valueCases: readonly CallCase[] = [...described, ...returned, ...own, ...large];

/** As Python's `json.dumps` writes a text. */
function pythonJson(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
