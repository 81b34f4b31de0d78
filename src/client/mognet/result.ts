/**
 * The result of a request: a snapshot of its record, and what can be asked of the store. As in Mognet the properties are those of the
 * last look (`submit`, `wait`, `get` and `refresh` look); unlike there, waiting hears of the end instead of polling for it.
 * wire: mognet/model/result.py.
 */
import { isDoneResult, type MognetResult, unexpectedRetries } from "../../../protocol/mognet/result.ts";
import { MOGNET_ERROR_STATES, type MognetState } from "../../../protocol/mognet/states.ts";
import { mognetTime } from "../../../protocol/mognet/times.ts";
import { type MognetValue, mognetValueToJs } from "../../../protocol/mognet/value.ts";
import { ResultLost } from "../../result-backends/errors.ts";
import { Canceller } from "../../runtime/cancellation.ts";
import { bool, count, dict, mismatch, structured } from "../../settings/kinds.ts";
import { checkOptionObject, type OptionKinds } from "../../settings/option-object.ts";
import { TaskValidationError, TimeoutError } from "../../tasks/errors.ts";
import { issueText } from "../../tasks/issues.ts";
import { ResultNotReady, ResultValueLost } from "../../tasks/mognet-errors.ts";
import type { AnySchema, SchemaResult } from "../../tasks/standard-schema.ts";
import { errorIn, failureOf } from "./failures.ts";
import { ResultChildren } from "./result-children.ts";
import { buildTree, type ResultTree, type TreeOptions } from "./result-tree.ts";
import type { Results, RevokeOptions } from "./results.ts";

/** How long a result is waited for. */
export interface WaitOptions {
  /** Milliseconds. */
  timeout?: number;
  signal?: AbortSignal;
  /** Sees the states before the last one; some may be passed over. */
  onUpdate?: (record: MognetResult) => void;
}

/** How a value is got, and waited for. */
export interface GetOptions extends WaitOptions {
  /** False: `ResultNotReady` instead of waiting, as Python's `result.get()`. @default true, as Python's `await result` */
  wait?: boolean;
}

const WAIT_OPTIONS: OptionKinds = {
  timeout: structured("a number of milliseconds", (value, at) => {
    if (!(typeof value === "number" && value >= 0)) throw mismatch(at, "a number of milliseconds, at least 0", value);
  }),
  signal: structured("an AbortSignal", (value, at) => {
    if (!(value instanceof AbortSignal)) throw mismatch(at, "an AbortSignal", value);
  }),
  onUpdate: structured("a function", (value, at) => {
    if (typeof value !== "function") throw mismatch(at, "a function", value);
  }),
};
const GET_OPTIONS: OptionKinds = { ...WAIT_OPTIONS, wait: bool };
const DESCENDANTS: OptionKinds = { includeChildren: bool };
const REVOKE: OptionKinds = { force: bool };
const ttl = count({ min: 1 });

const ERROR_STATES: ReadonlySet<string> = new Set(MOGNET_ERROR_STATES);

/** The result of one request, wherever it runs: its record as last read, and its value. Mognet: `Result`. */
export class Result<T = unknown> {
  readonly id: string;
  readonly #results: Results;
  readonly #returns: AnySchema | null;
  #record: MognetResult;
  #children: ResultChildren | null = null;
  #value: ResultValue | null = null;

  /** @internal */
  constructor(record: MognetResult, results: Results, returns: AnySchema | null = null) {
    this.id = record.id;
    this.#record = record;
    this.#results = results;
    this.#returns = returns;
  }

  /** The eleven fields as they were last seen; times are ISO texts with microseconds. */
  get record(): Readonly<MognetResult> {
    return this.#record;
  }
  /** Name of the task; null where only a tombstone is left. */
  get name(): string | null {
    return this.#record.name;
  }
  get state(): MognetState {
    return this.#record.state;
  }
  get numberOfStarts(): number {
    return this.#record.numberOfStarts;
  }
  get numberOfStops(): number {
    return this.#record.numberOfStops;
  }
  get parentId(): string | null {
    return this.#record.parentId;
  }
  get created(): Date | null {
    return dateOf(this.#record.created);
  }
  /** When the latest run began. */
  get started(): Date | null {
    return dateOf(this.#record.started);
  }
  get finished(): Date | null {
    return dateOf(this.#record.finished);
  }
  /** The node of the latest run. */
  get nodeId(): string | null {
    return this.#record.nodeId;
  }
  get requestKwargsRepr(): string | null {
    return this.#record.requestKwargsRepr;
  }
  /** SUCCESS, FAILURE, REVOKED or INVALID. */
  get done(): boolean {
    return isDoneResult(this.#record);
  }
  get successful(): boolean {
    return this.state === "SUCCESS";
  }
  /** FAILURE, REVOKED or INVALID. */
  get failed(): boolean {
    return ERROR_STATES.has(this.state);
  }
  get revoked(): boolean {
    return this.state === "REVOKED";
  }
  /** Runs that no stop followed: their worker died. */
  get unexpectedRetryCount(): number {
    return unexpectedRetries(this.#record);
  }
  /** Milliseconds from the start of the latest run to the end; null before. */
  get duration(): number | null {
    return between(this.#record.started, this.#record.finished);
  }
  /** Milliseconds from the submit to the start of the latest run; null before. */
  get queueTime(): number | null {
    return between(this.#record.created, this.#record.started);
  }

  /** The value as it is stored, without raising. */
  get value(): ResultValue {
    this.#value ??= new ResultValue(this.id, this.#results);
    return this.#value;
  }

  /** The results of what this task has submitted. */
  get children(): ResultChildren {
    this.#children ??= new ResultChildren(this.id, this.#results);
    return this.#children;
  }

  /** Reads the record anew. Throws `ResultLost` when it is gone. */
  async refresh(): Promise<this> {
    const record = await this.#results.store.get(this.id);
    if (record === null) throw new ResultLost(this.id, `result ${this.id} is lost`);
    this.#record = record;
    return this;
  }

  /**
   * Waits until the task has ended, well or not. Throws `TimeoutError` when the wait ended first (the task runs on), the signal's
   * reason, `ResultLost` when the result vanishes.
   */
  async wait(options: WaitOptions = {}): Promise<this> {
    checkOptionObject(options, WAIT_OPTIONS, "result.wait()");
    // What is done can still be revoked by force.
    if (this.done) await this.refresh();
    if (!this.done) await this.#await(options, false);
    return this;
  }

  /**
   * Waits for the task and gives its value. Throws what the task has failed with (`RemoteTaskError`, or the class that stands for
   * it), `Revoked`, `ResultFailed` when nothing says how, `ResultValueLost`, `TaskValidationError` when the value is not what the
   * definition says, and what `wait()` throws.
   */
  async get(options: GetOptions = {}): Promise<T> {
    checkOptionObject(options, GET_OPTIONS, "result.get()");
    let value: MognetValue | null = null;
    const looks = this.done || options.wait === false;
    // The record first: a value is written before the state that says that it is there.
    if (looks) [, value] = await Promise.all([this.refresh(), this.#results.store.getValue(this.id)]);
    if (!this.done) {
      if (options.wait === false) throw new ResultNotReady(this.id, this.state);
      value = await this.#await(options, true);
    }
    if (this.failed) throw failureOf(this.#record, value, this.#results.errors);
    if (value === null) throw new ResultValueLost(this.id);
    return this.#checked(mognetValueToJs(value));
  }

  /** The result with its descendants: three levels, and of each 500 children, unless told otherwise. */
  tree(options: TreeOptions = {}): Promise<ResultTree> {
    return buildTree(this, this.#results, options);
  }

  async getMetadata(): Promise<Record<string, unknown>> {
    return this.#results.store.getMetadata(this.id);
  }

  /** Adds to what is there; a key replaces one of the same name. */
  async setMetadata(metadata: Readonly<Record<string, unknown>>): Promise<void> {
    dict.parse(metadata, "result.setMetadata(): the metadata");
    await this.#results.store.setMetadata(this.id, metadata);
  }

  /** As `app.revoke`: this task and all that it has submitted. Resolves with this result, as it is then. */
  async revoke(options: RevokeOptions = {}): Promise<this> {
    checkOptionObject(options, REVOKE, "result.revoke()");
    await this.#results.revoke(this.id, options);
    return this.refresh();
  }

  /** Deletes result, value, children and metadata, by default those of all descendants too. */
  async delete(options: { includeChildren?: boolean } = {}): Promise<void> {
    checkOptionObject(options, DESCENDANTS, "result.delete()");
    await this.#results.store.delete(this.id, options);
  }

  /** Lets result, value, children and metadata expire in `seconds`, by default those of all descendants too. */
  async setTtl(seconds: number, options: { includeChildren?: boolean } = {}): Promise<void> {
    ttl.parse(seconds, "result.setTtl(): the seconds");
    checkOptionObject(options, DESCENDANTS, "result.setTtl()");
    await this.#results.store.setTtl(this.id, seconds, options);
  }

  async #await({ timeout, signal, onUpdate }: WaitOptions, value: boolean): Promise<MognetValue | null> {
    const { store, limits } = this.#results;
    if (signal?.aborted) throw signal.reason;
    const stop = timeout === undefined && signal === undefined ? null : new Canceller();
    const waiting = store.waitFor(this.id, {
      value,
      ...(stop === null ? {} : { signal: stop }),
      ...(onUpdate === undefined ? {} : { onUpdate }),
    });
    const outcome =
      stop === null
        ? await waiting
        : await limits.limit(
            waiting,
            stop,
            { timeout, signal },
            (ms) => new TimeoutError(this.id, ms, store.outage?.()),
          );
    this.#record = outcome.result;
    return outcome.value;
  }

  async #checked(value: unknown): Promise<T> {
    // `T` is the caller's word for what the task returns; without a schema nobody checks it.
    if (this.#returns === null || !this.#results.validate) return value as T;
    const checked: SchemaResult<T> = await this.#returns["~standard"].validate(value);
    if (checked.issues === undefined) return checked.value;
    throw new TaskValidationError(
      `the result of ${this.#record.name ?? "task"} ${this.id} is not what its definition says: ${issueText(checked.issues)}`,
      checked.issues,
    );
  }
}

/** The value of a result, as data. */
export class ResultValue {
  readonly #id: string;
  readonly #results: Results;

  /** @internal */
  constructor(id: string, results: Results) {
    this.#id = id;
    this.#results = results;
  }

  /** The value with the name of its Python type. Throws `ResultValueLost` when there is none (yet, or any longer). */
  async getValueHolder(): Promise<MognetValue> {
    const value = await this.#results.store.getValue(this.#id);
    if (value === null) throw new ResultValueLost(this.#id);
    return value;
  }

  /** The value; of a task that failed, its error, which is not thrown. */
  async getRawValue(): Promise<unknown> {
    const value = await this.getValueHolder();
    return errorIn(this.#id, value, this.#results.errors) ?? mognetValueToJs(value);
  }
}

function dateOf(time: string | null): Date | null {
  return mognetTime(time);
}

/** Milliseconds, with a fraction for microseconds. */
function between(from: string | null, to: string | null): number | null {
  const [start, end] = [mognetTime(from), mognetTime(to)];
  if (start === null || end === null) return null;
  return end.getTime() - start.getTime() + (end.micros - start.micros) / 1000;
}
