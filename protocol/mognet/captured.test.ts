/** Everything in the captures of Mognet 2.0.0: read, and written back as the same bytes. */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { base64Decode, utf8Decode, utf8Encode } from "../bytes.ts";
import { isRecord } from "../records.ts";
import {
  decodeMognetControl,
  decodeMognetEnvelope,
  decodeMognetRequestPayload,
  decodeMognetResult,
  decodeMognetStatusResponse,
  decodeMognetValue,
  decodePlainJson,
  encodeAsciiJson,
  encodeMognetError,
  encodeMognetRequest,
  encodeMognetResult,
  encodeMognetRevoke,
  encodeMognetStatusQuery,
  encodeMognetStatusResponse,
  encodeMognetValue,
  isDoneResult,
  MOGNET_RESULT_FIELDS,
  type MognetPublication,
  mognetExceptionArgs,
  mognetIdBytes,
  mognetIdFromBytes,
  mognetKwargsRepr,
  mognetNames,
  mognetValueToJs,
  readMognetException,
} from "./index.ts";

const folder = new URL("../vectors/mognet/", import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith(".json"));

function captured(file: string): unknown {
  return JSON.parse(readFileSync(new URL(file, folder), "utf8"));
}

type Members = Record<string, unknown>;

/** Every object of the capture that `is` takes. */
function* found<T>(node: unknown, is: (node: Members) => T | null): Generator<T> {
  if (Array.isArray(node)) for (const item of node) yield* found(item, is);
  else if (isRecord(node)) {
    const hit = is(node);
    if (hit !== null) yield hit;
    else for (const child of Object.values(node)) yield* found(child, is);
  }
}

interface Publish {
  exchange: string;
  routingKey: string;
  properties: Members;
  body: string;
}

function publishOf(node: Members): Publish | null {
  const { args, properties, body_text: body } = node;
  if (typeof body !== "string" || !isRecord(args) || !isRecord(properties)) return null;
  return { exchange: String(args.exchange), routingKey: String(args.routing_key), properties, body };
}

function propertiesOf(publication: MognetPublication): Members {
  return {
    content_type: publication.contentType,
    content_encoding: publication.contentEncoding,
    headers: {},
    delivery_mode: publication.deliveryMode,
    priority: publication.priority,
    ...(publication.replyTo === undefined ? {} : { reply_to: publication.replyTo }),
    ...(publication.expiration === undefined ? {} : { expiration: publication.expiration }),
    message_id: publication.messageId,
  };
}

const never = (): string => {
  throw new TypeError("no id was needed");
};
const names = mognetNames("mref");

describe("captured messages", () => {
  test("every request is read, and written back with the same bytes and properties", () => {
    let count = 0;
    for (const file of ["request_messages.json", "request_child_messages.json"]) {
      for (const { exchange, routingKey, properties, body } of found(captured(file), publishOf)) {
        const envelope = decodeMognetEnvelope(utf8Encode(body), { floats: "keep" });
        expect(envelope.kind).toBe("Request");
        const request = decodeMognetRequestPayload(envelope.payload, never);
        const written = encodeMognetRequest(request);
        expect(utf8Decode(written.body)).toBe(body);
        expect(propertiesOf(written)).toEqual(properties);
        expect(exchange).toBe(names.directExchange);
        expect(routingKey).toBe(names.taskQueue(request.queueName ?? "tasks"));
        count++;
      }
    }
    expect(count).toBe(17);
  });

  test("the text of plain arguments is the one that Python gave", () => {
    for (const { body } of found(captured("request_messages.json"), publishOf)) {
      const request = decodeMognetRequestPayload(
        decodeMognetEnvelope(utf8Encode(body), { floats: "keep" }).payload,
        never,
      );
      // Presets, and values whose Python type JSON does not tell.
      if (request.kwargsRepr === "value=***" || request.kwargsRepr?.includes("Point(")) continue;
      expect(mognetKwargsRepr(request.args, request.kwargs)).toBe(request.kwargsRepr);
    }
  });

  test("every control message and reply is read, and written back with the same bytes and properties", () => {
    const kinds: string[] = [];
    for (const { exchange, properties, body } of found(captured("control_messages.json"), publishOf)) {
      const envelope = decodeMognetEnvelope(utf8Encode(body));
      kinds.push(envelope.kind);
      let written: MognetPublication;
      if (envelope.kind === "StatusResponse") {
        written = encodeMognetStatusResponse(decodeMognetStatusResponse(envelope));
        expect(exchange).toBe(names.directExchange);
      } else {
        const message = decodeMognetControl(envelope);
        written =
          message.kind === "Revoke"
            ? encodeMognetRevoke(message.id, envelope.id)
            : encodeMognetStatusQuery(envelope.id, names.callbackQueue("client-1"), message.id);
        expect(exchange).toBe(names.controlExchange);
      }
      expect(utf8Decode(written.body)).toBe(body);
      expect(propertiesOf(written)).toEqual(properties);
    }
    expect(kinds.sort().join(" ")).toBe("Query Revoke Revoke Revoke Revoke Revoke StatusResponse StatusResponse");
  });
});

interface Key {
  key: string;
  /** Texts, or bytes for what is no text. */
  fields: Map<string, string | Uint8Array>;
  members: string[];
  document: string | undefined;
}

function* keysOf(node: unknown): Generator<Key> {
  const snapshots = found(node, (each) => (isRecord(each.keys) ? each.keys : null));
  for (const keys of snapshots) {
    for (const [key, entry] of Object.entries(keys)) {
      if (!isRecord(entry)) continue;
      const fields = new Map<string, string | Uint8Array>();
      for (const [name, value] of Object.entries(isRecord(entry.fields) ? entry.fields : {})) {
        if (!isRecord(value)) continue;
        fields.set(name, typeof value.text === "string" ? value.text : base64Decode(String(value.base64)));
      }
      const members = Array.isArray(entry.members_base64) ? entry.members_base64.map(String) : [];
      const document = entry.contents_gunzipped_text;
      yield { key, fields, members, document: typeof document === "string" ? document : undefined };
    }
  }
}

const everyKey = files.flatMap((file) => [...keysOf(captured(file))]);

function textsOf({ fields }: Key): Map<string, string> {
  return new Map(Array.from(fields, ([name, value]) => [name, typeof value === "string" ? value : utf8Decode(value)]));
}

describe("captured keys", () => {
  const results = everyKey.filter(({ key }) => /result\.[^/]+$/.test(key));
  const values = everyKey.filter(({ key }) => key.endsWith("/value"));

  test("every result is read, and written back as the same fields in Mognet's order", () => {
    let partial = 0;
    for (const entry of results) {
      const texts = textsOf(entry);
      const result = decodeMognetResult(texts);
      expect(names.resultKey(result.id)).toBe(entry.key);
      expect(decodeMognetResult(MOGNET_RESULT_FIELDS.map((name) => texts.get(name) ?? null))).toEqual(result);
      const written = encodeMognetResult(result);
      // `get_or_create` and hand-made ones hold less.
      if (texts.size < MOGNET_RESULT_FIELDS.length) {
        partial++;
        continue;
      }
      expect(written).toEqual(MOGNET_RESULT_FIELDS.flatMap((name) => [name, texts.get(name)]));
      expect(result.finished !== null).toBe(isDoneResult(result));
    }
    expect([results.length, partial]).toEqual([78, 1]);
  });

  test("every value is read, and written back as the same document", () => {
    const types = new Set<string>();
    for (const { fields, document } of values) {
      const contents = fields.get("contents") ?? "";
      const text = typeof contents === "string" ? contents : utf8Decode(gunzipSync(contents));
      if (document !== undefined) expect(text).toBe(document);
      const value = decodeMognetValue(text, { floats: "keep" });
      expect(encodeMognetValue(value)).toBe(text);
      mognetValueToJs(value);
      types.add(value.valueType);
    }
    expect(values.length).toBeGreaterThan(40);
    expect([...types].sort().join(" ")).toBe(
      "builtins:NoneType builtins:bool builtins:dict builtins:float builtins:int builtins:list builtins:set builtins:str " +
        "builtins:tuple fixture_app:Point mognet.model.result:_ExceptionInfo uuid:UUID",
    );
  });

  test("every stored error says what it was raised with, without anything being run", () => {
    const errors = values.flatMap(({ document }) => {
      const error = document === undefined ? null : readMognetException(decodeMognetValue(document));
      return error === null ? [] : [[error.name, error.message.slice(0, 40), mognetExceptionArgs(error)]];
    });
    expect(errors.length).toBeGreaterThan(15);
    // Complaints about arguments, and a UUID, are objects of their own; the message tells them as well.
    const untold = errors.flatMap(([name, , args]) => (args === null ? [name] : []));
    const own = [
      "mognet.exceptions.task_exceptions:InvalidTaskArguments",
      "mognet.exceptions.too_many_retries:TooManyRetries",
    ];
    expect(new Set(untold)).toEqual(new Set(own));
    expect(errors.find(([name]) => name === "builtins:ValueError")?.[2]).toEqual(["bad çhar"]);
    expect(errors.find(([name]) => name === "fixture_app:Boom")?.[2]).toEqual([42]);
  });

  test("what Mognet itself stores of errors, we would store with the same words", () => {
    for (const { document } of values) {
      const error = document === undefined ? null : readMognetException(decodeMognetValue(document));
      if (error === null || /\nTraceback|^Traceback/.test(error.traceback)) continue;
      const { name, message, traceback } = error;
      expect(encodeMognetError({ name, message })).toMatchObject({ name, message, traceback });
    }
  });

  test("metadata and state are read, and written back as the same texts", () => {
    const others = everyKey.filter(({ key }) => key.endsWith("/metadata") || key.includes(".state."));
    expect(others.length).toBeGreaterThan(5);
    for (const entry of others) {
      for (const text of textsOf(entry).values()) {
        expect(encodeAsciiJson(decodePlainJson(text, { floats: "keep" }))).toBe(text);
      }
    }
  });

  test("children are read, and written back as the same bytes", () => {
    const members = everyKey.flatMap(({ members: each }) => each);
    expect(members.length).toBeGreaterThan(3);
    for (const member of members) {
      const id = mognetIdFromBytes(base64Decode(member));
      expect(id).not.toBeNull();
      expect(mognetIdBytes(id ?? "")).toEqual(base64Decode(member).slice());
    }
  });

  test("every key is one that we would name so", () => {
    for (const { key } of everyKey) {
      const id = /\.(?:result|state)\.([^/]+)/.exec(key)?.[1] ?? "";
      const ours = [
        names.resultKey(id),
        names.valueKey(id),
        names.childrenKey(id),
        names.metadataKey(id),
        names.stateKey(id),
      ];
      expect(ours).toContain(key);
    }
  });
});
