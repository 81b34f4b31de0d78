/**
 * Where the results of Mognet tasks live, and the state of those that run. The contract of Mognet's result and state backends,
 * with three things more: conditional writes, so that a late finish never overwrites REVOKED; an atomic revoke; and waits
 * that hear of a result, whoever wrote it, without polling. wire: Mognet 2.0.0 backend/base_result_backend.py,
 * state/base_state_backend.py.
 *
 * Ids are lower-case dashed UUIDs (`mognetId`). Every method rejects with a `BackendError`: `BackendStoreError` (not written),
 * `BackendGetMetaError` (not read). Writes wait for a connection that is being made or has gone; reads do so
 * for a moment only.
 */
import type { MognetResult } from "../../../protocol/mognet/result.ts";
import type { MognetState } from "../../../protocol/mognet/states.ts";
import type { MognetValue } from "../../../protocol/mognet/value.ts";
import type { Cancellation } from "../../runtime/cancellation.ts";

/** What must hold of the stored result for a write to happen. A result that is not there fulfils everything but `exists`. */
export interface MognetCondition {
  /** Its state is one of these. */
  states?: readonly MognetState[];
  /** No run began since: its `number_of_starts`. */
  starts?: number;
  /** It is this node's. */
  nodeId?: string;
  /** True: it must be there. @default false */
  exists?: boolean;
}

/** `current` is what is stored when the condition did not hold; null: nothing is. */
export type MognetWrite = { written: true } | { written: false; current: MognetResult | null };

export interface MognetPut {
  result: MognetResult;
  /** Written before the result, in the same step. */
  value?: MognetValue;
  condition?: MognetCondition;
  /** What is stored now as far as the writer knows, where the condition holds: what is the same need not travel. */
  over?: MognetResult;
  /** Whatever lies under the keys of result and value, of whatever type, goes first. Without a condition. @default false */
  anew?: boolean;
  /** Once it is written, the task's state is removed, for it has ended; what cannot be removed goes with its lifetime. @default false */
  clearState?: boolean;
}

/** The first run of a result: who begins it, and when. */
export interface MognetBegin {
  nodeId: string;
  started: string;
}

/** `result` is as it is stored now; null: there is none. */
export type MognetBegun = { begun: true; result: MognetResult } | { begun: false; result: MognetResult | null };

/** What a submit writes, in one step and in Mognet's order: the parent's children, the result, the metadata. */
export interface MognetCreation {
  result: MognetResult;
  metadata?: Readonly<Record<string, unknown>>;
}

export interface MognetWaitOptions {
  /** Ends the wait: it rejects with the signal's reason. */
  signal?: Cancellation;
  /** Bring the value as well. @default false */
  value?: boolean;
  /** Milliseconds that the store may be away before the wait fails; null: wait for it. @default null */
  lostAfter?: number | null;
  /** Every stored change that the wait learned of before the end; some may be passed over. */
  onUpdate?: (result: MognetResult) => void;
}

export interface MognetOutcome {
  result: MognetResult;
  /** Null when it was not asked for, or is not (any longer) there. */
  value: MognetValue | null;
}

export interface MognetRevocation {
  /** The result as it is now. */
  result: MognetResult;
  /** False: it was done already, and `force` was not given. */
  revoked: boolean;
  /** The id was unknown: a tombstone was written. */
  created: boolean;
}

export interface MognetTreeOptions {
  /** The results of all descendants too. @default true */
  includeChildren?: boolean;
}

export interface MognetStore {
  readonly name: "redis" | "memory";

  /** Null: there is none. */
  get(id: string): Promise<MognetResult | null>;
  /** In the order asked for. */
  getMany(ids: readonly string[]): Promise<(MognetResult | null)[]>;
  /** Mognet's `get_or_create`: with the placeholder value that Python readers need. */
  getOrCreate(id: string): Promise<MognetResult>;

  create(creation: MognetCreation): Promise<void>;
  /** Reads a result, and says RUNNING in the same step if it is as it was created: open, never begun. */
  begin(id: string, begin: MognetBegin): Promise<MognetBegun>;
  /** Writes the whole result, if the condition holds; the check and the write are one atomic step. */
  put(put: MognetPut): Promise<MognetWrite>;
  /** Atomically: as `getOrCreate`, then REVOKED unless done (or `force`). `finished` is the time that is written. */
  revoke(id: string, options: { finished: string; force?: boolean }): Promise<MognetRevocation>;

  /** Null: the value is not there, which Mognet calls `ResultValueLost`. */
  getValue(id: string): Promise<MognetValue | null>;
  setValue(id: string, value: MognetValue): Promise<void>;

  addChildren(id: string, children: readonly string[]): Promise<void>;
  countChildren(id: string): Promise<number>;
  /** Each child once, in no order, read in batches; at most `limit`. */
  childIds(id: string, options?: { limit?: number }): AsyncIterable<string>;

  getMetadata(id: string): Promise<Record<string, unknown>>;
  /** Merges. */
  setMetadata(id: string, metadata: Readonly<Record<string, unknown>>): Promise<void>;

  /** Deletes result, value, children and metadata. */
  delete(id: string, options?: MognetTreeOptions): Promise<void>;
  setTtl(id: string, ttlSeconds: number, options?: MognetTreeOptions): Promise<void>;

  /**
   * Resolves when the result is done, whoever wrote it. Rejects with `ResultLost` when there is no such result or it vanishes
   * meanwhile, and when the store is closed. Goes on over lost connections.
   */
  waitFor(id: string, options?: MognetWaitOptions): Promise<MognetOutcome>;
  /** Why what is awaited cannot be heard of just now, for the error of a wait that gives up; null while it can. */
  outage?(): Error | null;

  /** What a running task remembers over pauses. */
  readonly state: MognetStateStore;

  /** Resolves when the store answers (Mognet's `connect`); rejects with a `BackendError` when it refuses us. */
  connect(): Promise<void>;
  /** Waits a moment for writes on their way; nothing of the store keeps the process alive after it. */
  close(): Promise<void>;
}

export interface MognetStateStore {
  /** Undefined: there is no such key. Renews the lifetime, as in Mognet. */
  get(id: string, key: string): Promise<unknown>;
  set(id: string, key: string, value: unknown): Promise<void>;
  /** As `get`, and removes it. */
  pop(id: string, key: string): Promise<unknown>;
  clear(id: string): Promise<void>;
}

/** Lifetimes and form of what is stored; null: for ever, where Mognet allows it. */
export interface MognetStoreSettings {
  /** Seconds. Mognet's `result_ttl`. @default 1_814_400 */
  resultTtl?: number | null;
  /** Seconds. Mognet's `result_value_ttl`. @default 604_800 */
  resultValueTtl?: number | null;
  /** Mognet's `result_value_encoding`. @default "gzip" */
  resultValueEncoding?: "gzip" | null;
  /** Seconds. Mognet's `state_ttl`. @default 7_200 */
  stateTtl?: number;
  /** Keep Python's 1.0 and 1 apart in values that are read. @default false */
  exactFloats?: boolean;
  /** Longest value that is read, in bytes when decompressed. @default 256 MiB */
  maxValueBytes?: number;
  /** Deepest nesting of values that are read. @default 1000 */
  maxValueDepth?: number;
}
