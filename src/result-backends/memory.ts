/**
 * Results in this process's memory: for tests, and for a client and a worker that share one process. Backends made with one
 * `MemoryHub` see each other's records. Records are kept encoded, so that nobody can change a stored one, and are bounded in
 * number (oldest go first) and in time (the codec's ttl), without a timer per record.
 */
import type { ChordCounter, GroupStore } from "./chord-counter.ts";
import { BackendGetMetaError, BackendStoreError } from "./errors.ts";
import { MemoryChordHub, MemoryChords } from "./memory-chords.ts";
import type { RecordCodec, ResultBackend, WatchOptions } from "./result-backend.ts";
import { unreadable } from "./stored-value.ts";
import { Waits } from "./waits.ts";

interface StoredRecord {
  bytes: Uint8Array;
  contentType: string;
  final: boolean;
  /** `performance.now()` milliseconds; infinity: for ever. */
  expiresAtMs: number;
}

/** What several memory backends share. */
export class MemoryHub {
  readonly records = new Map<string, StoredRecord>();
  readonly listeners = new Set<(key: string) => void>();
  readonly chords = new MemoryChordHub();
}

export interface MemoryBackendOptions<R> {
  codec: RecordCodec<R>;
  /** Where the records are. @default a new hub, seen by this backend alone */
  hub?: MemoryHub;
  /** Records kept; the one stored longest ago makes room. @default 100_000 */
  maxRecords?: number;
}

const textEncoder = new TextEncoder();

class MemoryBackend<R> implements ResultBackend<R> {
  readonly name = "memory";
  readonly can = { sharedReads: true, persistent: false };
  readonly chords?: ChordCounter;
  readonly groups?: GroupStore;
  readonly #codec: RecordCodec<R>;
  readonly #hub: MemoryHub;
  readonly #maxRecords: number;
  readonly #waits: Waits<R>;
  /** Key to id of the awaited records. */
  readonly #awaited = new Map<string, string>();
  #closed = false;

  constructor({ codec, hub = new MemoryHub(), maxRecords = 100_000 }: MemoryBackendOptions<R>) {
    this.#codec = codec;
    this.#hub = hub;
    this.#maxRecords = maxRecords;
    this.#waits = new Waits({
      isReady: (record) => codec.isReady(record),
      onIdle: (id) => this.#awaited.delete(codec.key(id)),
    });
    hub.listeners.add(this.#onStored);
    if (codec.group !== undefined) {
      const chords = new MemoryChords({ hub: hub.chords, codec: codec.group });
      this.chords = chords;
      this.groups = chords;
    }
  }

  async replyTo(): Promise<string> {
    return "";
  }

  async store(id: string, record: R): Promise<void> {
    if (this.#closed) throw new BackendStoreError(id, "the result backend is closed");
    const { records, listeners } = this.#hub;
    const key = this.#codec.key(id);
    const encoded = this.#codec.encode(id, record);
    if (this.#live(key)?.final) return;
    const ttl = this.#codec.ttl(record);
    records.delete(key); // so that the map's order is the order of the last store
    records.set(key, {
      bytes: typeof encoded.body === "string" ? textEncoder.encode(encoded.body) : encoded.body.slice(),
      contentType: encoded.contentType,
      final: this.#codec.isFinal(record),
      expiresAtMs: ttl === null ? Number.POSITIVE_INFINITY : performance.now() + ttl * 1000,
    });
    for (const oldest of records.keys()) {
      if (records.size <= this.#maxRecords) break;
      records.delete(oldest);
    }
    for (const listener of listeners) listener(key);
  }

  async get(id: string, { exactly }: { exactly?: boolean } = {}): Promise<R | null> {
    if (this.#closed) throw new BackendGetMetaError(id, "the result backend is closed", { retryable: false });
    const stored = this.#live(this.#codec.key(id));
    return stored === undefined ? null : this.#decode(id, stored, exactly);
  }

  watch(id: string, options: WatchOptions<R>): Promise<R> {
    let key: string;
    try {
      key = this.#codec.key(id);
    } catch (error) {
      return Promise.reject(error);
    }
    const wait = this.#waits.add(id, options);
    if (!this.#waits.has(id)) return wait;
    this.#awaited.set(key, id);
    if (this.#closed) this.#waits.close();
    else this.#onStored(key);
    return wait;
  }

  async forget(id: string): Promise<void> {
    this.#hub.records.delete(this.#codec.key(id));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#hub.listeners.delete(this.#onStored);
    this.#waits.close();
  }

  readonly #onStored = (key: string): void => {
    const id = this.#awaited.get(key);
    if (id === undefined) return;
    const stored = this.#live(key);
    if (stored === undefined) return;
    let record: R;
    try {
      record = this.#decode(id, stored);
    } catch (error) {
      this.#waits.fail(id, error);
      return;
    }
    this.#waits.offer(id, record, stored.bytes);
  };

  #decode(id: string, stored: StoredRecord, exactly?: boolean): R {
    try {
      return this.#codec.decode(id, stored.bytes, stored.contentType, exactly);
    } catch (error) {
      throw unreadable(error, id, this.#codec.key(id));
    }
  }

  #live(key: string): StoredRecord | undefined {
    const { records } = this.#hub;
    const stored = records.get(key);
    if (stored === undefined || stored.expiresAtMs > performance.now()) return stored;
    records.delete(key);
    return undefined;
  }
}

export function createMemoryBackend<R>(options: MemoryBackendOptions<R>): ResultBackend<R> {
  return new MemoryBackend(options);
}
