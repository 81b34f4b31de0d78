import { describe, expect, test } from "vitest";
import { bindArguments, type ParamSpec, type Signature } from "./binding.ts";

/** `x, y=, *args, k, **kw`, and `/` behind the positional-only ones. */
function signature(text: string): Signature {
  const parts = text === "" ? [] : text.split(", ");
  const slash = parts.indexOf("/");
  let star = false;
  const params: ParamSpec[] = [];
  parts.forEach((part, at) => {
    const name = part.replace(/^\*+|=$/g, "");
    const hasDefault = part.endsWith("=");
    if (part.startsWith("**")) params.push({ name, kind: "varKeyword", hasDefault: false });
    else if (part.startsWith("*")) {
      star = true;
      if (name !== "") params.push({ name, kind: "varPositional", hasDefault: false });
    } else if (part !== "/") {
      params.push({ name, kind: star ? "keywordOnly" : at < slash ? "positional" : "positionalOrKeyword", hasDefault });
    }
  });
  return { name: "add", params };
}

const bind = (text: string, args: unknown[], kwargs: Record<string, unknown> = {}) =>
  bindArguments(signature(text), args, kwargs);

// Every text is CPython 3.11's; thousands more are compared in python-agreement.service.test.ts.
test.each<[string, unknown[], Record<string, unknown>, string]>([
  ["x, y", [1], {}, "add() missing 1 required positional argument: 'y'"],
  ["x, y", [], {}, "add() missing 2 required positional arguments: 'x' and 'y'"],
  ["x, y, z", [], {}, "add() missing 3 required positional arguments: 'x', 'y', and 'z'"],
  ["x, y", [1, 2, 3], {}, "add() takes 2 positional arguments but 3 were given"],
  ["x, y=", [1, 2, 3], {}, "add() takes from 1 to 2 positional arguments but 3 were given"],
  ["", [1], {}, "add() takes 0 positional arguments but 1 was given"],
  ["x", [1, 2], {}, "add() takes 1 positional argument but 2 were given"],
  ["x", [1], { z: 1 }, "add() got an unexpected keyword argument 'z'"],
  ["x, y", [1], { x: 1 }, "add() got multiple values for argument 'x'"],
  [
    "x, *, k",
    [1, 2],
    { k: 1 },
    "add() takes 1 positional argument but 2 positional arguments (and 1 keyword-only argument) were given",
  ],
  [
    "*, k, l",
    [1],
    { k: 1, l: 2 },
    "add() takes 0 positional arguments but 1 positional argument (and 2 keyword-only arguments) were given",
  ],
  ["x, *, k, l", [1], {}, "add() missing 2 required keyword-only arguments: 'k' and 'l'"],
  ["x, y, /", [], { x: 1, y: 2 }, "add() got some positional-only arguments passed as keyword arguments: 'x, y'"],
  ["x, /, y", [], { y: 2 }, "add() missing 1 required positional argument: 'x'"],
  ["x, y", [1, 2, 3], { z: 1 }, "add() got an unexpected keyword argument 'z'"],
  ["x", [1], { constructor: 1 }, "add() got an unexpected keyword argument 'constructor'"],
])("(%s) called with %j and %j fails as in Python", (params, args, kwargs, message) => {
  expect(bind(params, args, kwargs)).toEqual({ ok: false, message });
});

describe("a call that fits", () => {
  test("fills by position and by name, and leaves defaults out", () => {
    expect(bind("x, y, z=", [1], { y: 2 })).toEqual({ ok: true, values: { x: 1, y: 2 } });
    expect(bind("x, *args, k=, **kw", [1, 2, 3], { k: 4, m: 5 })).toEqual({
      ok: true,
      values: { x: 1, k: 4 },
      varArgs: [2, 3],
      varKwargs: { m: 5 },
    });
    expect(bind("x, /, **kw", [1], { x: 2 })).toEqual({ ok: true, values: { x: 1 }, varKwargs: { x: 2 } });
    expect(bind("*args", [])).toEqual({ ok: true, values: {}, varArgs: [] });
  });

  test("takes undefined for a given value", () => {
    const bound = bind("x", [undefined]);
    expect(bound.ok && Object.hasOwn(bound.values, "x")).toBe(true);
  });

  test("is not fooled by names that objects inherit", () => {
    expect(bind("toString, constructor=", [], { toString: 1 })).toEqual({ ok: true, values: { toString: 1 } });
    const kwargs = JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>;
    const bound = bind("**kw", [], kwargs);
    const caught = bound.ok ? bound.varKwargs! : {};
    expect(Object.getPrototypeOf(caught)).toBe(Object.prototype);
    expect(Object.keys(caught)).toEqual(["__proto__"]);
  });
});
