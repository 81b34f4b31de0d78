import { describe, expect, test } from "vitest";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import { checkOptions } from "./call-options.ts";

const check = (options: Record<string, unknown>, fromWire = false) => checkOptions(options, { task: "t", fromWire });
const sig = { task: "x", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };

describe("refuses", () => {
  test.each([
    [{ queu: "q" }, /t: unknown option "queu"; did you mean "queue"\?/],
    [{ routing_key: "k" }, /did you mean "routingKey"/],
    [{ countdown: "5" }, /option countdown must be a number of seconds/],
    [{ countdown: Number.POSITIVE_INFINITY }, /countdown/],
    [{ countdown: -3e9 }, /countdown/],
    [{ eta: "tomorrow" }, /option eta must be a Date, or ISO 8601 text/],
    [{ eta: new Date(Number.NaN) }, /eta/],
    [{ eta: 5 }, /eta/],
    [{ expires: "9999-12-31T24:00:00" }, /expires|eta/],
    [{ expires: true }, /expires/],
    [{ priority: 256 }, /from 0 to 255/],
    [{ priority: 1.5 }, /whole number/],
    [{ queue: "" }, /queue/],
    [{ queue: { nam: "q" } }, /did you mean "name"/],
    [{ taskId: "" }, /taskId/],
    [{ timeLimit: -1 }, /at least 0/],
    [{ timeLimit: 5, softTimeLimit: 6 }, /softTimeLimit must be less than or equal to timeLimit/],
    [{ ignoreResult: 1 }, /true or false/],
    [{ deliveryMode: 3 }, /deliveryMode/],
    [{ headers: [] }, /headers must be an object/],
    [{ retryPolicy: { maxRetrys: 1 } }, /did you mean "maxRetries"/],
    [{ link: "x" }, /link.*signature/],
    [{ linkError: [{}] }, /linkError\[0\]/],
    [{ stampedHeaders: "a" }, /array of texts/],
    [{ exchangeType: "topik" }, /did you mean "topic"/],
    [{ signal: {} }, /AbortSignal/],
  ])("%j", (options, message) => {
    expect(() => check(options)).toThrow(ImproperlyConfigured);
    expect(() => check(options)).toThrow(message);
  });
});

describe("takes", () => {
  test("nothing at all, and undefined as absent, but keeps null, which routing tells from absence", () => {
    expect(checkOptions(undefined, { task: "t" })).toEqual({});
    expect(check({ queue: undefined, priority: null })).toEqual({ priority: null });
  });

  test("one signature where several may stand, since Python may send it so", () => {
    expect(check({ link: sig, linkError: [sig, sig] })).toMatchObject({ link: [sig], linkError: [sig, sig] });
  });

  test("a peer's unknown options as properties that no consumer must know", () => {
    expect(check({ queue: "q", xOptionHere: 1, properties: { appId: "a" } }, true)).toEqual({
      queue: "q",
      properties: { appId: "a", extra: { x_option_here: 1 } },
    });
  });

  test("a peer's limits as they are", () => {
    expect(check({ timeLimit: 5, softTimeLimit: 6 }, true)).toEqual({ timeLimit: 5, softTimeLimit: 6 });
  });

  test("no name that reaches a prototype", () => {
    expect(() => check(JSON.parse('{"__proto__": 1}'))).toThrow(/unknown option "__proto__"/);
    expect(Object.getPrototypeOf(check(JSON.parse('{"__proto__": {"a": 1}}'), true))).toBe(Object.prototype);
  });
});
