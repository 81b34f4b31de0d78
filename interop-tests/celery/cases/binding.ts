/** Python's calling rules: what binds, and the words in which a call that does not is refused. */
import type { CallCase } from "../case.ts";

function binds(name: string, args: string, kwargs: string, value: string): CallCase {
  return {
    kind: "call",
    name: `binding/${name}`,
    task: "fixture.signature_like",
    args,
    kwargs,
    expect: { value },
  };
}

function refuses(name: string, task: string, args: string, kwargs: string, message: string): CallCase {
  return {
    kind: "call",
    name: `binding/${name}`,
    task,
    args,
    kwargs,
    expect: { raises: { type: "TypeError", args: [message] } },
  };
}

export const bindingCases: readonly CallCase[] = [
  binds(
    "defaults stand in for what is left out",
    "[1]",
    '{"c": 3}',
    '{"a": 1, "b": 2, "rest": [], "c": 3, "d": 4, "more": {}}',
  ),
  binds(
    "everything by name",
    "[]",
    '{"d": 40, "c": 30, "b": 20, "a": 10}',
    '{"a": 10, "b": 20, "rest": [], "c": 30, "d": 40, "more": {}}',
  ),
  binds(
    "further positions and keywords are collected",
    "[1, 2, 3, 4]",
    '{"c": 5, "x": 6, "y": [7]}',
    '{"a": 1, "b": 2, "rest": [3, 4], "c": 5, "d": 4, "more": {"x": 6, "y": [7]}}',
  ),
  binds(
    "null is a value and no absence",
    "[null, null]",
    '{"c": null, "d": null}',
    '{"a": null, "b": null, "rest": [], "c": null, "d": null, "more": {}}',
  ),
  binds(
    "keywords that are no identifiers",
    "[1]",
    '{"c": 3, "a b": 1, "\\u00e9": 2, "class": 3, "": 4}',
    '{"a": 1, "b": 2, "rest": [], "c": 3, "d": 4, "more": {"a b": 1, "\\u00e9": 2, "class": 3, "": 4}}',
  ),
  {
    kind: "call",
    name: "binding/positions and names mixed",
    task: "fixture.add",
    args: "[40]",
    kwargs: '{"y": 2}',
    expect: { value: "42" },
  },
  refuses("a missing argument", "fixture.add", "[1]", "{}", "add() missing 1 required positional argument: 'y'"),
  refuses(
    "two missing arguments",
    "fixture.add",
    "[]",
    "{}",
    "add() missing 2 required positional arguments: 'x' and 'y'",
  ),
  refuses(
    "one argument too many",
    "fixture.add",
    "[1, 2, 3]",
    "{}",
    "add() takes 2 positional arguments but 3 were given",
  ),
  refuses("an unexpected keyword", "fixture.add", "[1, 2]", '{"z": 3}', "add() got an unexpected keyword argument 'z'"),
  refuses(
    "an argument by position and by name",
    "fixture.add",
    "[1, 2]",
    '{"x": 3}',
    "add() got multiple values for argument 'x'",
  ),
  refuses(
    "a missing keyword-only argument",
    "fixture.signature_like",
    "[1]",
    "{}",
    "signature_like() missing 1 required keyword-only argument: 'c'",
  ),
];
