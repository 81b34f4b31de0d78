/**
 * One queue in memory: messages by priority, then by age, and consumers served in turn. Deliveries leave in a later turn of
 * the event loop than the act that caused them, so that no caller is re-entered.
 */
import type { Message } from "../../../protocol/message.ts";
import type { Queue } from "../../../protocol/routing.ts";

export interface Entry {
  message: Message;
  exchange: string;
  routingKey: string;
  redelivered: boolean;
  /** Place within the queue, given on arrival; a message that is given back returns to it. */
  sequence: number;
}

/** What a queue sees of a consumer. */
export interface Taker {
  readonly hasRoom: boolean;
  take(entry: Entry, queue: MemoryQueue): void;
}

/** Messages of one priority by age. */
class Level {
  #entries: Entry[] = [];
  #head = 0;

  push(entry: Entry): void {
    this.#entries.push(entry);
  }

  shift(): Entry | undefined {
    const entry = this.#entries[this.#head];
    if (entry === undefined) return undefined;
    this.#head++;
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** Puts a message back to where it came from, which is near the front. */
  insert(entry: Entry): void {
    let at = this.#head;
    while (at < this.#entries.length && this.#entries[at]!.sequence < entry.sequence) at++;
    if (at === this.#head && at > 0) this.#entries[--this.#head] = entry;
    else this.#entries.splice(at, 0, entry);
  }
}

export class MemoryQueue {
  readonly name: string;
  #declared: Queue;
  readonly #owner: object | null;
  readonly #remove: () => void;
  readonly #levels = new Map<number, Level>();
  #order: number[] = [];
  #count = 0;
  #sequence = 0;
  #takers: Taker[] = [];
  #turn: NodeJS.Immediate | null = null;

  constructor(declared: Queue, owner: object | null, remove: () => void) {
    this.name = declared.name;
    this.#declared = declared;
    this.#owner = owner;
    this.#remove = remove;
  }

  get ready(): number {
    return this.#count;
  }

  get consumers(): number {
    return this.#takers.length;
  }

  belongsTo(owner: object): boolean {
    return this.#owner === owner && this.#declared.exclusive === true;
  }

  /** The attributes in which a redeclaration differs, or null. A queue that nobody declared yet takes any. */
  differsFrom(other: Queue, owner: object): { ours: object; theirs: object } | null {
    if (this.#owner === null) return null;
    const ours = attributes(other);
    const theirs = attributes(this.#declared);
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) return { ours, theirs };
    return theirs.exclusive && owner !== this.#owner ? { ours, theirs: { ...theirs, owner: "another" } } : null;
  }

  adopt(declared: Queue): void {
    if (this.#owner === null) this.#declared = declared;
  }

  put(entry: Entry): void {
    entry.sequence = ++this.#sequence;
    this.#level(entry).push(entry);
    this.#count++;
    this.wake();
  }

  /** Gives a message back to its place. */
  giveBack(entry: Entry): void {
    entry.redelivered = true;
    this.#level(entry).insert(entry);
    this.#count++;
    this.wake();
  }

  purge(): number {
    const count = this.#count;
    this.#levels.clear();
    this.#order = [];
    this.#count = 0;
    return count;
  }

  drop(): void {
    this.purge();
    this.#takers = [];
    if (this.#turn) clearImmediate(this.#turn);
    this.#turn = null;
  }

  add(taker: Taker): void {
    this.#takers.push(taker);
    this.wake();
  }

  leave(taker: Taker): void {
    const had = this.#takers.length;
    this.#takers = this.#takers.filter((other) => other !== taker);
    if (had > 0 && this.#takers.length === 0 && this.#declared.autoDelete) this.#remove();
  }

  /** Something changed: look, soon, whether a message can go out. */
  wake(): void {
    if (this.#turn || this.#count === 0 || this.#takers.length === 0) return;
    this.#turn = setImmediate(() => {
      this.#turn = null;
      this.#serve();
    });
  }

  #serve(): void {
    while (this.#count > 0) {
      const at = this.#takers.findIndex((taker) => taker.hasRoom);
      const taker = this.#takers[at];
      if (!taker) return;
      this.#takers.push(...this.#takers.splice(at, 1));
      const entry = this.#shift();
      if (!entry) return;
      taker.take(entry, this);
    }
  }

  #shift(): Entry | undefined {
    for (const priority of this.#order) {
      const level = this.#levels.get(priority);
      const entry = level?.shift();
      if (entry) {
        this.#count--;
        return entry;
      }
    }
    return undefined;
  }

  #level(entry: Entry): Level {
    const priority = entry.message.properties.priority ?? 0;
    let level = this.#levels.get(priority);
    if (!level) {
      level = new Level();
      this.#levels.set(priority, level);
      this.#order = [...this.#levels.keys()].sort((a, b) => a - b);
    }
    return level;
  }
}

function attributes(queue: Queue): { durable: boolean; exclusive: boolean; autoDelete: boolean; arguments: object } {
  const args = Object.entries(queue.arguments ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    durable: queue.durable ?? true,
    exclusive: queue.exclusive ?? false,
    autoDelete: queue.autoDelete ?? false,
    arguments: Object.fromEntries(args),
  };
}
