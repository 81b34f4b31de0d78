/**
 * The writes of a store: those of one turn of the event loop travel as one script, in the order they were asked for, each with its
 * condition. While Redis is away they wait for ever, in order; a write whose answer was lost is sent again, and one that turns out
 * to have happened is not called refused. Where the server allows no scripts, each is a MULTI after a look at its condition.
 */
import { DecodeError } from "../../../protocol/errors.ts";
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import { decodeMognetResult, isSameResult, type MognetResult } from "../../../protocol/mognet/result.ts";
import type { Log } from "../../runtime/log.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { BackendStoreError } from "../errors.ts";
import { LEAST_LIMIT, whyTooLong } from "../redis/longest-value.ts";
import { runScript, type ScriptArgument } from "../redis/script.ts";
import { isOutOfMemory, isPassing, LONGEST_VALUE, type QueuedWrite, WriteQueue } from "../redis/write-queue.ts";
import { conditionHolds } from "./conditions.ts";
import type { MognetCondition, MognetWrite } from "./mognet-store.ts";
import { writeScript } from "./redis-scripts.ts";

/** One Redis command with its arguments. */
export type Command = readonly [string, ...ScriptArgument[]];

export interface WriteRequest {
  /** For errors. */
  id: string;
  /** The result that the condition is about. */
  key: string;
  condition?: MognetCondition | undefined;
  /** What the result is after the write: found so already, a repeated write has happened. */
  result?: MognetResult;
  /** The words for it that the script knows, with their arguments: fewer than the commands. */
  short?: readonly ScriptArgument[];
  /** In full. None: it has only the short form, and where no scripts are allowed the result is merely looked at. */
  commands(): readonly Command[];
}

/** `told`: what the script tells beside that it has written. */
export type RedisWrite = MognetWrite & { told?: readonly (string | null)[] };

/** How many texts a begin tells; all fields are more. */
const TOLD_BY_BEGIN = 4;

/** What the script compares the fields of a result with; "": nothing. */
interface Spelled {
  states: string;
  starts: ScriptArgument;
  nodeId: string;
}

/** wire: MOGNET_RESULT_FIELDS. */
function spelled({ states, starts, nodeId }: MognetCondition, fields: readonly (string | null)[]): Spelled {
  const [, , state = null, count = null, , , , , , node = null] = fields;
  return {
    states: states === undefined ? "" : state === null || state === "null" ? '"PENDING"' : state,
    starts: starts === undefined ? "" : (count ?? "0"),
    nodeId: nodeId === undefined ? "" : (node ?? ""),
  };
}

class Write implements QueuedWrite {
  readonly request: WriteRequest;
  readonly resolve: (write: RedisWrite) => void;
  readonly reject: (reason: unknown) => void;
  readonly bytes: number;
  sequence = 0;
  tries = 0;
  repeated = false;
  /** The condition in the words of who wrote what is stored, where they are not ours. */
  spelled: Spelled | null = null;
  /** Null: it goes in short. */
  commands: readonly Command[] | null;

  constructor(request: WriteRequest, resolve: (write: RedisWrite) => void, reject: (reason: unknown) => void) {
    this.request = request;
    this.resolve = resolve;
    this.reject = reject;
    this.commands = request.short === undefined ? request.commands() : null;
    this.bytes = this.commands === null ? sizeOf(request.short ?? []) : this.commands.reduce(addSize, 0);
  }

  /** Its part of the script's arguments. */
  addTo(args: ScriptArgument[]): void {
    const { condition, short } = this.request;
    if (this.commands === null && short !== undefined) {
      args.push(...short);
      return;
    }
    const commands = this.whole();
    const { states, starts, nodeId } = this.spelled ?? {
      states: condition?.states?.map((state) => `"${state}"`).join() ?? "",
      starts: condition?.starts ?? "",
      nodeId: condition?.nodeId === undefined ? "" : encodeAsciiJson(condition.nodeId),
    };
    args.push("W", states, starts, nodeId, condition?.exists === true ? "1" : "", commands.length);
    for (const command of commands) args.push(command.length, ...command);
  }

  whole(): readonly Command[] {
    this.commands ??= this.request.commands();
    return this.commands;
  }
}

export interface RedisWritesOptions {
  /** The connection if it is up; the owner calls `wake` when it comes up. */
  client(): Redis | null;
  log: Log;
  /** Reads the fields of a result for `MognetWrite.current`. */
  readFields(client: Redis, key: string): Promise<(string | null)[]>;
  /** Bytes that may wait for Redis before writes are refused. */
  maxPendingBytes: number;
}

/** The server, or its access rules, let us run none. */
export const noScripts = /^-?(?:NOPERM\b.*\b(?:eval|evalsha|script)\b|ERR unknown command '?eval)/i;
const WRITTEN: RedisWrite = { written: true };

export class RedisWrites {
  readonly #options: RedisWritesOptions;
  readonly #queue: WriteQueue<Write>;
  #bytes = 0;
  #withoutScripts = false;

  constructor(options: RedisWritesOptions) {
    this.#options = options;
    this.#queue = new WriteQueue({
      client: options.client,
      fewer: true,
      send: (client, batch) => this.#send(client, batch),
      onRetry: (err, writes) => options.log.warn({ err, writes }, "results cannot be written yet; trying again"),
    });
  }

  /** Writes not yet answered. */
  get pending(): number {
    return this.#queue.pending;
  }

  push(request: WriteRequest): Promise<RedisWrite> {
    if (this.#queue.closed) return Promise.reject(closedError(request.id));
    return new Promise((resolve, reject) => {
      const write = new Write(request, resolve, reject);
      if (write.bytes > LONGEST_VALUE && longestPart(write) > LONGEST_VALUE) {
        const message = `the result of ${request.id} is longer than Redis takes (512 MB)`;
        return reject(new BackendStoreError(request.id, message));
      }
      if (this.#bytes + write.bytes > this.#options.maxPendingBytes && this.pending > 0) {
        const message = `${this.#bytes} bytes wait for Redis already; the write of ${request.id} was not taken`;
        return reject(new BackendStoreError(request.id, message, { retryable: true }));
      }
      this.#bytes += write.bytes;
      this.#queue.push(write);
    });
  }

  /** The connection is up. */
  wake(): void {
    this.#queue.wake();
  }

  /** Resolves when nothing is pending. */
  drained(): Promise<void> {
    return this.#queue.drained();
  }

  /** Rejects what is not in flight. */
  rejectAll(because: string, retryable: boolean): void {
    for (const write of this.#queue.takeAll()) {
      const { id } = write.request;
      this.#fail(write, new BackendStoreError(id, `the result of ${id} was not written: ${because}`, { retryable }));
    }
  }

  close(): void {
    this.#queue.close();
    this.rejectAll("the result store was closed", true);
  }

  async #send(client: Redis, batch: Write[]): Promise<() => void> {
    try {
      const [first] = batch;
      // So long a value goes alone.
      const refusal =
        first !== undefined && first.bytes > LEAST_LIMIT ? await whyTooLong(client, longestPart(first)) : null;
      if (first !== undefined && refusal !== null) return () => this.#refuse(first, refusal);
      const codes = await (this.#withoutScripts ? this.#oneByOne(client, batch) : this.#script(client, batch));
      return () => this.#onAnswer(batch, codes);
    } catch (error) {
      return () => this.#onFailure(batch, error);
    }
  }

  async #script(client: Redis, batch: readonly Write[]): Promise<unknown[]> {
    const keys: string[] = [];
    const args: ScriptArgument[] = [];
    for (const write of batch) {
      keys.push(write.request.key);
      write.addTo(args);
    }
    const answer = await runScript(client, writeScript, keys, args);
    return Array.isArray(answer) ? answer : [];
  }

  /** Not atomic between the look and the write. */
  async #oneByOne(client: Redis, batch: readonly Write[]): Promise<unknown[]> {
    const codes: unknown[] = [];
    for (const write of batch) codes.push(await this.#alone(client, write));
    return codes;
  }

  async #alone(client: Redis, write: Write): Promise<unknown> {
    const { key, condition } = write.request;
    const commands = write.whole();
    if (condition !== undefined || commands.length === 0) {
      const fields = await this.#options.readFields(client, key);
      if (commands.length === 0) return fields;
      const current = fields.every((field) => field === null) ? null : decodeMognetResult(fields);
      if (!conditionHolds(condition, current)) return fields;
    }
    const multi = client.multi();
    for (const [name, ...args] of commands) multi.call(name, ...args);
    const answers = (await multi.exec()) ?? [];
    const failed = answers.find(([error]) => error !== null);
    return failed === undefined ? "" : String(failed[0]?.message);
  }

  #onAnswer(batch: readonly Write[], codes: readonly unknown[]): void {
    const again: Write[] = [];
    const inFull: Write[] = [];
    let reason = "";
    batch.forEach((write, at) => {
      const code = codes[at];
      if (code === "") this.#done(write, WRITTEN);
      else if (Array.isArray(code)) this.#told(write, code);
      else if (code === "whole") {
        write.whole();
        inFull.push(write);
      } else if (isPassing(write, String(code))) {
        again.push(write);
        reason = String(code);
      } else this.#refuse(write, String(code));
    });
    this.#again(inFull);
    if (again.length > 0) this.#later(again, reason);
    else this.#queue.calm();
  }

  #told(write: Write, fields: (string | null)[]): void {
    if (fields.length === TOLD_BY_BEGIN) return this.#done(write, { written: true, told: fields });
    const { result, condition } = write.request;
    try {
      const current = fields.every((field) => field === null) ? null : decodeMognetResult(fields);
      if (write.spelled === null && current !== null && condition !== undefined && conditionHolds(condition, current)) {
        // It was refused for its spelling alone, such as 1.0 for 1.
        write.spelled = spelled(condition, fields);
        return this.#again([write]);
      }
      if (write.repeated && result !== undefined && isSameResult(result, current)) this.#done(write, WRITTEN);
      else this.#done(write, { written: false, current });
    } catch (error) {
      this.#fail(write, error);
    }
  }

  #refuse(write: Write, code: string): void {
    const { id } = write.request;
    const message = `Redis refused to write the result of ${id}: ${code}`;
    const cause = isOtherType(code) ? { cause: otherTypeError(id) } : {};
    this.#fail(write, new BackendStoreError(id, message, { retryable: isOutOfMemory(code), ...cause }));
  }

  #onFailure(batch: Write[], error: unknown): void {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (!isReply) {
      // The connection has gone, and with it the answer; `wake` comes with the next one.
      for (const write of batch) write.repeated = true;
      this.#later(batch, error);
    } else if (noScripts.test(error.message)) {
      if (!this.#withoutScripts) {
        this.#options.log.warn(
          { reason: error.message },
          "Redis lets us run no scripts: a result is looked at before it is written, but not in one step",
        );
      }
      this.#withoutScripts = true;
      this.#again(batch);
    } else {
      const again: Write[] = [];
      for (const write of batch) {
        if (isPassing(write, error.message)) again.push(write);
        else this.#refuse(write, error.message);
      }
      if (again.length > 0) this.#later(again, error);
    }
  }

  #later(writes: Write[], error: unknown): void {
    if (!this.#rejected(writes)) this.#queue.later(writes, error);
  }

  #again(writes: Write[]): void {
    if (!this.#rejected(writes)) this.#queue.again(writes);
  }

  #rejected(writes: readonly Write[]): boolean {
    if (!this.#queue.closed) return false;
    for (const write of writes) this.#fail(write, closedError(write.request.id));
    return true;
  }

  #done(write: Write, answer: RedisWrite): void {
    this.#bytes -= write.bytes;
    write.resolve(answer);
  }

  #fail(write: Write, error: unknown): void {
    this.#bytes -= write.bytes;
    write.reject(error);
  }
}

/** Something that is no hash lies under a key of a result. */
export function isOtherType(reply: string): boolean {
  return /^-?WRONGTYPE\b/.test(reply);
}

export function otherTypeError(id: string, cause?: unknown): DecodeError {
  return new DecodeError(`what lies under a key of the result of ${id} is of another type`, { cause });
}

function closedError(id: string): BackendStoreError {
  return new BackendStoreError(id, "the result store was closed", { retryable: true });
}

function sizeOf(parts: readonly ScriptArgument[]): number {
  let bytes = 0;
  for (const part of parts) bytes += typeof part === "number" ? 8 : part.length;
  return bytes;
}

function addSize(bytes: number, command: Command): number {
  return bytes + sizeOf(command);
}

function longestPart({ request, commands }: Write): number {
  const parts: readonly ScriptArgument[] = commands === null ? (request.short ?? []) : commands.flat();
  return Math.max(...parts.map((part) => (typeof part === "number" ? 8 : Buffer.byteLength(part))));
}
