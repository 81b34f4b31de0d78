/**
 * Chords and groups on Redis, with the keys and the three scripts of Celery 5.7, so that workers of both languages count one
 * chord together; workers of 5.2 to 5.6 write the same `.j`, `.t` and `.s` without a claim, and their parts count here too.
 * wire: celery-wire 8.4, 8.5; celery/backends/redis.py `on_chord_part_return`, `set_chord_size`, `apply_chord`.
 */
import { randomUUID } from "node:crypto";
import type { ResultTuple } from "../../../protocol/celery/result-tuple.ts";
import { ImproperlyConfigured, ProtocolError } from "../../../protocol/errors.ts";
import { backoffMs, pause } from "../../runtime/backoff.ts";
import type { Log } from "../../runtime/log.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import type { ChordClaim, ChordCounter, ChordPart, ChordStart, CollectedPart, GroupCodec } from "../chord-counter.ts";
import { BackendError, ResultLost } from "../errors.ts";
import { readGroup, readPart } from "../group-values.ts";
import { openValue, sealValue, type ValueCompression } from "../stored-value.ts";
import { ChordKeys, type ClaimStore, RedisChordClaim } from "./chord-claim.ts";
import { completedScript } from "./chord-scripts.ts";
import { PartQueue } from "./part-queue.ts";
import { runScript } from "./script.ts";
import { Unsized } from "./unsized-chords.ts";
import { isOutOfMemory, isPassingState } from "./write-queue.ts";

export interface RedisChordOptions {
  /** Celery's `result_backend_transport_options.result_chord_ordered`: parts in the order of the group, not of their return. @default true */
  ordered?: boolean;
  /** Seconds that the keys of a chord live; 0: for ever. Settings: `result_chord_expires`, else `result_expires`. @default 86_400 */
  expires?: number;
  /** Seconds for the record of a group; 0: for ever. @default 86_400 */
  groupExpires?: number;
  /** Seconds for a group that a user saves. Setting: `result_expires`. @default 86_400 */
  saveExpires?: number;
  /** Seconds; decides how long a claim lives before it lapses. Setting: `result_chord_join_timeout`. @default 3 */
  joinTimeout?: number | null;
  /** Seconds after which a chord that still has no size is warned of. @default 60 */
  sizeSeconds?: number;
}

export interface RedisChordsHost {
  readonly codec: GroupCodec;
  readonly compression: ValueCompression | undefined;
  readonly log: Log;
  /** The command connection; rejects with `BackendError` when it does not come up soon. */
  connection(): Promise<Redis>;
  readonly closing: AbortSignal;
}

export const daySeconds = 86_400;
/** What stands in front of a part, and is not read. */
const COUNTED = 1;
/** Between two looks at a claim that another has. */
const claimLookMs = 500;
/** Where Celery's join may wait for ever, its claim is bounded nevertheless. */
const unboundedJoin = 5;

export class RedisChords implements ChordCounter, ClaimStore {
  readonly #host: RedisChordsHost;
  readonly #ordered: boolean;
  readonly #expires: number;
  readonly #unsized: Unsized;
  readonly #parts: PartQueue;
  readonly claimSeconds: number;

  constructor(host: RedisChordsHost, options: RedisChordOptions = {}) {
    this.#host = host;
    this.#unsized = new Unsized({
      isOpen: (groupId) => this.#isWithoutSize(groupId),
      log: host.log,
      closing: host.closing,
      ...(options.sizeSeconds === undefined ? {} : { seconds: options.sizeSeconds }),
    });
    this.#ordered = options.ordered ?? true;
    this.#expires = Math.trunc(options.expires ?? daySeconds);
    const { joinTimeout = 3 } = options;
    this.claimSeconds = Math.max(5, Math.trunc((joinTimeout || unboundedJoin) * 2));
    this.#parts = new PartQueue({
      ordered: this.#ordered,
      expires: this.#expires,
      groupExpires: Math.trunc(options.groupExpires ?? daySeconds),
      claimSeconds: this.claimSeconds,
    });
  }

  /** The group's record is there, and an earlier run's claim is gone, before anybody can find the size. */
  async start(groupId: string, { size, header }: ChordStart, stop?: AbortSignal): Promise<void> {
    const keys = this.#keys(groupId);
    const record = header === null ? null : this.#seal({ result: header });
    await this.persist(async (client) => {
      const commands = client.multi().del(keys.claim);
      if (this.#expires > 0) {
        if (record !== null) commands.set(keys.group, record, "EX", this.#expires);
        commands.set(keys.size, size, "EX", this.#expires);
      } else {
        if (record !== null) commands.set(keys.group, record);
        commands.set(keys.size, size);
      }
      for (const [error] of (await commands.exec()) ?? []) if (error) throw error;
    }, stop);
  }

  async returned(groupId: string, part: ChordPart): Promise<ChordClaim | null> {
    const keys = this.#keys(groupId);
    const token = randomUUID().replaceAll("-", "");
    const { taskId, groupIndex, state, result } = part;
    let value = this.#seal([COUNTED, taskId, state, result]);
    let answers = 0;
    for (;;) {
      const right = await this.persist(async (client) => {
        answers++;
        const told = await this.#parts.count(client, keys, { taskId, value, score: groupIndex ?? "+inf", token });
        if (told.isWithoutSize) this.#unsized.note(groupId);
        // A claim whose answer was lost with the connection is ours, and the script then finds it taken.
        return told.right === 3 && answers > 1 && (await client.get(keys.claim)) === token ? 1 : told.right;
      });
      if (right === 1) return new RedisChordClaim(groupId, keys, token, this);
      if (right === 2) return new RedisChordClaim(groupId, keys, null, this);
      if (right === 5) return new RedisChordClaim(groupId, keys, token, this, true);
      if (right === 4) {
        // The same task id stands twice in the header, with equal results: a sorted set would keep one of them.
        value = this.#seal([COUNTED + 1 + (groupIndex ?? 0), taskId, state, result]);
        continue;
      }
      if (right !== 3) return null;
      // The part came once more, and whoever had it before may have been killed with the claim: it is done, or lapses.
      const left = await this.persist((client) => client.pttl(keys.claim));
      await pause(Math.min(Math.max(left, 10), claimLookMs), this.#host.closing);
      if (this.#host.closing.aborted) throw new ResultLost("", "the result backend is closed");
    }
  }

  async addParts(groupId: string, count: number): Promise<void> {
    // Not repeated when its answer was lost: a part too many would be waited for for ever.
    const client = await this.#host.connection();
    const { added } = this.#keys(groupId);
    const commands = client.multi().incrby(added, count);
    if (this.#expires > 0) commands.expire(added, this.#expires);
    for (const [error] of (await commands.exec()) ?? []) if (error) throw error;
  }

  async end(groupId: string): Promise<boolean> {
    const { claim, parts, added, size, counted } = this.#keys(groupId);
    const names = [claim, parts, added, size, counted];
    // For as long as the parts of it would have been kept.
    const seconds = this.#expires > 0 ? this.#expires : daySeconds;
    return 1 === (await this.persist((client) => runScript(client, completedScript, names, [seconds])));
  }

  async collect(keys: ChordKeys): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    const saved = await this.persist((client) => client.getBuffer(keys.group));
    if (saved !== null) return { header: readGroup(this.#open(saved)) };
    const values = await this.persist((client) =>
      this.#ordered ? client.zrangeBuffer(keys.parts, "0", "-1") : client.lrangeBuffer(keys.parts, 0, -1),
    );
    return { parts: values.map((value) => readPart(this.#open(value))) };
  }

  /** Parts are there, and no word on how many there will be. */
  async #isWithoutSize(groupId: string): Promise<boolean> {
    const { size, claim, counted } = this.#keys(groupId);
    const client = await this.#host.connection();
    const [known, done, parts] = await Promise.all([client.exists(size), client.get(claim), client.exists(counted)]);
    return known === 0 && done !== "done" && parts === 1;
  }

  #keys(groupId: string): ChordKeys {
    return new ChordKeys(this.#host.codec.key(groupId));
  }

  #seal(value: unknown): Buffer {
    return sealValue(this.#host.codec.encode(value).body, this.#host.compression);
  }

  #open(value: Uint8Array): unknown {
    return this.#host.codec.decode(openValue(value, this.#host.compression));
  }

  /** Does it, again and again while the store is away, until `stop` aborts. */
  async persist<T>(act: (client: Redis) => Promise<T>, stop?: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        const client = await this.#host.connection();
        stop?.throwIfAborted();
        return await act(client);
      } catch (error) {
        stop?.throwIfAborted();
        if (this.#host.closing.aborted) throw new ResultLost("", "the result backend is closed", { cause: error });
        if (!isPassing(error)) throw error;
        if (attempt === 0) {
          const reason = error instanceof Error ? error.message : String(error);
          this.#host.log.warn({ reason }, "the parts of a chord cannot be counted yet; trying again");
        }
      }
      await pause(backoffMs(attempt), this.#host.closing);
    }
  }
}

function isPassing(error: unknown): boolean {
  if (error instanceof ProtocolError || error instanceof ImproperlyConfigured) return false;
  if (error instanceof BackendError) return error.retryable;
  if (!(error instanceof Error)) return false;
  return error.name !== "ReplyError" || isPassingState(error.message) || isOutOfMemory(error.message);
}
