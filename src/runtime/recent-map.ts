/**
 * A bounded memory by key. Two generations: when the young one is full it becomes the old one, and the old one is forgotten
 * whole, which costs nothing per member.
 */
export class RecentMap<V> {
  readonly #limit: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();

  /** Remembers at least the latest `limit` keys, at most twice as many. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: string, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size < this.#limit) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  forgetWhere(isOver: (value: V) => boolean): void {
    for (const map of [this.#young, this.#old]) for (const [key, value] of map) if (isOver(value)) map.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
