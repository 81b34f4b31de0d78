/** Reads of one turn of the event loop as few MGETs. */
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
      const values = await client.mgetBuffer(readers.map((reader) => reader.key));
      readers.forEach((reader, at) => {
        reader.onValue(values[at] ?? null);
      });
    } catch (error) {
      for (const reader of readers) reader.onError(error);
    } finally {
      this.#inFlight--;
      if (this.#queue.length > 0) this.wake();
    }
  }
}
