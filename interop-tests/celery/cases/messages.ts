/**
 * Hostile, malformed and old messages. Where Python's worker dies of a message (celery-wire 1.8), `features.ts` keeps it from
 * Python; ours has to survive every one.
 */
import type { Expectation, MessageCase } from "../case.ts";

const embed = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}';
const plain = `[["$ID"], {}, ${embed}]`;
const nothing: Expectation = { absent: true };
const echoed: Expectation = { value: '{"args": ["$ID"], "kwargs": {}}' };

type Parts = Partial<Pick<MessageCase, "body" | "contentType" | "contentEncoding" | "headers" | "deflate" | "control">>;

function message(name: string, expect: Expectation, parts: Parts = {}): MessageCase {
  return { kind: "message", name, expect, body: plain, ...parts };
}

const survived = (name: string, expect: Expectation, parts?: Parts) => message(`hostile/${name}`, expect, parts);
const old = (name: string, expect: Expectation, parts?: Parts) => message(`other publishers/${name}`, expect, parts);
/** Only for workers that survive it. */
const deadly = (name: string, expect: Expectation, parts?: Parts) => message(`deadly to Python/${name}`, expect, parts);

const failed: Expectation = { raises: { type: "InvalidTaskError", module: "celery.exceptions" } };

/** The call itself fails, as Python's would. */
const uncallable: Expectation = { raises: { type: "TypeError", module: "builtins" } };

export const messageCases: readonly MessageCase[] = [
  survived("a body that is no JSON", nothing, { body: "{{{" }),
  survived("a body that is no UTF-8", nothing, { body: Uint8Array.from([0xff, 0xfe, 0x00, 0x5b]) }),
  survived("a body that is cut off", nothing, { body: plain.slice(0, 20) }),
  survived("pickle, which is not accepted", nothing, {
    contentType: "application/x-python-serialize",
    contentEncoding: "binary",
  }),
  survived("a content type nobody knows", nothing, { contentType: "application/x-strange" }),
  survived("a compression nobody knows", nothing, { headers: { compression: "application/x-strange" } }),
  survived("a body that only says it is compressed", nothing, { headers: { compression: "application/x-gzip" } }),
  survived("a type tag nobody knows", nothing, {
    body: `[[{"__type__": "os.system", "__value__": "true"}], {}, ${embed}]`,
  }),
  survived("a type tag with a value that does not fit", nothing, {
    body: `[[{"__type__": "datetime", "__value__": "never"}], {}, ${embed}]`,
  }),
  survived("an array 100,000 levels deep", nothing, { body: "[".repeat(100_000) }),
  survived("no task at all", nothing, { headers: null, body: '{"hello": 1}' }),
  survived("no task, and a body that is an array", nothing, { headers: null }),
  survived("no task, and a body that is a text", nothing, { headers: null, body: '"task"' }),
  survived("an eta that is no time", nothing, { headers: { eta: "soon" } }),
  survived("an expires that is no time", nothing, { headers: { expires: "2026-13-45" } }),
  survived(
    "members named like JavaScript's own, everywhere",
    { value: '{"args": [{"__proto__": {"x": 1}}], "kwargs": {"__proto__": 1, "constructor": 2}}' },
    {
      headers: { constructor: "c", hasOwnProperty: "h" },
      body: `[[{"__proto__": {"x": 1}}], {"__proto__": 1, "constructor": 2}, ${embed}]`,
    },
  ),
  survived("arguments that are null", uncallable, {
    body: `[null, {}, ${embed}]`,
    control: "Python's message names the module of its function",
  }),
  survived("headers of 20,000 characters", echoed, {
    headers: { argsrepr: "x".repeat(20_000), tenant: "y".repeat(20_000) },
  }),
  old("no header but task and id", echoed, { headers: { lang: "$ABSENT" } }),
  old("embed {}", echoed, { body: '[["$ID"], {}, {}]' }),
  old("embed null", echoed, { body: '[["$ID"], {}, null]' }),
  old("headers nobody knows", echoed, { headers: { meth: "x", groups: null, zebra: [1, 2] } }),
  old("a body compressed with zlib", echoed, {
    headers: { compression: "application/x-gzip" },
    deflate: true,
  }),
  old("message protocol 1", echoed, {
    headers: null,
    body: '{"task": "fixture.echo", "id": "$ID", "args": ["$ID"], "kwargs": {}}',
  }),
  old("message protocol 1 with everything", echoed, {
    headers: null,
    body:
      '{"task": "fixture.echo", "id": "$ID", "args": ["$ID"], "kwargs": {}, "group": null, "taskset": null, "retries": 0, ' +
      '"eta": null, "expires": null, "utc": true, "callbacks": null, "errbacks": null, "timelimit": [null, null], "chord": null}',
  }),
  old("headers of protocol 2 over a body of protocol 1", echoed, {
    body: '{"task": "fixture.echo", "id": "$ID", "args": ["$ID"], "kwargs": {}}',
  }),
  deadly("an empty body", failed, { body: "" }),
  deadly("a body of two items", failed, { body: '[["$ID"], {}]' }),
  deadly("a body of four items", failed, { body: `[["$ID"], {}, ${embed}, null]` }),
  deadly("a body that is a number", failed, { body: "5" }),
  deadly("a body that is an object", failed, { body: '{"hello": 1}' }),
  deadly("no content type", failed, { contentType: null }),
  deadly("no id", nothing, { headers: { id: "$ABSENT" } }),
  deadly("an id that is an object", nothing, { headers: { id: { a: 1 } } }),
  deadly("a task name that is a number", nothing, { headers: { task: 5 } }),
  deadly("arguments and keywords that are null", uncallable, { body: `[null, null, ${embed}]` }),
  deadly("arguments that are an object", failed, { body: `[{"a": 1}, {}, ${embed}]` }),
  deadly("keywords that are an array", failed, { body: `[[], ["a"], ${embed}]` }),
  deadly("retries that are a text", echoed, { headers: { retries: "many" } }),
];
