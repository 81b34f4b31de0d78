/**
 * Records on their way to Redis. All stores of one turn of the event loop go in few EVALSHAs, each of which judges, writes
 * and announces many records at once; what could not be written because Redis was away or busy is tried again for ever, in
 * order. wire: celery-wire 8.4; celery/backends/redis.py `_set`, celery/backends/base.py `_store_result`.
 */
import { createHash } from "node:crypto";
import { ImproperlyConfigured, ProtocolError } from "../../../protocol/errors.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { BackendStoreError } from "../errors.ts";
import type { ValueCodec } from "../stored-value.ts";
import { LEAST_LIMIT, whyTooLong } from "./longest-value.ts";
import { RedisScript, runScript, type ScriptArgument } from "./script.ts";
import { isOutOfMemory, isPassing, LONGEST_VALUE, type QueuedWrite, WriteQueue } from "./write-queue.ts";

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

class PendingStore implements QueuedWrite {
  readonly id: string;
  readonly key: string;
  readonly value: Buffer;
  readonly ttl: string;
  readonly final: boolean;
  sequence = 0;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** SHA1 of the stored value that was decoded and may be overwritten. */
  seen = "";
  tries = 0;

  constructor(
    parts: Pick<PendingStore, "id" | "key" | "value" | "ttl" | "final">,
    resolve: () => void,
    reject: (reason: unknown) => void,
  ) {
    this.id = parts.id;
    this.key = parts.key;
    this.value = parts.value;
    this.ttl = parts.ttl;
    this.final = parts.final;
    this.resolve = resolve;
    this.reject = reject;
  }

  get bytes(): number {
    return this.value.length;
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
  readonly #queue: WriteQueue<PendingStore>;
  /** Sequence of the last store asked for, by id, while any of the id is pending: an older open record is not written after it. */
  readonly #latest = new Map<string, number>();
  #bytes = 0;

  constructor(options: StoreQueueOptions<R>) {
    this.#options = options;
    this.#queue = new WriteQueue({
      client: options.client,
      send: (client, batch) => this.#send(client, batch),
      onRetry: options.onRetry,
    });
  }

  /** Records not yet written. */
  get pending(): number {
    return this.#queue.pending;
  }

  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Throws what the codec throws. */
  push(id: string, record: R): Promise<void> {
    const { values } = this.#options;
    const key = values.codec.key(id);
    const value = values.encode(id, record);
    if (value.length > LONGEST_VALUE) {
      return Promise.reject(new BackendStoreError(id, `the result of ${id} is longer than Redis takes (512 MB)`));
    }
    const seconds = values.codec.ttl(record);
    const ttl = seconds === null || seconds <= 0 ? "" : String(Math.max(1, Math.trunc(seconds)));
    return new Promise((resolve, reject) => {
      const parts = { id, key, value, ttl, final: values.codec.isFinal(record) };
      const store = new PendingStore(parts, resolve, reject);
      this.#bytes += value.length;
      this.#queue.push(store);
      this.#latest.set(id, store.sequence);
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
    for (const store of this.#queue.takeAll()) {
      const { id } = store;
      this.#settle(store, new BackendStoreError(id, `the result of ${id} was not stored: ${because}`, { retryable }));
    }
  }

  close(): void {
    this.#queue.close();
    this.rejectAll("the result backend was closed", true);
  }

  async #send(client: Redis, batch: PendingStore[]): Promise<() => void> {
    try {
      const [first] = batch;
      // So long a value goes alone.
      const refusal = first !== undefined && first.bytes > LEAST_LIMIT ? await whyTooLong(client, first.bytes) : null;
      if (first !== undefined && refusal !== null) return () => this.#refuse(first, refusal);
      const codes = await this.#script(client, batch);
      return () => this.#onAnswer(client, batch, Array.isArray(codes) ? codes : []);
    } catch (error) {
      return () => this.#onFailure(batch, error);
    }
  }

  #script(client: Redis, batch: readonly PendingStore[]): Promise<unknown> {
    const { prefix, stem } = this.#options.values.finality;
    const keys: string[] = [];
    const args: ScriptArgument[] = [prefix, stem];
    for (const store of batch) {
      keys.push(store.key);
      args.push(store.value, store.ttl, store.seen);
    }
    return runScript(client, storeScript, keys, args);
  }

  #onAnswer(client: Redis, batch: readonly PendingStore[], codes: readonly unknown[]): void {
    const others = new Map<number, string>();
    for (let at = 0; at + 1 < codes.length; at += 2) others.set(Number(codes[at]) - 1, String(codes[at + 1]));
    const again: PendingStore[] = [];
    let reason = "";
    batch.forEach((store, at) => {
      const code = others.get(at);
      if (code === undefined || code === "final") this.#settle(store);
      else if (code === "judge") void this.#queue.hold(() => this.#judge(client, store));
      else if (isPassing(store, code)) {
        again.push(store);
        reason = code;
      } else this.#refuse(store, code);
    });
    if (again.length > 0) this.#later(again, reason);
    else this.#queue.calm();
  }

  /** The first bytes of the stored value do not tell whether it is final. */
  async #judge(client: Redis, store: PendingStore): Promise<void> {
    try {
      const stored = await client.getBuffer(store.key);
      if (stored !== null && this.#options.values.isFinal(store.id, stored)) {
        this.#settle(store);
      } else {
        store.seen = stored === null ? "" : createHash("sha1").update(stored).digest("hex");
        this.#queue.again(this.#stillWanted([store]));
      }
    } catch (error) {
      if (error instanceof ImproperlyConfigured || error instanceof ProtocolError) this.#settle(store, error);
      else this.#onFailure([store], error);
    }
  }

  #refuse(store: PendingStore, code: string): void {
    const message = `Redis refused the result of ${store.id}: ${code}`;
    this.#settle(store, new BackendStoreError(store.id, message, { retryable: isOutOfMemory(code) }));
  }

  #onFailure(batch: PendingStore[], error: unknown): void {
    const isReply = error instanceof Error && error.name === "ReplyError";
    if (!isReply) {
      this.#later(batch, error); // the connection has gone; `wake` comes with the next one
    } else {
      const again: PendingStore[] = [];
      for (const store of batch) {
        if (isPassing(store, error.message)) again.push(store);
        else this.#refuse(store, error.message);
      }
      if (again.length > 0) this.#later(again, error);
    }
  }

  #later(stores: readonly PendingStore[], error: unknown): void {
    this.#queue.later(this.#stillWanted(stores), error);
  }

  /** An open record that a newer one has followed is not written any more; nothing is, once this is closed. */
  #stillWanted(stores: readonly PendingStore[]): PendingStore[] {
    return stores.filter((store) => {
      const { id } = store;
      if (this.#queue.closed) {
        this.#settle(store, new BackendStoreError(id, "the result backend was closed", { retryable: true }));
      } else if (!store.final && this.#latest.get(id) !== store.sequence) this.#settle(store);
      else return true;
      return false;
    });
  }

  #settle(store: PendingStore, error?: unknown): void {
    this.#bytes -= store.value.length;
    if (this.#latest.get(store.id) === store.sequence) this.#latest.delete(store.id);
    if (error === undefined) store.resolve();
    else store.reject(error);
  }
}
