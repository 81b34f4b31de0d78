/**
 * Reads task messages of every protocol that Celery 5 understands: 2, 1, and 1 under the headers of 2 (hybrid).
 * wire: celery-wire 1.3, 1.4, 1.7, 1.8; celery/worker/consumer/consumer.py `on_task_received`, celery/worker/strategy.py,
 * celery/worker/request.py. Where a malformed message ends a Python worker, this throws `InvalidTaskMessage` instead.
 */
import { InvalidTaskError } from "../errors.ts";
import { parseIso } from "../iso-time.ts";
import type { Message } from "../message.ts";
import { isRecord, kindOf, numberOr, textOr, timeTextOr } from "../records.ts";
import { saferepr } from "../saferepr.ts";
import { type ChainRest, ChainTail } from "./chain-tail.ts";
import { readSignature, readSignatureList, type WireSignature } from "./signature.ts";
import type { Embed, TaskHead, TaskRequest } from "./task-message.ts";

/** An `InvalidTaskError` that still tells whose message it is, so that a FAILURE can be stored. */
export class InvalidTaskMessage extends InvalidTaskError {
  /** Null when the message does not say. */
  readonly task: string | null;
  /** Null when the message does not say. */
  readonly id: string | null;

  constructor(message: string, task: string | null, id: string | null, cause?: unknown) {
    super(message, { cause });
    this.task = task;
    this.id = id;
  }
}

/** Null where arguments must be: Python's call fails with this TypeError, and so does the task (celery-behaviour 1.2). */
export class UncallableTask extends InvalidTaskMessage {
  static override readonly python: string = "builtins.TypeError";

  constructor(head: TaskHead, complaint: string) {
    super(`${head.task.slice(head.task.lastIndexOf(".") + 1)}() ${complaint}, not NoneType`, head.task, head.id);
  }
}

/** The 19 headers of protocol 2; all others are the caller's own. */
const PROTOCOL_HEADERS: ReadonlySet<string> = new Set([
  "lang",
  "task",
  "id",
  "shadow",
  "eta",
  "expires",
  "group",
  "group_index",
  "retries",
  "timelimit",
  "root_id",
  "parent_id",
  "argsrepr",
  "kwargsrepr",
  "origin",
  "ignore_result",
  "replaced_task_nesting",
  "stamped_headers",
  "stamps",
]);

/** Whether the message is of protocol 2 or a hybrid. Without the header its body must be decoded to know (protocol 1). */
export function hasTaskHeader(message: Message): boolean {
  return message.headers !== null && message.headers.task !== undefined;
}

/**
 * What the headers say, before the body is decoded. Missing and null headers have Celery's defaults, a header of the wrong
 * type counts as missing. Throws `InvalidTaskMessage` when task or id are missing, or when `eta` or `expires` cannot be read.
 */
export function readHead(message: Message): TaskHead {
  const headers = message.headers;
  if (headers === null) throw new InvalidTaskMessage("the message has no headers", null, null);
  return headFrom(headers, headers);
}

/**
 * The whole task: `body` is the decoded payload, `head` what `readHead` gave, if it was called. Throws `InvalidTaskMessage`
 * with the reason when the body has not the shape of its protocol.
 * Null args or kwargs of protocol 2 are a call that Python cannot make: `UncallableTask`.
 */
export function readTask(message: Message, body: unknown, head?: TaskHead): TaskRequest {
  if (!hasTaskHeader(message)) return readProtocol1(message, body);
  if (!Array.isArray(body) && isRecord(body) && Object.hasOwn(body, "args")) return readHybrid(message, body);
  return readProtocol2(message, body, head ?? readHead(message));
}

function readProtocol2(message: Message, body: unknown, head: TaskHead): TaskRequest {
  if (!Array.isArray(body)) throw invalid(head, `the body must be an array, not ${kindOf(body)}`);
  if (body.length !== 3) throw invalid(head, `the body must hold args, kwargs and embed, not ${body.length} items`);
  return assemble(message, head, body[0], body[1], body[2], 2, null);
}

function readHybrid(message: Message, body: Record<string, unknown>): TaskRequest {
  const fields: Record<string, unknown> = {};
  for (const name of HYBRID_FIELDS) fields[name] = body[name];
  const headers = message.headers ?? {};
  for (const name of Object.keys(headers)) {
    if (name !== "__proto__") fields[name] = headers[name];
  }
  return fromProtocol1Body(message, headFrom(fields, headers), body);
}

/** What a hybrid's body may say in place of a header (celery/worker/strategy.py `hybrid_to_proto2`). */
const HYBRID_FIELDS = [
  "lang",
  "task",
  "id",
  "root_id",
  "parent_id",
  "group",
  "shadow",
  "eta",
  "expires",
  "retries",
  "timelimit",
  "argsrepr",
  "kwargsrepr",
  "origin",
] as const;

function readProtocol1(message: Message, body: unknown): TaskRequest {
  if (!isRecord(body) || body.task === undefined) {
    throw new InvalidTaskMessage("neither the headers nor the body name a task", null, null);
  }
  const head = headFrom(body, message.headers ?? {});
  if (body.taskset !== undefined) head.group = textOr(body.taskset, null);
  head.argsRepr = saferepr(body.args ?? []);
  head.kwargsRepr = saferepr(body.kwargs ?? {});
  return fromProtocol1Body(message, head, body);
}

function fromProtocol1Body(message: Message, head: TaskHead, body: Record<string, unknown>): TaskRequest {
  const embed = { callbacks: body.callbacks, errbacks: body.errbacks, chain: null, chord: body.chord };
  return assemble(message, head, body.args, body.kwargs, embed, 1, body.utc !== false && body.utc !== 0);
}

function assemble(
  message: Message,
  head: TaskHead,
  args: unknown,
  kwargs: unknown,
  embed: unknown,
  protocol: 1 | 2,
  utc: boolean | null,
): TaskRequest {
  if (protocol === 2 && args === null) throw new UncallableTask(head, "argument after * must be an iterable");
  if (protocol === 2 && kwargs === null) throw new UncallableTask(head, "argument after ** must be a mapping");
  if (!Array.isArray(args) && args !== null && args !== undefined) {
    throw invalid(head, `args must be an array, not ${kindOf(args)}`);
  }
  if (!isRecord(kwargs) && kwargs !== null && kwargs !== undefined) {
    throw invalid(head, `kwargs must be an object, not ${kindOf(kwargs)}`);
  }
  const parts = readEmbed(head, embed);
  const properties = message.properties;
  return {
    task: head.task,
    id: head.id,
    lang: head.lang,
    shadow: head.shadow,
    eta: head.eta,
    expires: head.expires,
    group: head.group,
    groupIndex: head.groupIndex,
    retries: head.retries,
    timeLimit: head.timeLimit,
    softTimeLimit: head.softTimeLimit,
    rootId: head.rootId,
    parentId: head.parentId,
    argsRepr: head.argsRepr,
    kwargsRepr: head.kwargsRepr,
    origin: head.origin,
    ignoreResult: head.ignoreResult,
    replacedTaskNesting: head.replacedTaskNesting,
    stampedHeaders: head.stampedHeaders,
    stamps: head.stamps,
    headers: head.headers,
    args: Array.isArray(args) ? args : [],
    kwargs: isRecord(kwargs) ? kwargs : {},
    embed: parts,
    protocol,
    utc,
    replyTo: properties.replyTo ?? null,
    correlationId: properties.correlationId ?? null,
    priority: properties.priority ?? null,
  };
}

const NO_EMBED: Embed = Object.freeze({ callbacks: null, errbacks: null, chain: null, chord: null });

function readEmbed(head: TaskHead, embed: unknown): Embed {
  if (embed === null || embed === undefined) return NO_EMBED;
  if (!isRecord(embed)) throw invalid(head, `embed must be an object, not ${kindOf(embed)}`);
  const { callbacks, errbacks, chain, chord } = embed;
  if (!callbacks && !errbacks && !chain && !chord) return NO_EMBED;
  try {
    const others = {
      callbacks: readSignatureList(callbacks),
      errbacks: readSignatureList(errbacks),
      chord: chord === null || chord === undefined ? null : readSignature(chord),
    };
    if (!(chain instanceof ChainTail)) return { ...others, chain: readSignatureList(chain) };
    return new TailedEmbed(others, readSignature(chain.next), chain.rest);
  } catch (error) {
    if (!(error instanceof InvalidTaskError)) throw error;
    throw new InvalidTaskMessage(error.message, head.task, head.id, error);
  }
}

/** Decodes its chain when somebody wants all of it. */
class TailedEmbed implements Embed {
  readonly callbacks: Embed["callbacks"];
  readonly errbacks: Embed["errbacks"];
  readonly chord: Embed["chord"];
  readonly tail: { readonly next: WireSignature; readonly rest: ChainRest };
  #chain: readonly WireSignature[] | null = null;

  constructor(others: Pick<Embed, "callbacks" | "errbacks" | "chord">, next: WireSignature, rest: ChainRest) {
    this.callbacks = others.callbacks;
    this.errbacks = others.errbacks;
    this.chord = others.chord;
    this.tail = { next, rest };
  }

  get chain(): readonly WireSignature[] {
    this.#chain ??= [...this.tail.rest.links(), this.tail.next];
    return this.#chain;
  }
}

/** @param custom where the caller's own headers are */
function headFrom(fields: Record<string, unknown>, custom: Record<string, unknown>): TaskHead {
  const { task, id } = fields;
  if (typeof task !== "string" || task === "" || typeof id !== "string" || id === "") throw unidentified(task, id);
  const timelimit: unknown = fields.timelimit;
  const stampedHeaders = textList(fields.stamped_headers);
  return {
    task,
    id,
    lang: textOr(fields.lang, null),
    shadow: textOr(fields.shadow, null) || null,
    eta: fields.eta ? timeText("eta", fields.eta, task, id) : null,
    expires: fields.expires ? timeText("expires", fields.expires, task, id) : null,
    group: textOr(fields.group, null) || null,
    groupIndex: integerOr(fields.group_index, null),
    retries: integerOr(fields.retries, 0),
    timeLimit: Array.isArray(timelimit) && timelimit.length === 2 ? seconds(timelimit[0]) : null,
    softTimeLimit: Array.isArray(timelimit) && timelimit.length === 2 ? seconds(timelimit[1]) : null,
    rootId: textOr(fields.root_id, "") || id,
    parentId: textOr(fields.parent_id, null) || null,
    argsRepr: textOr(fields.argsrepr, null),
    kwargsRepr: textOr(fields.kwargsrepr, null),
    origin: textOr(fields.origin, null),
    ignoreResult: booleanOrNull(fields.ignore_result),
    replacedTaskNesting: integerOr(fields.replaced_task_nesting, 0),
    stampedHeaders,
    stamps: stampedHeaders === null ? {} : stampValues(stampedHeaders, fields.stamps),
    headers: customHeaders(custom),
  };
}

function customHeaders(headers: Record<string, unknown>): Record<string, unknown> {
  const custom: Record<string, unknown> = {};
  for (const name of Object.keys(headers)) {
    if (!PROTOCOL_HEADERS.has(name) && name !== "__proto__") custom[name] = headers[name];
  }
  return custom;
}

/** celery/worker/request.py `stamps`: a value for every stamped header, null when the sender gave none. */
function stampValues(names: readonly string[], stamps: unknown): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const name of names) {
    if (name === "__proto__") continue;
    values[name] = isRecord(stamps) && Object.hasOwn(stamps, name) ? stamps[name] : null;
  }
  return values;
}

function textList(value: unknown): string[] | null {
  if (!Array.isArray(value)) return null;
  return value.filter((item): item is string => typeof item === "string");
}

function timeText(name: string, value: unknown, task: string, id: string): string {
  const text = timeTextOr(value, null);
  const time = text === null ? null : parseIso(text);
  // What is a time but beyond a timestamp is told to whoever waits, once the task is read: Celery stores a failure since 5.7.
  if (text === null || time === null) {
    throw new InvalidTaskMessage(
      `invalid ${name} value ${JSON.stringify(text?.slice(0, 64) ?? kindOf(value))}`,
      task,
      id,
    );
  }
  return text;
}

function integerOr<T>(value: unknown, fallback: T): number | T {
  if (typeof value === "number" && Number.isInteger(value)) return value;
  const number = numberOr(value, null);
  return number === null ? fallback : Math.trunc(number);
}

/** A limit in seconds. Zero is no limit, as in Python's `time_limit or task.time_limit`. */
function seconds(value: unknown): number | null {
  const number = value === null ? null : numberOr(value, null);
  return number !== null && number > 0 ? number : null;
}

function booleanOrNull(value: unknown): boolean | null {
  if (typeof value === "boolean") return value;
  return typeof value === "number" ? value !== 0 : null;
}

function invalid(head: TaskHead, reason: string): InvalidTaskMessage {
  return new InvalidTaskMessage(reason, head.task, head.id);
}

function unidentified(task: unknown, id: unknown): InvalidTaskMessage {
  const reason = typeof task === "string" && task !== "" ? "the message has no task id" : "the message names no task";
  return new InvalidTaskMessage(reason, textOr(task, "") || null, textOr(id, "") || null);
}
