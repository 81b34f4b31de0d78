/**
 * Chords and groups of one process: the rules of Celery's scripts on Redis, with maps for keys. Values are kept encoded; chords are
 * bounded in number, oldest first, and those whose body was sent make no room for themselves among the others.
 */
import type { ResultTuple } from "../../protocol/celery/result-tuple.ts";
import type {
  ChordClaim,
  ChordCounter,
  ChordPart,
  ChordStart,
  CollectedPart,
  GroupCodec,
  GroupStore,
} from "./chord-counter.ts";
import { readGroup, readPart } from "./group-values.ts";

const textEncoder = new TextEncoder();

interface KeptPart {
  readonly index: number;
  readonly bytes: Uint8Array;
}

class Chord {
  /** By task id and index. */
  readonly parts = new Map<string, KeptPart>();
  added = 0;
  /** Null: not started, or failed. */
  size: number | null = null;
  claim: MemoryClaim | null = null;
  claimEndsMs = 0;
  /** The body was sent: whoever has claimed it before cannot send it again. */
  done = false;

  end(): void {
    this.parts.clear();
    this.added = 0;
    this.size = null;
    this.claim = null;
    this.done = true;
  }
}

/** What several backends of one process share. */
export class MemoryChordHub {
  readonly chords = new Map<string, Chord>();
  /** Chords whose body was sent, which are remembered for a while: a part that comes again must not begin them anew. */
  readonly done = new Map<string, true>();
  readonly groups = new Map<string, Uint8Array>();
}

export interface MemoryChordOptions {
  hub: MemoryChordHub;
  codec: GroupCodec;
  /** Chords and groups kept. @default 10_000 */
  max?: number;
  /** Seconds a claim lives. @default 6 */
  claimSeconds?: number;
}

export class MemoryChords implements ChordCounter, GroupStore {
  readonly #hub: MemoryChordHub;
  readonly #codec: GroupCodec;
  readonly #max: number;
  readonly #claimSeconds: number;

  constructor({ hub, codec, max = 10_000, claimSeconds = 6 }: MemoryChordOptions) {
    this.#hub = hub;
    this.#codec = codec;
    this.#max = max;
    this.#claimSeconds = claimSeconds;
  }

  async start(groupId: string, { size, header }: ChordStart): Promise<void> {
    if (header !== null) await this.save(header, groupId);
    this.#hub.done.delete(this.#codec.key(groupId));
    const chord = this.#chord(groupId);
    chord.claim = null;
    chord.size = size;
  }

  async returned(groupId: string, part: ChordPart): Promise<ChordClaim | null> {
    const bytes = this.#encode([1, part.taskId, part.state, part.result]);
    if (this.#hub.done.has(this.#codec.key(groupId))) return null;
    const chord = this.#chord(groupId);
    const index = part.groupIndex ?? Number.POSITIVE_INFINITY;
    const member = `${part.taskId}:${index}`;
    if (!chord.parts.has(member)) chord.parts.set(member, { index, bytes });
    if (chord.size === null || chord.parts.size !== chord.size + chord.added) return null;
    if (chord.claim !== null && chord.claimEndsMs > performance.now()) return null;
    const claim = new MemoryClaim(groupId, this.#claimSeconds, chord, this);
    chord.claim = claim;
    chord.claimEndsMs = performance.now() + this.#claimSeconds * 1000;
    return claim;
  }

  async addParts(groupId: string, count: number): Promise<void> {
    this.#chord(groupId).added += count;
  }

  async end(groupId: string): Promise<boolean> {
    if (this.#hub.done.has(this.#codec.key(groupId))) return false;
    this.#chord(groupId).end();
    this.finish(groupId);
    return true;
  }

  async collect(groupId: string, chord: Chord): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    const header = await this.restore(groupId);
    if (header !== null) return { header };
    const kept = [...chord.parts.values()].sort((a, b) => (a.index === b.index ? inBytes(a, b) : a.index - b.index));
    return { parts: kept.map(({ bytes }) => readPart(this.#codec.decode(bytes))) };
  }

  /** The body was sent. */
  finish(groupId: string): void {
    const key = this.#codec.key(groupId);
    this.#hub.chords.delete(key);
    keep(this.#hub.done, key, true, this.#max);
  }

  async save(group: ResultTuple, groupId: string = group[0][0]): Promise<void> {
    keep(this.#hub.groups, this.#codec.key(groupId), this.#encode({ result: group }), this.#max);
  }

  async restore(groupId: string): Promise<ResultTuple | null> {
    const bytes = this.#hub.groups.get(this.#codec.key(groupId));
    return bytes === undefined ? null : readGroup(this.#codec.decode(bytes));
  }

  async forget(groupId: string): Promise<void> {
    this.#hub.groups.delete(this.#codec.key(groupId));
  }

  #chord(groupId: string): Chord {
    const key = this.#codec.key(groupId);
    const chord = this.#hub.chords.get(key) ?? new Chord();
    keep(this.#hub.chords, key, chord, this.#max);
    return chord;
  }

  #encode(value: unknown): Uint8Array {
    const { body } = this.#codec.encode(value);
    return typeof body === "string" ? textEncoder.encode(body) : body.slice();
  }
}

class MemoryClaim implements ChordClaim {
  readonly groupId: string;
  readonly seconds: number;
  readonly #chord: Chord;
  readonly #chords: MemoryChords;

  constructor(groupId: string, seconds: number, chord: Chord, chords: MemoryChords) {
    this.groupId = groupId;
    this.seconds = seconds;
    this.#chord = chord;
    this.#chords = chords;
  }

  collect(): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    return this.#chords.collect(this.groupId, this.#chord);
  }

  async extend(seconds: number): Promise<boolean> {
    const chord = this.#chord;
    const lapsed = chord.claimEndsMs <= performance.now();
    if (chord.done || chord.size === null || (chord.claim !== this && !lapsed)) return false;
    chord.claim = this;
    chord.claimEndsMs = performance.now() + seconds * 1000;
    return true;
  }

  async done(): Promise<boolean> {
    const chord = this.#chord;
    if (chord.claim !== this || chord.claimEndsMs <= performance.now()) return false;
    chord.end();
    this.#chords.finish(this.groupId);
    return true;
  }

  async failed(): Promise<void> {
    this.#chord.size = null;
  }
}

/** As a sorted set of Redis orders members of one score. */
function inBytes(a: KeptPart, b: KeptPart): number {
  return Buffer.compare(a.bytes, b.bytes);
}

/** The entry becomes the youngest; the oldest make room. */
function keep<T>(map: Map<string, T>, key: string, value: T, max: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= max) break;
    map.delete(oldest);
  }
}
