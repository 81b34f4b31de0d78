/**
 * The message files of the consumed queues that are thought to lie in the folder, in order, so that taking one is neither a
 * listing nor a sort. It is a guess that is put right by trying: a name whose file another process took fails to be claimed.
 */
import { queueOfFileName } from "../../../protocol/kombu/filesystem-names.ts";
import { compareMessageNames } from "./message-names.ts";

/** Names kept for one queue; what is beyond is found by listing again. */
export const namesPerQueue = 50_000;

class QueueNames {
  names: string[] = [];
  head = 0;
  readonly known = new Set<string>();
  /** False until the folder was listed for this queue: an event's file may not be the first in line. */
  listed = false;
  /** There were more files than are kept. */
  more = false;

  add(name: string): void {
    if (this.known.has(name)) return;
    const { names } = this;
    if (names.length - this.head >= namesPerQueue) {
      this.more = true;
      return;
    }
    this.known.add(name);
    const last = names.at(-1);
    if (names.length === this.head || last === undefined || compareMessageNames(last, name) < 0) {
      names.push(name);
      return;
    }
    let low = this.head;
    let high = names.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareMessageNames(names[middle] ?? "", name) < 0) low = middle + 1;
      else high = middle;
    }
    names.splice(low, 0, name);
  }

  take(): string | undefined {
    if (!this.listed) return undefined;
    const name = this.names[this.head];
    if (name === undefined) return undefined;
    this.head++;
    this.known.delete(name);
    if (this.head > 1024 && this.head * 2 > this.names.length) {
      this.names = this.names.slice(this.head);
      this.head = 0;
    }
    return name;
  }

  replace(names: string[]): void {
    names.sort(compareMessageNames);
    this.more = names.length > namesPerQueue;
    if (this.more) names.length = namesPerQueue;
    this.names = names;
    this.head = 0;
    this.known.clear();
    for (const name of names) this.known.add(name);
    this.listed = true;
  }
}

export class PendingNames {
  readonly #queues = new Map<string, QueueNames>();
  /** Names that appeared, and that were taken, while the folder is being listed. */
  #appeared: Set<string> | null = null;
  #taken: Set<string> | null = null;

  get queues(): IterableIterator<string> {
    return this.#queues.keys();
  }

  /** Every tracked queue has been listed. */
  get listed(): boolean {
    for (const queue of this.#queues.values()) if (!queue.listed) return false;
    return true;
  }

  /** Not all files of some queue are known, and those that are will soon be taken: listing again is due. */
  get short(): boolean {
    for (const queue of this.#queues.values()) {
      if (queue.more && queue.names.length - queue.head < namesPerQueue / 2) return true;
    }
    return false;
  }

  track(queue: string): void {
    if (!this.#queues.has(queue)) this.#queues.set(queue, new QueueNames());
  }

  untrack(queue: string): void {
    this.#queues.delete(queue);
  }

  /** True when `name` is a file of a tracked queue that was not known. */
  add(name: string): boolean {
    const queue = this.#queueOf(name);
    if (queue === undefined || queue.known.has(name)) return false;
    this.#appeared?.add(name);
    queue.add(name);
    return true;
  }

  take(queue: string): string | undefined {
    const name = this.#queues.get(queue)?.take();
    if (name !== undefined) this.#taken?.add(name);
    return name;
  }

  /** The folder is about to be listed. */
  beginListing(): void {
    this.#appeared = new Set();
    this.#taken = new Set();
  }

  /**
   * Takes a listing as the truth, except for what happened since it began. Returns how many of its files were unknown: events that
   * never came (or, the first time, all of them).
   */
  endListing(listing: readonly string[]): number {
    const appeared = this.#appeared ?? new Set<string>();
    const taken = this.#taken ?? new Set<string>();
    this.#appeared = null;
    this.#taken = null;
    const byQueue = new Map<QueueNames, string[]>();
    for (const queue of this.#queues.values()) byQueue.set(queue, []);
    let unknown = 0;
    for (const name of listing) {
      const queue = this.#queueOf(name);
      if (queue === undefined || taken.has(name)) continue;
      byQueue.get(queue)?.push(name);
      if (!queue.known.has(name)) unknown++;
      appeared.delete(name);
    }
    for (const name of appeared) {
      const queue = this.#queueOf(name);
      if (queue !== undefined && !taken.has(name)) byQueue.get(queue)?.push(name);
    }
    for (const [queue, names] of byQueue) queue.replace(names);
    return unknown;
  }

  #queueOf(name: string): QueueNames | undefined {
    const queue = queueOfFileName(name);
    return queue === null ? undefined : this.#queues.get(queue);
  }
}
