/** The results of a group, in its order. wire: celery/result.py `GroupResult`, `ResultSet`; celery-wire 8.3. */
import type { ResultTuple } from "../../protocol/celery/result-meta.ts";
import { ImproperlyConfigured } from "../../protocol/errors.ts";
import type { GroupStore } from "../result-backends/chord-counter.ts";
import { type AnyResult, type GetOptions, tupleOf } from "./async-result.ts";
import { collect, type ResultEntry } from "./result-tree.ts";
import type { Results, RevokeResultOptions } from "./results.ts";

export interface GroupResultParts {
  parent?: AnyResult | null;
  /** Where it is saved. */
  results?: Results | null;
}

/** A member that has ended. */
export interface Finished {
  /** Its place in the group. */
  readonly index: number;
  readonly result: AnyResult;
  /** With `propagate: false` the error of a member that has failed. */
  readonly value: unknown;
}

/** `T`: the values of the members. */
export class GroupResult<T extends readonly unknown[] = readonly unknown[]> {
  readonly id: string;
  readonly results: readonly AnyResult[];
  readonly parent: AnyResult | null;
  readonly #shared: Results | null;
  /** Types only; never present. */
  declare readonly types?: { readonly values: T };

  /** @internal */
  constructor(
    id: string,
    results: readonly AnyResult[],
    { parent = null, results: shared = null }: GroupResultParts = {},
  ) {
    this.id = id;
    this.results = results;
    this.parent = parent;
    this.#shared = shared;
  }

  get length(): number {
    return this.results.length;
  }

  /**
   * Waits for all members and gives their values in order. The first error to happen is thrown and ends the wait for the
   * others; with `propagate: false` errors stand in their places. `timeout` (milliseconds) is that of the whole.
   */
  get(options: GetOptions & { propagate: false }): Promise<{ -readonly [I in keyof T]: T[I] | Error }>;
  get(options?: GetOptions): Promise<{ -readonly [I in keyof T]: T[I] }>;
  async get(options: GetOptions = {}): Promise<unknown> {
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    try {
      return await Promise.all(
        this.results.map((member): Promise<unknown> => member.get({ followParents: false, ...options, signal })),
      );
    } finally {
      stop.abort();
    }
  }

  /** The same as `get`, under Celery's other name. */
  join(options: GetOptions & { propagate: false }): Promise<{ -readonly [I in keyof T]: T[I] | Error }>;
  join(options?: GetOptions): Promise<{ -readonly [I in keyof T]: T[I] }>;
  join(options: GetOptions = {}): Promise<unknown> {
    return this.get(options);
  }

  /**
   * The members as they end, the first to end first. Throws the error of one that has failed, with `propagate: false` it is
   * the value instead. `timeout` (milliseconds) is that of the whole. Whoever stops early waits for no others.
   */
  async *finished(options: GetOptions = {}): AsyncGenerator<Finished, void, undefined> {
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    const ready: Settled[] = [];
    let wake: () => void = () => undefined;
    for (const [index, result] of this.results.entries()) {
      const value: Promise<unknown> = result.get({ followParents: false, ...options, signal });
      value.then(
        (settled) => wakeWith({ index, result, value: settled }),
        (error: unknown) => wakeWith({ error }),
      );
    }
    function wakeWith(settled: Settled): void {
      ready.push(settled);
      wake();
    }
    try {
      for (let left = this.results.length; left > 0; left--) {
        if (ready.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const next = ready.shift();
        if (next === undefined) continue;
        if ("error" in next) throw next.error;
        yield next;
      }
    } finally {
      stop.abort();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Finished, void, undefined> {
    return this.finished();
  }

  async ready(): Promise<boolean> {
    return (await this.#states("ready")).every(Boolean);
  }

  /** Some member has not ended yet. */
  async waiting(): Promise<boolean> {
    return !(await this.ready());
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

  /** The members: what a task has as `children()`, a group has from the start. */
  async children(): Promise<readonly AnyResult[]> {
    return this.results;
  }

  /** Every result of the tree below with its value, level by level, each awaited in turn. */
  collect(options: GetOptions = {}): AsyncGenerator<ResultEntry, void, undefined> {
    return collect(this, options);
  }

  /** Deletes the stored records of all members. */
  async forget(): Promise<void> {
    await Promise.all(this.results.map((member) => member.forget()));
  }

  /** Tells all workers not to start its members, those of groups within it too; with `terminate` they end what runs. */
  async revoke(options: RevokeResultOptions = {}): Promise<void> {
    if (this.#shared === null) throw new ImproperlyConfigured(`the group ${this.id} was made without a client`);
    await this.#shared.revoke(idsOf(this), options);
  }

  /** Keeps the group under its id, for `app.restoreGroup`. Throws `ImproperlyConfigured` where the backend keeps no groups. */
  async save(): Promise<void> {
    await this.#store.save(this.toTuple());
  }

  /** Removes what `save` has kept; the members' results stay. */
  async delete(): Promise<void> {
    await this.#store.forget(this.id);
  }

  toTuple(): ResultTuple {
    return tupleOf(this);
  }

  toJSON(): ResultTuple {
    return this.toTuple();
  }

  get #store(): GroupStore {
    if (this.#shared === null) throw new ImproperlyConfigured(`the group ${this.id} was made without a client`);
    return this.#shared.groups;
  }

  #states(of: "ready" | "successful" | "failed"): Promise<boolean[]> {
    return Promise.all(this.results.map((member) => member[of]()));
  }
}

function idsOf(result: AnyResult): string[] {
  return result instanceof GroupResult ? result.results.flatMap(idsOf) : [result.id];
}

type Settled = Finished | { readonly error: unknown };
