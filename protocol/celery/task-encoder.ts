/**
 * Writes task messages of protocol 2 as Celery 5.7 does: 19 headers in its order, a body of three items, its properties.
 * wire: celery-wire 1.2 to 1.4; celery/app/amqp.py `as_task_v2`, `send_task_message`.
 */
import { EncodeError } from "../errors.ts";
import type { Headers, Message, MessageProperties } from "../message.ts";
import { isRecord } from "../records.ts";
import { saferepr } from "../saferepr.ts";
import type { Serializer } from "../serialization.ts";
import type { EmbedInput, TaskMessageInput } from "./task-message.ts";

const NO_EMBED: Required<EmbedInput> = Object.freeze({ callbacks: null, errbacks: null, chain: null, chord: null });
const NO_LIMITS: readonly null[] = Object.freeze([null, null]);
const NO_STAMPS: Record<string, unknown> = Object.freeze({});
/** Characters of argsrepr and kwargsrepr (celery/app/amqp.py `argsrepr_maxsize`). */
const REPR_MAX_LENGTH = 1024;
const REPR_MAX_LEVELS = 3;

/**
 * A message ready for a transport. Throws `EncodeError` when a value has no form in the serialiser, and for what would end
 * every Python worker that reads it: no id, or args or kwargs of the wrong shape (celery-wire 1.8).
 */
export function encodeTask(input: TaskMessageInput): Message {
  const id = input.id;
  const args = input.args ?? [];
  const kwargs = input.kwargs ?? {};
  checkArguments(input.task, args, kwargs);
  const levels = input.reprMaxLevels ?? REPR_MAX_LEVELS;
  const stampedHeaders = input.stampedHeaders ?? null;
  const headers: Headers = {
    lang: input.lang ?? "js",
    task: input.task,
    id,
    shadow: input.shadow ?? null,
    eta: input.eta ?? null,
    expires: input.expires ?? null,
    group: input.group ?? null,
    group_index: input.groupIndex ?? null,
    retries: input.retries ?? 0,
    timelimit: timeLimits(input),
    root_id: input.rootId || id,
    parent_id: input.parentId ?? null,
    argsrepr: input.argsRepr ?? saferepr(args, { maxLen: REPR_MAX_LENGTH, maxLevels: levels, asTuple: true }),
    kwargsrepr: input.kwargsRepr ?? saferepr(kwargs, { maxLen: REPR_MAX_LENGTH, maxLevels: levels }),
    origin: input.origin,
    ignore_result: input.ignoreResult === undefined ? false : input.ignoreResult,
    replaced_task_nesting: input.replacedTaskNesting ?? 0,
    stamped_headers: stampedHeaders,
    stamps: stampedHeaders === null ? NO_STAMPS : stampValues(stampedHeaders, input.stamps),
  };
  if (input.headers !== undefined) addCustomHeaders(headers, input.headers);
  if (typeof headers.id !== "string" || headers.id === "")
    throw new EncodeError(`a message of ${input.task} needs an id`);
  if (typeof headers.task !== "string" || headers.task === "") throw new EncodeError("a message needs a task name");
  return {
    body: input.serializer.encode([args, kwargs, input.embed === undefined ? NO_EMBED : wholeEmbed(input.embed)]),
    contentType: input.serializer.contentType,
    contentEncoding: input.serializer.contentEncoding,
    headers,
    properties: taskProperties(input),
  };
}

/** What tells a message from the others of its series. */
export interface SeriesMember {
  readonly id: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly groupIndex: number | null;
  readonly rootId: string | null;
  readonly parentId: string | null;
}

/**
 * Messages that differ in nothing but what `SeriesMember` says, as those of a group: the rest is made once. Without headers and
 * properties of the caller's own, which could stand in the place of these.
 */
export class TaskSeries {
  readonly #input: TaskMessageInput;
  readonly #pattern: Message;
  #embed: unknown = null;

  /** `pattern` is the message of `input`. */
  constructor(input: TaskMessageInput, pattern: Message) {
    this.#input = input;
    this.#pattern = pattern;
  }

  static canHold(input: TaskMessageInput): boolean {
    return input.headers === undefined && input.properties === undefined;
  }

  /** As `encodeTask`. */
  encode({ id, args, kwargs, groupIndex, rootId, parentId }: SeriesMember): Message {
    const { serializer, embed, argsRepr, kwargsRepr, reprMaxLevels } = this.#input;
    const levels = reprMaxLevels ?? REPR_MAX_LEVELS;
    checkArguments(this.#input.task, args, kwargs);
    if (id === "") throw new EncodeError(`a message of ${this.#input.task} needs an id`);
    const headers: Headers = { ...this.#pattern.headers };
    headers.id = id;
    headers.group_index = groupIndex;
    headers.root_id = rootId || id;
    headers.parent_id = parentId;
    headers.argsrepr = argsRepr ?? saferepr(args, { maxLen: REPR_MAX_LENGTH, maxLevels: levels, asTuple: true });
    headers.kwargsrepr = kwargsRepr ?? saferepr(kwargs, { maxLen: REPR_MAX_LENGTH, maxLevels: levels });
    this.#embed ??= preparedEmbed(serializer, embed);
    return {
      body: serializer.encode([args, kwargs, this.#embed]),
      contentType: this.#pattern.contentType,
      contentEncoding: this.#pattern.contentEncoding,
      headers,
      properties: { ...this.#pattern.properties, correlationId: id },
    };
  }
}

function timeLimits({ timeLimit = null, softTimeLimit = null }: TaskMessageInput): readonly (number | null)[] {
  return timeLimit === null && softTimeLimit === null ? NO_LIMITS : [timeLimit, softTimeLimit];
}

function checkArguments(task: string, args: unknown, kwargs: unknown): void {
  if (!Array.isArray(args)) throw new EncodeError(`args of ${task} must be an array`);
  if (!isRecord(kwargs)) throw new EncodeError(`kwargs of ${task} must be a plain object`);
}

function preparedEmbed(serializer: Serializer, embed: EmbedInput | undefined): unknown {
  const whole = embed === undefined ? NO_EMBED : wholeEmbed(embed);
  return serializer.prepare === undefined ? whole : serializer.prepare(whole);
}

function wholeEmbed(embed: EmbedInput): Required<EmbedInput> {
  return {
    callbacks: embed.callbacks ?? null,
    errbacks: embed.errbacks ?? null,
    chain: embed.chain ?? null,
    chord: embed.chord ?? null,
  };
}

function stampValues(names: readonly string[], stamps: Record<string, unknown> | undefined): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  if (stamps === undefined) return values;
  for (const name of names) {
    if (name !== "__proto__" && Object.hasOwn(stamps, name)) values[name] = stamps[name];
  }
  return values;
}

function addCustomHeaders(headers: Headers, custom: Record<string, unknown>): void {
  for (const name of Object.keys(custom)) {
    if (name !== "__proto__") headers[name] = custom[name];
  }
}

function taskProperties(input: TaskMessageInput): MessageProperties {
  const properties: MessageProperties = {
    correlationId: input.id,
    replyTo: input.replyTo ?? "",
    deliveryMode: input.deliveryMode ?? 2,
  };
  if (input.priority !== null) properties.priority = input.priority ?? 0;
  if (input.expiration !== undefined && input.expiration !== null) properties.expiration = input.expiration;
  return input.properties === undefined ? properties : { ...properties, ...input.properties };
}
