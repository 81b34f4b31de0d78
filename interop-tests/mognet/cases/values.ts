/** What tasks return, and what they are given. */
import { PyDecimal, PyUuid } from "../../../protocol/values.ts";
import type { Case } from "../case.ts";

/** Of `python-fixtures/mognet_app/values.py`: what a JavaScript task can return alike. */
const both = [
  "none",
  "true",
  "int",
  "negative",
  "beyond 2^53",
  "beyond 2^64",
  "float",
  "tiny float",
  "nan",
  "infinity",
  "text",
  "empty text",
  "unicode",
  "long text",
  "list",
  "dict",
] as const;

/** What only Python has a type or a number for. */
const pythonOnly = [
  "whole float",
  "tuple",
  "set",
  "frozenset",
  "dict with int keys",
  "bytes",
  "uuid",
  "datetime",
  "naive datetime",
  "date",
  "time",
  "timedelta",
  "decimal",
  "enum",
  "dataclass",
  "model",
  "list of models",
  "dict of rich values",
  "bytes that are no text",
  "no form in JSON",
  "complex",
] as const;

const returned: Case[] = [
  ...both.map((kind): Case => ({ name: `values/${kind}`, request: { task: "value", args: [kind] } })),
  ...pythonOnly.map(
    (kind): Case => ({ name: `values/${kind}`, request: { task: "value", args: [kind] }, workers: "python" }),
  ),
];

/** What our client has no type for: it sends what Python's arrives as, which reads otherwise in the arguments as text. */
const withoutType = ["an instant with microseconds", "a duration", "a tuple", "a model", "an enum"];

/** One argument that comes back; `python` where JSON has no word for what a client gives. */
const echoed: [string, unknown, string?][] = [
  ["null", null],
  ["booleans", [true, false]],
  ["an integer", 42],
  ["an integer beyond 2^53", 2n ** 60n + 1n, "[2**60 + 1]"],
  ["an integer beyond 2^64", 10n ** 30n, "[10**30]"],
  ["a float", -0.125],
  ["a large float", 1e300],
  ["not a number", Number.NaN, "[float('nan')]"],
  ["unicode", 'caf\u00e9 \u6f22\u5b57 \u{1F600} "quoted" \\ \n\t\u0001'],
  ["a long text", "long ".repeat(20_000)],
  ["nested", { list: [1, [2, { deep: [null, "x"] }]], empty: {}, none: [] }],
  ["keys that look special", { "": 1, constructor: 2, toString: 3, "a.b": 4, "\u6f22": 5 }],
  [
    "an instant",
    new Date(Date.UTC(2024, 0, 31, 12, 30, 45)),
    "[datetime(2024, 1, 31, 12, 30, 45, tzinfo=timezone.utc)]",
  ],
  [
    "an instant with microseconds",
    "2024-01-31T12:30:45.678900Z",
    "[datetime(2024, 1, 31, 12, 30, 45, 678900, tzinfo=timezone.utc)]",
  ],
  ["a duration", "PT1M", "[timedelta(minutes=1)]"],
  ["a UUID", new PyUuid("8f6f9f7e-2f0d-4b7e-9d52-0a4c5d0f7a11"), "[uuid.UUID('8f6f9f7e-2f0d-4b7e-9d52-0a4c5d0f7a11')]"],
  ["a decimal", new PyDecimal("1.10"), "[Decimal('1.10')]"],
  ["a set", new Set([4]), "[{4}]"],
  ["a tuple", [1, "two"], "[(1, 'two')]"],
  ["bytes", new TextEncoder().encode("abc"), "[b'abc']"],
  ["a model", { sku: "a", count: 2, price: "1.10" }, "[Item(sku='a', count=2, price=Decimal('1.10'))]"],
  ["an enum", "red", "[Color.RED]"],
];

const order = {
  id: "8f6f9f7e-2f0d-4b7e-9d52-0a4c5d0f7a11",
  items: [
    { sku: "a", count: 2, price: "1.10" },
    { sku: "b", price: 3 },
  ],
  placed: "2024-01-31T12:30:45.678900Z",
};

export const valueCases: readonly Case[] = [
  ...returned,
  ...echoed.map(
    ([what, value, python]): Case => ({
      name: `arguments/${what}`,
      request: {
        task: "echo",
        args: [value],
        ...(python === undefined ? {} : { python }),
        ...(withoutType.includes(what) ? { kwargsRepr: "given" } : {}),
      },
    }),
  ),
  { name: "arguments/keywords", request: { task: "add", kwargs: { a: 1, b: 2.5 } } },
  { name: "arguments/positions and keywords", request: { task: "add", args: [1], kwargs: { b: 2.5 } } },
  { name: "arguments/defaults", request: { task: "add", args: [1.5] } },
  { name: "arguments/texts that are numbers", request: { task: "add", args: ["1.5", "2"] } },
  {
    name: "arguments/more positions and keywords",
    request: { task: "keywords", args: [1, 2, 3], kwargs: { flag: true, x: "y" } },
  },
  { name: "arguments/a thread's task", request: { task: "sync_add", args: [1, 2.5] } },
  { name: "models/an argument", request: { task: "order_total", args: [order] } },
  { name: "models/there and back", request: { task: "order_echo", args: [order] }, workers: "python" },
  { name: "models/by keyword", request: { task: "order_total", kwargs: { order } } },
  {
    name: "models/every annotation",
    request: {
      task: "typed",
      args: [
        "7",
        "2.5",
        "text",
        "yes",
        order.placed,
        "PT1M",
        order.id,
        "1.10",
        "red",
        ["b", "a"],
        [1, "x"],
        { x: 1, y: 2 },
        order.items,
      ],
    },
    workers: "python",
  },
];
