import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pyRepr, reprException, reprTuple, saferepr } from "./saferepr.ts";
import { PyDate, PyDateTime, PyDecimal, PyFloat, PyTime, PyUuid } from "./values.ts";

// wire: celery-wire 1.6. Every text was printed by celery 5.7.0's saferepr.
test.each<[unknown, string]>([
  [[], "[]"],
  [{}, "{}"],
  [[1, 1.5, true, false, null], "[1, 1.5, True, False, None]"],
  [[new PyFloat(1), 1e100, new PyFloat(-0), Number.NaN, Infinity], "[1.0, 1e+100, -0.0, nan, inf]"],
  [2n ** 70n, "1180591620717411303424"],
  ['it\'s\n"x"\\', "'it\\'s\n\"x\"\\'"],
  [Uint8Array.of(104, 105), "b'hi'"],
  [Uint8Array.of(255, 0), "b'ff00'"],
  [{ a: 1, b: { c: [] } }, "{'a': 1, 'b': {'c': []}}"],
  [[[[[]]]], "[[[[...]]]]"],
  [[[{}, { a: {} }]], "[[{}, {'a': {...}}]]"],
  [new Set(), "set()"],
  [new Set([1]), "{1}"],
  [new Map<unknown, unknown>([[1, "a"]]), "{1: 'a'}"],
  [new PyDecimal("1.10"), "Decimal('1.10')"],
  [new PyDate("2030-01-02"), "datetime.date(2030, 1, 2)"],
  [new PyTime("03:04"), "datetime.time(3, 4)"],
  [new PyUuid("0123456789abcdef0123456789abcdef"), "UUID('01234567-89ab-cdef-0123-456789abcdef')"],
  [
    PyDateTime.fromIso("2030-01-02T03:04:05.678901+00:00"),
    "datetime.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)",
  ],
  [
    PyDateTime.fromIso("2030-01-02T03:04:00-05:30"),
    "datetime.datetime(2030, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=66600)))",
  ],
  [new Date(0), "datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)"],
])("prints value %# as Python would show it", (value, text) => {
  expect(saferepr(value)).toBe(text);
});

test("prints args as a tuple", () => {
  expect(saferepr([], { asTuple: true })).toBe("()");
  expect(saferepr([1], { asTuple: true })).toBe("(1,)");
  expect(saferepr([2, [3]], { asTuple: true })).toBe("(2, [3])");
});

test("cuts as Celery cuts: words at a space, containers never in half", () => {
  expect(saferepr("one two three", { maxLen: 9 })).toBe("'one two...'");
  expect(saferepr(["a".repeat(30), 1, { b: 2 }], { maxLen: 10 })).toBe("['aaaaaaaaa...', ...]");
  expect(saferepr([[1, 2, [3]], 4], { maxLen: 6 })).toBe("[[1, 2..., ...]]");
  expect(saferepr([[1, 2, [3]], 4], { maxLen: 7 })).toBe("[[1, 2, , ...]]");
  expect(saferepr("😀".repeat(20), { maxLen: 5 })).toBe(`'${"😀".repeat(5)}...'`);
  expect(saferepr("x".repeat(5000)).length).toBe(1024 + 5);
  expect(saferepr("x".repeat(5000), { maxLen: null }).length).toBe(5002);
});

test("shows what is left open, whatever the levels", () => {
  expect(saferepr([[[[1]]]], { maxLevels: 0 })).toBe("[[[[1]]]]");
  expect(saferepr([[1]], { maxLevels: 1 })).toBe("[[...]]");
});

describe("values that Python does not have", () => {
  class Account {
    secret = "s";
  }
  test.each<[unknown, string]>([
    [undefined, "None"],
    [{ a: undefined, b: 1 }, "{'b': 1}"],
    [[() => 1, Symbol("s")], "[<function anonymous>, <Symbol(s)>]"],
    [new Account(), "<Account object>"],
    [new Date(Number.NaN), "<Invalid Date>"],
    [new TypeError("bad"), "TypeError('bad')"],
    [{ toJSON: 1 }, "{'toJSON': 1}"],
    [new URL("http://h/"), "'http://h/'"],
  ])("print as something sensible: %#", (value, text) => {
    expect(saferepr(value)).toBe(text);
  });

  test("never throw, not even from their own code", () => {
    const hostile = {
      get boom(): never {
        throw new TypeError("no");
      },
    };
    const proxy = new Proxy(
      {},
      {
        getPrototypeOf: () => {
          throw new TypeError("no");
        },
      },
    );
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    for (const value of [hostile, [hostile], proxy, cyclic]) {
      expect(typeof saferepr(value, { maxLevels: 0 })).toBe("string");
      expect(typeof pyRepr(value)).toBe("string");
    }
    expect(saferepr(cyclic)).toBe("[<Recursion on list>]");
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withMap: true, withSet: true, withTypedArray: true }), (value) => {
        expect(typeof saferepr(value)).toBe("string");
        expect(typeof pyRepr(value)).toBe("string");
      }),
    );
  });
});

test("a few small arguments look the same whether or not a budget is kept", () => {
  const item = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.integer(),
    fc.boolean(),
    fc.constantFrom(null, -0, 0.5, "it's"),
  );
  fc.assert(
    fc.property(fc.array(item, { maxLength: 8 }), fc.boolean(), (items, asTuple) => {
      // Below 512 characters the budget is kept.
      expect(saferepr(items, { asTuple })).toBe(saferepr(items, { asTuple, maxLen: 511 }));
    }),
  );
  expect(saferepr({})).toBe(saferepr({}, { maxLen: 511 }));
});

describe("Python's plain repr", () => {
  test.each<[unknown, string]>([
    ["plain", "'plain'"],
    ["it's", `"it's"`],
    [`it's "it"`, `'it\\'s "it"'`],
    [
      "\\ \n \r \t \x00 \x7f \xa0 \u2028 \u200b \ud800 é 😀",
      "'\\\\ \\n \\r \\t \\x00 \\x7f \\xa0 \\u2028 \\u200b \\ud800 é 😀'",
    ],
    [Uint8Array.of(0, 9, 39, 92, 65, 255), `b"\\x00\\t'\\\\A\\xff"`],
    [[1, [2], { a: null }], "[1, [2], {'a': None}]"],
  ])("of %j", (value, text) => {
    expect(pyRepr(value)).toBe(text);
  });

  test("of exceptions", () => {
    expect(reprException("ValueError", ["boom", 42])).toBe("ValueError('boom', 42)");
    expect(reprException("KeyError", ["a"])).toBe("KeyError('a')");
    expect(reprException("Retry", [])).toBe("Retry()");
    expect(reprTuple([1])).toBe("(1,)");
  });
});
