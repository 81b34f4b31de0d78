/**
 * Records on their way to Redis. All stores of one turn of the event loop go in few EVALSHAs, each of which judges, writes
 * and announces many records at once; what could not be written because Redis was away or busy is tried again for ever, in
 * order. wire: celery-wire 8.4; celery/backends/redis.py `_set`, celery/backends/base.py `_store_result`.
 */
import { createHash } from "node:crypto";
import { ImproperlyConfigured, ProtocolError } from "../../../protocol/errors.ts";
import { backoffMs } from "../../runtime/backoff.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { BackendStoreError } from "../errors.ts";
import type { ValueCodec } from "../stored-value.ts";
import { RedisScript, runScript, type ScriptArgument } from "./script.ts";

/**
 * KEYS: one per record. ARGV: final prefix, stem, then per record value, ttl ("" for none) and the SHA1 of the stored value
 * that our side has decoded and found open ("" for none). Returns pairs of index and code for the records that were not written:
 * "final", "judge" (its first bytes do not tell: decode it), or the error text of Redis.
 */
const storeScript = new RedisScript(`
local prefix, stem = ARGV[1], ARGV[2]
local last = math.max(#prefix, 1) - 1
local out = {}
for i = 1, #KEYS do
  local key, value, ttl, seen = KEYS[i], ARGV[3 * i], ARGV[3 * i + 1], ARGV[3 * i + 2]
  local head = redis.pcall('GETRANGE', key, 0, last)
  local code
  if type(head) == 'table' then
    code = head.err
  elseif head == '' then
    code = nil
  elseif stem ~= '' and head == prefix then
    code = 'final'
  elseif stem ~= '' and string.sub(head, 1, #stem) == stem then
    code = nil
  elseif seen == '' or redis.sha1hex(redis.call('GET', key)) ~= seen then
    code = 'judge'
  end
  if not code then
    local done
    if ttl == '' then
      done = redis.pcall('SET', key, value)
    else
      done = redis.pcall('SETEX', key, ttl, value)
    end
    if done.err then
      code = done.err
    else
      local told = redis.pcall('PUBLISH', key, value)
      if type(told) == 'table' then code = told.err end
    end
  end
  if code then
    out[#out + 1] = i
    out[#out + 1] = code
  end
end
return out
`);

/** Redis refuses longer values (and closes the connection when it meets one). celery/backends/redis.py `_MAX_STR_VALUE_SIZE`. */
const longestValue = 512 * 1024 * 1024;
const recordsPerScript = 200;
const bytesPerScript = 512 * 1024;
const scriptsInFlight = 4;
/** Tries while Redis is out of memory: about a minute. */
const outOfMemoryTries = 10;
const outOfMemory = /^-?OOM\b/;
/** Passing states of a server: failover, start, a long script, a failed snapshot. */
const passing = /^-?(?:READONLY|LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|MISCONF|NOREPLICAS|UNKILLABLE)\b/;

class PendingStore {
  readonly id: string;
  readonly key: string;
  readonly value: Buffer;
  readonly ttl: string;
  readonly final: boolean;
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** SHA1 of the stored value that was decoded and may be overwritten. */
  seen = "";
  tries = 0;

  constructor(
    parts: Pick<PendingStore, "id" | "key" | "value" | "ttl" | "final" | "sequence">,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.id = parts.id;
    this.key = parts.key;
    this.value = parts.value;
    this.ttl = parts.ttl;
    this.final = parts.final;
    this.sequence = parts.sequence;
    this.resolve = resolve;
    this.reject = reject;
  }
}

export interface StoreQueueOptions<R> {
  values: ValueCodec<R>;
  /** The connection if it is up, else null; the owner calls `wake` when it comes up. */
  client(): Redis | null;
  onRetry(error: unknown, records: number): void;
}

export class StoreQueue<R> {
  readonly #options: StoreQueueOptions<R>;
  #queue: PendingStore[] = [];
  #inOrder = true;
  #sequence = 0;
  /** Sequence of the last store asked for, by id, while any of the id is pending: an older open record is not written after it. */
  readonly #latest = new Map<string, number>();
  #inFlight = 0;
  #recordsInFlight = 0;
  #turn: NodeJS.Immediate | null = null;
  #soon = false;
  #timer: NodeJS.Timeout | null = null;
  #attempt = 0;
  /** Redis called a batch a protocol error: some value is longer than it takes; find out which. */
  #oneByOne = false;
  #bytes = 0;
  #idle: (() => void)[] = [];
  #closed = false;

  constructor(options: StoreQueueOptions<R>) {
    this.#options = options;
  }

  /** Records not yet written. */
  get pending(): number {
    return this.#queue.length + this.#recordsInFlight;
  }

  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Throws what the codec throws. */
  push(id: string, record: R): Promise<void> {
    const { values } = this.#options;
    const key = values.codec.key(id);
    const value = values.encode(id, record);
    if (value.length > longestValue) {
      return Promise.reject(new BackendStoreError(id, `the result of ${id} is longer than Redis takes (512 MB)`));
    }
    const ttl = values.codec.ttl(record);
    const sequence = ++this.#sequence;
    return new Promise((resolve, reject) => {
      this.#queue.push(
        new PendingStore(
          {
            id,
            key,
            value,
            ttl: ttl === null || ttl <= 0 ? "" : String(Math.max(1, Math.trunc(ttl))),
            final: values.codec.isFinal(record),
            sequence,
          },
          resolve,
          reject,
        ),
      );
      this.#latest.set(id, sequence);
      this.#bytes += value.length;
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
    for (const store of this.#queue.splice(0)) {
      this.#settle(
        store,
        new BackendStoreError(store.id, `the result of ${store.id} was not stored: ${because}`, { retryable }),
      );
    }
  }

  close(): void {
    this.#closed = true;
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#turn = null;
    this.#timer = null;
    this.rejectAll("the result backend was closed", true);
  }

  #schedule(): void {
    if (this.#turn !== null || this.#soon || this.#timer !== null || this.#closed) return;
    if (this.#inFlight > 0) {
      this.#turn = setImmediate(this.#flush);
      return;
    }
    // Nobody is ahead: behind the code that runs now, all that it stores leaves together and ahead of the tick's other writes.
    this.#soon = true;
    process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#turn = null;
    this.#soon = false;
    const client = this.#options.client();
    if (client === null) return;
    if (!this.#inOrder) {
      this.#queue.sort((a, b) => a.sequence - b.sequence);
      this.#inOrder = true;
    }
    while (this.#queue.length > 0 && this.#inFlight < scriptsInFlight) void this.#send(client, this.#takeBatch());
  };

  #takeBatch(): PendingStore[] {
    let count = 0;
    let bytes = 0;
    const most = this.#oneByOne ? 1 : recordsPerScript;
    for (const store of this.#queue) {
      bytes += store.value.length;
      if (count > 0 && (count >= most || bytes > bytesPerScript)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #send(client: Redis, batch: PendingStore[]): Promise<void> {
    const { prefix, stem } = this.#options.values.finality;
    const keys: string[] = [];
    const args: ScriptArgument[] = [prefix, stem];
    for (const store of batch) {
      keys.push(store.key);
      args.push(store.value, store.ttl, store.seen);
    }
    this.#inFlight++;
    this.#recordsInFlight += batch.length;
    let codes: unknown;
    let failure: { error: unknown } | null = null;
    try {
      codes = await runScript(client, storeScript, keys, args);
    } catch (error) {
      failure = { error };
    }
    this.#inFlight--;
    this.#recordsInFlight -= batch.length;
    if (failure !== null) this.#onFailure(batch, failure.error);
    else this.#onAnswer(client, batch, Array.isArray(codes) ? codes : []);
    this.#goOn();
  }

  #goOn(): void {
    if (this.#queue.length > 0) this.#schedule();
    else if (this.pending === 0) {
      this.#oneByOne = false;
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #onAnswer(client: Redis, batch: PendingStore[], codes: readonly unknown[]): void {
    const others = new Map<number, string>();
    for (let at = 0; at + 1 < codes.length; at += 2) others.set(Number(codes[at]) - 1, String(codes[at + 1]));
    const again: PendingStore[] = [];
    let reason = "";
    batch.forEach((store, at) => {
      const code = others.get(at);
      if (code === undefined || code === "final") this.#settle(store);
      else if (code === "judge") void this.#judge(client, store);
      else if (this.#isPassing(store, code)) {
        again.push(store);
        reason = code;
      } else this.#refuse(store, code);
    });
    if (again.length > 0) this.#later(again, reason);
    else this.#attempt = 0;
  }

  /** The first bytes of the stored value do not tell whether it is final. */
  async #judge(client: Redis, store: PendingStore): Promise<void> {
    this.#recordsInFlight++;
    try {
      const stored = await client.getBuffer(store.key);
      if (stored !== null && this.#options.values.isFinal(store.id, stored)) {
        this.#settle(store);
      } else {
        store.seen = stored === null ? "" : createHash("sha1").update(stored).digest("hex");
        this.#again([store]);
      }
    } catch (error) {
      if (error instanceof ImproperlyConfigured || error instanceof ProtocolError) this.#settle(store, error);
      else this.#onFailure([store], error);
    }
    this.#recordsInFlight--;
    this.#goOn();
  }

  #isPassing(store: PendingStore, code: string): boolean {
    return passing.test(code) || (outOfMemory.test(code) && ++store.tries < outOfMemoryTries);
  }

  #refuse(store: PendingStore, code: string): void {
    const message = `Redis refused the result of ${store.id}: ${code}`;
    this.#settle(store, new BackendStoreError(store.id, message, { retryable: outOfMemory.test(code) }));
  }

  #onFailure(batch: PendingStore[], error: unknown): void {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (!isReply) {
      this.#later(batch, error); // the connection has gone; `wake` comes with the next one
    } else if (/protocol error/i.test(error.message) && batch.length > 1) {
      this.#oneByOne = true;
      this.#later(batch, error);
    } else {
      const again = batch.filter((store) => this.#isPassing(store, error.message));
      for (const store of batch) if (!again.includes(store)) this.#refuse(store, error.message);
      if (again.length > 0) this.#later(again, error);
    }
  }

  #later(stores: PendingStore[], error: unknown): void {
    this.#options.onRetry(error, stores.length);
    this.#again(stores);
    if (this.#timer !== null || this.#closed) return;
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#schedule();
      },
      backoffMs(this.#attempt++),
    );
  }

  #again(stores: PendingStore[]): void {
    for (const store of stores) {
      if (this.#closed)
        this.#settle(store, new BackendStoreError(store.id, "the result backend was closed", { retryable: true }));
      else if (!store.final && this.#latest.get(store.id) !== store.sequence) this.#settle(store);
      else this.#queue.push(store);
    }
    this.#inOrder = false;
  }

  #settle(store: PendingStore, error?: unknown): void {
    this.#bytes -= store.value.length;
    if (this.#latest.get(store.id) === store.sequence) this.#latest.delete(store.id);
    if (error === undefined) store.resolve();
    else store.reject(error);
  }
}
