import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { encodeJson } from "../../protocol/json.ts";
import { task } from "./definition.ts";
import { TaskArgumentError } from "./errors.ts";

const add = task("add", (x: number, y: number) => x + y);
const thumbnail = task("thumbnail", { params: { url: z.string(), width: z.int().default(320), "*rest": z.number() } });
const placed = task("placed", { positional: true, params: { a: z.string(), b: z.string() } });

describe("a signature", () => {
  test("has the six members of Celery's, in their order", () => {
    expect(encodeJson(add.s(1, 2))).toBe(
      '{"task": "add", "args": [1, 2], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false}',
    );
    expect(add.si(1, 2).immutable).toBe(true);
  });

  test("of named parameters travels as keywords, as positional arguments where the definition says so", () => {
    expect(thumbnail.s({ url: "u" }).toJSON()).toMatchObject({ args: [], kwargs: { url: "u" } });
    expect(thumbnail.s({ url: "u", width: 3, rest: [1, 2] }).toJSON()).toMatchObject({
      args: ["u", 3, 1, 2],
      kwargs: {},
    });
    expect(placed.s({ a: "1", b: "2" }).args).toEqual(["1", "2"]);
    // `a` comes from what it follows.
    expect(placed.s({ b: "2" }).toJSON()).toMatchObject({ args: [], kwargs: { b: "2" } });
  });

  test("of named parameters refuses positional arguments", () => {
    const loose = thumbnail.s as unknown;
    expect(() => (loose as (...args: unknown[]) => unknown).call(thumbnail, "u", 3)).toThrow(TaskArgumentError);
    expect(() => (loose as (...args: unknown[]) => unknown).call(thumbnail, "u")).toThrow(TaskArgumentError);
  });

  test("never changes", () => {
    const first = add.s(2).set({ queue: "a" });
    const before = encodeJson(first);
    first.set({ queue: "b", immutable: true });
    first.link(add.s(1));
    first.linkError(add.s(1));
    first.partial(1);
    first.clone({ kwargs: { k: 1 }, options: { countdown: 1 } });
    first.stamp({ tenant: "a" });
    first.pipe(add.s(3));
    expect(encodeJson(first)).toBe(before);
  });

  test("keeps its options under their names on the wire", () => {
    const eta = new Date("2030-01-02T03:04:05Z");
    const signature = add
      .s(1, 2)
      .set({ taskId: "one", eta, ignoreResult: true, stampedHeaders: ["t"], stamps: { t: 1 } });
    expect(signature.options).toEqual({ task_id: "one", eta, ignore_result: true, stamped_headers: ["t"], t: 1 });
    expect(signature.id).toBe("one");
    expect(encodeJson(signature)).toContain(
      '"eta": {"__type__": "datetime", "__value__": "2030-01-02T03:04:05+00:00"}',
    );
  });

  test("refuses options that cannot be", () => {
    const loose: Record<string, unknown> = { contdown: 3 };
    expect(() => add.s(1, 2).set(loose)).toThrow(ImproperlyConfigured);
    expect(() => add.s(1, 2).set({ priority: 300 })).toThrow("priority");
    expect(() => add.chunks([[1, 2]], 0)).toThrow("size of chunks");
  });

  test("has a callback once, however often it is linked, and callbacks as options become a list", () => {
    expect(add.s(1, 2).link(add.s(3)).link(add.s(3)).options.link).toHaveLength(1);
    expect(add.s(1, 2).set({ linkError: add.s(3) }).options.link_error).toEqual([add.s(3).toJSON()]);
  });

  test("may be an argument: it travels as data", () => {
    const outer = task("outer").s(add.s(1, 2), 3);
    expect(outer.args).toEqual([add.s(1, 2).toJSON(), 3]);
  });

  test("gathers stamps when they are appended, else the first stands", () => {
    const once = add.s(1, 2).stamp({ tenant: "a" });
    expect(once.stamp({ tenant: "b" }).options).toMatchObject({ tenant: "b", stamped_headers: ["tenant"] });
    expect(once.stamp({ tenant: "b" }, { append: true }).options).toMatchObject({ tenant: ["b", "a"] });
  });
});
