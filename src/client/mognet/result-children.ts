/** The results of what a task has submitted, one level down. wire: mognet/model/result.py `ResultChildren`. */
import { count } from "../../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../../settings/option-object.ts";
import { Result } from "./result.ts";
import type { Results } from "./results.ts";

/** How many children are asked for. */
export interface ChildrenOptions {
  /** At most so many. @default all */
  count?: number;
}

const OPTIONS: OptionKinds = { count: count() };
/** Results that are read in one step. */
const BATCH = 200;

/** The results of what a request has submitted. Got from `result.children`; Mognet: `ResultChildren`. */
export class ResultChildren {
  readonly #id: string;
  readonly #results: Results;

  /** @internal */
  constructor(id: string, results: Results) {
    this.#id = id;
    this.#results = results;
  }

  count(): Promise<number> {
    return this.#results.store.countChildren(this.#id);
  }

  /** In no order. */
  iterIds(options: ChildrenOptions = {}): AsyncIterable<string> {
    checkOptionObject(options, OPTIONS, "result.children.iterIds()");
    return this.#results.store.childIds(this.#id, options.count === undefined ? {} : { limit: options.count });
  }

  /** In no order; those whose result is gone are passed over. */
  async *iterInstances(options: ChildrenOptions = {}): AsyncGenerator<Result, void, undefined> {
    for await (const ids of batches(this.iterIds(options), BATCH)) {
      for (const record of await this.#results.store.getMany(ids)) {
        if (record !== null) yield new Result(record, this.#results);
      }
    }
  }
}

export async function* batches<Item>(
  items: AsyncIterable<Item>,
  size: number,
): AsyncGenerator<Item[], void, undefined> {
  let batch: Item[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
