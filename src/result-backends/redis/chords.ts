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
import type {
  ChordClaim,
  ChordCounter,
  ChordPart,
  ChordStart,
  CollectedPart,
  GroupCodec,
  GroupStore,
} from "../chord-counter.ts";
import { BackendError, BackendGetMetaError, ResultLost } from "../errors.ts";
import { readGroup, readPart } from "../group-values.ts";
import { openValue, sealValue, type ValueCompression } from "../stored-value.ts";
import { RedisScript, runScript, type ScriptArgument } from "./script.ts";

/**
 * Celery's script but for its end. Whoever adds the part that completes a chord is the only one by that alone, and takes no claim:
 * should it be killed, the same part comes again, perhaps to a Celery worker, which gives up for good where it finds the claim
 * of a dead one. Whoever brings a part once more needs the claim, as in Celery.
 * KEYS: j t s d group c. ARGV: task id, part, ordered (1 or 0), score, ttl of the chord, ttl of the group key, ttl of the
 * claim, token. Returns parts so far (-1: the body was sent), added, size, and 0: not complete, 1: claimed, 2: completed,
 * 3: complete, and claimed by another.
 */
const partScript = new RedisScript(`
local parts, added, size, counted, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', claim) == 'done' then
  return {-1, 0, 0, 0}
end
local member = ARGV[1] .. ':' .. ARGV[4]
local fresh = redis.call('SISMEMBER', counted, member) == 0
if fresh then
  if ARGV[3] == '1' then
    redis.call('ZADD', parts, ARGV[4], ARGV[2])
  else
    redis.call('RPUSH', parts, ARGV[2])
  end
  redis.call('SADD', counted, member)
end
local ready
if ARGV[3] == '1' then
  ready = redis.call('ZCOUNT', parts, '-inf', '+inf')
else
  ready = redis.call('LLEN', parts)
end
local ttl, groupTtl = tonumber(ARGV[5]), tonumber(ARGV[6])
if ttl > 0 then
  for _, key in ipairs({parts, added, size, counted}) do
    redis.call('EXPIRE', key, ttl)
  end
  if groupTtl > 0 then
    redis.call('EXPIRE', group, groupTtl)
  end
end
local more = redis.call('GET', added)
local total = redis.call('GET', size)
local right = 0
if total and ready == tonumber(total) + tonumber(more or 0) then
  if fresh and redis.call('EXISTS', claim) == 0 then
    right = 2
  elseif redis.call('SET', claim, ARGV[8], 'NX', 'EX', tonumber(ARGV[7])) then
    right = 1
  else
    right = 3
  end
end
return {ready, more, total, right}
`);

/** KEYS: c s. For who completed the chord. Returns 1 when nobody has claimed it meanwhile. */
const unclaimedScript = new RedisScript(`
return redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) or 0
`);

/** KEYS: c j t s d. ARGV: ttl of the mark. For who completed the chord; whoever has claimed it since must not send the body again. */
const completedScript = new RedisScript(`
if redis.call('GET', KEYS[1]) == 'done' then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', tonumber(ARGV[1]))
return 1
`);

/** KEYS: c s. ARGV: token, ttl. Returns 1 when the claim is ours for that long. */
const extendScript = new RedisScript(`
local claim, ttl = KEYS[1], tonumber(ARGV[2])
local owner = redis.call('GET', claim)
if owner == ARGV[1] then
  return redis.call('EXPIRE', claim, ttl)
end
if not owner and redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.call('SET', claim, ARGV[1], 'EX', ttl, 'NX') and 1 or 0
end
return 0
`);

/** KEYS: c j t s d. ARGV: token, ttl of the mark that the body was sent. Returns 0 when the claim is not ours any more. */
const cleanupScript = new RedisScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local ttl = tonumber(ARGV[2])
if ttl and ttl > 0 then
  redis.call('SET', KEYS[1], 'done', 'EX', ttl)
end
return 1
`);

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
}

export interface RedisChordsHost {
  readonly codec: GroupCodec;
  readonly compression: ValueCompression | undefined;
  readonly log: Log;
  /** The command connection; rejects with `BackendError` when it does not come up soon. */
  connection(): Promise<Redis>;
  readonly closing: AbortSignal;
}

const daySeconds = 86_400;
/** Between two looks at a claim that another has. */
const claimLookMs = 500;
/** Where Celery's join may wait for ever, its claim is bounded nevertheless. */
const unboundedJoin = 5;

class ChordKeys {
  readonly group: string;
  readonly parts: string;
  readonly added: string;
  readonly size: string;
  readonly counted: string;
  readonly claim: string;

  constructor(group: string) {
    this.group = group;
    this.parts = `${group}.j`;
    this.added = `${group}.t`;
    this.size = `${group}.s`;
    this.counted = `${group}.d`;
    this.claim = `${group}.c`;
  }
}

/** States of a server and of connections that pass by themselves; the rest is refused. */
const passing = /^-?(?:READONLY|LOADING|BUSY|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|MISCONF|NOREPLICAS|UNKILLABLE|OOM)\b/;

export class RedisChords implements ChordCounter {
  readonly #host: RedisChordsHost;
  readonly #ordered: boolean;
  readonly #expires: number;
  readonly #groupExpires: number;
  readonly claimSeconds: number;

  constructor(host: RedisChordsHost, options: RedisChordOptions = {}) {
    this.#host = host;
    this.#ordered = options.ordered ?? true;
    this.#expires = Math.trunc(options.expires ?? daySeconds);
    this.#groupExpires = Math.trunc(options.groupExpires ?? daySeconds);
    const { joinTimeout = 3 } = options;
    this.claimSeconds = Math.max(5, Math.trunc((joinTimeout || unboundedJoin) * 2));
  }

  /** The group's record is there, and an earlier run's claim is gone, before anybody can find the size. */
  async start(groupId: string, { size, header }: ChordStart): Promise<void> {
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
    });
  }

  async returned(groupId: string, part: ChordPart): Promise<ChordClaim | null> {
    const keys = this.#keys(groupId);
    const token = randomUUID().replaceAll("-", "");
    const value = this.#seal([1, part.taskId, part.state, part.result]);
    const args: ScriptArgument[] = [
      part.taskId,
      value,
      this.#ordered ? 1 : 0,
      part.groupIndex ?? "+inf",
      this.#expires,
      this.#groupExpires,
      this.claimSeconds,
      token,
    ];
    const names = [keys.parts, keys.added, keys.size, keys.counted, keys.group, keys.claim];
    let answers = 0;
    for (;;) {
      const right = await this.persist(async (client) => {
        answers++;
        const reply = await runScript(client, partScript, names, args);
        const told = Array.isArray(reply) && Number(reply[0]) >= 0 ? Number(reply[3]) : 0;
        // A claim whose answer was lost with the connection is ours, and the script then finds it taken.
        return told === 3 && answers > 1 && (await client.get(keys.claim)) === token ? 1 : told;
      });
      if (right === 1) return new RedisChordClaim(groupId, keys, token, this);
      if (right === 2) return new RedisChordClaim(groupId, keys, null, this);
      if (right !== 3) return null;
      // The part came once more, and whoever had it before may have been killed with the claim: it is done, or lapses.
      const left = await this.persist((client) => client.pttl(keys.claim));
      await pause(Math.min(Math.max(left, 10), claimLookMs), this.#host.closing);
      if (this.#host.closing.aborted) throw new ResultLost("", "the result backend is closed");
    }
  }

  async addPart(groupId: string): Promise<void> {
    // Not repeated when its answer was lost: a part too many would be waited for for ever.
    const client = await this.#host.connection();
    await client.incr(this.#keys(groupId).added);
  }

  async collect(keys: ChordKeys): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    const saved = await this.persist((client) => client.getBuffer(keys.group));
    if (saved !== null) return { header: readGroup(this.#open(saved)) };
    const values = await this.persist((client) =>
      this.#ordered ? client.zrangeBuffer(keys.parts, "0", "-1") : client.lrangeBuffer(keys.parts, 0, -1),
    );
    return { parts: values.map((value) => readPart(this.#open(value))) };
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

  /** Does it, again and again while the store is away. */
  async persist<T>(act: (client: Redis) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await act(await this.#host.connection());
      } catch (error) {
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
  return error.name !== "ReplyError" || passing.test(error.message);
}

class RedisChordClaim implements ChordClaim {
  readonly groupId: string;
  readonly seconds: number;
  readonly #keys: ChordKeys;
  /** Null: it completed the chord itself and needs none. */
  readonly #token: string | null;
  readonly #chords: RedisChords;

  constructor(groupId: string, keys: ChordKeys, token: string | null, chords: RedisChords) {
    this.groupId = groupId;
    this.seconds = chords.claimSeconds;
    this.#keys = keys;
    this.#token = token;
    this.#chords = chords;
  }

  collect(): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    return this.#chords.collect(this.#keys);
  }

  async extend(seconds: number): Promise<boolean> {
    const { claim, size } = this.#keys;
    if (this.#token === null) {
      return 1 === (await this.#chords.persist((client) => runScript(client, unclaimedScript, [claim, size], [])));
    }
    const args = [this.#token, Math.ceil(seconds)];
    return 1 === (await this.#chords.persist((client) => runScript(client, extendScript, [claim, size], args)));
  }

  async done(): Promise<boolean> {
    const { claim, parts, added, size, counted } = this.#keys;
    const markSeconds = Math.max(this.seconds * 2, 300);
    const names = [claim, parts, added, size, counted];
    if (this.#token === null) {
      return 1 === (await this.#chords.persist((client) => runScript(client, completedScript, names, [markSeconds])));
    }
    const args = [this.#token, markSeconds];
    return 1 === (await this.#chords.persist((client) => runScript(client, cleanupScript, names, args)));
  }

  async failed(): Promise<void> {
    await this.#chords.persist((client) => client.del(this.#keys.size));
  }
}

/** Groups by id, as `GroupResult.save` keeps them. */
export class RedisGroups implements GroupStore {
  readonly #host: RedisChordsHost;
  readonly #expires: number;

  constructor(host: RedisChordsHost, options: RedisChordOptions = {}) {
    this.#host = host;
    this.#expires = Math.trunc(options.saveExpires ?? daySeconds);
  }

  async save(group: ResultTuple): Promise<void> {
    const { codec, compression } = this.#host;
    const key = codec.key(group[0][0]);
    const value = sealValue(codec.encode({ result: group }).body, compression);
    await this.#do(group[0][0], "save", (client) =>
      // Celery announces it as it announces a result.
      (this.#expires > 0 ? client.multi().setex(key, this.#expires, value) : client.multi().set(key, value))
        .publish(key, value)
        .exec(),
    );
  }

  async restore(groupId: string): Promise<ResultTuple | null> {
    const { codec, compression } = this.#host;
    const value = await this.#do(groupId, "read", (client) => client.getBuffer(codec.key(groupId)));
    return value === null ? null : readGroup(codec.decode(openValue(value, compression)));
  }

  async forget(groupId: string): Promise<void> {
    await this.#do(groupId, "forget", (client) => client.del(this.#host.codec.key(groupId)));
  }

  async #do<T>(groupId: string, verb: string, act: (client: Redis) => Promise<T>): Promise<T> {
    const client = await this.#host.connection();
    try {
      return await act(client);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BackendGetMetaError(groupId, `cannot ${verb} the group ${groupId}: ${reason}`, { cause });
    }
  }
}
