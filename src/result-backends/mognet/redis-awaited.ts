/**
 * The look at results that are awaited, many at once and in one script: nothing but the state of what is not done, and with what is
 * done its value. Where the server allows no scripts, each is read by itself.
 */
import { DecodeError } from "../../../protocol/errors.ts";
import type { MognetNames } from "../../../protocol/mognet/names.ts";
import { decodeMognetResult, MOGNET_RESULT_FIELDS, mognetStateOf } from "../../../protocol/mognet/result.ts";
import { isMognetDone } from "../../../protocol/mognet/states.ts";
import { inOneWrite, type Redis } from "../../runtime/redis-connection.ts";
import { BackendGetMetaError, ResultLost } from "../errors.ts";
import { runScriptForBytes } from "../redis/script.ts";
import type { Waits } from "../waits.ts";
import type { MognetOutcome } from "./mognet-store.ts";
import type { MognetRedisLink } from "./redis-link.ts";
import { awaitedScript } from "./redis-scripts.ts";
import { noScripts } from "./redis-writes.ts";
import type { WholeStoreSettings } from "./store-settings.ts";
import { decodeValueFields } from "./value-hash.ts";

/** `unreadable`: the value is there, and what is wrong with it; whoever wants the result alone is not told. */
export type AwaitedFound = MognetOutcome & { unreadable?: unknown };

/** More than the end: "v" the value with it, "u" what comes before it. */
export type AwaitedWants = "" | "v" | "u" | "vu";

export function wantsOf(value: boolean, updates: boolean): AwaitedWants {
  if (value) return updates ? "vu" : "v";
  return updates ? "u" : "";
}

export const VALUE_FIELDS = ["contents", "encoding", "content_type"] as const;

export interface AwaitedReadingParts {
  readonly names: MognetNames;
  readonly settings: WholeStoreSettings;
  readonly link: MognetRedisLink;
  readonly waits: Waits<AwaitedFound>;
  wants(id: string): AwaitedWants;
}

/** What the script says of a result that is not there, and of one that is not done. */
const MISSING = 0;
const OPEN = 1;

export class AwaitedReading {
  readonly #parts: AwaitedReadingParts;
  readonly #prefix: number;
  #withoutScripts = false;

  constructor(parts: AwaitedReadingParts) {
    this.#parts = parts;
    this.#prefix = parts.names.resultKey("").length;
  }

  /** Tells the waits what it finds. Rejects when the connection has gone, or the server is in a passing state. */
  async read(client: Redis, keys: readonly string[]): Promise<void> {
    if (this.#withoutScripts) return this.#oneByOne(client, keys);
    const { waits, link } = this.#parts;
    const ids = keys.map((key) => key.slice(this.#prefix));
    let answers: unknown;
    try {
      const wants = ids.map((id) => this.#parts.wants(id));
      answers = await runScriptForBytes(client, awaitedScript, keys, wants);
    } catch (error) {
      if (error instanceof Error && noScripts.test(error.message)) {
        this.#withoutScripts = true;
        return this.#oneByOne(client, keys);
      }
      if (link.isLost(client, error)) throw error;
      for (const id of ids) waits.fail(id, link.unreadable(id, error));
      return;
    }
    for (const [at, id] of ids.entries()) this.#onAnswer(id, Array.isArray(answers) ? answers[at] : undefined);
  }

  #onAnswer(id: string, answer: unknown): void {
    const { waits } = this.#parts;
    if (answer === OPEN) return;
    if (answer === MISSING) return this.#missing(id);
    if (!Array.isArray(answer)) {
      const message = `cannot read the result of ${id}: ${answer instanceof Buffer ? answer.toString() : String(answer)}`;
      return waits.fail(id, new BackendGetMetaError(id, message, { retryable: false }));
    }
    const fields = answer.slice(0, MOGNET_RESULT_FIELDS.length).map(textOf);
    const value = answer.length > fields.length ? answer.slice(fields.length).map(bytesOf) : null;
    this.#found(id, fields, value);
  }

  #missing(id: string): void {
    this.#parts.waits.fail(id, new ResultLost(id, `there is no result of ${id}: never submitted, expired or deleted`));
  }

  #found(id: string, fields: readonly (string | null)[], value: readonly (Buffer | null)[] | null): void {
    const { waits, link, settings } = this.#parts;
    if (!waits.has(id)) return;
    const failed = (error: unknown) => waits.fail(id, link.unreadable(id, error));
    try {
      const done = isMognetDone(mognetStateOf(fields));
      const result = decodeMognetResult(fields);
      const read = done && value !== null ? readValue(value, settings) : { value: null };
      if (read instanceof Promise) read.then((late) => waits.offer(id, { result, ...late }), failed);
      else waits.offer(id, { result, ...read });
    } catch (error) {
      failed(error);
    }
  }

  async #oneByOne(client: Redis, keys: readonly string[]): Promise<void> {
    inOneWrite(client);
    await Promise.all(keys.map((key) => this.#one(client, key, key.slice(this.#prefix))));
  }

  /** The value is read behind the result: it was written before the result said that it is done. */
  async #one(client: Redis, key: string, id: string): Promise<void> {
    const { names, waits, link } = this.#parts;
    const answer = client.hmget(key, ...MOGNET_RESULT_FIELDS);
    const wantsValue = this.#parts.wants(id).includes("v");
    const value = wantsValue ? client.hmgetBuffer(names.valueKey(id), ...VALUE_FIELDS) : null;
    try {
      const [fields, valueFields] = await Promise.all([answer, value]);
      if (!waits.has(id)) return;
      if (isMissing(fields)) this.#missing(id);
      else this.#found(id, fields, valueFields);
    } catch (error) {
      if (link.isLost(client, error)) throw error;
      waits.fail(id, link.unreadable(id, error));
    }
  }
}

export function isMissing(fields: readonly (string | null)[]): boolean {
  return fields.every((field) => field === null);
}

function textOf(field: unknown): string | null {
  return field instanceof Buffer ? field.toString() : null;
}

function bytesOf(field: unknown): Buffer | null {
  return field instanceof Buffer ? field : null;
}

interface ReadValue {
  value: MognetOutcome["value"];
  unreadable?: unknown;
}

/** A promise of a long one. */
function readValue(fields: readonly (Buffer | null)[], settings: WholeStoreSettings): ReadValue | Promise<ReadValue> {
  try {
    const value = decodeValueFields(fields, settings);
    return value instanceof Promise ? value.then((late) => ({ value: late }), unreadable) : { value };
  } catch (error) {
    return unreadable(error);
  }
}

function unreadable(error: unknown): ReadValue {
  if (!(error instanceof DecodeError)) throw error;
  return { value: null, unreadable: error };
}
