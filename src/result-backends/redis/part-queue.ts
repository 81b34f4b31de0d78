/** Parts on their way to Redis: those of one chord that are returned in one turn of the event loop are counted by one script. */
import type { Redis } from "../../runtime/redis-connection.ts";
import type { ChordKeys } from "./chord-claim.ts";
import { partScript } from "./chord-scripts.ts";
import { runScript, type ScriptArgument } from "./script.ts";

export interface CountedPart {
  readonly taskId: string;
  readonly value: Buffer;
  /** Its place in the header. */
  readonly score: number | "+inf";
  /** What a claim of it would hold. */
  readonly token: string;
}

export interface PartAnswer {
  /** The codes of `partScript`. */
  readonly right: number;
  /** The chord has no size, and its body was not sent either. */
  readonly isWithoutSize: boolean;
}

/** Redis does nothing else meanwhile. */
const partsPerScript = 100;
const bytesPerScript = 256 * 1024;

interface Waiting {
  readonly part: CountedPart;
  readonly resolve: (answer: PartAnswer) => void;
  readonly reject: (error: unknown) => void;
}

interface Batch {
  readonly client: Redis;
  readonly keys: ChordKeys;
  readonly waiting: Waiting[];
  bytes: number;
}

export interface PartQueueOptions {
  readonly ordered: boolean;
  /** Seconds, as in `RedisChordOptions`. */
  readonly expires: number;
  readonly groupExpires: number;
  readonly claimSeconds: number;
}

export class PartQueue {
  readonly #arguments: readonly ScriptArgument[];
  readonly #batches = new Map<string, Batch>();

  constructor({ ordered, expires, groupExpires, claimSeconds }: PartQueueOptions) {
    this.#arguments = [ordered ? 1 : 0, expires, groupExpires, claimSeconds];
  }

  /** Rejects, with all that left with it, when Redis did not answer: then nobody knows whether it was counted. */
  count(client: Redis, keys: ChordKeys, part: CountedPart): Promise<PartAnswer> {
    return new Promise((resolve, reject) => {
      const batch = this.#batchFor(client, keys, part.value.length);
      batch.waiting.push({ part, resolve, reject });
      batch.bytes += part.value.length;
    });
  }

  #batchFor(client: Redis, keys: ChordKeys, bytes: number): Batch {
    if (this.#batches.size === 0) process.nextTick(this.#flush);
    const open = this.#batches.get(keys.group);
    if (open !== undefined) {
      const hasRoom = open.waiting.length < partsPerScript && open.bytes + bytes <= bytesPerScript;
      if (hasRoom && open.client === client) return open;
      void this.#send(open);
    }
    const batch: Batch = { client, keys, waiting: [], bytes: 0 };
    this.#batches.set(keys.group, batch);
    return batch;
  }

  readonly #flush = (): void => {
    const batches = [...this.#batches.values()];
    this.#batches.clear();
    for (const batch of batches) void this.#send(batch);
  };

  async #send({ client, keys, waiting }: Batch): Promise<void> {
    const names = [keys.parts, keys.added, keys.size, keys.counted, keys.group, keys.claim];
    const args = [...this.#arguments];
    for (const { part } of waiting) args.push(part.taskId, part.value, part.score, part.token);
    let reply: unknown;
    try {
      reply = await runScript(client, partScript, names, args);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    const answers = Array.isArray(reply) ? reply : [];
    const isWithoutSize = answers[0] === null;
    for (const [at, { resolve }] of waiting.entries()) resolve({ right: Number(answers[at + 1] ?? 0), isWithoutSize });
  }
}
