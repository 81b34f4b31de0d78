/**
 * All that a request has left in Redis, as one tree, in a form in which two runs can be compared: ids and times are told to be there
 * and not what they are; the hash's fields are their very bytes, JSON texts, else.
 */
import { gunzipSync } from "node:zlib";
import type { Redis } from "ioredis";
import { isRecord } from "../../protocol/records.ts";

export interface View {
  readonly name: string;
  readonly redis: Redis;
  readonly notes: Redis;
  /** Ids that have a name in this case. */
  readonly known: ReadonlyMap<string, string>;
}

export interface Note {
  readonly event: string;
  readonly lang: string;
  readonly [fact: string]: unknown;
}

export interface Node {
  readonly hash: Readonly<Record<string, string>> | null;
  readonly expires: string;
  readonly value: unknown;
  readonly metadata: unknown;
  readonly state: unknown;
  readonly notes: readonly Note[];
  readonly children: readonly Node[];
  readonly childrenExpire: string;
}

const time = /^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"$/;
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;

/** The request with all its descendants. */
export async function viewOf(view: View, id: string, depth = 0): Promise<Node> {
  const { name, redis, notes: noted } = view;
  const key = `${name}.mognet.result.${id}`;
  const keys = { value: `${key}/value`, children: `${key}/children`, metadata: `${key}/metadata` };
  const state = `${name}.mognet.state.${id}`;
  const [hash, value, metadata, kept, notes, members] = await Promise.all([
    redis.hgetall(key),
    redis.hgetallBuffer(keys.value),
    redis.hgetall(keys.metadata),
    redis.hgetall(state),
    noted.lrange(`${name}.note.${id}`, 0, -1),
    redis.smembersBuffer(keys.children),
  ]);
  const ids = members.map((bytes) =>
    bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
  );
  const known = new Map([...view.known, [id, depth === 0 ? "(root)" : `(at depth ${depth})`] as const]);
  const below = { ...view, known };
  const children = depth > 20 ? [] : await Promise.all(ids.map((child) => viewOf(below, child, depth + 1)));
  const there = Object.keys(hash).length > 0;
  return {
    hash: there ? hashView(hash, below) : null,
    expires: await expiry(redis, key),
    value:
      Object.keys(value).length === 0 ? null : { ...valueView(value, below), expires: await expiry(redis, keys.value) },
    metadata:
      Object.keys(metadata).length === 0 ? null : { ...metadata, "(expires)": await expiry(redis, keys.metadata) },
    state: Object.keys(kept).length === 0 ? null : { ...kept, "(expires)": await expiry(redis, state) },
    notes: notes.map((line) => JSON.parse(namesIn(line, below)) as Note),
    children: children
      .map((child) => [JSON.stringify(child), child] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, child]) => child),
    childrenExpire: await expiry(redis, keys.children),
  };
}

function hashView(hash: Readonly<Record<string, string>>, view: View): Record<string, string> {
  const fields = Object.entries(hash).map(([field, text]): [string, string] => {
    if (time.test(text)) return [field, "(a time)"];
    if (field === "node_id" && text !== "null") return [field, text.startsWith(`"${view.name}-`) ? "(a node)" : text];
    return [field, namesIn(text, view)];
  });
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function valueView(fields: Readonly<Record<string, Buffer>>, view: View): Record<string, unknown> {
  const {
    contents = Buffer.alloc(0),
    encoding = Buffer.alloc(0),
    content_type: type = Buffer.alloc(0),
    ...others
  } = fields;
  const text = (encoding.toString() === '"gzip"' ? gunzipSync(contents) : contents).toString("utf8");
  const parsed: unknown = JSON.parse(text);
  const raised = isRecord(parsed) && isRecord(parsed.raw_value) && "traceback" in parsed.raw_value ? parsed : null;
  return {
    encoding: encoding.toString(),
    contentType: type.toString(),
    others: Object.keys(others).sort(),
    contents: raised === null ? namesIn(text, view) : { ...raised, raw_value: raisedView(raised.raw_value, view) },
  };
}

function raisedView(value: unknown, view: View): unknown {
  if (!isRecord(value)) return value;
  const { traceback, raw_data: pickle, message, ...rest } = value;
  return {
    ...rest,
    message: typeof message === "string" ? namesIn(message, view) : message,
    traceback: typeof traceback === "string" && traceback !== "",
    pickle: typeof pickle === "string",
  };
}

function namesIn(text: string, view: View): string {
  return text.replace(uuid, (id) => view.known.get(id.toLowerCase()) ?? "(another id)");
}

/** To within a minute, by the three times that Mognet knows. */
async function expiry(redis: Redis, key: string): Promise<string> {
  const seconds = await redis.ttl(key);
  if (seconds === -2) return "(no key)";
  if (seconds === -1) return "never";
  const known = Object.entries({ "2 hours": 7_200, "7 days": 604_800, "21 days": 1_814_400 });
  return known.find(([, ttl]) => seconds <= ttl && seconds > ttl - 120)?.[0] ?? `${seconds} s`;
}
