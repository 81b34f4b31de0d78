/**
 * Results in this process's memory: for tests, and for a client and a worker that share one process. Stores made with one hub see
 * each other's results. Everything is kept encoded, so that nobody can change what is stored, bounded in number (the oldest
 * result goes first, with all that belongs to it) and in time.
 */

import { decodePlainJson } from "../../../protocol/mognet/json.ts";
import { encodeAsciiJson } from "../../../protocol/mognet/json-text.ts";
import { NOT_READY_VALUE } from "../../../protocol/mognet/refusals.ts";
import {
  isDoneResult,
  isUntouched,
  type MognetResult,
  newMognetResult,
  startedResult,
} from "../../../protocol/mognet/result.ts";
import { decodeMognetValue, encodeMognetValue, type MognetValue } from "../../../protocol/mognet/value.ts";
import { BackendStoreError, ResultLost } from "../errors.ts";
import { Waits } from "../waits.ts";
import { conditionHolds } from "./conditions.ts";
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
import { valueReading, type WholeStoreSettings, wholeStoreSettings } from "./store-settings.ts";
import { walkTree } from "./tree-walk.ts";

/** `expiresAtMs` is of `performance.now()`; infinity: for ever. */
interface Kept<T> {
  content: T;
  expiresAtMs: number;
}

/** What several memory stores share. */
export class MognetMemoryHub {
  readonly results = new Map<string, Kept<MognetResult>>();
  readonly values = new Map<string, Kept<string>>();
  readonly children = new Map<string, Kept<Set<string>>>();
  readonly metadata = new Map<string, Kept<Map<string, string>>>();
  readonly states = new Map<string, Kept<Map<string, string>>>();
  readonly listeners = new Set<(id: string) => void>();
}

const hubs = new Map<string, MognetMemoryHub>();

function namedHub(name: string): MognetMemoryHub {
  let hub = hubs.get(name);
  if (hub === undefined) {
    hub = new MognetMemoryHub();
    hubs.set(name, hub);
  }
  return hub;
}

export interface MemoryMognetStoreOptions extends MognetStoreSettings {
  /** A hub, or the name of one: all stores of this process that name it share its results. @default a new hub */
  hub?: string | MognetMemoryHub;
  /** Results kept, and states of tasks; those written longest ago make room. @default 100_000 */
  maxResults?: number;
}

export function createMemoryMognetStore(options: MemoryMognetStoreOptions = {}): MognetStore {
  return new MemoryMognetStore(options);
}

class MemoryMognetStore implements MognetStore {
  readonly name = "memory";
  readonly state: MognetStateStore;
  readonly #hub: MognetMemoryHub;
  readonly #settings: WholeStoreSettings;
  readonly #maxResults: number;
  readonly #waits: Waits<MognetOutcome>;
  #closed = false;

  constructor({ hub, maxResults = 100_000, ...settings }: MemoryMognetStoreOptions) {
    this.#hub = typeof hub === "string" ? namedHub(hub) : (hub ?? new MognetMemoryHub());
    this.#settings = wholeStoreSettings(settings);
    this.#maxResults = maxResults;
    this.#waits = new Waits({ isReady: (outcome) => isDoneResult(outcome.result) });
    this.#hub.listeners.add(this.#onChanged);
    this.state = new MemoryStates(this.#hub, this.#settings.stateTtl, maxResults);
  }

  async get(id: string): Promise<MognetResult | null> {
    const result = live(this.#hub.results, id);
    return result === null ? null : { ...result };
  }

  getMany(ids: readonly string[]): Promise<(MognetResult | null)[]> {
    return Promise.all(ids.map((id) => this.get(id)));
  }

  async getOrCreate(id: string): Promise<MognetResult> {
    this.#open(id);
    return { ...this.#getOrCreate(id).result };
  }

  async create({ result, metadata }: MognetCreation): Promise<void> {
    this.#open(result.id);
    const encoded = encodeMembers(metadata ?? {});
    if (result.parentId !== null) this.#addChildren(result.parentId, [result.id]);
    this.#write(result);
    if (encoded.length > 0) this.#merge(result.id, encoded);
  }

  async begin(id: string, { nodeId, started }: MognetBegin): Promise<MognetBegun> {
    this.#open(id);
    const current = live(this.#hub.results, id);
    if (current === null) return { begun: false, result: null };
    if (!isUntouched(current)) return { begun: false, result: { ...current } };
    const result = startedResult(current, nodeId, started);
    this.#write(result);
    return { begun: true, result: { ...result } };
  }

  async put({ result, value, condition, anew, clearState }: MognetPut): Promise<MognetWrite> {
    this.#open(result.id);
    const encoded = value === undefined ? null : encodeMognetValue(value);
    const current = live(this.#hub.results, result.id);
    if (!conditionHolds(condition, current))
      return { written: false, current: current === null ? null : { ...current } };
    if (anew === true) this.#hub.values.delete(result.id);
    if (encoded !== null) this.#writeValue(result.id, encoded);
    this.#write(result);
    if (clearState === true) await this.state.clear(result.id);
    return { written: true };
  }

  async revoke(
    id: string,
    { finished, force = false }: { finished: string; force?: boolean },
  ): Promise<MognetRevocation> {
    this.#open(id);
    const { result, created } = this.#getOrCreate(id);
    if (isDoneResult(result) && !force) return { result: { ...result }, revoked: false, created };
    const revoked: MognetResult = { ...result, state: "REVOKED", finished, numberOfStops: result.numberOfStops + 1 };
    this.#write(revoked);
    return { result: { ...revoked }, revoked: true, created };
  }

  async getValue(id: string): Promise<MognetValue | null> {
    const text = live(this.#hub.values, id);
    return text === null ? null : decodeMognetValue(text, valueReading(this.#settings));
  }

  async setValue(id: string, value: MognetValue): Promise<void> {
    this.#open(id);
    this.#writeValue(id, encodeMognetValue(value));
  }

  async addChildren(id: string, children: readonly string[]): Promise<void> {
    this.#open(id);
    if (children.length > 0) this.#addChildren(id, children);
  }

  async countChildren(id: string): Promise<number> {
    return live(this.#hub.children, id)?.size ?? 0;
  }

  async *childIds(id: string, { limit = Number.POSITIVE_INFINITY }: { limit?: number } = {}): AsyncIterable<string> {
    let left = limit;
    for (const child of [...(live(this.#hub.children, id) ?? [])]) {
      if (--left < 0) return;
      yield child;
    }
  }

  async getMetadata(id: string): Promise<Record<string, unknown>> {
    const members = live(this.#hub.metadata, id);
    return Object.fromEntries(Array.from(members ?? [], ([key, text]) => [key, decodePlainJson(text)]));
  }

  async setMetadata(id: string, metadata: Readonly<Record<string, unknown>>): Promise<void> {
    this.#open(id);
    const encoded = encodeMembers(metadata);
    if (encoded.length > 0) this.#merge(id, encoded);
  }

  async delete(id: string, options: MognetTreeOptions = {}): Promise<void> {
    this.#open(id);
    for await (const batch of walkTree(this, id, options)) {
      for (const each of batch) {
        this.#drop(each);
        this.#tell(each);
      }
    }
  }

  async setTtl(id: string, ttlSeconds: number, options: MognetTreeOptions = {}): Promise<void> {
    this.#open(id);
    const { results, values, children, metadata } = this.#hub;
    for await (const batch of walkTree(this, id, options)) {
      for (const each of batch) {
        for (const map of [results, values, children, metadata]) {
          const kept = map.get(each);
          if (kept !== undefined) kept.expiresAtMs = expiry(ttlSeconds);
        }
      }
    }
  }

  waitFor(id: string, { value, onUpdate, ...options }: MognetWaitOptions = {}): Promise<MognetOutcome> {
    if (this.#closed) return Promise.reject(new ResultLost(id, "the result store is closed"));
    const wait = this.#waits.add(id, { ...options, ...(onUpdate && { onUpdate: ({ result }) => onUpdate(result) }) });
    this.#onChanged(id);
    return wait.then(({ result, value: found }) => ({ result, value: value === true ? found : null }));
  }

  async connect(): Promise<void> {
    this.#open("");
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#hub.listeners.delete(this.#onChanged);
    this.#waits.close();
  }

  // ------------------------------------------------------------------------------------------------------------- inside

  #open(id: string): void {
    if (this.#closed) throw new BackendStoreError(id, "the result store is closed");
  }

  #getOrCreate(id: string): { result: MognetResult; created: boolean } {
    const there = live(this.#hub.results, id);
    const result = there ?? newMognetResult({ id });
    if (there === null) this.#write(result);
    if (live(this.#hub.values, id) === null) this.#writeValue(id, encodeMognetValue(NOT_READY_VALUE));
    return { result, created: there === null };
  }

  #write(result: MognetResult): void {
    const { results } = this.#hub;
    results.delete(result.id); // so that the map's order is the order of the last write
    results.set(result.id, { content: { ...result }, expiresAtMs: expiry(this.#settings.resultTtl) });
    for (const [oldest, kept] of results) {
      if (results.size <= this.#maxResults && kept.expiresAtMs > performance.now()) break;
      this.#drop(oldest);
      this.#tell(oldest);
    }
    this.#tell(result.id);
  }

  #drop(id: string): void {
    const { results, values, children, metadata } = this.#hub;
    for (const map of [results, values, children, metadata]) map.delete(id);
  }

  #writeValue(id: string, text: string): void {
    this.#hub.values.set(id, { content: text, expiresAtMs: expiry(this.#settings.resultValueTtl) });
  }

  #addChildren(id: string, added: readonly string[]): void {
    const children = live(this.#hub.children, id) ?? new Set();
    for (const child of added) children.add(child);
    this.#hub.children.set(id, { content: children, expiresAtMs: expiry(this.#settings.resultTtl) });
  }

  #merge(id: string, members: readonly (readonly [string, string])[]): void {
    const merged = live(this.#hub.metadata, id) ?? new Map<string, string>();
    for (const [key, text] of members) merged.set(key, text);
    this.#hub.metadata.set(id, { content: merged, expiresAtMs: expiry(this.#settings.resultTtl) });
  }

  #tell(id: string): void {
    for (const listener of [...this.#hub.listeners]) listener(id);
  }

  readonly #onChanged = (id: string): void => {
    if (!this.#waits.has(id)) return;
    const result = live(this.#hub.results, id);
    if (result === null) {
      this.#waits.fail(id, new ResultLost(id, `there is no result of ${id}`));
      return;
    }
    const text = isDoneResult(result) ? live(this.#hub.values, id) : null;
    this.#waits.offer(id, {
      result: { ...result },
      value: text === null ? null : decodeMognetValue(text, valueReading(this.#settings)),
    });
  };
}

class MemoryStates implements MognetStateStore {
  readonly #hub: MognetMemoryHub;
  readonly #ttl: number;
  readonly #max: number;

  constructor(hub: MognetMemoryHub, ttl: number, max: number) {
    this.#hub = hub;
    this.#ttl = ttl;
    this.#max = max;
  }

  async get(id: string, key: string): Promise<unknown> {
    const text = this.#touched(id)?.get(key);
    return text === undefined ? undefined : decodePlainJson(text);
  }

  async set(id: string, key: string, value: unknown): Promise<void> {
    const text = encodeAsciiJson(value);
    const members = this.#touched(id) ?? new Map<string, string>();
    members.set(key, text);
    const { states } = this.#hub;
    states.delete(id);
    states.set(id, { content: members, expiresAtMs: expiry(this.#ttl) });
    for (const oldest of states.keys()) {
      if (states.size <= this.#max) break;
      states.delete(oldest);
    }
  }

  async pop(id: string, key: string): Promise<unknown> {
    const members = this.#touched(id);
    const text = members?.get(key);
    members?.delete(key);
    return text === undefined ? undefined : decodePlainJson(text);
  }

  async clear(id: string): Promise<void> {
    this.#hub.states.delete(id);
  }

  #touched(id: string): Map<string, string> | null {
    const members = live(this.#hub.states, id);
    const kept = this.#hub.states.get(id);
    if (kept !== undefined) kept.expiresAtMs = expiry(this.#ttl);
    return members;
  }
}

function expiry(ttlSeconds: number | null): number {
  return ttlSeconds === null ? Number.POSITIVE_INFINITY : performance.now() + ttlSeconds * 1000;
}

function live<T>(map: Map<string, Kept<T>>, id: string): T | null {
  const kept = map.get(id);
  if (kept === undefined) return null;
  if (kept.expiresAtMs > performance.now()) return kept.content;
  map.delete(id);
  return null;
}

function encodeMembers(members: Readonly<Record<string, unknown>>): (readonly [string, string])[] {
  return Object.entries(members).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, encodeAsciiJson(value)] as const],
  );
}
