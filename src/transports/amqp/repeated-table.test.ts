import { Buffer } from "node:buffer";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EncodeError } from "../../../protocol/errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { writeTable } from "./field-table.ts";
import { RepeatedTable } from "./repeated-table.ts";

function plainly(table: object): string {
  const out = new ByteWriter();
  writeTable(out, table);
  return out.take().toString("hex");
}

const value = fc.oneof(
  fc.constantFrom<unknown>(null, undefined, 0, -0, 1, true, "", "a", "b", 0.5),
  fc.string({ maxLength: 40 }),
  fc.integer(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.constantFrom(Object.freeze([null, null]), Object.freeze({}), Object.freeze({ a: [1] })),
);
const name = fc.constantFrom("task", "id", "group", "group_index", "argsrepr", "stamps", "é");
const table = fc.dictionary(name, value, { noNullPrototype: true });

test("table after table has the bytes that it has alone, wherever it lies in the chunks", () => {
  fc.assert(
    fc.property(fc.array(table, { maxLength: 12 }), fc.boolean(), (tables, together) => {
      const repeated = new RepeatedTable();
      const out = new ByteWriter();
      for (const one of tables) {
        const mark = out.mark();
        repeated.write(out, one);
        expect(out.since(mark).toString("hex")).toBe(plainly(one));
        if (!together) out.take();
      }
    }),
  );
});

test("an object that was changed since is written anew", () => {
  const repeated = new RepeatedTable();
  const stamps: Record<string, unknown> = { a: 1 };
  const out = new ByteWriter();
  repeated.write(out, { id: "1", stamps });
  stamps.a = 2;
  const mark = out.mark();
  repeated.write(out, { id: "1", stamps });
  expect(out.since(mark).toString("hex")).toBe(plainly({ id: "1", stamps: { a: 2 } }));
});

test("after a table that cannot be written, and after a large one, the next is whole", () => {
  const repeated = new RepeatedTable();
  const out = new ByteWriter();
  const good = { task: "t", id: "1", retries: 0 };
  repeated.write(out, good);
  const mark = out.mark();
  expect(() => repeated.write(out, { ...good, retries: Symbol("no") })).toThrow(EncodeError);
  out.rewind(mark);
  repeated.write(out, { ...good, large: Buffer.alloc(100_000, 65).toString() });
  const last = out.mark();
  repeated.write(out, { ...good, id: "2" });
  expect(out.since(last).toString("hex")).toBe(plainly({ ...good, id: "2" }));
});
