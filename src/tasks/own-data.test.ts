import { describe, expect, test } from "vitest";
import { EncodeError } from "../../protocol/errors.ts";
import { ownData } from "./own-data.ts";

describe("data of our own", () => {
  test("is equal, and shares no array or object with the caller's", () => {
    const theirs = { list: [1, { deep: ["x"] }], none: null, missing: undefined };
    const ours = ownData(theirs);
    expect(ours).toEqual(theirs);
    theirs.list.push(2);
    (theirs.list[1] as { deep: string[] }).deep.push("y");
    expect(ours).toEqual({ list: [1, { deep: ["x"] }], none: null, missing: undefined });
  });

  test("shares what has a class", () => {
    const values = [new Date(0), new Uint8Array(2), new Map()];
    const ours = ownData(values) as unknown[];
    for (const [index, value] of values.entries()) expect(ours[index]).toBe(value);
  });

  test("keeps a key named __proto__ a key", () => {
    const ours = ownData(JSON.parse('{"__proto__": {"polluted": 1}}')) as object;
    expect(Object.keys(ours)).toEqual(["__proto__"]);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });

  test("cannot contain itself", () => {
    const cycle: unknown[] = [];
    cycle.push({ cycle });
    expect(() => ownData(cycle)).toThrow(EncodeError);
  });
});
