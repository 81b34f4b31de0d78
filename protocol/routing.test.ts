import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bindingOf, matchesTopic, queueArguments, routesFor, topicPattern } from "./routing.ts";

describe("a topic binding", () => {
  const word = fc.constantFrom("a", "b", "", "*", "#", "task-x");
  const key = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join("."));
  const routingKey = fc
    .array(fc.constantFrom("a", "b", "", "task-x", "c"), { minLength: 1, maxLength: 6 })
    .map((words) => words.join("."));

  test("takes what Kombu's regular expression for it takes", () => {
    fc.assert(
      fc.property(key, routingKey, (binding, routed) => {
        const pattern = new RegExp(topicPattern(binding));
        expect(matchesTopic(binding, routed)).toBe(pattern.test(routed));
      }),
      { numRuns: 1000 },
    );
  });

  test("costs no more than the lengths multiplied, where a regular expression would go on for years", () => {
    const hostile = `${"#.".repeat(200)}b`;
    expect(matchesTopic(hostile, "a.".repeat(1000))).toBe(false);
  });

  test("treats a star inside a word as a letter, where Kombu makes it a quantifier", () => {
    expect(matchesTopic("ab*", "ab*")).toBe(true);
    expect(matchesTopic("ab*", "abbb")).toBe(false);
  });
});

describe("routes", () => {
  const table = [
    bindingOf("topic", "a.*", "q1"),
    bindingOf("topic", "#", "q2"),
    bindingOf("topic", "a.b", "q1"),
    bindingOf("topic", "b", "q3"),
  ];

  test("name each queue once, in the table's order", () => {
    expect(routesFor("topic", table, "a.b")).toEqual(["q1", "q2"]);
    expect(routesFor("direct", table, "b")).toEqual(["q3"]);
    expect(routesFor("fanout", table, "whatever")).toEqual(["q1", "q2", "q3"]);
  });

  test("recompute a stored pattern, and never evaluate it", () => {
    expect(routesFor("topic", [{ routingKey: "a", pattern: "^(a+)+$", queue: "q" }], "aaaa")).toEqual([]);
  });

  test("do not exist for headers exchanges", () => {
    expect(() => routesFor("headers", table, "")).toThrow(/only on AMQP/);
  });
});

test("queue options become arguments in whole milliseconds, over those given", () => {
  const options = { expires: 1.2345, messageTtl: 60, maxLength: 5, maxLengthBytes: 6, maxPriority: 10 };
  expect(queueArguments(options, { "x-expires": 1, "x-queue-type": "classic" })).toEqual({
    "x-expires": 1234,
    "x-queue-type": "classic",
    "x-message-ttl": 60_000,
    "x-max-length": 5,
    "x-max-length-bytes": 6,
    "x-max-priority": 10,
  });
  expect(queueArguments({ expires: null })).toEqual({});
  expect(() => queueArguments({ expires: Number.NaN })).toThrow(/must be a finite number/);
});
