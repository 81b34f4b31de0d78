/** What strangers may put on the exchanges of remote control and events: below every serializer, or well-formed and mad. */
import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Message } from "../../protocol/message.ts";
import { jsonMessage } from "./json-message.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const raw = (
  body: Uint8Array,
  contentType: string,
  contentEncoding = "utf-8",
  headers: Record<string, unknown> = {},
) => ({
  body,
  contentType,
  contentEncoding,
  headers,
  properties: { deliveryMode: 1 },
});

/** `cos.system("true")`, as an attacker would pickle it. */
const pickled = bytes("cos\nsystem\n(S'true'\ntR.");
/** A few hundred kilobytes that are more than one message may unpack to. */
const bomb = gzipSync(Buffer.alloc(300 * 1024 * 1024));
const deep = (levels: number) => bytes("[".repeat(levels) + "]".repeat(levels));

/** Bodies that nobody can read as what they say they are. */
export function unreadable(): Message[] {
  return [
    raw(randomBytes(500), "application/json"),
    raw(randomBytes(500), "application/data", "binary"),
    raw(randomBytes(500), "no such type"),
    raw(bytes("{}"), "application/json", "no such encoding"),
    raw(bytes('{"method": "ping"'), "application/json"),
    raw(pickled, "application/x-python-serialize", "binary"),
    raw(bytes("!!python/object/apply:os.system ['true']"), "application/x-yaml"),
    raw(deep(100_000), "application/json"),
    raw(bytes(`{"method": ${"9".repeat(10_000)}}`), "application/json"),
    raw(new Uint8Array(), "application/json"),
    raw(randomBytes(500), "application/json", "utf-8", { compression: "application/x-gzip" }),
    raw(randomBytes(500), "application/json", "utf-8", { compression: "application/x-no-such" }),
  ];
}

/** Unpacks to more than is allowed. Python has no limit, and takes it. */
export function bombs(): Message[] {
  return [raw(bomb, "application/json", "utf-8", { compression: "application/x-gzip" })];
}

/** Clocks that are none, and some that are too much of one. */
export const clocks: readonly unknown[] = ["x", 1e308, -5, 2 ** 60, 2 ** 53 - 2, true, null, [1], { a: 1 }];

/**
 * Well-formed JSON that is no control message, or a mad one. None of these is for anybody's task, and none holds an election, of
 * which Celery's workers die.
 */
export function madRequests(): Message[] {
  const proto = JSON.parse(
    '{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}',
  ) as object;
  const bodies: unknown[] = [
    null,
    7,
    "ping",
    [],
    {},
    { method: 5 },
    { method: "ping", arguments: "x" },
    { method: "ping", arguments: [1, 2] },
    { method: "ping", arguments: proto },
    { method: "__proto__", arguments: {} },
    { method: "constructor", arguments: {} },
    { method: "revoke", arguments: { task_id: { a: 1 } } },
    { method: "revoke", arguments: { task_id: [1, null, {}, "fine"] } },
    { method: "x".repeat(100_000), arguments: {} },
    { method: "ping", arguments: {}, destination: 5 },
    { method: "ping", arguments: {}, destination: { a: 1 } },
    { method: "ping", arguments: {}, destination: [1, null] },
    { method: "ping", arguments: {}, pattern: "(", matcher: "pcre" },
    { method: "ping", arguments: {}, pattern: "*", matcher: "soundex" },
    { method: "ping", arguments: {}, reply_to: "x", ticket: "t" },
    { method: "ping", arguments: {}, reply_to: { exchange: 5, routing_key: [] }, ticket: 7 },
    { method: "ping", arguments: {}, reply_to: { exchange: "no.such.exchange", routing_key: "x" }, ticket: "t" },
    { method: "hello", arguments: { from_node: {}, revoked: { a: "x", __proto__: null } } },
    { method: "hello", arguments: { from_node: "stranger@h", revoked: [1, null, { a: 1 }, "x".repeat(5_000)] } },
    { method: "revoke_by_stamped_headers", arguments: { headers: [5, null] } },
    { method: "query_task", arguments: { ids: { a: 1 } } },
    { method: "registered", arguments: { taskinfoitems: ["__class__", "__proto__", "constructor"] } },
  ];
  const named = bodies.map((body) => jsonMessage(body));
  const clocked = clocks.map((clock) => jsonMessage({ method: "clock", arguments: {} }, { clock }));
  const odd = [{ expires: "x" }, { expires: -1 }, { expires: 1 }, { ticket: { a: 1 } }].map((headers) =>
    jsonMessage({ method: "ping", arguments: {} }, headers),
  );
  return [...named, ...clocked, ...odd];
}

/** Events that miss something, or have too much of it. */
export function madEvents(): Message[] {
  const whole = {
    type: "worker-heartbeat",
    hostname: "mad@h",
    pid: 1,
    clock: 1,
    timestamp: 1.5,
    utcoffset: 0,
    freq: 2,
  };
  const without = (name: keyof typeof whole) => {
    const { [name]: _, ...rest } = whole;
    return rest;
  };
  const proto = JSON.parse('{"__proto__": {"polluted": true}}') as object;
  const bodies: unknown[] = [
    null,
    5,
    [],
    [null, 5, "x", [], {}],
    without("type"),
    without("hostname"),
    without("timestamp"),
    without("utcoffset"),
    without("pid"),
    { ...whole, type: 5 },
    { ...whole, type: "" },
    { ...whole, type: "worker" },
    { ...whole, type: "task-succeeded" },
    { ...whole, type: "task-succeeded", uuid: { a: 1 } },
    { ...whole, type: "constructor-__proto__" },
    { ...whole, type: "x".repeat(100_000) },
    { ...whole, hostname: "h".repeat(100_000) },
    { ...whole, hostname: "__proto__" },
    { ...whole, ...proto },
    { ...whole, freq: 1e308 },
    { ...whole, freq: "x", loadavg: "y", active: [], sw_ident: { a: 1 } },
    { ...whole, type: "worker-elect", id: 5 },
    ...[99, "x", 1e308, -1e308, null].map((utcoffset) => ({ ...whole, utcoffset })),
    ...["x", 1e308, null, [1]].map((timestamp) => ({ ...whole, timestamp })),
    ...clocks.map((clock) => ({ ...whole, clock })),
  ];
  return bodies.map((body) => jsonMessage(body, { hostname: "mad@h" }));
}

/** What a stranger may answer to a request of this ticket, `revoked` being what its `hello` would say. */
export function madReplies(ticket: string): Message[] {
  const proto = JSON.parse('{"__proto__": {"ok": "pong"}}') as object;
  const bodies: unknown[] = [
    null,
    7,
    [],
    "pong",
    {},
    proto,
    { "mad@h": null },
    { "mad@h": { revoked: "x", clock: "x" } },
    { "mad@h": { revoked: [1, null, { a: 1 }, ["x"], "y".repeat(5_000)], clock: 1e308 } },
    { "mad@h": { revoked: proto, clock: -1 } },
    { "mad@h": { error: "ValueError('mad')" } },
    { "mad@h": { ok: "x".repeat(100_000) } },
  ];
  return [
    ...unreadable().map((message) => ({ ...message, headers: { ...message.headers, ticket } })),
    ...bodies.map((body) => jsonMessage(body, { ticket })),
    ...clocks.map((clock) => jsonMessage({ "mad@h": { ok: "pong" } }, { ticket, clock })),
    ...[5, null, { a: 1 }, "nobody's"].map((odd) => jsonMessage({ "mad@h": { ok: "pong" } }, { ticket: odd })),
  ];
}
