/** Exceptions across the border, and what is told to those who asked to be told. */
import type { CallCase } from "../case.ts";

function fails(name: string, exception: string, args: string, seen: readonly unknown[], module = "builtins"): CallCase {
  return {
    kind: "call",
    name: `failures/${name}`,
    task: "fixture.fail",
    args: `["${exception}"${args === "" ? "" : `, ${args}`}]`,
    expect: { raises: { type: exception, module, args: seen } },
  };
}

export const failureCases: readonly CallCase[] = [
  fails("a ValueError with a message", "ValueError", '"boom"', ["boom"]),
  fails("a KeyError", "KeyError", '"k"', ["k"]),
  fails("a ZeroDivisionError", "ZeroDivisionError", '"division by zero"', ["division by zero"]),
  fails("an exception without arguments", "RuntimeError", "", []),
  fails("arguments of several kinds", "RuntimeError", '"a", 42, null, true, [1, {"k": 2.5}]', [
    "a",
    42,
    null,
    true,
    [1, { k: 2.5 }],
  ]),
  fails("a message beyond ASCII", "ValueError", '"Grüße 世界 \u{1f33f}\\n\\"q\\""', ['Grüße 世界 \u{1f33f}\n"q"']),
  fails("a FileNotFoundError with errno", "FileNotFoundError", '2, "No such file"', [2, "No such file"]),
  fails("a very long message", "ValueError", `"${"long ".repeat(4_000)}"`, ["long ".repeat(4_000)]),
  fails("one of Celery's own exceptions", "ImproperlyConfigured", '"no"', ["no"], "celery.exceptions"),
  {
    kind: "call",
    name: "failures/an exception class of the application",
    task: "fixture.fail_custom",
    args: '["E42", "no leaves left"]',
    expect: { raises: { type: "FixtureError", module: "celery_app.exceptions", args: ["E42", "no leaves left"] } },
  },
  {
    kind: "call",
    name: "failures/an exception that cannot be made again from its arguments",
    task: "fixture.fail_keyword",
    args: '["because"]',
    expect: {
      raises: {
        type: "UnpickleableExceptionWrapper",
        module: "celery.utils.serialization",
        args: ["celery_app.exceptions", "KeywordOnlyError", [], "KeywordOnlyError()"],
      },
    },
  },
  {
    kind: "call",
    name: "failures/an argument that JSON cannot express",
    task: "fixture.fail_opaque",
    expect: { raises: { type: "OpaqueError", module: "celery_app.exceptions" } },
    control: "the repr of the argument holds an address",
  },
  {
    kind: "call",
    name: "failures/an exception with a cause",
    task: "fixture.fail_with_cause",
    args: '["inner", "outer"]',
    expect: { raises: { type: "RuntimeError", args: ["outer"] } },
  },
  {
    kind: "call",
    name: "failures/an errback in the same language is told the id",
    task: "fixture.fail",
    args: '["ValueError", "told"]',
    options: {
      link_error: [
        {
          task: "fixture.on_error",
          args: [],
          kwargs: {},
          options: { queue: "$QUEUE" },
          subtask_type: null,
          immutable: false,
        },
      ],
    },
    expect: { raises: { type: "ValueError", args: ["told"] }, records: ["errback $ID"] },
  },
];
