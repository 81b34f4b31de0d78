import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { task } from "./definition.ts";

/** As someone without types would call it. */
const loose = task as (...args: unknown[]) => unknown;

describe("a definition that cannot be", () => {
  test("params that are a schema of an object: the error asks for the shape", () => {
    expect(() => loose("t", { params: z.object({ x: z.number() }) })).toThrow(
      "params of task t: pass the shape, { name: schema }, not a schema of an object",
    );
  });

  test.each([
    ["acksLate", "no", /task t: acksLate must be true or false, not "no"/],
    ["ignoreResult", 1, /ignoreResult must be true or false/],
    ["autoretryFor", Error, /autoretryFor must be an array of error classes/],
    ["autoretryFor", ["Error"], /autoretryFor\[0\] must be an error class/],
    ["throws", [undefined], /throws\[0\] must be an error class/],
    ["retryBackoff", "yes", /retryBackoff must be true, false or a number of seconds/],
    ["retryKwargs", { max_retries: 3 }, /retryKwargs: unknown option "max_retries"/],
    ["retryKwargs", { countdown: "5" }, /retryKwargs.countdown must be a number of seconds/],
    ["maxRetries", -1, /maxRetries must be a whole number/],
    ["timeLimit", Number.NaN, /timeLimit must be a number of seconds/],
    ["queue", 5, /queue must be a text/],
    ["priority", 300, /priority must be a whole number from 0 to 255/],
    ["acks_late", true, /unknown option "acks_late". Did you mean|unknown option "acks_late"/],
  ])("with %s: %j names the culprit", (key, value, message) => {
    expect(() => loose("t", { [key]: value })).toThrow(ImproperlyConfigured);
    expect(() => loose("t", { [key]: value })).toThrow(message);
  });

  test.each([
    ["options that are none", ["t", null]],
    ["a handler that is none", ["t", {}, "run"]],
    ["params that are no object", ["t", { params: null }]],
    ["params that are schemas alone", ["t", { params: [z.string()] }]],
    ["a result that is no schema", ["t", { returns: "string" }]],
  ])("with %s", (_what, args) => {
    expect(() => loose(...args)).toThrow(ImproperlyConfigured);
  });

  test("leaves undefined and null where they have a meaning", () => {
    expect(() =>
      loose("t", { maxRetries: null, acksLate: undefined, retryKwargs: { maxRetries: null } }),
    ).not.toThrow();
  });
});
