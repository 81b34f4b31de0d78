/** The results of a group, in its order. wire: celery/result.py `GroupResult`; celery-wire 8.3. */
import type { ResultTuple } from "../../protocol/celery/result-meta.ts";
import type { AnyResult, GetOptions } from "./async-result.ts";

export class GroupResult {
  readonly id: string;
  readonly results: readonly AnyResult[];
  readonly parent: AnyResult | null;

  constructor(id: string, results: readonly AnyResult[], { parent = null }: { parent?: AnyResult | null } = {}) {
    this.id = id;
    this.results = results;
    this.parent = parent;
  }

  /**
   * Waits for all members and gives their values in order. The first error to happen is thrown and ends the wait for the
   * others; with `propagate: false` errors stand in their places. `timeout` (milliseconds) is that of the whole.
   */
  async get(options: GetOptions = {}): Promise<unknown[]> {
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    try {
      return await Promise.all(this.results.map((member): Promise<unknown> => member.get({ ...options, signal })));
    } finally {
      stop.abort();
    }
  }

  async ready(): Promise<boolean> {
    return (await this.#states("ready")).every(Boolean);
  }

  async successful(): Promise<boolean> {
    return (await this.#states("successful")).every(Boolean);
  }

  /** At least one member has failed. */
  async failed(): Promise<boolean> {
    return (await this.#states("failed")).some(Boolean);
  }

  /** Members that have succeeded. */
  async completedCount(): Promise<number> {
    return (await this.#states("successful")).filter(Boolean).length;
  }

  async forget(): Promise<void> {
    await Promise.all(this.results.map((member) => member.forget()));
  }

  toTuple(): ResultTuple {
    return [[this.id, this.parent?.toTuple() ?? null], this.results.map((member) => member.toTuple())];
  }

  toJSON(): ResultTuple {
    return this.toTuple();
  }

  #states(of: "ready" | "successful" | "failed"): Promise<boolean[]> {
    return Promise.all(this.results.map((member) => member[of]()));
  }
}
