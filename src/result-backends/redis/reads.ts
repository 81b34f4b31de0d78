/**
 * Reads of one turn of the event loop as few MGETs. MGET answers alike for a key that is not there and one that holds no
 * string; beside it EXISTS counts, and only when there are more keys than values is each of the missing asked for by itself.
 */
import type { Redis } from "../../runtime/redis-connection.ts";

export interface Reader {
  readonly key: string;
  onValue(value: Buffer | null): void;
  onError(error: unknown): void;
}

const keysPerRead = 200;
const readsInFlight = 4;

export class ReadQueue {
  readonly #client: () => Redis | null;
  #queue: Reader[] = [];
  #inFlight = 0;
  #turn: NodeJS.Immediate | null = null;

  /** `client` is the connection if it is up; without one the readers stay until `wake` or `rejectAll`. */
  constructor(client: () => Redis | null) {
    this.#client = client;
  }

  push(reader: Reader): void {
    this.#queue.push(reader);
    this.wake();
  }

  wake(): void {
    this.#turn ??= setImmediate(this.#flush);
  }

  /** Tells the waiting readers that there is no answer; those for which `keep` holds stay. */
  rejectAll(error: unknown, keep: (reader: Reader) => boolean = () => false): void {
    const all = this.#queue;
    this.#queue = all.filter(keep);
    for (const reader of all) if (!keep(reader)) reader.onError(error);
  }

  close(error: unknown): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
    this.rejectAll(error);
  }

  readonly #flush = (): void => {
    this.#turn = null;
    const client = this.#client();
    while (client !== null && this.#queue.length > 0 && this.#inFlight < readsInFlight) {
      void this.#read(client, this.#queue.splice(0, keysPerRead));
    }
  };

  async #read(client: Redis, readers: Reader[]): Promise<void> {
    this.#inFlight++;
    try {
      const keys = readers.map((reader) => reader.key);
      const answer = client.mgetBuffer(keys);
      // A server that does not allow EXISTS leaves the question open.
      const count = client.exists(...keys).catch(() => 0);
      const values = await answer;
      const found = values.reduce((sum, value) => (value === null ? sum : sum + 1), 0);
      const suspect = found < readers.length && (await count) > found;
      readers.forEach((reader, at) => {
        const value = values[at] ?? null;
        if (value === null && suspect) readAlone(client, reader);
        else reader.onValue(value);
      });
    } catch (error) {
      for (const reader of readers) reader.onError(error);
    } finally {
      this.#inFlight--;
      if (this.#queue.length > 0) this.wake();
    }
  }
}

/** Written meanwhile, or of the wrong type: GET says which. */
function readAlone(client: Redis, reader: Reader): void {
  client.getBuffer(reader.key).then(
    (value) => reader.onValue(value),
    (error: unknown) => reader.onError(error),
  );
}
