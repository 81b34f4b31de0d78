/**
 * Mognet's result and state backends on Redis, with the same keys, fields and lifetimes. One connection for commands; two more
 * when something is awaited (`redis-tracking.ts`); one more when the state lives elsewhere. All come back by themselves.
 * wire: Mognet 2.0.0 backend/redis_result_backend.py, state/redis_state_backend.py.
 */
import { EncodeError } from "../../../protocol/errors.ts";
import { decodePlainJson } from "../../../protocol/mognet/json.ts";
import { type MognetNames, mognetIdFromBytes, mognetNames } from "../../../protocol/mognet/names.ts";
import {
  decodeMognetResult,
  MOGNET_RESULT_FIELDS,
  type MognetResult,
  startedResult,
} from "../../../protocol/mognet/result.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { inOneWrite } from "../../runtime/redis-connection.ts";
import { ResultLost } from "../errors.ts";
import type {
  MognetBegin,
  MognetBegun,
  MognetCreation,
  MognetOutcome,
  MognetPut,
  MognetRevocation,
  MognetStateStore,
  MognetStore,
  MognetStoreSettings,
  MognetTreeOptions,
  MognetWaitOptions,
  MognetWrite,
} from "./mognet-store.ts";
import { isMissing, VALUE_FIELDS } from "./redis-awaited.ts";
import { isEnd, MEMBERS_PER_COMMAND, StoreCommands } from "./redis-commands.ts";
import { MognetRedisLink, type RedisLinkOptions } from "./redis-link.ts";
import { RedisStates } from "./redis-states.ts";
import { tombstone } from "./redis-tombstones.ts";
import { RedisWaiting } from "./redis-waiting.ts";
import type { Command } from "./redis-writes.ts";
import { type WholeStoreSettings, wholeStoreSettings } from "./store-settings.ts";
import { walkTree } from "./tree-walk.ts";
import { decodeValueFields } from "./value-hash.ts";

export interface RedisMognetStoreOptions extends MognetStoreSettings, Omit<RedisLinkOptions, "urls" | "purpose"> {
  /** Name of the application: the prefix of all keys. */
  app: string;
  /** `result_backend.redis.url`: `redis://`, `rediss://`, `redis+socket://` or `sentinel://`; several as a list. */
  urls: string | readonly string[];
  /** `state_backend.redis.url`. @default as `urls` */
  stateUrls?: string | readonly string[];
  /** How often waits are read where the server tells us of no changes. @default 100 */
  pollMs?: number;
  /** How often some of what is awaited is read untold, for what has expired. @default 5000 */
  lookMs?: number;
}

export interface RedisMognetStore extends MognetStore {
  /** How waits learn of results: told by the server, or by reading. */
  readonly waiting: {
    readonly mode: "starting" | "tracking" | "polling";
    readonly ids: number;
    readonly reads: number;
  };
  /** Writes not yet answered. */
  readonly pending: number;
}

export function createRedisMognetStore(options: RedisMognetStoreOptions): RedisMognetStore {
  return new RedisStore(options);
}

const idsPerRead = 500;

class RedisStore implements RedisMognetStore {
  readonly name = "redis";
  readonly state: MognetStateStore;
  readonly #names: MognetNames;
  readonly #settings: WholeStoreSettings;
  readonly #commands: StoreCommands;
  readonly #link: MognetRedisLink;
  readonly #stateLink: MognetRedisLink;
  readonly #waiting: RedisWaiting;
  #closing: Promise<void> | null = null;

  constructor({ app, urls, stateUrls, pollMs, lookMs, ...options }: RedisMognetStoreOptions) {
    const {
      resultTtl,
      resultValueTtl,
      resultValueEncoding,
      stateTtl,
      exactFloats,
      maxValueBytes,
      maxValueDepth,
      ...rest
    } = options;
    this.#names = mognetNames(app);
    this.#settings = wholeStoreSettings(options);
    this.#commands = new StoreCommands(this.#names, this.#settings);
    this.#link = new MognetRedisLink({ ...rest, urls, purpose: "mognet-results" });
    const elsewhere = stateUrls !== undefined && String(stateUrls) !== String(urls);
    this.#stateLink = elsewhere
      ? new MognetRedisLink({ ...rest, urls: stateUrls, purpose: "mognet-state" })
      : this.#link;
    this.state = new RedisStates(this.#stateLink, this.#names, this.#settings.stateTtl);
    this.#waiting = new RedisWaiting({
      names: this.#names,
      settings: this.#settings,
      link: this.#link,
      ...(pollMs === undefined ? {} : { pollMs }),
      ...(lookMs === undefined ? {} : { lookMs }),
    });
  }

  get waiting(): RedisMognetStore["waiting"] {
    return this.#waiting.how;
  }

  get pending(): number {
    return this.#link.pending + (this.#stateLink === this.#link ? 0 : this.#stateLink.pending);
  }

  get(id: string): Promise<MognetResult | null> {
    return this.#link.read(id, (client) => this.#get(client, id));
  }

  async getMany(ids: readonly string[]): Promise<(MognetResult | null)[]> {
    const found: (MognetResult | null)[] = [];
    for (let at = 0; at < ids.length; at += idsPerRead) {
      const part = ids.slice(at, at + idsPerRead);
      const read = (client: Redis) => Promise.all(part.map((id) => this.#get(client, id)));
      found.push(...(await this.#link.read(part[0] ?? "", read)));
    }
    return found;
  }

  async getOrCreate(id: string): Promise<MognetResult> {
    return (await tombstone(this.#link, this.#names, this.#settings, id, null)).result;
  }

  revoke(id: string, options: { finished: string; force?: boolean }): Promise<MognetRevocation> {
    return tombstone(this.#link, this.#names, this.#settings, id, options);
  }

  async create({ result, metadata }: MognetCreation): Promise<void> {
    const { id, parentId } = result;
    const alone = parentId === null && metadata === undefined;
    await this.#link.write(() => ({
      id,
      key: this.#names.resultKey(id),
      ...(alone ? { short: this.#commands.shortNew(result) } : {}),
      commands: () => [
        ...(parentId === null ? [] : this.#commands.children(parentId, [id])),
        ...this.#commands.result(result),
        ...this.#commands.metadata(id, metadata ?? {}),
      ],
    }));
  }

  async begin(id: string, begin: MognetBegin): Promise<MognetBegun> {
    const write = await this.#link.write(() => ({
      id,
      key: this.#names.resultKey(id),
      short: this.#commands.shortBegin(begin),
      commands: () => [],
    }));
    if (!write.written) return { begun: false, result: write.current };
    const [name = null, parent = null, created = null, kwargs = null] = write.told ?? [];
    const fresh = [`"${id}"`, name, null, null, null, parent, created, null, null, null, kwargs];
    return { begun: true, result: startedResult(decodeMognetResult(fresh), begin.nodeId, begin.started) };
  }

  put({ result, value, condition, over, anew = false, clearState = false }: MognetPut): Promise<MognetWrite> {
    const { id } = result;
    const clearsHere = clearState && this.#stateLink === this.#link;
    const writing = this.#link.write(() => {
      const fields = value === undefined ? null : this.#commands.fieldsOf(value);
      const isShort = fields !== null && over !== undefined && isEnd(over, result, condition);
      return {
        id,
        key: this.#names.resultKey(id),
        condition,
        result,
        ...(isShort ? { short: this.#commands.shortEnd(result, fields, clearsHere) } : {}),
        commands: () => [
          ...(anew ? [["DEL", this.#names.resultKey(id), this.#names.valueKey(id)] satisfies Command] : []),
          ...(fields === null ? [] : this.#commands.value(id, fields)),
          ...this.#commands.result(result),
          ...(clearsHere ? [["DEL", this.#names.stateKey(id)] satisfies Command] : []),
        ],
      };
    });
    return clearState && !clearsHere ? this.#thenClear(id, writing) : writing;
  }

  /** The state lies on another server. */
  async #thenClear(id: string, writing: Promise<MognetWrite>): Promise<MognetWrite> {
    const write = await writing;
    if (write.written) {
      this.state.clear(id).catch((error: unknown) => {
        this.#link.log.warn({ id, err: error }, "the state of a task that has ended was not removed");
      });
    }
    return write;
  }

  getValue(id: string): Promise<MognetValue | null> {
    const key = this.#names.valueKey(id);
    return this.#link.read(id, async (client) =>
      decodeValueFields(await client.hmgetBuffer(key, ...VALUE_FIELDS), this.#settings),
    );
  }

  async setValue(id: string, value: MognetValue): Promise<void> {
    await this.#link.write(() => ({
      id,
      key: this.#names.valueKey(id),
      commands: () => this.#commands.value(id, this.#commands.fieldsOf(value)),
    }));
  }

  async addChildren(id: string, children: readonly string[]): Promise<void> {
    if (children.length === 0) return;
    for (let at = 0; at < children.length; at += MEMBERS_PER_COMMAND) {
      const part = children.slice(at, at + MEMBERS_PER_COMMAND);
      await this.#link.write(() => ({
        id,
        key: this.#names.childrenKey(id),
        commands: () => this.#commands.children(id, part),
      }));
    }
  }

  countChildren(id: string): Promise<number> {
    return this.#link.read(id, (client) => client.scard(this.#names.childrenKey(id)));
  }

  async *childIds(id: string, { limit = Number.POSITIVE_INFINITY }: { limit?: number } = {}): AsyncIterable<string> {
    const key = this.#names.childrenKey(id);
    const seen = new Set<string>(); // SSCAN may give a member twice
    let cursor: string | Buffer = "0";
    do {
      const from: string | Buffer = cursor;
      const count = Math.min(MEMBERS_PER_COMMAND, Math.max(1, limit));
      const [next, members]: [Buffer, Buffer[]] = await this.#link.read(id, (client) =>
        client.sscanBuffer(key, String(from), "COUNT", count),
      );
      for (const member of members) {
        const child = mognetIdFromBytes(member);
        if (child === null || seen.has(child)) continue;
        if (seen.size >= limit) return;
        seen.add(child);
        yield child;
      }
      cursor = next;
    } while (String(cursor) !== "0");
  }

  getMetadata(id: string): Promise<Record<string, unknown>> {
    return this.#link.read(id, async (client) => {
      const members = Object.entries(await client.hgetall(this.#names.metadataKey(id)));
      return Object.fromEntries(members.map(([key, text]) => [key, decodePlainJson(text)]));
    });
  }

  async setMetadata(id: string, metadata: Readonly<Record<string, unknown>>): Promise<void> {
    if (Object.keys(metadata).length === 0) return;
    await this.#link.write(() => ({
      id,
      key: this.#names.metadataKey(id),
      commands: () => this.#commands.metadata(id, metadata),
    }));
  }

  async delete(id: string, options: MognetTreeOptions = {}): Promise<void> {
    for await (const batch of walkTree(this, id, options)) {
      await this.#forEach(batch, (each) => [["DEL", ...this.#commands.keysOf(each)]]);
    }
  }

  async setTtl(id: string, ttlSeconds: number, options: MognetTreeOptions = {}): Promise<void> {
    if (!Number.isInteger(ttlSeconds)) throw new EncodeError(`a lifetime is whole seconds, not ${ttlSeconds}`);
    for await (const batch of walkTree(this, id, options)) {
      await this.#forEach(batch, (each) =>
        this.#commands.keysOf(each).map((key): Command => ["EXPIRE", key, ttlSeconds]),
      );
    }
  }

  waitFor(id: string, options: MognetWaitOptions = {}): Promise<MognetOutcome> {
    if (this.#closing !== null) return Promise.reject(new ResultLost(id, "the result store is closed"));
    return this.#waiting.waitFor(id, options);
  }

  outage(): Error | null {
    return this.#waiting.outage;
  }

  async connect(): Promise<void> {
    await this.#link.connect();
    if (this.#stateLink !== this.#link) await this.#stateLink.connect();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#waiting.close();
    await Promise.all([this.#link.close(), this.#stateLink.close()]);
  }

  // ------------------------------------------------------------------------------------------------------------- inside

  async #get(client: Redis, id: string): Promise<MognetResult | null> {
    inOneWrite(client);
    const fields = await client.hmget(this.#names.resultKey(id), ...MOGNET_RESULT_FIELDS);
    return isMissing(fields) ? null : decodeMognetResult(fields);
  }

  async #forEach(ids: readonly string[], commands: (id: string) => Command[]): Promise<void> {
    await Promise.all(
      ids.map((id) => this.#link.write(() => ({ id, key: this.#names.resultKey(id), commands: () => commands(id) }))),
    );
  }
}
