/**
 * Mognet's result and state backends on Redis, with the same keys, fields and lifetimes. One connection for commands; two more
 * when something is awaited (`redis-tracking.ts`); one more when the state lives elsewhere. All come back by themselves.
 * wire: Mognet 2.0.0 backend/redis_result_backend.py, state/redis_state_backend.py.
 */
import { EncodeError } from "../../../protocol/errors.ts";
import { decodePlainJson } from "../../../protocol/mognet/json.ts";
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import { type MognetNames, mognetIdBytes, mognetIdFromBytes, mognetNames } from "../../../protocol/mognet/names.ts";
import {
  decodeMognetResult,
  encodeMognetResult,
  MOGNET_RESULT_FIELDS,
  type MognetResult,
  mognetResultTexts,
  startedResult,
} from "../../../protocol/mognet/result.ts";
import { isMognetDone, MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import { inOneWrite, isRedisLoaded, loadRedis } from "../../runtime/redis-connection.ts";
import { ResultLost } from "../errors.ts";
import { Waits } from "../waits.ts";
import { isPlainEnd } from "./conditions.ts";
import type {
  MognetBegin,
  MognetBegun,
  MognetCondition,
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
import {
  type AwaitedFound,
  AwaitedReading,
  type AwaitedWants,
  isMissing,
  VALUE_FIELDS,
  wantsOf,
} from "./redis-awaited.ts";
import { MognetRedisLink, type RedisLinkOptions } from "./redis-link.ts";
import { RedisStates } from "./redis-states.ts";
import { tombstone } from "./redis-tombstones.ts";
import { RedisTracking } from "./redis-tracking.ts";
import type { Command } from "./redis-writes.ts";
import { type WholeStoreSettings, wholeStoreSettings } from "./store-settings.ts";
import { walkTree } from "./tree-walk.ts";
import { decodeValueFields, encodeValueFields, type ValueFields } from "./value-hash.ts";

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
const membersPerScan = 500;

class RedisStore implements RedisMognetStore {
  readonly name = "redis";
  readonly state: MognetStateStore;
  readonly #names: MognetNames;
  readonly #settings: WholeStoreSettings;
  readonly #link: MognetRedisLink;
  readonly #stateLink: MognetRedisLink;
  readonly #tracking: RedisTracking;
  readonly #waits: Waits<AwaitedFound>;
  /** Of what is awaited, what more than the end is wanted: "v" the value, "u" all updates. */
  readonly #wants = new Map<string, AwaitedWants>();
  #loading: Promise<void> | null = null;
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
    this.#link = new MognetRedisLink({ ...rest, urls, purpose: "mognet-results" });
    const elsewhere = stateUrls !== undefined && String(stateUrls) !== String(urls);
    this.#stateLink = elsewhere
      ? new MognetRedisLink({ ...rest, urls: stateUrls, purpose: "mognet-state" })
      : this.#link;
    this.state = new RedisStates(this.#stateLink, this.#names, this.#settings.stateTtl);
    this.#waits = new Waits({
      isReady: ({ result }) => isMognetDone(result.state),
      onIdle: (id) => {
        this.#wants.delete(id);
        this.#tracking.drop(this.#names.resultKey(id));
      },
    });
    const reading = new AwaitedReading({
      names: this.#names,
      settings: this.#settings,
      link: this.#link,
      waits: this.#waits,
      wants: (id) => this.#wants.get(id) ?? "",
    });
    this.#tracking = new RedisTracking({
      target: this.#link.target,
      connection: this.#link.connectionOptions,
      log: this.#link.log,
      read: (client, keys) => reading.read(client, keys),
      onAway: (error) => this.#waits.storeIsAway(error),
      onBack: () => this.#waits.storeIsBack(),
      onRefused: (error) => {
        for (const id of [...this.#waits.ids()]) this.#waits.fail(id, this.#link.unreadable(id, error));
      },
      ...(pollMs === undefined ? {} : { pollMs }),
      ...(lookMs === undefined ? {} : { lookMs }),
    });
  }

  get waiting(): RedisMognetStore["waiting"] {
    const { mode, size, reads } = this.#tracking;
    return { mode, ids: size, reads };
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
      ...(alone ? { short: ["N", this.#settings.resultTtl ?? "", ...mognetResultTexts(result)] } : {}),
      commands: () => [
        ...(parentId === null ? [] : this.#childrenCommands(parentId, [id])),
        ...this.#resultCommands(result),
        ...this.#metadataCommands(id, metadata ?? {}),
      ],
    }));
  }

  async begin(id: string, { nodeId, started }: MognetBegin): Promise<MognetBegun> {
    const ttl = this.#settings.resultTtl ?? "";
    const write = await this.#link.write(() => ({
      id,
      key: this.#names.resultKey(id),
      short: ["B", ttl, encodeAsciiJson(started), encodeAsciiJson(nodeId)],
      commands: () => [],
    }));
    if (!write.written) return { begun: false, result: write.current };
    const [name = null, parent = null, created = null, kwargs = null] = write.told ?? [];
    const fresh = [`"${id}"`, name, null, null, null, parent, created, null, null, null, kwargs];
    return { begun: true, result: startedResult(decodeMognetResult(fresh), nodeId, started) };
  }

  put({ result, value, condition, over, anew = false, clearState = false }: MognetPut): Promise<MognetWrite> {
    const { id } = result;
    const clearsHere = clearState && this.#stateLink === this.#link;
    const writing = this.#link.write(() => {
      // Encoded now: what it is made of may change.
      const fields = value === undefined ? null : encodeValueFields(value, this.#settings.resultValueEncoding);
      const isShort = fields !== null && over !== undefined && isEnd(over, result, condition);
      return {
        id,
        key: this.#names.resultKey(id),
        condition,
        result,
        ...(isShort ? { short: this.#end(result, fields, clearsHere) } : {}),
        commands: () => [
          ...(anew ? [["DEL", this.#names.resultKey(id), this.#names.valueKey(id)] satisfies Command] : []),
          ...(fields === null ? [] : this.#fieldCommands(id, fields)),
          ...this.#resultCommands(result),
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
      commands: () => this.#valueCommands(id, value),
    }));
  }

  async addChildren(id: string, children: readonly string[]): Promise<void> {
    if (children.length === 0) return;
    for (let at = 0; at < children.length; at += membersPerScan) {
      const part = children.slice(at, at + membersPerScan);
      await this.#link.write(() => ({
        id,
        key: this.#names.childrenKey(id),
        commands: () => this.#childrenCommands(id, part),
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
      const count = Math.min(membersPerScan, Math.max(1, limit));
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
      commands: () => this.#metadataCommands(id, metadata),
    }));
  }

  async delete(id: string, options: MognetTreeOptions = {}): Promise<void> {
    for await (const batch of walkTree(this, id, options)) {
      await this.#forEach(batch, (each) => [["DEL", ...this.#keysOf(each)]]);
    }
  }

  async setTtl(id: string, ttlSeconds: number, options: MognetTreeOptions = {}): Promise<void> {
    if (!Number.isInteger(ttlSeconds)) throw new EncodeError(`a lifetime is whole seconds, not ${ttlSeconds}`);
    for await (const batch of walkTree(this, id, options)) {
      await this.#forEach(batch, (each) => this.#keysOf(each).map((key): Command => ["EXPIRE", key, ttlSeconds]));
    }
  }

  waitFor(id: string, { value, onUpdate, ...options }: MognetWaitOptions = {}): Promise<MognetOutcome> {
    if (this.#closing !== null) return Promise.reject(new ResultLost(id, "the result store is closed"));
    const wait = this.#waits.add(id, { ...options, ...(onUpdate && { onUpdate: ({ result }) => onUpdate(result) }) });
    if (this.#waits.has(id)) {
      const wanted = this.#wants.get(id) ?? "";
      const wants = wantsOf(value === true || wanted.includes("v"), onUpdate !== undefined || wanted.includes("u"));
      if (wants !== "") this.#wants.set(id, wants);
      this.#track(this.#names.resultKey(id));
    }
    return wait.then((found) => {
      if (value === true && found.unreadable !== undefined) throw found.unreadable;
      return { result: found.result, value: value === true ? found.value : null };
    });
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
    this.#waits.close();
    this.#tracking.close();
    await Promise.all([this.#link.close(), this.#stateLink.close()]);
  }

  // ------------------------------------------------------------------------------------------------------------- inside

  async #get(client: Redis, id: string): Promise<MognetResult | null> {
    inOneWrite(client);
    const fields = await client.hmget(this.#names.resultKey(id), ...MOGNET_RESULT_FIELDS);
    return isMissing(fields) ? null : decodeMognetResult(fields);
  }

  #keysOf(id: string): string[] {
    const names = this.#names;
    return [names.resultKey(id), names.childrenKey(id), names.valueKey(id), names.metadataKey(id)];
  }

  async #forEach(ids: readonly string[], commands: (id: string) => Command[]): Promise<void> {
    await Promise.all(
      ids.map((id) => this.#link.write(() => ({ id, key: this.#names.resultKey(id), commands: () => commands(id) }))),
    );
  }

  #end(result: MognetResult, [, contents, , encoding]: ValueFields, clears: boolean) {
    const { id, state, finished, numberOfStarts, numberOfStops } = result;
    const { resultTtl, resultValueTtl } = this.#settings;
    return [
      "E",
      `${numberOfStarts}`,
      resultTtl ?? "",
      resultValueTtl ?? "",
      `"${state}"`,
      finished === null ? "null" : encodeAsciiJson(finished),
      `${numberOfStops}`,
      contents,
      encoding,
      clears ? this.#names.stateKey(id) : "",
    ];
  }

  #resultCommands(result: MognetResult): Command[] {
    const key = this.#names.resultKey(result.id);
    return withTtl(["HSET", key, ...encodeMognetResult(result)], key, this.#settings.resultTtl);
  }

  #valueCommands(id: string, value: MognetValue): Command[] {
    return this.#fieldCommands(id, encodeValueFields(value, this.#settings.resultValueEncoding));
  }

  #fieldCommands(id: string, fields: ValueFields): Command[] {
    const key = this.#names.valueKey(id);
    return withTtl(["HSET", key, ...fields], key, this.#settings.resultValueTtl);
  }

  #childrenCommands(id: string, children: readonly string[]): Command[] {
    const key = this.#names.childrenKey(id);
    const members = children.map((child) => Buffer.from(mognetIdBytes(child)));
    return withTtl(["SADD", key, ...members], key, this.#settings.resultTtl);
  }

  #metadataCommands(id: string, metadata: Readonly<Record<string, unknown>>): Command[] {
    const members = Object.entries(metadata).map(([name, value]): [string, string] => [name, encodeAsciiJson(value)]);
    const key = this.#names.metadataKey(id);
    const commands: Command[] = [];
    for (let at = 0; at < members.length; at += membersPerScan) {
      commands.push(
        ...withTtl(["HSET", key, ...members.slice(at, at + membersPerScan).flat()], key, this.#settings.resultTtl),
      );
    }
    return commands;
  }

  #track(key: string): void {
    if (isRedisLoaded()) return this.#tracking.want(key);
    this.#loading ??= loadRedis().then(
      () => {
        for (const id of this.#waits.ids()) this.#tracking.want(this.#names.resultKey(id));
      },
      (error: unknown) => {
        this.#loading = null;
        for (const id of [...this.#waits.ids()]) this.#waits.fail(id, error);
      },
    );
  }
}

/** The end of a run, while it is open and of that run: there is a short form for it. */
function isEnd(over: MognetResult, result: MognetResult, condition: MognetCondition | undefined): boolean {
  if (condition === undefined || condition.nodeId !== undefined || condition.states !== MOGNET_OPEN_STATES)
    return false;
  return condition.starts === over.numberOfStarts && isPlainEnd(over, result);
}

function withTtl(command: Command, key: string, ttl: number | null): Command[] {
  return ttl === null ? [command] : [command, ["EXPIRE", key, ttl]];
}
