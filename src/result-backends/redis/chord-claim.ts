/** The keys of one chord, and the right to finish it. wire: celery-wire 8.5; celery/backends/redis.py `on_chord_part_return`. */
import type { ResultTuple } from "../../../protocol/celery/result-tuple.ts";
import type { Redis } from "../../runtime/redis-connection.ts";
import type { ChordClaim, CollectedPart } from "../chord-counter.ts";
import { BackendError } from "../errors.ts";
import { cleanupScript, completedScript, extendScript, unclaimedScript } from "./chord-scripts.ts";
import { runScript } from "./script.ts";

export class ChordKeys {
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

/** What a claim needs of the counter that gave it. */
export interface ClaimStore {
  readonly claimSeconds: number;
  collect(keys: ChordKeys): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }>;
  /** Does it, again and again while the store is away. */
  persist<T>(act: (client: Redis) => Promise<T>): Promise<T>;
}

/** Parts of a chord that were counted are not in the store any more: the body cannot be given all results. */
class PartsLost extends BackendError {
  constructor(groupId: string) {
    super(
      "CHORD_PARTS_LOST",
      `parts of the chord ${groupId} are gone from the result store: evicted, deleted or overwritten`,
    );
  }
}

export class RedisChordClaim implements ChordClaim {
  readonly groupId: string;
  readonly seconds: number;
  readonly #keys: ChordKeys;
  /** Null: it completed the chord itself and needs none. */
  readonly #token: string | null;
  readonly #chords: ClaimStore;
  readonly #isLost: boolean;

  constructor(groupId: string, keys: ChordKeys, token: string | null, chords: ClaimStore, isLost = false) {
    this.groupId = groupId;
    this.seconds = chords.claimSeconds;
    this.#keys = keys;
    this.#token = token;
    this.#chords = chords;
    this.#isLost = isLost;
  }

  async collect(): Promise<{ header: ResultTuple } | { parts: CollectedPart[] }> {
    if (this.#isLost) throw new PartsLost(this.groupId);
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
