/**
 * The writes of a store: those of one turn of the event loop travel as one script, in the order they were asked for, each with its
 * condition. While Redis is away they wait for ever, in order; a write whose answer was lost is sent again, and one that turns out
 * to have happened is not called refused. Where the server allows no scripts, each is a MULTI after a look at its condition.
 */
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import { decodeMognetResult, type MognetResult } from "../../../protocol/mognet/result.ts";
import { backoffMs } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { BackendStoreError } from "../errors.ts";
import { runScript, type ScriptArgument } from "../redis/script.ts";
import { conditionHolds, isSameResult } from "./conditions.ts";
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
  commands: readonly Command[];
}

class Write {
  readonly request: WriteRequest;
  readonly bytes: number;
  readonly sequence: number;
  readonly resolve: (write: MognetWrite) => void;
  readonly reject: (reason: unknown) => void;
  repeated = false;
  tries = 0;

  constructor(
    request: WriteRequest,
    bytes: number,
    sequence: number,
    resolve: (write: MognetWrite) => void,
    reject: (reason: unknown) => void,
  ) {
    this.request = request;
    this.bytes = bytes;
    this.sequence = sequence;
    this.resolve = resolve;
    this.reject = reject;
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

/** Redis refuses longer values, and closes the connection when it meets one. */
const longestPart = 512 * 1024 * 1024;
const writesPerScript = 200;
const bytesPerScript = 512 * 1024;
const scriptsInFlight = 4;
/** Tries while Redis is out of memory: about a minute. */
const outOfMemoryTries = 10;
const outOfMemory = /^-?OOM\b/;
const passing = /^-?(?:READONLY|LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|MISCONF|NOREPLICAS|UNKILLABLE)\b/;
/** The server, or its access rules, let us run none. */
export const noScripts = /^-?(?:NOPERM\b.*\b(?:eval|evalsha|script)\b|ERR unknown command '?eval)/i;
const WRITTEN: MognetWrite = { written: true };

export class RedisWrites {
  readonly #options: RedisWritesOptions;
  #queue: Write[] = [];
  #sequence = 0;
  #inFlight = 0;
  #unanswered = 0;
  #bytes = 0;
  #scheduled = false;
  #timer: NodeJS.Timeout | null = null;
  #attempt = 0;
  #withoutScripts = false;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(options: RedisWritesOptions) {
    this.#options = options;
  }

  /** Writes not yet answered. */
  get pending(): number {
    return this.#queue.length + this.#unanswered;
  }

  push(request: WriteRequest): Promise<MognetWrite> {
    if (this.#closed) return Promise.reject(closedError(request.id));
    if (
      request.commands.some((command) => command.some((part) => typeof part !== "number" && part.length > longestPart))
    ) {
      const message = `the result of ${request.id} is longer than Redis takes (512 MB)`;
      return Promise.reject(new BackendStoreError(request.id, message));
    }
    const bytes = sizeOf(request.commands);
    if (this.#bytes + bytes > this.#options.maxPendingBytes && this.pending > 0) {
      const message = `${this.#bytes} bytes wait for Redis already; the write of ${request.id} was not taken`;
      return Promise.reject(new BackendStoreError(request.id, message, { retryable: true }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push(new Write(request, bytes, ++this.#sequence, resolve, reject));
      this.#bytes += bytes;
      this.#schedule();
    });
  }

  /** The connection is up. */
  wake(): void {
    this.#attempt = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#schedule();
  }

  /** Resolves when nothing is pending. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Rejects what is not in flight. */
  rejectAll(because: string, retryable: boolean): void {
    for (const write of this.#queue.splice(0)) {
      const { id } = write.request;
      this.#fail(write, new BackendStoreError(id, `the result of ${id} was not written: ${because}`, { retryable }));
    }
    this.#tellIdle();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.rejectAll("the result store was closed", true);
  }

  #schedule(): void {
    if (this.#scheduled || this.#timer !== null || this.#closed) return;
    this.#scheduled = true;
    // Nobody is ahead: behind the code that runs now, all that it writes leaves together.
    if (this.#inFlight > 0) setImmediate(this.#flush);
    else process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    const client = this.#options.client();
    if (client === null) return;
    while (this.#queue.length > 0 && this.#inFlight < scriptsInFlight) void this.#send(client, this.#takeBatch());
  };

  #takeBatch(): Write[] {
    let count = 0;
    let bytes = 0;
    for (const write of this.#queue) {
      bytes += write.bytes;
      if (count > 0 && (count >= writesPerScript || bytes > bytesPerScript)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #send(client: Redis, batch: Write[]): Promise<void> {
    this.#inFlight++;
    this.#unanswered += batch.length;
    let codes: unknown[] | null = null;
    let failure: unknown;
    try {
      codes = this.#withoutScripts ? await this.#oneByOne(client, batch) : await this.#script(client, batch);
    } catch (error) {
      failure = error;
    }
    this.#inFlight--;
    this.#unanswered -= batch.length;
    if (codes !== null) this.#onAnswer(batch, codes);
    else this.#onFailure(batch, failure);
    if (this.#queue.length > 0) this.#schedule();
    this.#tellIdle();
  }

  async #script(client: Redis, batch: readonly Write[]): Promise<unknown[]> {
    const keys: string[] = [];
    const args: ScriptArgument[] = [];
    for (const { request } of batch) {
      const { condition, commands } = request;
      keys.push(request.key);
      args.push(
        condition?.states?.map((state) => `"${state}"`).join() ?? "",
        condition?.starts ?? "",
        condition?.nodeId === undefined ? "" : encodeAsciiJson(condition.nodeId),
        condition?.exists === true ? "1" : "",
        commands.length,
      );
      for (const command of commands) args.push(command.length, ...command);
    }
    const answer = await runScript(client, writeScript, keys, args);
    return Array.isArray(answer) ? answer : [];
  }

  /** Not atomic between the look and the write. */
  async #oneByOne(client: Redis, batch: readonly Write[]): Promise<unknown[]> {
    const codes: unknown[] = [];
    for (const { request } of batch) codes.push(await this.#alone(client, request));
    return codes;
  }

  async #alone(client: Redis, { key, condition, commands }: WriteRequest): Promise<unknown> {
    if (condition !== undefined) {
      const fields = await this.#options.readFields(client, key);
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
    let reason = "";
    batch.forEach((write, at) => {
      const code = codes[at];
      if (code === "") this.#done(write, WRITTEN);
      else if (Array.isArray(code)) this.#unfulfilled(write, code);
      else if (this.#isPassing(write, String(code))) {
        again.push(write);
        reason = String(code);
      } else this.#refuse(write, String(code));
    });
    if (again.length > 0) this.#later(again, reason);
    else this.#attempt = 0;
  }

  #unfulfilled(write: Write, fields: (string | null)[]): void {
    const { result } = write.request;
    try {
      const current = fields.every((field) => field === null) ? null : decodeMognetResult(fields);
      if (write.repeated && result !== undefined && isSameResult(result, current)) this.#done(write, WRITTEN);
      else this.#done(write, { written: false, current });
    } catch (error) {
      this.#fail(write, error);
    }
  }

  #isPassing(write: Write, code: string): boolean {
    return passing.test(code) || (outOfMemory.test(code) && ++write.tries < outOfMemoryTries);
  }

  #refuse(write: Write, code: string): void {
    const { id } = write.request;
    const message = `Redis refused to write the result of ${id}: ${code}`;
    this.#fail(write, new BackendStoreError(id, message, { retryable: outOfMemory.test(code) }));
  }

  #onFailure(batch: Write[], error: unknown): void {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (!isReply) {
      // The connection has gone, and with it the answer; `wake` comes with the next one.
      for (const write of batch) write.repeated = true;
      this.#later(batch, error);
    } else if (noScripts.test(error.message) && !this.#withoutScripts) {
      this.#withoutScripts = true;
      this.#options.log.warn(
        { reason: error.message },
        "Redis lets us run no scripts: a result is looked at before it is written, but not in one step",
      );
      this.#again(batch);
    } else {
      const again = batch.filter((write) => this.#isPassing(write, error.message));
      for (const write of batch) if (!again.includes(write)) this.#refuse(write, error.message);
      if (again.length > 0) this.#later(again, error);
    }
  }

  #later(writes: Write[], error: unknown): void {
    this.#options.log.warn({ err: error, writes: writes.length }, "results cannot be written yet; trying again");
    this.#again(writes);
    if (this.#timer !== null || this.#closed) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#schedule();
      },
      backoffMs(this.#attempt++),
    );
  }

  #again(writes: Write[]): void {
    if (this.#closed) {
      for (const write of writes) this.#fail(write, closedError(write.request.id));
      return;
    }
    this.#queue.push(...writes);
    this.#queue.sort((a, b) => a.sequence - b.sequence);
    this.#schedule();
  }

  #done(write: Write, answer: MognetWrite): void {
    this.#bytes -= write.bytes;
    write.resolve(answer);
  }

  #fail(write: Write, error: unknown): void {
    this.#bytes -= write.bytes;
    write.reject(error);
  }

  #tellIdle(): void {
    if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function closedError(id: string): BackendStoreError {
  return new BackendStoreError(id, "the result store was closed", { retryable: true });
}

function sizeOf(commands: readonly Command[]): number {
  let bytes = 0;
  for (const command of commands) for (const part of command) bytes += typeof part === "number" ? 8 : part.length;
  return bytes;
}
