import { describe, expect, test } from "vitest";
import { DecodeError, ImproperlyConfigured } from "../errors.ts";
import {
  messageFileName,
  queueOfFileName,
  readExchangeTable,
  withBinding,
  withoutBinding,
  writeExchangeTable,
} from "./filesystem-names.ts";

describe("a message file", () => {
  test("is named by time, id and queue", () => {
    expect(messageFileName(1110997.4, "affb4c4b", "celery")).toBe("1110997_affb4c4b.celery.msg");
    for (const queue of ["celery", "a.b", "w@host.celery.pidbox", "q.msg"]) {
      expect(queueOfFileName(messageFileName(1, "u", queue))).toBe(queue);
    }
  });

  test.each(["x.txt", "noext", "1_u.msg", ".msg", "1_u.q.msg.tmp", ""])("is not %j", (name) => {
    expect(queueOfFileName(name)).toBeNull();
  });

  test.each(["../evil", "a/b", "a\\b", "", "a\0b"])("cannot lead out of its folder: queue %j", (queue) => {
    expect(() => messageFileName(1, "u", queue)).toThrow(ImproperlyConfigured);
  });
});

describe("an exchange file", () => {
  const a = { routingKey: "a", pattern: "", queue: "qa" };
  const b = { routingKey: "b", pattern: "^b$", queue: "qb" };

  test("gains bindings in front and loses them anywhere", () => {
    const table = withBinding(withBinding([], a), b);
    expect(writeExchangeTable(table)).toBe('[["b", "^b$", "qb"], ["a", "", "qa"]]');
    expect(withBinding(table, a)).toBe(table);
    expect(withoutBinding(table, b)).toEqual([a]);
    expect(withoutBinding([a], b)).toEqual([a]);
    expect(readExchangeTable(writeExchangeTable(table))).toEqual(table);
  });

  test("may be empty while Python writes it, and may hold nulls", () => {
    expect(readExchangeTable("")).toEqual([]);
    expect(readExchangeTable('[["", null, "q"]]')).toEqual([{ routingKey: "", pattern: "", queue: "q" }]);
  });

  test.each(["{", "{}", "[1]", '[["a", "b"]]', '[["a", "b", 3]]', "[[[[]]]]"])("is not %s", (text) => {
    expect(() => readExchangeTable(text)).toThrow(DecodeError);
  });
});
